// Makes each div.datatable sortable and searchable, with buttons to copy and to download it.
// The page's own table is the source; without this script it is a plain table.
(() => {
  "use strict";

  const ROWS_A_PAGE = 25;
  const collator = new Intl.Collator(undefined, { numeric: true });

  function readNumber(html) {
    const text = String(html).trim().replaceAll(",", "").replaceAll("−", "-");
    const infinite = /^([+-]?)inf/i.exec(text);
    return infinite ? (infinite[1] === "-" ? -Infinity : Infinity) : parseFloat(text);
  }

  function readText(html) {
    const names = { "&lt;": "<", "&gt;": ">", "&nbsp;": "\u00a0", "&amp;": "&" };
    return String(html).replace(/&(lt|gt|nbsp|amp);/g, (entity) => names[entity]);
  }

  // Empty cells and NaN come last, whichever the direction.
  function compareNumbers(a, b, sign) {
    const [x, y] = [readNumber(a), readNumber(b)];
    if (Number.isNaN(x) || Number.isNaN(y)) return Number.isNaN(x) - Number.isNaN(y);
    return x === y ? 0 : sign * (x < y ? -1 : 1);
  }

  function compareTexts(a, b, sign) {
    const [x, y] = [readText(a), readText(b)];
    if (!x || !y) return !x - !y;
    return sign * collator.compare(x, y);
  }

  for (const [name, compare] of [["number", compareNumbers], ["text", compareTexts]]) {
    DataTable.type(`as-written-${name}`, {
      detect: () => false,
      order: { asc: (a, b) => compare(a, b, 1), desc: (a, b) => compare(a, b, -1) },
      // DataTables strips what is typed of its diacritics: ü is found as u, and as itself.
      search: (html) => DataTable.util.diacritics(readText(html), true),
    });
  }

  function writeDelimited(rows, delimiter) {
    const special = new RegExp(`["\\r\\n${delimiter}]`);
    const quote = (text, row) =>
      special.test(text) || (text === "" && row.length === 1)
        ? `"${text.replaceAll('"', '""')}"`
        : text;
    return rows.map((row) => row.map((text) => quote(text, row)).join(delimiter) + "\n").join("");
  }

  function download(name, text) {
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob([text], { type: "text/csv;charset=utf-8" }));
    link.download = name;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
  }

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

  function enhance(box) {
    const table = box.querySelector("table");
    const readCells = (row) => Array.from(row.cells, (cell) => cell.textContent);
    const header = readCells(table.tHead.rows[0]);
    const rows = Array.from(table.tBodies[0].rows, readCells);
    const isNumber = Array.from(table.tHead.rows[0].cells, (cell) =>
      cell.classList.contains("datatable-number"),
    );
    const caption = table.querySelector(".caption-text")?.textContent;
    const isLong = rows.length > ROWS_A_PAGE;

    const status = document.createElement("span");
    status.className = "datatable-status";
    status.setAttribute("role", "status");
    function announce(text) {
      status.textContent = text;
      setTimeout(() => (status.textContent = ""), 3_000);
    }

    const buttons = [
      {
        text: "Copy",
        attr: { title: "Copy the rows that are shown, to paste into a spreadsheet" },
        action: async (_, dt) => {
          const shown = Array.from(dt.rows({ search: "applied", order: "applied" }).indexes());
          const done = await copy(writeDelimited([header, ...shown.map((i) => rows[i])], "\t"));
          announce(done ? `${shown.length} rows copied` : "the browser forbids copying");
        },
      },
      {
        text: "CSV",
        attr: { title: "Download all rows as they are written" },
        action: () => {
          const name = box.dataset.file.replace(/\.[^.]*$/, "") + ".csv";
          download(name, writeDelimited([header, ...rows], ","));
        },
      },
    ];

    const dt = new DataTable(table, {
      autoWidth: false,
      buttons,
      columnDefs: isNumber.map((yes, i) => ({
        targets: i,
        type: `as-written-${yes ? "number" : "text"}`,
      })),
      language: {
        search: "",
        searchPlaceholder: "Search",
        lengthMenu: "_MENU_ rows",
        info: "_START_ to _END_ of _TOTAL_ rows",
        infoEmpty: "no rows",
        infoFiltered: "(_MAX_ in all)",
        zeroRecords: "No row matches",
        emptyTable: "No rows",
      },
      layout: {
        topStart: "search",
        topEnd: "buttons",
        bottomStart: isLong ? "info" : null,
        bottomEnd: isLong ? ["pageLength", "paging"] : null,
      },
      lengthMenu: [ROWS_A_PAGE, 100, { label: "all", value: -1 }],
      order: [],
      orderClasses: false,
      pageLength: ROWS_A_PAGE,
      paging: isLong,
    });
    const container = dt.table().container();
    container
      .querySelector("input[type=search]")
      .setAttribute("aria-label", `Search the table ${caption ?? box.dataset.file}`);
    container.querySelector(".dt-buttons").prepend(status);
    box.classList.add("datatable-ready");
  }

  // DataTables looks at html.dark, furo at body[data-theme]: light, dark or auto.
  const prefersDark = window.matchMedia("(prefers-color-scheme: dark)");
  function followTheme() {
    const theme = document.body.dataset.theme;
    const isDark = theme === "dark" || (theme !== "light" && prefersDark.matches);
    document.documentElement.classList.toggle("dark", isDark);
  }

  followTheme();
  prefersDark.addEventListener("change", followTheme);
  new MutationObserver(followTheme).observe(document.body, { attributeFilter: ["data-theme"] });
  document.querySelectorAll("div.datatable").forEach(enhance);
})();
