// Interactive curves of runs: div.run-curves becomes controls, a plot and a legend.
// AtomPaint.Curves is also what the page that compares runs draws with.
(() => {
  "use strict";

  const {
    formatValue, roundValue, findVaried, groupBy, groupSeeds, nameRuns, nameGroup, loadRuns,
    readState, writeState,
  } = window.AtomPaint;
  const AXES = { epoch: "epoch", step: "step", elapsed_s: "elapsed time [min]" };
  const KEYS = Object.keys(AXES);
  const NUM_COLOURS = 7;
  const DASHES = [[], [8, 4], [2, 3]];
  const SMOOTHER = "exponential moving average, debiased";
  const NEAR_PX = 30;
  const DEFAULTS = { metric: "", x: "epoch", logx: false, logy: false, smooth: 0, group: "",
    zoom: "", hide: [], run: "" };
  const SEEDS = "seeds"; // a group of runs that differ in nothing else
  const MIN_DRAG_PX = 5;
  const WHOLE = [1, 2, 5].flatMap((x) => Array.from({ length: 9 }, (_, i) => x * 10 ** i))
    .sort((a, b) => a - b); // distances of ticks

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

  // The metrics that runs have curves of: the metric that is asked for, then those of validation.
  function listCurves(runs, first) {
    const names = new Set(runs.flatMap((run) => ["val", "train"].flatMap((table) =>
      Object.keys(run.tables[table] ?? {}).filter((x) => ![...KEYS, "step"].includes(x))
        .map((column) => `${table}.${column}`))));
    const order = (a, b) => b.startsWith("val") - a.startsWith("val") || (a < b ? -1 : 1);
    return [...new Set([first, ...[...names].sort(order)])];
  }

  // Draws runs, or groups of them as mean and standard deviation.
  class Curves {
    // options: those of DEFAULTS; changed: called when the user changes one
    // toggle:  called with the name of a curve that the user hides; where there is one, the page
    //          around the curves chooses metric, runs and groups
    constructor(box, options, changed = () => {}, toggle = null) {
      this.box = box;
      this.defaults = { ...DEFAULTS, ...options };
      this.options = { ...this.defaults };
      this.changed = changed;
      this.toggle = toggle;
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

    static SEEDS = SEEDS;
    static numColours = NUM_COLOURS;

    // The classes of a line in a colour: where all colours are taken, lines are dashed.
    static classOf(colour) {
      return `run-swatch run-dash-${dashOf(colour)[0] ?? 0}`;
    }

    // groups: name, ids of runs and number of the colour of each curve, if the page chooses them
    setRuns(runs, groups = null) {
      this.runs = runs;
      this.groups = groups;
      this.properties = runs.map((run) => run.properties);
      this.names = nameRuns(runs.map((run) => run.id));
      this.metrics = listCurves(runs, this.options.metric);
      if (!runs.some((run) => run.id === this.options.run)) this.options.run = "";
      this.writeControls();
      this.draw();
    }

    // Indices of the runs of each curve.
    findGroups() {
      const { group } = this.options;
      if (this.groups) {
        const place = new Map(this.runs.map((run, i) => [run.id, i]));
        return this.groups.map(({ name, ids, colour }) =>
          ({ name, colour, indices: ids.map((id) => place.get(id)) }));
      }
      const named = (indices, colour) =>
        ({ name: nameGroup(indices.map((i) => this.names[i])), colour, indices });
      if (!group) return this.runs.map((_, i) => named([i], i));
      if (group === SEEDS) return groupSeeds(this.properties).map(named);
      return [...groupBy(this.properties, group)].map(([value, indices], colour) =>
        ({ name: `${group} ${value}`, colour, indices }));
    }

    set(options) {
      Object.assign(this.options, "x" in options ? { zoom: "" } : {}, options);
      this.draw();
      this.changed(this.options);
    }

    // What hyperparameters the runs can be averaged over, and how to say it.
    listGroupings() {
      const keys = findVaried(this.properties).filter((key) => key !== "seed");
      const hasSeeds = groupSeeds(this.properties).some((group) => group.length > 1);
      const seeds = hasSeeds || this.options.group === SEEDS ? [[SEEDS, "mean over seeds"]] : [];
      const values = keys.map((key) => [key, `mean for each ${key}`]);
      return [["", "each run"], ...seeds, ...values];
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
      const groupings = this.toggle ? [] : this.listGroupings();
      this.back = make("button", { type: "button", onclick: () => this.set({ zoom: "" }) }, "Whole range");
      this.controls.replaceChildren(
        ...(this.toggle ? [] : [select("metric", "Metric", this.metrics.map((x) => [x, x]))]),
        select("x", "against", Object.entries(AXES)),
        make("label", {}, "Smoothing", slider),
        make("span", { class: "run-group" }, check("logx", "log x"), check("logy", "log y")),
        ...(groupings.length > 1 ? [select("group", "Curves", groupings)] : []),
        this.back,
      );
    }

    // One entry for each line with a legend: a run, or the runs that differ in their seeds.
    makeEntries() {
      const { metric, x, smooth: weight, hide } = this.options;
      return this.findGroups().flatMap(({ name, colour, indices }) => {
        const runs = indices.map((i) => this.runs[i]);
        const curves = runs.map((run) => readCurve(run, metric, x, weight)).filter(Boolean);
        if (!curves.length) return [];
        const curve = curves.length > 1 ? averageCurves(curves) : curves[0];
        return [{ name, runs, colour, curve, hidden: hide.includes(name) }];
      });
    }

    draw() {
      const { metric, x: axis, logx, logy, smooth: weight, run: chosen, zoom } = this.options;
      this.entries = this.makeEntries();
      const clean = (values, isLog) =>
        values.map((value) => (isNumber(value) && (!isLog || value > 0) ? value : null));
      const tables = [], series = [{ label: AXES[axis] }], bands = [];
      for (const entry of this.entries) {
        const { curve, hidden } = entry;
        const stroke = colourOf(entry.colour), dash = dashOf(entry.colour);
        const isFaded = chosen && !entry.runs.some((run) => run.id === chosen);
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
        cursor: { points: { size: 6 }, y: false, drag: { setScale: false }, bind: { dblclick: () => null } },
        scales: {
          x: { time: false, distr: logx ? 3 : 1 },
          y: { distr: logy ? 3 : 1 },
        },
        axes: [
          { ...look, label: AXES[axis], labelSize: 24, size: 36,
            ...(axis === "elapsed_s" || logx ? {} : { incrs: WHOLE }) },
          { ...look, label: metric, labelSize: 20, size: 64,
            values: (_, ticks) => ticks.map((x) => (x === null ? "" : formatValue(x))) },
        ],
        hooks: {
          setCursor: [() => this.writeAtCursor()],
          setSelect: [({ select: { left, width } }) => setTimeout(() => this.zoomTo(left, left + width))],
        },
      }, this.data, this.plotBox);
      this.plot.over.addEventListener("click", (event) => this.chooseNearest(event));
      this.plot.over.addEventListener("dblclick", () => this.set({ zoom: "" }));
      const [min, max] = zoom.split("..").map(Number);
      if (max > min) this.plot.setScale("x", { min, max });
      this.back.hidden = !(max > min);
      this.plotBox.setAttribute("aria-label",
        `${metric} against ${AXES[axis]}; the arrow keys move the cursor, + and − zoom, the legend ` +
        "has the values");
      const parts = [];
      if (weight) parts.push(`Bold: ${SMOOTHER}, weight ${weight}; thin: as recorded.`);
      if (bands.length) parts.push("Bands: mean ± standard deviation (n − 1).");
      const missing = this.runs.length - new Set(this.entries.flatMap((x) => x.runs)).size;
      if (missing) parts.push(`${missing} of ${this.runs.length} runs have no ${metric}.`);
      if (this.runs.some((run) => run.every > 1)) parts.push("Long tables are thinned.");
      this.note.textContent = parts.join(" ");
      this.writeLegend();
      this.writeDetails();
    }

    // The part of the plot between two places [px]; a click is no selection.
    zoomTo(left, right) {
      if (right - left < MIN_DRAG_PX) return;
      const [min, max] = [left, right].map((x) => Number(this.plot.posToVal(x, "x").toPrecision(4)));
      const xs = this.data[0];
      this.set({ zoom: min <= xs[0] && max >= xs.at(-1) ? "" : `${min}..${max}` });
    }

    resize() {
      const width = this.plotBox.clientWidth;
      if (this.plot && width && width !== this.plot.width) this.plot.setSize({ width, height: 320 });
    }

    writeLegend() {
      const { metric } = this.options;
      const rows = this.entries.map((entry) => {
        const { name, runs, colour, curve, hidden } = entry;
        const chosen = runs.some((run) => run.id === this.options.run);
        const swatch = make("span", { class: Curves.classOf(colour) });
        swatch.style.borderColor = colourOf(colour);
        const shown = make("input", {
          type: "checkbox", checked: !hidden, "aria-label": `Show ${name}`,
          onchange: (event) => {
            if (this.toggle) return this.toggle(name);
            const others = this.options.hide.filter((x) => x !== name);
            return this.set({ hide: event.target.checked ? others : [...others, name] });
          },
        });
        const button = make("button", { type: "button", "aria-pressed": String(chosen),
          onclick: () => this.set({ run: chosen ? "" : runs[0].id }) }, swatch, name);
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
      this.set({ run: nearest && far(nearest) < NEAR_PX ? nearest.runs[0].id : "" });
    }

    writeDetails() {
      const run = this.runs.find((run) => run.id === this.options.run);
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
      if (last < 0 || event.ctrlKey || event.altKey || event.metaKey) return;
      const now = this.plot.cursor.idx ?? -1;
      const index = { ArrowLeft: now - 1, ArrowRight: now + 1, Home: 0, End: last }[event.key];
      const factor = { "+": 0.5, "-": 2 }[event.key];
      if (index !== undefined) {
        const at = Math.min(Math.max(index, 0), last);
        this.plot.setCursor({ left: this.plot.valToPos(xs[at], "x"), top: 10 });
      } else if (factor) {
        const width = this.plot.over.clientWidth;
        const middle = now < 0 ? width / 2 : this.plot.valToPos(xs[now], "x");
        this.zoomTo(middle - (factor * width) / 2, middle + (factor * width) / 2);
      } else if (event.key === "Escape") {
        this.set({ zoom: "" });
      } else {
        return;
      }
      event.preventDefault();
    }
  }

  Object.assign(window.AtomPaint, { Curves, make });

  // Curves of a page: each has its part of the address.
  document.querySelectorAll("div.run-curves[data-options]").forEach((box, i) => {
    const { runs, seeds, ...given } = JSON.parse(box.dataset.options);
    const prefix = i ? `${i + 1}.` : "";
    const curves = new Curves(box, { ...given, group: seeds ? SEEDS : "" },
      (options) => writeState(prefix, curves.defaults, options));
    const open = (loaded) => {
      Object.assign(curves.options, readState(prefix, curves.defaults));
      curves.setRuns(loaded);
    };
    loadRuns(runs).then((loaded) => {
      open(loaded);
      window.addEventListener("hashchange", () => open(loaded));
    }).catch((error) => box.append(make("p", { role: "alert" }, error.message)));
  });
})();
