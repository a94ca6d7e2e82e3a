// Interactive curves of runs: div.run-curves becomes controls, a plot and a legend.
// AtomPaint.Curves is also what the page that compares runs draws with.
(() => {
  "use strict";

  const {
    formatValue, roundValue, findVaried, groupSeeds, nameRuns, nameGroup, loadRuns,
  } = window.AtomPaint;
  const AXES = { epoch: "epoch", step: "step", elapsed_s: "elapsed time [min]" };
  const KEYS = Object.keys(AXES);
  const NUM_COLOURS = 7;
  const DASHES = [[], [8, 4], [2, 3]];
  const SMOOTHER = "exponential moving average, debiased";
  const NEAR_PX = 30;

  // make("button", { type: "button" }, "text", child) is an element; content is never HTML.
  function make(tag, attributes = {}, ...children) {
    const element = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes)) {
      if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
      else if (value === true) element.setAttribute(name, "");
      else if (value !== false && value !== null) element.setAttribute(name, value);
    }
    element.append(...children);
    return element;
  }

  const isNumber = (x) => typeof x === "number" && Number.isFinite(x);
  const style = (name) => getComputedStyle(document.body).getPropertyValue(name).trim();
  const colourOf = (i) => style(`--run-colour-${i % NUM_COLOURS}`);
  const dashOf = (i) => DASHES[Math.floor(i / NUM_COLOURS) % DASHES.length];

  // Weighted by weight ** age, over the sum of these weights: right from the first point on.
  function smooth(values, weight) {
    let [sum, norm] = [0, 0];
    return values.map((value) => {
      if (!isNumber(value)) return value;
      sum = weight * sum + value;
      norm = weight * norm + 1;
      return sum / norm;
    });
  }

  function readCurve(run, metric, axis, weight) {
    const [table, column] = metric.split(".");
    const columns = run.tables[table];
    if (!columns?.[column]?.length) return null;
    const x = columns[axis].map((value) => (axis === "elapsed_s" ? value / 60 : value));
    const raw = columns[column];
    return { x, steps: columns.step, raw, y: weight ? smooth(raw, weight) : raw };
  }

  // Mean and standard deviation (n - 1) at the steps that all have.
  function averageCurves(curves) {
    const places = curves.map((curve) => new Map(curve.steps.map((step, i) => [step, i])));
    const steps = curves[0].steps.filter((step) => places.every((place) => place.has(step)));
    const result = { x: [], y: [], low: [], high: [] };
    for (const step of steps) {
      const at = (key) => curves.map((curve, i) => curve[key][places[i].get(step)]);
      const values = at("y").filter(isNumber);
      if (values.length < curves.length) continue;
      const mean = values.reduce((a, b) => a + b, 0) / values.length;
      const squares = values.reduce((sum, y) => sum + (y - mean) ** 2, 0);
      const deviation = Math.sqrt(squares / (values.length - 1));
      result.x.push(at("x").reduce((a, b) => a + b, 0) / curves.length);
      result.y.push(mean);
      result.low.push(mean - deviation);
      result.high.push(mean + deviation);
    }
    return result;
  }

  class Curves {
    // options: metric, x, logx, logy, smooth, seeds; changed: called when the user changes one
    constructor(box, options, changed = () => {}) {
      this.box = box;
      this.options = { x: "epoch", logx: false, logy: false, smooth: 0, seeds: false, ...options };
      this.changed = changed;
      this.hidden = new Set();
      this.chosen = null;
      this.plotBox = make("div", { class: "run-plot", tabindex: 0, role: "application" });
      this.plotBox.addEventListener("keydown", (event) => this.moveCursor(event));
      this.controls = make("div", { class: "run-controls" });
      this.note = make("p", { class: "run-note" });
      this.legend = make("div", { class: "run-legend scroller-down" });
      this.details = make("div", { class: "run-details", role: "status" });
      box.replaceChildren(this.controls, this.plotBox, this.note, this.legend, this.details);
      new ResizeObserver(() => this.resize()).observe(this.plotBox);
      const redraw = () => this.runs && this.draw();
      new MutationObserver(redraw).observe(document.body, { attributeFilter: ["data-theme"] });
      for (const media of ["(prefers-color-scheme: dark)", "print"]) {
        window.matchMedia(media).addEventListener("change", redraw);
      }
    }

    setRuns(runs) {
      this.runs = runs;
      this.properties = runs.map((run) => run.properties);
      this.groups = groupSeeds(this.properties);
      this.names = nameRuns(runs.map((run) => run.id));
      this.metrics = [...new Set(runs.flatMap((run) =>
        ["val", "train"].flatMap((table) =>
          Object.keys(run.tables[table] ?? {}).filter((x) => ![...KEYS, "step"].includes(x))
            .map((column) => `${table}.${column}`))))].sort((a, b) => (a < b ? 1 : -1));
      const { metric } = this.options;
      if (!this.metrics.includes(metric)) this.metrics.unshift(metric);
      if (!runs.some((run) => run.id === this.chosen)) this.chosen = null;
      this.writeControls();
      this.draw();
    }

    set(options) {
      Object.assign(this.options, options);
      this.draw();
      this.changed(this.options);
    }

    writeControls() {
      const { options } = this;
      const select = (name, label, entries) => make("label", {}, label, make("select",
        { name, onchange: (event) => this.set({ [name]: event.target.value }) },
        ...entries.map(([value, text]) =>
          make("option", { value, selected: options[name] === value }, text))));
      const check = (name, label) => make("label", {}, make("input", {
        type: "checkbox", name, checked: options[name],
        onchange: (event) => this.set({ [name]: event.target.checked }),
      }), label);
      const slider = make("input", {
        type: "range", name: "smooth", min: 0, max: 0.99, step: 0.01, value: options.smooth,
        oninput: (event) => this.set({ smooth: Number(event.target.value) }),
      });
      const several = this.groups.some((group) => group.length > 1);
      this.controls.replaceChildren(
        select("metric", "Metric", this.metrics.map((x) => [x, x])),
        select("x", "against", Object.entries(AXES)),
        make("label", {}, "Smoothing", slider),
        make("span", { class: "run-group" }, check("logx", "log x"), check("logy", "log y")),
        ...(several ? [check("seeds", "mean ± sd over seeds")] : []),
      );
    }

    // One entry for each line with a legend: a run, or the runs that differ in their seeds.
    makeEntries() {
      const { metric, x, smooth: weight, seeds } = this.options;
      const groups = seeds ? this.groups : this.runs.map((_, i) => [i]);
      return groups.flatMap((group, colour) => {
        const runs = group.map((i) => this.runs[i]);
        const curves = runs.map((run) => readCurve(run, metric, x, weight)).filter(Boolean);
        if (!curves.length) return [];
        const name = nameGroup(group.map((i) => this.names[i]));
        const curve = curves.length > 1 ? averageCurves(curves) : curves[0];
        return [{ name, runs, colour, curve, hidden: this.hidden.has(name) }];
      });
    }

    draw() {
      const { metric, x: axis, logx, logy, smooth: weight, seeds } = this.options;
      this.entries = this.makeEntries();
      const clean = (values, isLog) =>
        values.map((value) => (isNumber(value) && (!isLog || value > 0) ? value : null));
      const tables = [], series = [{ label: AXES[axis] }], bands = [];
      for (const entry of this.entries) {
        const { curve, hidden } = entry;
        const stroke = colourOf(entry.colour), dash = dashOf(entry.colour);
        const isFaded = this.chosen && !entry.runs.some((run) => run.id === this.chosen);
        const columns = [];
        const add = (values, more) => {
          columns.push(clean(values, logy));
          series.push({ stroke, dash, show: !hidden, points: { show: false }, ...more });
          return series.length - 1;
        };
        if (curve.low) {
          const [high, low] = [curve.high, curve.low].map((x) => add(x, { width: 0 }));
          bands.push({ series: [high, low], fill: `${stroke}33` });
        } else if (weight) {
          add(curve.raw, { width: 1, alpha: 0.3 });
        }
        entry.series = add(curve.y, { width: 2, alpha: isFaded ? 0.35 : 1, label: entry.name,
          points: { show: curve.y.length < 2 } });
        tables.push([clean(curve.x, logx).map((x) => x ?? NaN), ...columns]);
      }
      const usable = tables.map(([x, ...columns]) => {
        const kept = x.flatMap((value, i) => (Number.isNaN(value) ? [] : [i]));
        return [x, ...columns].map((column) => kept.map((i) => column[i]));
      });
      this.data = usable.length ? uPlot.join(usable) : [[]];
      const grid = { stroke: style("--color-background-border"), width: 1 };
      const look = { stroke: style("--color-foreground-secondary"), grid, ticks: grid };
      this.plot?.destroy();
      this.plot = new uPlot({
        width: this.plotBox.clientWidth || 600, height: 320, series, bands,
        legend: { show: false },
        cursor: { points: { size: 6 }, y: false },
        scales: {
          x: { time: false, distr: logx ? 3 : 1 },
          y: { distr: logy ? 3 : 1 },
        },
        axes: [
          { ...look, label: AXES[axis], labelSize: 24, size: 36 },
          { ...look, label: metric, labelSize: 20, size: 64,
            values: (_, ticks) => ticks.map((x) => (x === null ? "" : formatValue(x))) },
        ],
        hooks: { setCursor: [() => this.writeAtCursor()] },
      }, this.data, this.plotBox);
      this.plot.over.addEventListener("click", (event) => this.chooseNearest(event));
      this.plotBox.setAttribute("aria-label",
        `${metric} against ${AXES[axis]}; the arrow keys move the cursor, the legend has the values`);
      const parts = [];
      if (weight) parts.push(`Bold: ${SMOOTHER}, weight ${weight}; thin: as recorded.`);
      if (seeds) parts.push("Bands: mean ± standard deviation (n − 1) over seeds.");
      const missing = this.runs.length - new Set(this.entries.flatMap((x) => x.runs)).size;
      if (missing) parts.push(`${missing} of ${this.runs.length} runs have no ${metric}.`);
      if (this.runs.some((run) => run.every > 1)) parts.push("Long tables are thinned.");
      this.note.textContent = parts.join(" ");
      this.writeLegend();
      this.writeDetails();
    }

    resize() {
      const width = this.plotBox.clientWidth;
      if (this.plot && width && width !== this.plot.width) this.plot.setSize({ width, height: 320 });
    }

    writeLegend() {
      const { metric } = this.options;
      const rows = this.entries.map((entry) => {
        const { name, runs, colour, curve, hidden } = entry;
        const chosen = runs.some((run) => run.id === this.chosen);
        const swatch = make("span", { class: `run-swatch run-dash-${dashOf(colour)[0] ?? 0}` });
        swatch.style.borderColor = colourOf(colour);
        const shown = make("input", {
          type: "checkbox", checked: !hidden, "aria-label": `Show ${name}`,
          onchange: (event) => {
            this.hidden[event.target.checked ? "delete" : "add"](name);
            this.draw();
          },
        });
        const button = make("button", { type: "button", "aria-pressed": String(chosen),
          onclick: () => this.choose(chosen ? null : runs[0].id) }, swatch, name);
        entry.atCursor = make("td");
        const best = runs.length === 1 ? runs[0].properties[`best(${metric})`] : undefined;
        return make("tr", {}, make("td", {}, shown), make("th", { scope: "row" }, button),
          entry.atCursor, make("td", {}, roundValue(curve.y.findLast(isNumber))),
          make("td", {}, roundValue(best)));
      });
      const [shown, run, atCursor, last, best] = ["shown", "run", "at cursor", "last", "best"]
        .map((text) => make("th", { scope: "col" }, text));
      this.cursorHead = atCursor;
      const listControls = () => Array.from(this.legend.querySelectorAll("input, button"));
      const focused = listControls().indexOf(document.activeElement);
      this.legend.replaceChildren(make("table", {},
        make("thead", {}, make("tr", {}, shown, run, atCursor, last, best)),
        make("tbody", {}, ...rows)));
      listControls()[focused]?.focus();
    }

    // A curve's value at a place of the common x: its own last one up to there.
    readAt(entry, index) {
      const values = this.data[entry.series];
      for (let i = index; i >= 0; i--) if (isNumber(values[i])) return values[i];
      return undefined;
    }

    writeAtCursor() {
      const index = this.plot?.cursor.idx;
      const place = this.data[0]?.[index];
      this.cursorHead.textContent = isNumber(place)
        ? `at ${AXES[this.options.x]} ${formatValue(place)}` : "at cursor";
      for (const entry of this.entries) {
        const value = index === null || index === undefined ? undefined : this.readAt(entry, index);
        entry.atCursor.textContent = roundValue(value);
      }
    }

    chooseNearest({ offsetX, offsetY }) {
      const idx = this.plot.posToIdx(offsetX);
      const far = (entry) => {
        const value = this.readAt(entry, idx);
        return value === undefined ? Infinity : Math.abs(this.plot.valToPos(value, "y") - offsetY);
      };
      const [nearest] = this.entries.filter((entry) => !entry.hidden)
        .sort((a, b) => far(a) - far(b));
      this.choose(nearest && far(nearest) < NEAR_PX ? nearest.runs[0].id : null);
    }

    choose(id) {
      this.chosen = id;
      this.draw();
    }

    writeDetails() {
      const run = this.runs.find((run) => run.id === this.chosen);
      const hparams = window.atompaintSchema.hparams;
      const varied = findVaried(this.properties);
      const others = hparams.filter((key) => !varied.includes(key));
      const list = (keys) => make("dl", {}, ...keys.flatMap((key) =>
        [make("dt", {}, key), make("dd", {}, formatValue(run.properties[key]))]));
      this.details.replaceChildren(...(run ? [
        make("p", { class: "run-details-name" }, run.id),
        ...(varied.length ? [list(varied)] : []),
        make("details", { open: !varied.length }, make("summary", {}, "what all the runs share"),
          list(others)),
      ] : []));
    }

    moveCursor(event) {
      const xs = this.data?.[0] ?? [];
      const last = xs.length - 1;
      const now = this.plot?.cursor.idx ?? -1;
      const index = { ArrowLeft: now - 1, ArrowRight: now + 1, Home: 0, End: last }[event.key];
      if (index === undefined || last < 0) return;
      event.preventDefault();
      const at = Math.min(Math.max(index, 0), last);
      this.plot.setCursor({ left: this.plot.valToPos(xs[at], "x"), top: 10 });
    }
  }

  Object.assign(window.AtomPaint, { Curves, make });

  for (const box of document.querySelectorAll("div.run-curves[data-options]")) {
    const { runs, ...options } = JSON.parse(box.dataset.options);
    loadRuns(runs).then((loaded) => new Curves(box, options).setRuns(loaded))
      .catch((error) => box.append(make("p", { role: "alert" }, error.message)));
  }
})();
