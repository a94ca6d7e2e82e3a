// Makes each div.datatable sortable and searchable, with buttons to copy and to download it.
// DataTables draws the rows that are shown; NotebookTable finds them. Without these scripts the
// page's own table is a plain one.
(() => {
  "use strict";

  const ROWS_A_PAGE = 25;
  const ALL_ROWS = 1_000; // more than this are never drawn at once

  const escape = (text) =>
    text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;");
  const count = (number, noun) => `${number.toLocaleString("en")} ${noun}${number === 1 ? "" : "s"}`;

  // The rows of a table that is all in the page, and their cells' HTML, which the build has escaped.
  function readPage(table, isNumber, keys) {
    const cells = Array.from(table.tBodies[0].rows, (row) => Array.from(row.cells));
    const html = cells.map((row) => row.map((cell) => cell.innerHTML));
    const rows = cells.map((row) => row.map((cell) => cell.textContent));
    const shown = {};
    for (const written of table.tBodies[0].querySelectorAll("td > data")) {
      const [i, c] = [written.closest("tr").sectionRowIndex, written.closest("td").cellIndex];
      shown[c] ??= rows.map((row) => row[c]);
      rows[i][c] = written.value;
    }
    const data = new NotebookTable(rows, shown, isNumber, keys);
    data.html = (i) => html[i];
    return data;
  }

  // The rows that the script beside the page holds.
  async function fetchRows(source, isNumber) {
    const script = document.createElement("script");
    const received = new Promise((resolve, reject) => {
      script.addEventListener("rows", (event) => resolve(event.detail), { once: true });
      script.addEventListener("error", () => reject(new Error(`can't load ${source}`)));
    });
    script.src = source;
    document.head.append(script);
    const [rows, shown, keys] = await received;
    const data = new NotebookTable(rows, shown, isNumber, keys);
    data.html = (i) => rows[i].map((text, c) => escape(shown[c]?.[i] ?? text));
    return data;
  }

  function makeButtons(box, header, data, find, announce, toggleFilters) {
    const name = box.dataset.file.replace(/\.[^.]*$/, "");
    const all = [header, ...data.rows];
    return [
      {
        text: "Filter",
        attr: { title: "Filter by column", "aria-expanded": "false" },
        action: (_, dt, node) => toggleFilters(dt, node[0] ?? node),
      },
      {
        text: "Copy",
        attr: { title: "Copy the matching rows, to paste into a spreadsheet" },
        action: async () => {
          const found = Array.from(find(), (i) => data.rows[i]);
          const done = await NotebookTable.copy(
            NotebookTable.writeDelimited([header, ...found], "\t"),
          );
          announce(done ? `${count(found.length, "row")} copied` : "the browser forbids copying");
        },
      },
      {
        text: "CSV",
        attr: { title: "Download all rows as in the file" },
        action: () => {
          const text = NotebookTable.writeDelimited(all, ",");
          const blob = new Blob([text], { type: "text/csv;charset=utf-8" });
          NotebookTable.download(`${name}.csv`, blob);
        },
      },
      {
        text: "Excel",
        attr: { title: "Download all rows as a workbook; identifiers stay text" },
        action: async () =>
          NotebookTable.download(`${name}.xlsx`, await NotebookTable.writeWorkbook(all, name)),
      },
    ];
  }

  // A row of search boxes below the header, and what shows and hides it.
  function makeFilters(table, header, data, apply) {
    const row = table.tHead.insertRow();
    row.className = "datatable-filters";
    row.hidden = true;
    const inputs = header.map((name, i) => {
      const input = document.createElement("input");
      input.type = "search";
      input.size = 5; // or the box would widen its column
      input.placeholder = data.isNumber[i] ? "> 0, 1..5" : "contains";
      input.setAttribute("aria-label", `Filter by ${name || `column ${i + 1}`}`);
      input.addEventListener("input", () => {
        input.ariaInvalid = String(data.isNonsense(i, input.value));
        apply(i, input.value);
      });
      const cell = row.insertCell();
      if (data.isNumber[i]) cell.className = "num";
      cell.append(input);
      return input;
    });
    return (dt, button) => {
      row.hidden = !row.hidden;
      button.setAttribute("aria-expanded", String(!row.hidden));
      if (!row.hidden) return inputs[0].focus();
      for (const [i, input] of inputs.entries()) {
        input.value = "";
        input.ariaInvalid = "false";
        dt.column(i).search("");
      }
      apply(0, "");
      return dt;
    };
  }

  // keys: what the columns sort by, of a table that a script has made
  async function enhance(box, { search = true, keys = JSON.parse(box.dataset.keys ?? "{}") } = {}) {
    const table = box.querySelector("table");
    const head = Array.from(table.tHead.rows[0].cells);
    const header = head.map((cell) => cell.textContent);
    const isNumber = head.map((cell) => cell.classList.contains("num"));
    const data = box.dataset.rows
      ? await fetchRows(box.dataset.rows, isNumber)
      : readPage(table, isNumber, keys);
    const total = data.rows.length;
    const isLong = total > ROWS_A_PAGE && !box.classList.contains("datatable-whole");

    const status = document.createElement("span");
    status.className = "datatable-status";
    status.setAttribute("role", "status");
    function announce(text) {
      status.textContent = text;
      setTimeout(nameNonsense, 3_000);
    }
    function nameNonsense() {
      const wrong = table.querySelector(".datatable-filters [aria-invalid=true]");
      status.textContent = wrong
        ? `no condition: ${wrong.value.trim()}; such as > 0.5 or 1..3` : "";
    }

    // What was asked for last, and what was found: leafing through the pages asks for it again.
    let [asked, found] = [null, []];
    function find(request) {
      const filters = request.columns.map((x) => x.search.value);
      const question = JSON.stringify([request.search.value, filters, request.order]);
      if (question !== asked) found = data.find(request.search.value, filters, request.order);
      asked = question;
      return found;
    }

    let dt = null;
    const toggleFilters = makeFilters(table, header, data, (i, text) => {
      nameNonsense();
      dt.column(i).search(text).draw();
    });
    dt = new DataTable(table, {
      ajax: (request, draw) => {
        const rows = find(request);
        const end = request.length < 0 ? rows.length : request.start + request.length;
        draw({
          draw: request.draw,
          recordsTotal: total,
          recordsFiltered: rows.length,
          data: Array.from(rows.slice(request.start, end), data.html),
        });
      },
      autoWidth: false,
      buttons: makeButtons(box, header, data, () => found, announce, toggleFilters),
      columns: isNumber.map((yes) => ({ className: yes ? "num" : "", type: "string" })),
      language: {
        search: "",
        searchPlaceholder: "Search",
        lengthMenu: "_MENU_ rows",
        info: "_START_ to _END_ of _TOTAL_ rows",
        infoEmpty: "no rows",
        infoFiltered: "(_MAX_ in all)",
        zeroRecords: '<span class="datatable-none">No row matches</span>',
        emptyTable: '<span class="datatable-none">No rows</span>',
      },
      layout: {
        topStart: search ? "search" : null,
        topEnd: "buttons",
        bottomStart: isLong ? "info" : null,
        bottomEnd: isLong ? ["pageLength", "paging"] : null,
      },
      lengthMenu: [
        ROWS_A_PAGE,
        100,
        total > ALL_ROWS ? ALL_ROWS : { label: "all", value: -1 },
      ],
      order: [],
      orderClasses: false,
      pageLength: ROWS_A_PAGE,
      paging: isLong,
      processing: false,
      searchDelay: 0,
      serverSide: true,
      titleRow: 0,
    });

    const label = table.querySelector(".caption-text")?.textContent ?? box.dataset.file;
    const container = dt.table().container();
    container.querySelector(".dt-search input")
      ?.setAttribute("aria-label", `Search the table ${label}`);
    container.querySelector(".dt-buttons").prepend(status);
    const scroller = container.querySelector(".dt-layout-table > .dt-layout-cell");
    scroller.setAttribute("role", "region");
    scroller.setAttribute("aria-label", label);
    new ResizeObserver(() => {
      scroller.tabIndex = scroller.scrollWidth > scroller.clientWidth ? 0 : -1;
    }).observe(scroller);
    box.classList.add("datatable-ready");
  }

  // DataTables looks at html.dark; our own style knows when the theme is dark.
  const prefersDark = window.matchMedia("(prefers-color-scheme: dark)");
  function followTheme() {
    const isDark = getComputedStyle(document.body).colorScheme === "dark";
    document.documentElement.classList.toggle("dark", isDark);
  }

  // Rows beside the page are fetched when their table is nearly in sight.
  const observer = new IntersectionObserver(
    (entries) => {
      for (const { isIntersecting, target } of entries) {
        if (!isIntersecting) continue;
        observer.unobserve(target);
        enhance(target);
      }
    },
    { rootMargin: "800px" },
  );

  window.NotebookTable.enhance = enhance;
  followTheme();
  prefersDark.addEventListener("change", followTheme);
  new MutationObserver(followTheme).observe(document.body, { attributeFilter: ["data-theme"] });
  for (const box of document.querySelectorAll("div.datatable")) {
    if (box.dataset.rows) observer.observe(box);
    else enhance(box);
  }
})();
