// Parallel coordinates: a strip for each property that varies, a line for each run. Values are
// written in the strips, which lines pass behind them, so that no label lies on a line. A part of a
// strip that one drags over becomes a condition of the filter.
(() => {
  "use strict";

  const { writeOneOf, formatValue, roundValue, isMeasured, nameRuns } = window.AtomPaint;
  const [TOP, BOTTOM, MIN_HEIGHT, MAX_HEIGHT] = [40, 8, 260, 560];
  const [MIN_GAP, PADDING, LINE_HEIGHT, FONT_SIZE] = [28, 6, 13, 11];
  const MAX_LABELS = 12; // values of a property, and runs, that are all named
  const MAX_COLOURS = 7; // of runs; where there are more, the colour is the last property
  const LETTERS = [20, 14, 9]; // of a line of a label, the fewer the less room there is
  const MIN_BRUSH = 4;
  const MAX_MEASURED = 8;
  const MAX_LINES = 3;
  const LOG_RATIO = 50;
  const [LABEL_HEIGHT, LABEL_GAP] = [17, 9];
  const SPREAD = 4; // between the lines of runs that share a value
  const MISSING = "–";

  function makeSvg(tag, attributes = {}, ...children) {
    const element = document.createElementNS("http://www.w3.org/2000/svg", tag);
    for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
    element.append(...children);
    return element;
  }

  // Broken after commas and slashes, and elsewhere where one part alone is too long.
  function wrap(text, letters) {
    const lines = [""];
    const add = (part) => {
      const isTooLong = (lines.at(-1) + part).trimEnd().length > letters;
      if (isTooLong && lines.at(-1)) lines.push("");
      lines[lines.length - 1] += part;
    };
    for (const part of text.match(/[^,/]*[,/]?\s*/g)) {
      if (part.length > letters) part.match(/[^\s_+-]*[\s_+-]*/g).forEach(add);
      else add(part);
    }
    if (lines.length <= MAX_LINES) return lines.map((line) => line.trim());
    return [...lines.slice(0, MAX_LINES - 1), `${lines[MAX_LINES - 1].trim()}…`];
  }

  const measure = (() => {
    const context = document.createElement("canvas").getContext("2d");
    const family = getComputedStyle(document.body).fontFamily;
    return (text, weight = 400) => {
      context.font = `${weight} ${FONT_SIZE}px ${family}`;
      return context.measureText(text).width;
    };
  })();

  // The width of the widest text; only long ones are measured, as there may be thousands.
  function measureWidest(texts, weight) {
    const longest = [...new Set(texts)].sort((a, b) => b.length - a.length).slice(0, MAX_MEASURED);
    return Math.max(...longest.map((text) => measure(text, weight)));
  }

  const calcMean = (values) => values.reduce((a, b) => a + b, 0) / values.length;

  function splitName(name) {
    if (name.includes("(") || !name.includes(".")) return ["", name];
    const [section, ...rest] = name.split(".");
    return [`${section}.`, rest.join(".")];
  }

  // The least and the greatest first: of many labels, those that have no place are left out.
  const rankByEnds = ({ min, max }, x) => (x === null || x === min || x === max ? 0 : 1);

  // ranks: of each run, 0 for the one that is drawn on top
  function makeAxis(name, values, ranks, letters) {
    const known = [...new Set(values)];
    const isNumber = known.every((x) => x === null || typeof x === "number") &&
      known.some((x) => x !== null);
    const write = isMeasured(name) ? roundValue : formatValue;
    const labels = known.map((x) => {
      const text = x === null ? MISSING : write(x);
      return { value: x, text, lines: wrap(text, letters) };
    });
    const axis = { name, values, labels, isNumber, place: new Map(), isLog: false };
    if (isNumber) {
      const present = known.filter((x) => x !== null);
      [axis.min, axis.max] = [Math.min(...present), Math.max(...present)];
      axis.isLog = axis.min > 0 && axis.max / axis.min > LOG_RATIO;
      axis.height = 0;
      labels.sort((a, b) => rankByEnds(axis, a.value) - rankByEnds(axis, b.value));
    } else {
      const rankOf = new Map(known.map((x) => [x, calcMean(ranks.filter((_, i) => values[i] === x))]));
      labels.sort((a, b) => rankOf.get(a.value) - rankOf.get(b.value));
      axis.height = labels.reduce((sum, x) => sum + x.lines.length * LINE_HEIGHT + LABEL_GAP, 0);
    }
    axis.heads = splitName(name);
    if (axis.isLog) axis.heads[1] += " (log)";
    axis.strip = Math.max(24, measureWidest(labels.flatMap((x) => x.lines)) + 2 * PADDING);
    axis.head = measureWidest(axis.heads, 600);
    return axis;
  }

  // The y of each value between two ends.
  function placeValues(axis, top, bottom) {
    const { labels, place, isNumber, isLog, min, max } = axis;
    const margin = LINE_HEIGHT;
    if (!isNumber) {
      const scale = (bottom - top) / axis.height;
      let y = top;
      for (const { value, lines } of labels) {
        const height = (lines.length * LINE_HEIGHT + LABEL_GAP) * scale;
        place.set(value, y + height / 2);
        y += height;
      }
      return;
    }
    const scale = isLog ? Math.log10 : (x) => x;
    const low = bottom - margin - (labels.some((x) => x.value === null) ? 2 * LINE_HEIGHT : 0);
    const high = top + margin;
    for (const { value } of labels) {
      const part = min === max ? 0.5 : (scale(value) - scale(min)) / (scale(max) - scale(min));
      place.set(value, value === null ? bottom - margin : low + part * (high - low));
    }
    if (labels.length <= MAX_LABELS) moveApart(place, high, bottom - margin);
  }

  // Values that are nearly the same, as far as their labels need.
  function moveApart(place, top, bottom) {
    const values = [...place.keys()].sort((a, b) => place.get(a) - place.get(b));
    let least = top;
    for (const value of values) {
      place.set(value, Math.max(place.get(value), least));
      least = place.get(value) + LABEL_HEIGHT;
    }
    let most = bottom;
    for (const value of values.reverse()) {
      place.set(value, Math.min(place.get(value), most));
      most = place.get(value) - LABEL_HEIGHT;
    }
  }

  // The y of each run: those that share a value lie side by side.
  function spreadRuns({ values, place }, ranks) {
    const groups = new Map();
    values.forEach((value, i) => groups.set(value, groups.get(value) ?? []).get(value).push(i));
    const ys = [];
    for (const [value, group] of groups) {
      group.sort((a, b) => ranks[a] - ranks[b]);
      const step = Math.min(SPREAD, (4 * SPREAD) / group.length);
      group.forEach((run, i) => (ys[run] = place.get(value) + (i - (group.length - 1) / 2) * step));
    }
    return ys;
  }

  // Places the axes, and returns the width that they take.
  function placeStrips(axes, available) {
    const distances = axes.slice(1).map((axis, i) => Math.max(
      (axes[i].strip + axis.strip) / 2 + MIN_GAP, (axes[i].head + axis.head) / 2 + 2 * PADDING));
    const ends = [axes[0], axes.at(-1)].map((x) => Math.max(x.strip, x.head) / 2 + 1);
    const least = ends[0] + ends[1] + distances.reduce((a, b) => a + b, 0);
    const extra = Math.max(0, available - least) / Math.max(1, distances.length);
    let x = ends[0];
    axes.forEach((axis, i) => (axis.x = i ? (x += distances[i - 1] + extra) : x));
    return x + ends[1];
  }

  // As many axes as there is room for; the last two tell what came of it, and stay.
  function fitAxes(names, make, available) {
    const made = new Map();
    const makeOnce = (name, letters) => {
      const key = `${letters} ${name}`;
      if (!made.has(key)) made.set(key, make(name, letters));
      return made.get(key);
    };
    const most = Math.max(2, Math.floor(available / (24 + MIN_GAP)));
    for (let num = Math.min(names.length, most); ; num -= 1) {
      const kept = [...names.slice(0, Math.max(0, num - 2)), ...names.slice(-2)];
      for (const letters of LETTERS) {
        const axes = kept.map((name) => makeOnce(name, letters));
        const width = placeStrips(axes, available);
        if (width <= available || (num <= 2 && letters === LETTERS.at(-1))) {
          return { axes, width, left: names.filter((name) => !kept.includes(name)) };
        }
      }
    }
  }

  function drawLine(axes, run) {
    let path = "";
    axes.forEach(({ x, strip, ys }, i) => {
      const [left, right, y] = [x - strip / 2, x + strip / 2, ys[run]].map((v) => v.toFixed(1));
      if (!i) path = `M${left} ${y}H${right}`;
      else {
        const before = axes[i - 1];
        const middle = ((before.x + before.strip / 2 + x - strip / 2) / 2).toFixed(1);
        path += `C${middle} ${before.ys[run].toFixed(1)} ${middle} ${y} ${left} ${y}H${right}`;
      }
    });
    return path;
  }

  function drawLabels({ x, strip, labels, place, ys, values }) {
    const nodes = [];
    const taken = [];
    for (const { value, text, lines } of labels) {
      const own = ys.filter((_, i) => values[i] === value);
      const half = Math.max((lines.length * LINE_HEIGHT) / 2, (Math.max(...own) - Math.min(...own)) / 2)
        + 2;
      const y = place.get(value);
      if (taken.some(([low, high]) => y + half > low + 3 && y - half < high - 3)) continue;
      taken.push([y - half, y + half]);
      const spans = lines.map((line, i) => makeSvg("tspan",
        { x, y: (y + (i - (lines.length - 1) / 2) * LINE_HEIGHT + 4).toFixed(1) }, line));
      nodes.push(makeSvg("rect", { class: "parallel-paper", x: x - strip / 2, y: y - half,
        width: strip, height: 2 * half }), makeSvg("text", {}, ...spans, makeSvg("title", {}, text)));
    }
    return nodes;
  }

  // One run at a time is emphasized and put into words: by the pointer, or by the arrow keys.
  function letChoose(box, note, runs, names, lines, order) {
    const hint = note.textContent;
    let current = -1; // in the order of the runs
    const choose = (place) => {
      current = place;
      lines.forEach((line, run) => line.classList.toggle("current", run === order[place]));
      const run = runs[order[place]];
      note.textContent = run ? describeRun(run, names) : hint;
    };
    order.forEach((run, place) => {
      lines[run].addEventListener("pointerenter", () => choose(place));
      lines[run].addEventListener("pointerleave", () => choose(-1));
    });
    const last = order.length - 1;
    const moves = { ArrowDown: () => Math.min(current + 1, last), ArrowUp: () => Math.max(current - 1, 0),
      Home: () => 0, End: () => last, Escape: () => -1 };
    box.onkeydown = (event) => {
      if (event.ctrlKey || event.altKey || event.metaKey || !moves[event.key]) return;
      event.preventDefault();
      choose(moves[event.key]());
    };
    box.onblur = () => choose(-1);
  }

  // What the filter says of the values between two heights, null if there are none.
  function writeCondition({ name, labels, place, isNumber }, low, high) {
    const inside = labels.map((x) => x.value)
      .filter((x) => x !== null && place.get(x) >= low && place.get(x) <= high);
    if (!inside.length) return null;
    if (isNumber) {
      const [min, max] = [Math.min(...inside), Math.max(...inside)];
      return min === max ? `${name} == ${min}` : `${name} >= ${min} and ${name} <= ${max}`;
    }
    return writeOneOf(name, inside);
  }

  // Dragging over a strip fades the lines elsewhere, and at last chooses those in it.
  function letBrush(svg, axes, lines, choose) {
    svg.addEventListener("pointerdown", (event) => {
      const box = svg.getBoundingClientRect();
      const read = ({ clientX, clientY }) => [clientX - box.left, clientY - box.top];
      const [x, start] = read(event);
      const axis = axes.find((axis) => Math.abs(axis.x - x) <= axis.strip / 2);
      if (!axis || event.button || event.pointerType === "touch") return;
      event.preventDefault();
      const mark = makeSvg("rect", { class: "parallel-brush", x: axis.x - axis.strip / 2,
        width: axis.strip, y: start, height: 0 });
      svg.append(mark);
      svg.setPointerCapture(event.pointerId);
      let [low, high] = [start, start];
      const move = (moved) => {
        [low, high] = [start, read(moved)[1]].sort((a, b) => a - b);
        mark.setAttribute("y", low);
        mark.setAttribute("height", high - low);
        lines.forEach((line, run) =>
          line.classList.toggle("out", axis.ys[run] < low || axis.ys[run] > high));
      };
      svg.addEventListener("pointermove", move);
      svg.addEventListener("pointerup", () => {
        svg.removeEventListener("pointermove", move);
        mark.remove();
        lines.forEach((line) => line.classList.remove("out"));
        const condition = high - low < MIN_BRUSH ? null : writeCondition(axis, low, high);
        if (condition) choose(condition);
      }, { once: true });
    });
  }

  function describeRun({ id, properties }, names) {
    const words = names.map((name) => {
      const value = properties[name] ?? null;
      const write = isMeasured(name) ? roundValue : formatValue;
      return `${name} ${value === null ? MISSING : write(value)}`;
    });
    return `${id}: ${words.join(", ")}`;
  }

  // note:  what the lines mean, or which run is looked at
  // names: the properties, of which the last orders the runs
  // colours: numbers of the colours of runs whose curves are drawn, by their ids
  // brush: called with the condition of the filter that a part of a strip means
  function drawParallel(box, note, runs, names, colours, brush) {
    const outcome = runs.map((run) => run.properties[names.at(-1)] ?? -Infinity);
    const order = runs.map((_, i) => i).sort((a, b) =>
      outcome[a] < outcome[b] ? 1 : outcome[a] > outcome[b] ? -1 : a - b);
    const ranks = runs.map((_, i) => order.indexOf(i));
    const ids = nameRuns(runs.map((run) => run.id));
    const make = (name, letters) => makeAxis(name, name === "run" ? ids
      : runs.map((run) => run.properties[name] ?? null), ranks, letters);
    const wanted = runs.length <= MAX_LABELS ? ["run", ...names] : names;
    const { axes, width, left } = fitAxes(wanted, make, box.clientWidth);
    const height = TOP + BOTTOM +
      Math.min(MAX_HEIGHT, Math.max(MIN_HEIGHT, ...axes.map((axis) => axis.height)));
    for (const axis of axes) {
      placeValues(axis, TOP, height - BOTTOM);
      axis.ys = spreadRuns(axis, ranks);
    }
    const isFew = runs.length <= MAX_COLOURS;
    const strength = (rank) => Math.round(100 - (85 * rank) / Math.max(1, runs.length - 1));

    const svg = makeSvg("svg", { viewBox: `0 0 ${width} ${height}`, width, height, role: "img",
      "aria-label": `Parallel coordinates of ${axes.map((axis) => axis.name).join(", ")}` });
    for (const { x, strip, heads } of axes) {
      svg.append(makeSvg("g", { class: "parallel-axis" },
        makeSvg("rect", { x: x - strip / 2, y: TOP, width: strip, height: height - TOP - BOTTOM,
          rx: 4, class: "parallel-paper" }),
        ...heads.map((text, i) =>
          makeSvg("text", { x, y: 12 + 14 * i, class: "parallel-name" }, text))));
    }
    const lines = runs.map((_, run) => {
      const colour = isFew ? colours.get(runs[run].id) : undefined;
      const stroke = colour !== undefined ? `var(--run-colour-${colour % MAX_COLOURS})`
        : `color-mix(in oklab, var(--run-colour-0) ${strength(ranks[run])}%, var(--run-faint))`;
      const path = drawLine(axes, run);
      return makeSvg("g", { class: "parallel-run" },
        makeSvg("path", { d: path, class: "parallel-target" }),
        makeSvg("path", { d: path, style: `stroke: ${stroke}` }));
    });
    const fromBelow = [...order].reverse().map((run) => lines[run]);
    svg.append(makeSvg("g", { class: "parallel-lines" }, ...fromBelow));
    svg.append(makeSvg("g", { class: "parallel-labels" }, ...axes.flatMap(drawLabels)));
    note.textContent = [isFew ? "" : `The stronger a line's colour, the higher its ${names.at(-1)}.`,
      "Point at a line, or use the arrow keys ↑ and ↓, to see its run. Drag over a part of a column " +
      "to filter by it.",
      left.length ? `There is room for ${axes.length} columns; ${left.length} more differ: choose ` +
        "columns above the table." : ""].join(" ").trim();
    box.replaceChildren(svg);
    letChoose(box, note, runs, names, lines, order);
    letBrush(svg, axes, lines, brush);
  }

  window.AtomPaint.drawParallel = drawParallel;
})();
