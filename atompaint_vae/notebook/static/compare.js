// The page that compares runs: a filter, and what it leaves as table, curves and parallel
// coordinates. What is chosen stands in the address, after #, so that a link opens it again.
(() => {
  "use strict";

  const {
    Curves, make, loadScript, loadRuns, filterRuns, formatValue, roundValue, isMeasured, countValues,
    findVaried, findIncomparable, findConfounded, drawParallel,
  } = window.AtomPaint;
  const MAX_CURVES = 50;
  const PAUSE_MS = 150;
  const ROOT = document.documentElement.dataset.content_root ?? "./";
  const TYPES = { smooth: Number, logx: (x) => x === "1", logy: (x) => x === "1",
    seeds: (x) => x === "1" };

  // The build writes a property that is the same in all runs only once.
  function unpack({ ids, same, properties }) {
    return ids.map((id, i) => {
      const own = Object.entries(properties).map(([name, values]) => [name, values[i]]);
      return { id, properties: { ...same, ...Object.fromEntries(own) } };
    });
  }

  function start(box, data) {
    const all = unpack(data);
    const allProperties = all.map((run) => run.properties);
    const defaults = { where: "", metric: data.metric, x: "epoch", logx: false, logy: false,
      smooth: 0, seeds: false };
    let state = { ...defaults };
    let timer = null;
    let chosen = [];
    let drawnWidth = 0;

    const input = make("input", { type: "search", id: "run-where", name: "where",
      autocomplete: "off", spellcheck: "false",
      placeholder: "loss.reduction == sum and best(val.r2) > 0.5", "aria-describedby": "run-error" });
    const error = make("p", { id: "run-error", class: "run-error", role: "alert" });
    const count = make("p", { class: "run-count", role: "status" });
    const warnings = make("div", { class: "run-warnings", role: "status" });
    const table = make("div", { class: "datatable", "data-file": "runs.csv" });
    const curvesBox = make("div", { class: "run-curves" });
    const parallel = make("div", { class: "run-parallel scroller", tabindex: 0,
      role: "application", "aria-label": "Parallel coordinates; arrow keys up and down name the runs" });
    const parallelNote = make("p", { class: "run-note parallel-note", role: "status" });
    const code = make("div", { class: "run-code" });

    function listProperties() {
      const names = [...new Set(allProperties.flatMap(Object.keys))];
      const rows = names.map((name) => {
        const example = allProperties.map((x) => x[name] ?? null).find((x) => x !== null);
        const insert = () => {
          input.value = `${input.value.trim()}${input.value.trim() ? " and " : ""}${name} `;
          input.focus();
        };
        return make("tr", {},
          make("th", { scope: "row" }, make("button", { type: "button", onclick: insert }, name)),
          make("td", {}, formatValue(example, name)));
      });
      return make("details", { class: "run-properties" },
        make("summary", {}, "Properties, each with the value of some run"),
        make("table", {}, make("tbody", {}, ...rows)));
    }

    function readAddress() {
      const given = new URLSearchParams(window.location.hash.slice(1));
      state = { ...defaults };
      for (const [name, text] of given) {
        if (name in state) state[name] = (TYPES[name] ?? String)(text);
      }
      if (!Number.isFinite(state.smooth)) state.smooth = 0;
      state.smooth = Math.min(Math.max(state.smooth, 0), 0.99);
      if (!["epoch", "step", "elapsed_s"].includes(state.x)) state.x = defaults.x;
    }

    function writeAddress() {
      const changed = Object.entries(state).filter(([name, value]) => value !== defaults[name]);
      const text = new URLSearchParams(
        changed.map(([name, value]) => [name, value === true ? "1" : String(value)]));
      const { pathname, search } = window.location;
      window.history.replaceState(null, "", `${pathname}${search}#${text}`);
    }

    function applyFilter() {
      try {
        chosen = filterRuns(state.where, allProperties).map((i) => all[i]);
        error.textContent = "";
        input.removeAttribute("aria-invalid");
      } catch (problem) {
        error.textContent = problem.message;
        input.setAttribute("aria-invalid", "true");
        if (chosen.length) return; // the last that could be read stays
        chosen = all;
      }
      show();
    }

    async function show() {
      count.textContent = `${chosen.length} of ${all.length} runs`;
      writeTable();
      writeWarnings();
      writeCode();
      const shown = chosen.slice(0, MAX_CURVES);
      if (chosen.length > MAX_CURVES) {
        count.textContent += `; curves of the first ${MAX_CURVES}, filter for others`;
      }
      curvesBox.hidden = parallel.hidden = parallelNote.hidden = !chosen.length;
      if (!shown.length) return;
      drawAxes();
      const wanted = chosen;
      const loaded = await loadRuns(shown.map((run) => run.id));
      if (wanted !== chosen) return; // the filter has changed meanwhile
      Object.assign(curves.options, state);
      curves.setRuns(loaded);
    }

    function listMetricProperties() {
      const known = new Set(chosen.flatMap((run) => Object.keys(run.properties)));
      const test = `test.${state.metric.split(".")[1]}`;
      return [`last(${state.metric})`, `best(${state.metric})`, test].filter((x) => known.has(x));
    }

    function drawAxes() {
      const varied = findVaried(chosen.map((run) => run.properties))
        .filter((key) => !window.atompaintSchema.effectless.includes(key));
      drawnWidth = parallel.clientWidth;
      drawParallel(parallel, parallelNote, chosen, [...varied, ...listMetricProperties().slice(-2)]);
    }

    function writeTable() {
      const varied = findVaried(chosen.map((run) => run.properties));
      const names = ["experiment", "run", ...listMetricProperties(), ...varied, "state", "duration_s"];
      const isNumber = (name) => chosen.every(({ properties }) =>
        ["undefined", "number"].includes(typeof (properties[name] ?? undefined)));
      const kinds = names.map((name) => (isNumber(name) ? "num" : null));
      const heads = names.map((name, i) => make("th", { scope: "col", class: kinds[i] },
        name === "duration_s" ? "duration [min]" : name));
      const rows = chosen.map(({ properties }) => make("tr", {}, ...names.map((name, i) =>
        make("td", { class: kinds[i] }, ...writeCell(properties, name)))));
      const listRanks = (name) => data.ranks[name] && chosen.map((run) => data.ranks[name][all.indexOf(run)]);
      const keys = names.map((name) => ({ ranks: listRanks(name) }));
      table.replaceChildren(make("table", { class: "docutils" },
        make("thead", {}, make("tr", {}, ...heads)), make("tbody", {}, ...rows)));
      window.NotebookTable.enhance(table, { search: false, keys });
    }

    // What a cell shows; the table's copies and downloads have what is in a <data> element's value.
    function writeCell(properties, name) {
      const value = properties[name] ?? null;
      if (value === null) return [];
      const sheet = data.sheets[properties.experiment];
      if (name === "run" && sheet) return [make("a", { href: `${ROOT}${sheet}` }, value)];
      const exact = name === "duration_s" ? value / 60 : value;
      const text = name === "duration_s" ? exact.toFixed(1)
        : isMeasured(name) ? roundValue(value) : formatValue(value);
      const title = String(exact);
      return [text === title ? text : make("data", { value: title, title }, text)];
    }

    function writeWarnings() {
      const properties = chosen.map((run) => run.properties);
      const metrics = [state.metric, ...listMetricProperties()];
      const texts = [...findIncomparable(properties, metrics), ...findConfounded(properties)];
      warnings.replaceChildren(...texts.map((text) => make("p", { class: "run-warning" }, text)));
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

    const curves = new Curves(curvesBox, state, (options) => {
      const isNewMetric = options.metric !== state.metric;
      for (const name of Object.keys(defaults)) if (name in options) state[name] = options[name];
      state.where = input.value;
      writeAddress();
      if (isNewMetric) {
        writeTable();
        writeWarnings();
        drawAxes();
      }
    });
    input.addEventListener("input", () => {
      clearTimeout(timer);
      timer = setTimeout(() => {
        state.where = input.value;
        writeAddress();
        applyFilter();
      }, PAUSE_MS);
    });
    const open = () => {
      readAddress();
      input.value = state.where;
      applyFilter();
    };
    window.addEventListener("hashchange", open);
    new ResizeObserver(() => {
      if (chosen.length && parallel.clientWidth !== drawnWidth) drawAxes();
    }).observe(parallel);

    const heading = (text) => make("p", { class: "rubric", role: "heading", "aria-level": 2 }, text);
    box.replaceChildren(
      make("label", { class: "run-filter", for: "run-where" }, "Runs where ", input),
      error, count, listProperties(), warnings, table,
      heading("Curves"), curvesBox, heading("What varies"), parallel, parallelNote, heading("Code and data"), code,
    );
    open();
  }

  for (const box of document.querySelectorAll("div.run-compare[data-source]")) {
    const name = box.dataset.source;
    loadScript(`runs/${name}.js`).then(() => start(box, window.atompaintCompare[name]))
      .catch((error) => box.prepend(make("p", { role: "alert" }, error.message)));
  }
})();
