// The page that compares runs: a filter, and what it leaves as a table, curves and parallel
// coordinates. All that a person sets stands in the address, after #, so that a link opens it again.
(() => {
  "use strict";

  const {
    Curves, make, loadScript, loadRuns, readState, writeState, splitTokens, filterRuns, writeOneOf, formatValue,
    roundValue, isMeasured, countValues, findVaried, findIncomparable, findConfounded, groupBy, groupSeeds,
    nameGroup, nameRuns, drawParallel,
  } = window.AtomPaint;
  const FEW = 6; // curves that are drawn at first
  const MAX_CURVES = 100; // runs whose data are loaded
  const ROWS = 50; // rows that are shown at first
  const NONE = ""; // no curve is drawn: an empty name, as an empty list stands for the best ones
  const PAUSE_MS = 150;
  const ROOT = document.documentElement.dataset.content_root ?? "./";
  const HEADS = { duration_s: "duration [min]" };
  const NAMES = ["experiment", "run"]; // what a row begins with
  const TABLES = { val: "validation", test: "test", train: "training" };

  // The build writes a property that is the same in all runs only once.
  function unpack({ ids, same, properties }) {
    const varied = Object.entries(properties);
    return ids.map((id, i) => {
      const own = { ...same };
      for (const [name, values] of varied) own[name] = values[i];
      return { id, properties: own };
    });
  }

  // As make_anchor() in pages.py.
  function makeAnchor(run) {
    const quoted = encodeURIComponent(run)
      .replace(/[!'()*]/g, (x) => `%${x.charCodeAt(0).toString(16).toUpperCase()}`);
    return `run-${quoted.replaceAll("%", "_")}`;
  }

  const isNumber = (x) => typeof x === "number";
  const scale = (name, value) => (name === "duration_s" && isNumber(value) ? value / 60 : value);
  const round = (name, value) => (name === "duration_s" ? value.toFixed(1)
    : isMeasured(name) ? roundValue(value) : formatValue(value, name));

  // What a row has of a property: of several runs the mean and the standard deviation (n - 1).
  function readCell({ runs }, name) {
    const values = runs.map(({ properties }) => scale(name, properties[name] ?? null))
      .filter((x) => x !== null);
    if (!values.length) return { value: null, text: "" };
    if (runs.length === 1) return { value: values[0], text: round(name, values[0]) };
    if (!values.every(isNumber)) {
      const known = [...new Set(values)];
      return known.length === 1 ? { value: known[0], text: known[0] }
        : { value: null, text: `${known.length} values` };
    }
    const mean = values.reduce((a, b) => a + b, 0) / values.length;
    const squares = values.reduce((sum, x) => sum + (x - mean) ** 2, 0);
    const write = (x) => (isMeasured(name) || name === "duration_s" ? round(name, x) : roundValue(x));
    const text = values.length === 1 ? write(mean)
      : `${write(mean)} ± ${Math.sqrt(squares / (values.length - 1)).toPrecision(2)}`;
    return { value: mean, text };
  }

  function start(box, data) {
    const all = unpack(data);
    const allProperties = all.map((run) => run.properties);
    const known = [...new Set(allProperties.flatMap(Object.keys))];
    const defaults = { where: "", metric: data.metric, group: "", sort: "", columns: [], draw: [],
      x: "epoch", logx: false, logy: false, smooth: 0, zoom: "", run: "" };
    let state = { ...defaults };
    let chosen = []; // the runs that the filter leaves
    let named = []; // the properties that it names
    let rows = []; // runs, or groups of them, in their order
    let isOpen = false; // whether all rows are shown
    let colours = new Map(); // numbers by the keys of the rows whose curves are drawn
    let timer = null;
    let drawnWidth = null; // of the parallel coordinates, once they are drawn

    const input = make("input", { type: "search", id: "run-where", name: "where",
      autocomplete: "off", spellcheck: "false",
      placeholder: "loss.reduction == sum and best(val.r2) > 0.5", "aria-describedby": "run-error" });
    const error = make("p", { id: "run-error", class: "run-error", role: "alert" });
    const count = make("p", { class: "run-count", role: "status" });
    const warnings = make("details", { class: "run-warnings" });
    const controls = make("div", { class: "run-controls" });
    const columnHead = make("summary");
    const columnList = make("div", { class: "scroller-down", tabindex: 0, role: "region",
      "aria-label": "Columns" });
    const columnBox = make("details", { class: "run-properties" }, columnHead, columnList);
    const table = make("div", { class: "run-table scroller", tabindex: 0, role: "region",
      "aria-label": "Runs" });
    const more = make("p", { class: "run-note" });
    const curvesBox = make("div", { class: "run-curves" });
    const curvesNote = make("p", { class: "run-note", role: "status" });
    const parallel = make("div", { class: "run-parallel", tabindex: 0, role: "application",
      "aria-label": "Parallel coordinates; the arrow keys up and down name the runs" });
    const parallelNote = make("p", { class: "run-note parallel-note", role: "status" });
    const code = make("div", { class: "run-code" });

    const set = (changes) => {
      Object.assign(state, changes);
      writeState("", defaults, state);
      show();
    };

    const filter = (where) => {
      input.value = where;
      set({ where });
    };

    // Metrics and properties

    const isLower = () => data.lower.includes(state.metric);
    const reduce = (metric) => [metric, `best(${metric})`, `last(${metric})`]
      .find((name) => known.includes(name));
    const key = () => reduce(state.metric) ?? state.metric;
    // A test has no curve: that of the validation is drawn.
    const curveOf = () => state.metric.replace(/^test\./, "val.");

    function listMetricColumns() {
      const test = state.metric.replace(/^(val|train)\./, "test.");
      return [...new Set([key(), test])].filter((name) =>
        chosen.some(({ properties }) => (properties[name] ?? null) !== null) || name === key());
    }

    // What differs among the runs in view, but for what has no effect on the result.
    const listVaried = () => findVaried(chosen.map((run) => run.properties))
      .filter((name) => name !== state.group);

    function listColumns() {
      if (state.columns.length) return state.columns.filter((name) => known.includes(name));
      const measured = listMetricColumns();
      return state.group ? [...measured, "duration_s"]
        : [...new Set([...measured, ...named, ...listVaried(), "state", "duration_s"])];
    }

    function writeControls() {
      const select = (name, label, ...options) => make("label", {}, label,
        make("select", { name, onchange: ({ target }) => set({ [name]: target.value, sort: "", draw: [] }) },
          ...options));
      const option = (name, text, value) =>
        make("option", { value, selected: state[name] === value }, text);
      const metrics = Object.entries(TABLES).flatMap(([name, label]) => {
        const inside = data.metrics.filter((x) => x.startsWith(`${name}.`));
        return inside.length ? [make("optgroup", { label },
          ...inside.map((x) => option("metric", x, x)))] : [];
      });
      const groups = findVaried(allProperties).filter((name) => name !== "seed");
      const isPart = colours.size > 0 && colours.size < rows.length;
      const files = ["Copy", "CSV", "Excel"].map((text) =>
        make("button", { type: "button", onclick: ({ target }) => give(text, target) }, text));
      controls.replaceChildren(
        select("metric", "Metric", ...metrics),
        select("group", "Rows", option("group", "each run", ""),
          option("group", "mean over seeds", Curves.SEEDS),
          ...groups.map((x) => option("group", `mean for each ${x}`, x))),
        make("button", { type: "button", hidden: Boolean(state.group) || !isPart,
          onclick: () => filter(writeOneOf("run", [...colours.keys()])) }, "Only ticked"),
        make("button", { type: "button", class: "run-clear", hidden: !state.where,
          onclick: () => filter("") }, "All runs"),
        make("span", { class: "run-files" }, ...files),
      );
    }

    // Columns to choose, those that matter first; a name begins a condition of the filter.
    function writeColumns() {
      const shown = listColumns();
      columnHead.textContent = `Columns: ${shown.length} of ${known.length - 2}`;
      if (!columnBox.open) return;
      const first = [...new Set([...listMetricColumns(), ...listVaried(), ...shown])];
      const rank = (name) => (isMeasured(name) ? ["(", "test."].findIndex((x) => name.includes(x)) : 2);
      const rest = known.filter((name) => !first.includes(name) && !NAMES.includes(name))
        .sort((a, b) => rank(b) - rank(a) || known.indexOf(a) - known.indexOf(b));
      const lines = [...first, ...rest].map((name) => {
        const example = allProperties.map((x) => x[name] ?? null).find((x) => x !== null);
        const tick = ({ target }) => set({ columns: target.checked ? [...listColumns(), name]
          : listColumns().filter((x) => x !== name) });
        const insert = () => {
          input.value = `${input.value.trim()}${input.value.trim() ? " and " : ""}${name} `;
          input.focus();
        };
        return make("tr", {},
          make("td", {}, make("input", { type: "checkbox", checked: shown.includes(name),
            "aria-label": `Column ${name}`, onchange: tick })),
          make("th", { scope: "row" }, make("button", { type: "button", onclick: insert,
            title: "Filter by this" }, name)),
          make("td", {}, formatValue(example, name)));
      });
      const reset = make("button", { type: "button", hidden: !state.columns.length,
        onclick: () => set({ columns: [] }) }, "The usual columns");
      const head = make("tr", {}, ...["column", "property, to filter by", "of some run"]
        .map((text) => make("th", { scope: "col" }, text)));
      columnList.replaceChildren(reset,
        make("table", {}, make("thead", {}, head), make("tbody", {}, ...lines)));
    }

    // Rows

    function findOrder() {
      if (!state.sort) return [key(), isLower() ? 1 : -1];
      return state.sort[0] === "-" ? [state.sort.slice(1), -1] : [state.sort, 1];
    }

    function makeRows() {
      const properties = chosen.map((run) => run.properties);
      const names = nameRuns(chosen.map((run) => run.id));
      if (!state.group) {
        rows = chosen.map((run, i) => ({ key: run.id, name: names[i], runs: [run] }));
      } else if (state.group === Curves.SEEDS) {
        rows = groupSeeds(properties).map((indices) => {
          const name = nameGroup(indices.map((i) => names[i]));
          return { key: name, name, text: name, runs: indices.map((i) => chosen[i]) };
        });
      } else {
        const groups = groupBy(properties, state.group);
        rows = [...groups].map(([text, indices]) =>
          ({ key: text, name: `${state.group} ${text}`, text, runs: indices.map((i) => chosen[i]) }));
      }
      const sort = (name, sign) => {
        const read = ({ key: id, runs }) => (name !== "run" ? null
          : runs[0].properties[state.group] ?? id);
        const values = new Map(rows.map((row) => [row, read(row) ?? readCell(row, name).value]));
        rows.sort((a, b) => {
          const [x, y] = [values.get(a), values.get(b)];
          if (x === null || y === null) return (x === null) - (y === null);
          return sign * (isNumber(x) && isNumber(y) ? x - y
            : String(x).localeCompare(String(y), "en", { numeric: true }));
        });
      };
      sort(key(), isLower() ? 1 : -1);
      const best = rows.slice(0, FEW).map((row) => row.key);
      if (state.sort) sort(...findOrder());
      const drawn = state.draw.length ? state.draw : best;
      keepColours(drawn.filter((x) => rows.some((row) => row.key === x)));
    }

    // A curve keeps its colour while others come and go.
    function keepColours(drawn) {
      const kept = new Map([...colours].filter(([name]) => drawn.includes(name)));
      const taken = new Set(kept.values());
      colours = new Map(drawn.map((name) => {
        let colour = kept.get(name);
        if (colour === undefined) for (colour = 0; taken.has(colour);) colour += 1;
        taken.add(colour);
        return [name, colour];
      }));
    }

    function toggle(name) {
      const drawn = [...colours.keys()];
      const now = drawn.includes(name) ? drawn.filter((x) => x !== name) : [...drawn, name];
      set({ draw: now.length ? now : [NONE] });
    }

    function writeTable() {
      const columns = listColumns();
      const [sorted, sign] = findOrder();
      const isNumeric = (name) => rows.every((row) => typeof (readCell(row, name).value ?? 0) === "number");
      const kinds = new Map(columns.map((name) => [name, isNumeric(name) ? "num" : null]));
      const sortBy = (name) => {
        const isSorted = name === sorted;
        const first = name === key() && !isLower() ? -1 : 1;
        const next = isSorted ? -sign : first;
        set({ sort: name === key() && next === (isLower() ? 1 : -1) ? "" : next < 0 ? `-${name}` : name });
      };
      const head = (name, text) => make("th", { scope: "col", class: kinds.get(name) ?? null,
        "aria-sort": name === sorted ? (sign > 0 ? "ascending" : "descending") : null },
      make("button", { type: "button", onclick: () => sortBy(name) }, text));
      const shown = isOpen ? rows : rows.slice(0, ROWS);
      table.replaceChildren(make("table", { class: "docutils" },
        make("thead", {}, make("tr", {}, head("run", state.group || "run"),
          ...columns.map((name) => head(name, HEADS[name] ?? name)))),
        make("tbody", {}, ...shown.map((row) => make("tr", {}, writeHead(row),
          ...columns.map((name) => writeCell(row, name, kinds.get(name))))))));
      more.replaceChildren(...(shown.length < rows.length ? [`The first ${ROWS} of ${rows.length} rows. `,
        make("button", { type: "button", onclick: () => { isOpen = true; writeTable(); } }, "Show all")] : []));
    }

    // The tick and the colour of a row's curve, and what the row is of.
    function writeHead(row) {
      const colour = colours.get(row.key);
      const tick = make("input", { type: "checkbox", checked: colour !== undefined,
        "aria-label": `Draw ${row.name}`, onchange: () => toggle(row.key) });
      const swatch = make("span", { class: colour === undefined ? "run-swatch" : Curves.classOf(colour) });
      if (colour !== undefined) swatch.style.borderColor = `var(--run-colour-${colour % Curves.numColours})`;
      if (state.group) {
        const num = make("span", { class: "run-place" }, `${row.runs.length} run${row.runs.length > 1 ? "s" : ""}`);
        return make("th", { scope: "row" }, make("div", {}, tick, swatch, make("span", {}, row.text, num)));
      }
      const { experiment, run } = row.runs[0].properties;
      const sheet = data.sheets[experiment];
      const name = sheet ? make("a", { href: `${ROOT}${sheet}#${makeAnchor(run)}` }, run) : run;
      const place = row.name === run ? [] : [make("span", { class: "run-place" }, experiment)];
      return make("th", { scope: "row" }, make("div", {}, tick, swatch, make("span", {}, name, ...place)));
    }

    function writeCell(row, name, kind) {
      const { value, text } = readCell(row, name);
      const title = String(value ?? "");
      return make("td", { class: kind, title: text === title ? null : title }, text);
    }

    // The rows as they are sorted, with all digits.
    async function give(kind, button) {
      const columns = listColumns();
      const first = state.group ? [state.group, "runs"] : NAMES;
      const cells = rows.map((row) => {
        const { experiment, run } = row.runs[0].properties;
        const names = state.group ? [row.text, String(row.runs.length)] : [experiment, run];
        return [...names, ...columns.map((name) => String(readCell(row, name).value ?? ""))];
      });
      const lines = [[...first, ...columns.map((name) => HEADS[name] ?? name)], ...cells];
      const { writeDelimited, writeWorkbook, download, copy } = window.NotebookTable;
      if (kind === "Copy") {
        const isCopied = await copy(writeDelimited(lines, "\t"));
        button.textContent = isCopied ? "Copied" : "The browser forbids copying";
        setTimeout(() => (button.textContent = kind), 3_000);
      } else if (kind === "CSV") {
        download("runs.csv", new Blob([writeDelimited(lines, ",")], { type: "text/csv;charset=utf-8" }));
      } else {
        download("runs.xlsx", await writeWorkbook(lines, "runs"));
      }
    }

    // All of it

    function applyFilter() {
      try {
        chosen = filterRuns(state.where, allProperties).map((i) => all[i]);
        named = splitTokens(state.where).map(({ text }) => text)
          .filter((x) => known.includes(x) && !NAMES.includes(x));
        error.textContent = "";
        input.removeAttribute("aria-invalid");
      } catch (problem) {
        error.textContent = problem.message;
        input.setAttribute("aria-invalid", "true");
        if (!chosen.length) chosen = all; // otherwise the last that could be read stay
      }
    }

    // What is written again keeps the focus.
    const describe = (x) => [x.tagName, x.name, x.ariaLabel ?? x.textContent].join(" ");

    function show() {
      const focused = document.activeElement;
      write();
      if (focused.isConnected || focused === document.body) return;
      Array.from(box.querySelectorAll("button, input, select"))
        .find((x) => describe(x) === describe(focused))?.focus({ preventScroll: true });
    }

    function write() {
      applyFilter();
      makeRows();
      count.textContent = `${chosen.length} of ${all.length} runs`;
      writeControls();
      writeColumns();
      writeTable();
      writeCode();
      drawCurves();
      curvesBox.hidden = parallel.hidden = parallelNote.hidden = !chosen.length;
      window.requestIdleCallback(() => { // when the table is in sight
        writeWarnings();
        drawAxes();
      }, { timeout: 500 });
    }

    async function drawCurves() {
      const groups = rows.filter((row) => colours.has(row.key)).map((row) => ({ key: row.key,
        name: row.name, ids: row.runs.map((run) => run.id), colour: colours.get(row.key) }));
      const ids = groups.flatMap((group) => group.ids);
      curvesNote.textContent = ids.length > MAX_CURVES
        ? `No curves: they are of ${ids.length} runs, more than ${MAX_CURVES}. Tick fewer rows.`
        : ids.length ? "" : "Tick rows of the table to draw their curves.";
      const isDrawn = ids.length > 0 && ids.length <= MAX_CURVES;
      curvesBox.hidden = !isDrawn;
      if (!isDrawn) return;
      const wanted = rows;
      const loaded = await loadRuns(ids);
      if (wanted !== rows) return; // something has changed meanwhile
      const { x, logx, logy, smooth, zoom, run } = state;
      Object.assign(curves.options, { x, logx, logy, smooth, zoom, run, metric: curveOf() });
      curves.setRuns(loaded, groups);
    }

    function drawAxes() {
      if (!chosen.length) return;
      const varied = listVaried().filter((name) => !window.atompaintSchema.effectless.includes(name));
      drawnWidth = parallel.clientWidth;
      const [first, ...others] = listMetricColumns();
      const names = state.columns.length
        ? state.columns.filter((name) => known.includes(name) && ![...others, first].includes(name)) : varied;
      const wanted = [...names, ...others, first];
      drawParallel(parallel, parallelNote, chosen, wanted, colours, (condition) => {
        filter(state.where.trim() ? `(${state.where.trim()}) and ${condition}` : condition);
      });
    }

    function writeWarnings() {
      const properties = chosen.map((run) => run.properties);
      const texts = [...findIncomparable(properties, [state.metric, ...listMetricColumns()]),
        ...findConfounded(properties)];
      warnings.hidden = !texts.length;
      const noun = `${texts.length} warning${texts.length > 1 ? "s" : ""}`;
      const kinds = [...new Set(texts.map((text) => text.split(":")[0]))].join(", ");
      warnings.replaceChildren(make("summary", {}, `${noun}: ${kinds}`),
        ...texts.map((text) => make("p", { class: "run-warning" }, text)));
    }

    function writeCode() {
      const properties = chosen.map((run) => run.properties);
      const commits = [...new Set(properties.map((x) => x.commit).filter(Boolean))];
      const clean = [...new Set(commits.map((x) => x.replace("+", "").slice(0, 8)))];
      const numChanged = properties.filter((x) => x.commit?.endsWith("+")).length;
      const numSets = new Set(properties.map((x) => x.data_hash).filter(Boolean)).size;
      const count = (number, noun) => `${number} ${noun}${number === 1 ? "" : "s"}`;
      const commands = clean.slice(1).map((x) => `git diff ${clean[0]} ${x} -- atompaint_vae`);
      code.replaceChildren(...(chosen.length ? [make("details", {},
        make("summary", {}, `Code of ${count(clean.length, "commit")}, ` +
          `${numChanged || "no"} ${numChanged === 1 ? "run" : "runs"} with changes not committed; ` +
          `${count(numSets, "set")} of structures`),
        make("p", {}, `Code: ${countValues(properties, "commit")}.`,
          numChanged ? " +: the files differed from the commit." : ""),
        ...(commands.length
          ? [make("pre", { class: "literal-block scroller", tabindex: 0 }, commands.join("\n"))] : []),
        make("p", {}, `Data: ${countValues(properties, "data.source")}, ` +
          `hash ${countValues(properties, "data_hash")}.`),
      )] : []));
    }

    const curves = new Curves(curvesBox, {}, (options) => {
      for (const name of ["x", "logx", "logy", "smooth", "zoom", "run"]) state[name] = options[name];
      writeState("", defaults, state);
    }, (name) => toggle(rows.find((row) => row.name === name).key));
    input.addEventListener("input", () => {
      clearTimeout(timer);
      timer = setTimeout(() => set({ where: input.value }), PAUSE_MS);
    });
    columnBox.addEventListener("toggle", writeColumns);
    const open = () => {
      state = readState("", defaults);
      state.smooth = Math.min(Math.max(state.smooth, 0), 0.99);
      if (!["epoch", "step", "elapsed_s"].includes(state.x)) state.x = defaults.x;
      input.value = state.where;
      chosen = [];
      show();
    };
    window.addEventListener("hashchange", open);
    new ResizeObserver(() => {
      const isDrawn = chosen.length && drawnWidth !== null;
      if (isDrawn && parallel.clientWidth !== drawnWidth) drawAxes();
    }).observe(parallel);

    const heading = (text) => make("p", { class: "rubric", role: "heading", "aria-level": 2 }, text);
    box.replaceChildren(
      make("label", { class: "run-filter", for: "run-where" }, "Runs where ", input),
      error, count, warnings, controls, columnBox, table, more,
      heading("Curves"), curvesNote, curvesBox, heading("What varies"), parallel, parallelNote,
      heading("Code and data"), code,
    );
    open();
  }

  for (const box of document.querySelectorAll("div.run-compare[data-source]")) {
    const name = box.dataset.source;
    loadScript(`runs/${name}.js`).then(() => start(box, window.atompaintCompare[name]))
      .catch((error) => box.prepend(make("p", { role: "alert" }, error.message)));
  }
})();
