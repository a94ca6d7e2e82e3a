// Parallel coordinates: one axis for each property that varies, one line for each run.
(() => {
  "use strict";

  const { formatValue, colourOf } = window.AtomPaint;
  const [TOP, BOTTOM, HEIGHT, MIN_SPACING, MARGIN] = [44, 16, 300, 120, 60];
  const MAX_LABELS = 8;
  const MAX_LETTERS = 20;
  const LOG_RATIO = 50;

  function makeSvg(tag, attributes = {}, ...children) {
    const element = document.createElementNS("http://www.w3.org/2000/svg", tag);
    for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
    element.append(...children);
    return element;
  }

  const shorten = (text) =>
    text.length > MAX_LETTERS ? text.slice(0, MAX_LETTERS - 1) + "…" : text;

  // place(value) is a y of the picture; labels are [value as text, y].
  function makeAxis(values) {
    const present = values.filter((x) => x !== null);
    const [low, high] = [TOP, HEIGHT - BOTTOM].reverse();
    const known = [...new Set(present)];
    if (!present.every((x) => typeof x === "number")) {
      known.sort();
      const place = (x) => low + ((known.indexOf(x) + 0.5) / known.length) * (high - low);
      return { place, labels: known.map((x) => [x, place(x)]), isLog: false };
    }
    const [min, max] = [Math.min(...present), Math.max(...present)];
    const isLog = min > 0 && max / min > LOG_RATIO;
    const scale = isLog ? Math.log10 : (x) => x;
    const range = scale(max) - scale(min) || 1;
    const place = (x) => (min === max ? (low + high) / 2
      : low + ((scale(x) - scale(min)) / range) * (high - low));
    const marks = known.length <= MAX_LABELS ? known : [min, max];
    return { place, labels: marks.map((x) => [formatValue(x), place(x)]), isLog };
  }

  function drawParallel(box, runs, names) {
    const numGaps = Math.max(1, names.length - 1);
    const spacing = Math.max(MIN_SPACING, (box.clientWidth - 2 * MARGIN) / numGaps);
    const width = 2 * MARGIN + spacing * numGaps;
    const svg = makeSvg("svg", { viewBox: `0 0 ${width} ${HEIGHT}`, width, height: HEIGHT,
      role: "img", "aria-label": `Parallel coordinates of ${names.join(", ")}` });
    const axes = names.map((name) => makeAxis(runs.map((run) => run.properties[name] ?? null)));
    const xOf = (i) => MARGIN + i * spacing;

    const lines = makeSvg("g", { class: "parallel-lines" });
    runs.forEach((run, colour) => {
      const points = names.flatMap((name, i) => {
        const value = run.properties[name] ?? null;
        return value === null ? [] : [`${xOf(i)},${axes[i].place(value).toFixed(1)}`];
      });
      const line = makeSvg("polyline", { points: points.join(" "), stroke: colourOf(colour) });
      line.append(makeSvg("title", {}, run.id));
      lines.append(line);
    });
    svg.append(lines);

    names.forEach((name, i) => {
      const [x, { labels, isLog }] = [xOf(i), axes[i]];
      const [section, key] = name.includes("(") || !name.includes(".")
        ? ["", name] : [name.slice(0, name.indexOf(".") + 1), name.slice(name.indexOf(".") + 1)];
      const axis = makeSvg("g", { class: "parallel-axis" },
        makeSvg("line", { x1: x, x2: x, y1: TOP, y2: HEIGHT - BOTTOM }),
        makeSvg("text", { x, y: 12, class: "parallel-name" }, section),
        makeSvg("text", { x, y: 26, class: "parallel-name" }, key + (isLog ? " (log)" : "")));
      let lastY = Infinity;
      for (const [text, y] of labels.sort(([, a], [, b]) => b - a)) {
        if (lastY - y < 12) continue;
        lastY = y;
        axis.append(makeSvg("text", { x: x + 5, y: y + 4 }, shorten(text),
          makeSvg("title", {}, text)));
      }
      svg.append(axis);
    });
    box.replaceChildren(svg);
  }

  window.AtomPaint.drawParallel = drawParallel;
})();
