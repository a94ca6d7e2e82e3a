// Runs in the pages: their data, filter expressions, and what differs between them.
// Says in the browser what records/filters.py and records/compare.py say; the tests hold both to the same
// cases. run_schema.js, which the build writes, has the hyperparameters and the rules.
window.AtomPaint = (() => {
  "use strict";

  const schema = window.atompaintSchema;
  const runs = (window.atompaintRuns ??= {});
  const pending = new Map();

  // Scripts rather than fetch(), which browsers forbid on file://.
  function loadScript(path) {
    if (!pending.has(path)) {
      const script = document.createElement("script");
      const root = document.documentElement.dataset.content_root ?? "./";
      script.src = `${root}_static/${path.split("/").map(encodeURIComponent).join("/")}`;
      pending.set(path, new Promise((resolve, reject) => {
        script.onload = resolve;
        script.onerror = () => reject(new Error(`${path} can't be loaded`));
      }));
      document.head.append(script);
    }
    return pending.get(path);
  }

  async function loadRuns(ids) {
    await Promise.all(ids.map((id) => runs[id] ?? loadScript(`runs/${id}.js`)));
    return ids.map((id) => ({ id, ...runs[id] }));
  }

  // What a person has set stands in the address, after #: `metric=val.loss&hide=a&hide=b`. Keys of
  // the second curves of a page begin with `2.`. Only what differs from the defaults, whose types
  // are those of the values, is there. A part without = is the anchor that a link led to.

  const parseHash = () => new URLSearchParams(window.location.hash.slice(1));

  function readState(prefix, defaults) {
    const given = parseHash();
    return Object.fromEntries(Object.entries(defaults).map(([name, value]) => {
      const texts = given.getAll(prefix + name);
      if (!texts.length) return [name, value];
      if (Array.isArray(value)) return [name, texts];
      if (typeof value === "boolean") return [name, texts[0] === "1"];
      if (typeof value === "number") return [name, Number.isFinite(Number(texts[0])) ? Number(texts[0]) : value];
      return [name, texts[0]];
    }));
  }

  function writeState(prefix, defaults, state) {
    const given = parseHash();
    const anchors = [...given].filter(([, value]) => value === "").map(([name]) => name)
      .filter((name) => document.getElementById(name));
    for (const [name, value] of Object.entries(defaults)) {
      given.delete(prefix + name);
      if (JSON.stringify(state[name]) === JSON.stringify(value)) continue;
      const texts = Array.isArray(value) ? state[name] : [value === true || state[name] === true
        ? String(Number(state[name])) : String(state[name])];
      for (const text of texts) given.append(prefix + name, text);
    }
    for (const name of anchors) given.delete(name);
    const { pathname, search } = window.location;
    const parts = [...anchors.map(encodeURIComponent), ...(given.size ? [given] : [])];
    window.history.replaceState(null, "", `${pathname}${search}#${parts.join("&")}`);
  }

  // Filter expressions

  const TOKEN = new RegExp(
    [
      String.raw`\s*(?:(?<sign>==|!=|<=|>=|<|>|~)`,
      String.raw`(?<word>[A-Za-z_]\w*\([\w.]+\)|[^\s()=<>!~"']+)`,
      String.raw`(?<quoted>"[^"]*"|'[^']*')`,
      String.raw`(?<bracket>[()]))`,
    ].join("|"),
    "y",
  );
  const NUMBER = /^[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?$/;
  const KEYWORDS = ["and", "or", "not"];
  const SIGNS = {
    "==": (a, b) => a === b,
    "!=": (a, b) => a !== b,
    "<": (a, b) => a < b,
    "<=": (a, b) => a <= b,
    ">": (a, b) => a > b,
    ">=": (a, b) => a >= b,
    "~": (a, b) => a.includes(b),
  };

  function fail(column, text) {
    return new Error(`column ${column}: ${text}`);
  }

  function splitTokens(text) {
    const tokens = [];
    text = text.trimEnd();
    TOKEN.lastIndex = 0;
    for (let end = 0; end < text.length; end = TOKEN.lastIndex) {
      TOKEN.lastIndex = end;
      const match = TOKEN.exec(text);
      if (!match) {
        const rest = text.slice(end).trimStart();
        const hint = rest[0] === "=" ? "'=' is not a comparison; write ==" : `unexpected '${rest[0]}'`;
        throw fail(text.length - rest.length + 1, hint);
      }
      const [kind, found] = Object.entries(match.groups).find(([, x]) => x !== undefined);
      tokens.push({ kind, text: found, column: TOKEN.lastIndex - found.length + 1 });
    }
    return [...tokens, { kind: "end", text: "", column: text.length + 1 }];
  }

  const unquote = ({ kind, text }) => (kind === "quoted" ? text.slice(1, -1) : text);

  // The least number of letters to change, insert or remove.
  function countEdits(a, b) {
    let row = Array.from({ length: b.length + 1 }, (_, j) => j);
    for (let i = 1; i <= a.length; i++) {
      const next = [i];
      for (let j = 1; j <= b.length; j++) {
        next[j] = Math.min(row[j] + 1, next[j - 1] + 1, row[j - 1] + (a[i - 1] !== b[j - 1]));
      }
      row = next;
    }
    return row[b.length];
  }

  function findNear(name, known) {
    const far = new Map(known.map((x) => [x, countEdits(name, x)]));
    return known.filter((x) => far.get(x) <= Math.max(1, name.length / 3))
      .sort((a, b) => far.get(a) - far.get(b));
  }

  function sayUnknown(name, properties) {
    const word = name.split(/[.(]/).at(-1).replace(")", "").toLowerCase();
    const inside = properties.filter((x) => x.includes(`(${name})`));
    const containing = properties.filter((x) => x.toLowerCase().includes(word));
    const near = inside.length ? inside : [...new Set([...findNear(name, properties), ...containing])];
    const hint = near.length ? `did you mean ${near.slice(0, 3).map((x) => `'${x}'`).join(" or ")}?`
      : "the properties are listed below";
    return `unknown property '${name}'; ${hint}`;
  }

  // Indices of the runs that an expression chooses; throws an Error that names the column.
  function filterRuns(text, allProperties) {
    if (!text.trim()) return allProperties.map((_, i) => i);
    const tokens = splitTokens(text);
    const known = [...new Set(allProperties.flatMap(Object.keys))];

    const accept = (wanted) =>
      ["word", "bracket"].includes(tokens[0].kind) && tokens[0].text === wanted &&
      Boolean(tokens.shift());
    const expect = (what) => {
      const { kind, text: got, column } = tokens[0];
      return fail(column, `expected ${what}, got ${kind === "end" ? "the end" : `'${got}'`}`);
    };

    function parseOr() {
      const parts = [parseAnd()];
      while (accept("or")) parts.push(parseAnd());
      return (properties) => parts.some((part) => part(properties));
    }
    function parseAnd() {
      const parts = [parseNot()];
      while (accept("and")) parts.push(parseNot());
      return (properties) => parts.every((part) => part(properties));
    }
    function parseNot() {
      if (accept("not")) {
        const part = parseNot();
        return (properties) => !part(properties);
      }
      if (accept("(")) {
        const part = parseOr();
        if (!accept(")")) throw expect("')'");
        return part;
      }
      return parseComparison();
    }
    function parseComparison() {
      const first = tokens[0];
      if (!["word", "quoted"].includes(first.kind) || KEYWORDS.includes(first.text)) {
        throw expect("a property");
      }
      tokens.shift();
      const property = unquote(first);
      if (known.length && !known.includes(property)) {
        throw fail(first.column, sayUnknown(property, known));
      }
      if (tokens[0].kind !== "sign") throw expect(`one of ${Object.keys(SIGNS).join(" ")}`);
      const sign = tokens.shift();
      const token = tokens[0];
      if (!["word", "quoted"].includes(token.kind) || KEYWORDS.includes(token.text)) {
        throw expect("a value");
      }
      tokens.shift();
      const value = unquote(token);
      const present = allProperties.map((x) => x[property] ?? null).filter((x) => x !== null);
      const isNumber = present.length > 0 && present.every((x) => typeof x === "number");
      if (isNumber && sign.text === "~") {
        throw fail(sign.column, `~ searches text; ${property} is a number`);
      }
      if (isNumber && !NUMBER.test(value)) {
        throw fail(token.column, `${property} is a number, got '${value}'`);
      }
      if (present.length && !isNumber && ["<", "<=", ">", ">="].includes(sign.text)) {
        throw fail(sign.column, `${property} is text, which ${sign.text} can't compare`);
      }
      const wanted = isNumber ? Number(value) : value;
      return (properties) => {
        const found = properties[property] ?? null;
        return found !== null && SIGNS[sign.text](found, wanted);
      };
    }

    const condition = parseOr();
    if (tokens[0].kind !== "end") throw expect("'and' or 'or'");
    return allProperties.flatMap((properties, i) => (condition(properties) ? [i] : []));
  }

  const quote = (text) => (text.includes('"') ? `'${text}'` : `"${text}"`);

  // The condition that a property has one of some values; those of `run` may be experiment/run.
  function writeOneOf(name, values) {
    const parts = values.map((value) => {
      const [, experiment, run] = name === "run" ? /^(?:(.*)\/)?([^/]*)$/.exec(value) : [];
      return experiment ? `(experiment == ${quote(experiment)} and run == ${quote(run)})`
        : `${name} == ${quote(value)}`;
    });
    return parts.length > 1 ? `(${parts.join(" or ")})` : parts[0];
  }

  // What differs

  function formatValue(value, key = "") {
    if (value === null || value === undefined) return "–";
    const text = typeof value === "number" ? String(Number(value.toPrecision(6))) : value;
    if (!["commit", "data_hash"].includes(key)) return text;
    return text.slice(0, 8) + (text.endsWith("+") ? "+" : "");
  }

  const isMeasured = (name) => name.includes("(") || name.startsWith("test.");

  // What was measured, with four digits, or all those before the point.
  function roundValue(value) {
    if (typeof value !== "number" || Number.isInteger(value)) return formatValue(value);
    return Math.abs(value) < 1000 ? value.toPrecision(4) : value.toFixed(0);
  }

  const get = (properties, key) => properties[key] ?? null;
  const isReadable = (properties) => properties.state !== "unreadable";
  // A run whose kind of model lacks a hyperparameter doesn't differ in it.
  const varies = (key, allProperties) => {
    const values = new Set(allProperties.filter(isReadable).map((x) => get(x, key)));
    if (schema.hparams.includes(key)) values.delete(null);
    return values.size > 1;
  };
  const findVaried = (allProperties) => schema.hparams.filter((key) => varies(key, allProperties));

  function countValues(allProperties, key) {
    const counts = new Map();
    for (const properties of allProperties) {
      const text = formatValue(properties[key], key);
      counts.set(text, (counts.get(text) ?? 0) + 1);
    }
    return Array.from(counts, ([text, n]) => `${text} (${n} run${n > 1 ? "s" : ""})`).join(" or ");
  }

  function findIncomparable(allProperties, metrics) {
    const unreadable = allProperties.filter((x) => !isReadable(x)).map((x) =>
      `not comparable: ${x.experiment}/${x.run} can't be read: ${x.error}`);
    allProperties = allProperties.filter(isReadable);
    return unreadable.concat(schema.rules.flatMap(([keys, parts, why]) => {
      const differing = keys.filter((key) => varies(key, allProperties));
      if (!differing.length || !metrics.some((x) => parts.some((part) => x.includes(part)))) return [];
      const values = differing.map((key) => `${key} is ${countValues(allProperties, key)}`);
      return [`not comparable: ${why}: ${values.join("; ")}`];
    }));
  }

  // Each value of a property as a number, the same for equal values.
  function numberValues(allProperties, key) {
    const numbers = new Map();
    return allProperties.map((properties) => {
      const value = get(properties, key);
      if (!numbers.has(value)) numbers.set(value, numbers.size);
      return numbers.get(value);
    });
  }

  // Whether equal values of one property always come with equal values of another.
  function decides(xs, ys) {
    const found = [];
    return xs.every((x, i) => (found[x] ??= ys[i]) === ys[i]);
  }

  function areConfounded(allProperties, a, b, numbers) {
    const [xs, ys] = [numbers(a), numbers(b)];
    let [xDecides, yDecides] = [decides(xs, ys), decides(ys, xs)];
    if (!xDecides && !yDecides) return false;
    const seen = new Set();
    const isNew = (_, i) => {
      const pair = xs[i] * allProperties.length + ys[i];
      return !seen.has(pair) && Boolean(seen.add(pair));
    };
    let pairs = allProperties.filter(isNew).map((x) => [get(x, a), get(x, b)]);
    let numeric = [0, 1].map((i) => pairs.every((pair) => typeof pair[i] === "number"));
    if (!numeric[0] && numeric[1]) {
      pairs = pairs.map(([x, y]) => [y, x]);
      numeric = [true, false];
      [xDecides, yDecides] = [yDecides, xDecides];
    }
    if (!numeric[0]) return true;
    pairs.sort(([x], [y]) => x - y);
    const steps = pairs.slice(1).map(([, y], i) => [pairs[i][1], y]);
    if (numeric[1]) {
      const isMonotonic = steps.every(([y, z]) => z > y) || steps.every(([y, z]) => z < y);
      return xDecides && yDecides && isMonotonic;
    }
    const numChanges = steps.filter(([y, z]) => y !== z).length;
    return yDecides || (xDecides && numChanges === new Set(pairs.map(([, y]) => y)).size - 1);
  }

  function findConfounded(allProperties) {
    allProperties = allProperties.filter(isReadable);
    const keys = findVaried(allProperties).filter((key) => !schema.effectless.includes(key));
    const [known, numbered] = [new Map(), new Map()];
    const numbers = (key) => {
      if (!numbered.has(key)) numbered.set(key, numberValues(allProperties, key));
      return numbered.get(key);
    };
    const areLinked = (a, b) => {
      const [i, j] = [keys.indexOf(a), keys.indexOf(b)].sort((x, y) => x - y);
      const name = `${i},${j}`;
      if (!known.has(name)) known.set(name, areConfounded(allProperties, keys[i], keys[j], numbers));
      return known.get(name);
    };
    const groups = [];
    keys.forEach((a, i) => keys.slice(i + 1).forEach((b) => {
      if (!areLinked(a, b) || groups.some((x) => x.includes(a) && x.includes(b))) return;
      const group = [a, b];
      for (const key of keys) {
        if (!group.includes(key) && group.every((x) => areLinked(key, x))) group.push(key);
      }
      groups.push(keys.filter((key) => group.includes(key)));
    }));
    return groups.map((group) =>
      `confounded: ${group.slice(0, -1).join(", ")} and ${group.at(-1)} vary only together: ` +
      "their effects can't be told apart");
  }

  // Runs that differ in nothing but their seed, together.
  function groupSeeds(allProperties) {
    const groups = new Map();
    allProperties.forEach((properties, i) => {
      const keys = ["data_hash", ...schema.hparams.filter((key) => key !== "seed")];
      const key = isReadable(properties) ? JSON.stringify(keys.map((x) => get(properties, x))) : i;
      groups.set(key, [...(groups.get(key) ?? []), i]);
    });
    return Array.from(groups.values());
  }

  // Runs of equal value of a property, as lists of indices by that value as text.
  function groupBy(allProperties, key) {
    const groups = new Map();
    allProperties.forEach((properties, i) => {
      const text = formatValue(properties[key], key);
      groups.set(text, [...(groups.get(text) ?? []), i]);
    });
    return groups;
  }

  // Just the run's name where all are of one experiment.
  function nameRuns(ids) {
    const several = new Set(ids.map((id) => id.replace(/[^/]*$/, ""))).size > 1;
    return several ? ids : ids.map((id) => id.replace(/.*\//, ""));
  }

  function nameGroup(names) {
    if (names.length === 1) return names[0];
    let prefix = names[0];
    while (!names.every((name) => name.startsWith(prefix))) prefix = prefix.slice(0, -1);
    const stem = prefix.replace(/[-_.=/,]*(seed[-_.=]*\d*)?[-_.=/,]*$/, "") || names[0];
    return `${stem} (${names.length} seeds)`;
  }

  return {
    loadScript, loadRuns, readState, writeState, splitTokens, filterRuns, writeOneOf, formatValue,
    roundValue, isMeasured, countValues, findVaried, findIncomparable, findConfounded, groupBy, groupSeeds, nameRuns,
    nameGroup,
  };
})();
