// Tables as files: CSV, text to paste, and a workbook that holds exactly what is written.
(() => {
  "use strict";

  function writeDelimited(rows, delimiter) {
    const special = new RegExp(`["\\r\\n${delimiter}]`);
    const quote = (text, row) =>
      special.test(text) || (text === "" && row.length === 1)
        ? `"${text.replaceAll('"', '""')}"`
        : text;
    return rows.map((row) => row.map((text) => quote(text, row)).join(delimiter) + "\n").join("");
  }

  // A cell is a number only where a spreadsheet, which knows 15 digits and no 001 or 1e5, shows it
  // as it is written. A column with an identifier such as 001 is text from top to bottom.
  const NUMBER = /^-?(0|[1-9]\d*)(\.\d+)?$/;
  const NEGATIVE_ZERO = /^-[0.]+$/;
  const PADDED = /^[+-]?0\d/;
  const isPlainNumber = (text) =>
    NUMBER.test(text) && !NEGATIVE_ZERO.test(text) && text.replace(/\D/g, "").length <= 15;

  const escape = (text) =>
    text
      .replaceAll("&", "&amp;")
      .replaceAll("<", "&lt;")
      .replaceAll(">", "&gt;")
      .replaceAll('"', "&quot;")
      .replace(/[\x00-\x08\x0b\x0c\x0e-\x1f]/g, "") // eslint-disable-line no-control-regex
      .replaceAll("\r", "&#13;")
      .replace(/_(?=x[0-9A-Fa-f]{4}_)/g, "_x005F_"); // _x0041_ would be read as A

  const XML = '<?xml version="1.0" encoding="UTF-8" standalone="yes"?>\n';
  const NAMESPACE = "http://schemas.openxmlformats.org/";
  const MAIN = `xmlns="${NAMESPACE}spreadsheetml/2006/main"`;
  const KINDS = `${NAMESPACE}officeDocument/2006/relationships`;
  const TYPES = "application/vnd.openxmlformats-officedocument.spreadsheetml";

  function writeSheet(rows) {
    const formats = [];
    const findStyle = (text) => {
      const code = text.includes(".") ? `0.${"0".repeat(text.split(".")[1].length)}` : "0";
      if (!formats.includes(code)) formats.push(code);
      return formats.indexOf(code) + 2; // after the default and the header's
    };
    const isText = rows[0].map((_, c) => rows.some((row, i) => i && PADDED.test(row[c])));
    const lines = rows.map((row, i) => {
      const cells = row.map((text, c) => {
        if (text === "") return "<c/>";
        if (i && !isText[c] && isPlainNumber(text)) {
          return `<c s="${findStyle(text)}"><v>${text}</v></c>`;
        }
        const style = i ? "" : ' s="1"';
        return `<c t="inlineStr"${style}><is><t xml:space="preserve">${escape(text)}</t></is></c>`;
      });
      return `<row>${cells.join("")}</row>`;
    });
    const codes = formats.map((code, i) => `<numFmt numFmtId="${164 + i}" formatCode="${code}"/>`);
    const numFmts = `<numFmts count="${codes.length}">${codes.join("")}</numFmts>`;
    const styles = formats.map((_, i) => `<xf numFmtId="${164 + i}" applyNumberFormat="1"/>`);
    return {
      sheet: `${XML}<worksheet ${MAIN}><sheetData>${lines.join("")}</sheetData></worksheet>`,
      styles:
        `${XML}<styleSheet ${MAIN}>${codes.length ? numFmts : ""}` +
        '<fonts count="2"><font/><font><b/></font></fonts><fills count="2">' +
        '<fill><patternFill patternType="none"/></fill>' +
        '<fill><patternFill patternType="gray125"/></fill></fills>' +
        '<borders count="1"><border/></borders><cellStyleXfs count="1"><xf/></cellStyleXfs>' +
        `<cellXfs><xf/><xf fontId="1" applyFont="1"/>${styles.join("")}</cellXfs>` +
        '<cellStyles count="1"><cellStyle name="Normal" xfId="0" builtinId="0"/></cellStyles>' +
        "</styleSheet>",
    };
  }

  // A promise of the workbook's bytes.
  function writeWorkbook(rows, name) {
    const { sheet, styles } = writeSheet(rows);
    const title = escape(name.replace(/[[\]:*?/\\']/g, " ").slice(0, 31) || "Sheet1");
    const JSZip = DataTable.Buttons.jszip();
    const zip = new JSZip();
    const relate = (items) =>
      `${XML}<Relationships xmlns="${NAMESPACE}package/2006/relationships">` +
      items
        .map((x, i) => `<Relationship Id="rId${i + 1}" Type="${KINDS}/${x[0]}" Target="${x[1]}"/>`)
        .join("") +
      "</Relationships>";
    zip.file(
      "[Content_Types].xml",
      `${XML}<Types xmlns="${NAMESPACE}package/2006/content-types">` +
        '<Default Extension="rels" ' +
        'ContentType="application/vnd.openxmlformats-package.relationships+xml"/>' +
        `<Override PartName="/xl/workbook.xml" ContentType="${TYPES}.sheet.main+xml"/>` +
        `<Override PartName="/xl/worksheets/sheet1.xml" ContentType="${TYPES}.worksheet+xml"/>` +
        `<Override PartName="/xl/styles.xml" ContentType="${TYPES}.styles+xml"/></Types>`,
    );
    zip.file("_rels/.rels", relate([["officeDocument", "xl/workbook.xml"]]));
    zip.file(
      "xl/workbook.xml",
      `${XML}<workbook ${MAIN} xmlns:r="${KINDS}"><sheets>` +
        `<sheet name="${title}" sheetId="1" r:id="rId1"/></sheets></workbook>`,
    );
    const parts = [["worksheet", "worksheets/sheet1.xml"], ["styles", "styles.xml"]];
    zip.file("xl/_rels/workbook.xml.rels", relate(parts));
    zip.file("xl/worksheets/sheet1.xml", sheet);
    zip.file("xl/styles.xml", styles);
    return zip.generateAsync({
      type: "blob",
      mimeType: `${TYPES}.sheet`,
      compression: "DEFLATE",
    });
  }

  function download(name, blob) {
    const link = document.createElement("a");
    link.href = URL.createObjectURL(blob);
    link.download = name;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
  }

  // Whether the browser has let the text be copied.
  async function copy(text) {
    try {
      await navigator.clipboard.writeText(text);
      return true;
    } catch {
      const area = document.createElement("textarea");
      area.value = text;
      area.style.position = "fixed";
      document.body.append(area);
      area.select();
      const done = document.execCommand("copy");
      area.remove();
      return done;
    }
  }

  Object.assign(NotebookTable, { writeDelimited, writeWorkbook, download, copy });
})();
