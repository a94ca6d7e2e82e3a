// The rows of one table: sorted, searched and filtered, 100,000 of them while one types.
// What a cell holds decides, not how it is shown. The build has read the cells (order.py), and hands
// over their numbers and ranks; here, only the limits of filters are read.
(() => {
  "use strict";

  function fold(text) {
    const isPlain = /^[\x00-\x7f]*$/.test(text); // eslint-disable-line no-control-regex
    return (isPlain ? text : text.normalize("NFD").replace(/\p{M}/gu, "")).toLowerCase();
  }

  const DIGITS = String.raw`(?:[1-9]\d{0,2}(?:,\d{2,3})*,\d{3}|[1-9]\d{0,2}(?:[' ]\d{3})+|\d+)`;
  const LIMIT = new RegExp(
    [
      String.raw`^(?<sign>[+-])?\s*(?<currency>\p{Sc})?\s*(?:`,
      String.raw`(?<clock>\d+(?::\d{1,2}){1,2}(?:\.\d+)?)|`,
      String.raw`(?<digits>${DIGITS}(?:\.\d*)?|\.\d+)(?<power>e[+-]?\d+)?|`,
      String.raw`(?<infinite>inf(?:inity)?|∞))\s*(?<unit>[^\s\d]\S*)?$`,
    ].join(""),
    "iu",
  );
  const COMPARISON = /^(<=|>=|==?|!=|<|>|[≤≥≠])\s*(.+)$/;
  const INTERVAL = /^(.+?)\s*\.\.\s*(.+)$/;

  // The number that a filter names, in the column's first unit; NaN if it is none.
  function readLimit(text, { unit = "", sizes = {}, comma = false }) {
    let plain = text.trim().replace(/[−–]/g, "-").replaceAll("μ", "µ");
    if (comma && (plain.includes(",") || /^\D*[1-9]\d{0,2}(\.\d{3})+(?!\d)/.test(plain))) {
      plain = plain.replaceAll(".", "").replaceAll(",", ".");
    }
    const match = LIMIT.exec(plain);
    if (!match) return NaN;
    const { sign, currency, clock, digits, power = "", infinite } = match.groups;
    const own = clock ? "s" : (match.groups.unit ?? currency ?? "");
    let number = Infinity;
    if (clock) number = clock.split(":").reduce((sum, x) => 60 * sum + Number(x), 0);
    else if (!infinite) number = Number(digits.replace(/[,' ]/g, "") + power);
    const value = sign === "-" ? -number : number;
    if (own === "" || own === unit) return value;
    // 15 digits, or 0.9 GB might not be 900 MB
    return own in sizes ? Number(((value * sizes[own]) / (sizes[unit] ?? 1)).toPrecision(15)) : NaN;
  }

  // A test of one number, such as "> 0.5" or "1..3"; null if the text is no condition.
  function readCondition(text, column) {
    const comparison = COMPARISON.exec(text);
    if (comparison) {
      const limit = readLimit(comparison[2], column);
      const isEqual = (x) => x === limit;
      const differs = (x) => x < limit || x > limit;
      const [isLess, isMore] = [(x) => x <= limit, (x) => x >= limit];
      const test = {
        "<": (x) => x < limit,
        ">": (x) => x > limit,
        "<=": isLess,
        "≤": isLess,
        ">=": isMore,
        "≥": isMore,
        "=": isEqual,
        "==": isEqual,
        "!=": differs,
        "≠": differs,
      }[comparison[1]];
      return Number.isNaN(limit) ? null : test;
    }
    const interval = INTERVAL.exec(text);
    if (!interval) return null;
    const [low, high] = [readLimit(interval[1], column), readLimit(interval[2], column)];
    return Number.isNaN(low) || Number.isNaN(high) ? null : (x) => low <= x && x <= high;
  }

  class NotebookTable {
    // rows: cells as they are written; shown: by column, how they are shown if otherwise;
    // keys: by column, what can't be told from the cells (see Column.pack in order.py)
    constructor(rows, shown, isNumber, keys = {}) {
      Object.assign(this, { rows, shown, isNumber, keys });
      this.numbers = new Map();
      this.sortKeys = new Map();
      this.folded = new Map();
    }

    // Whether a filter of a column of numbers looks like a condition but is none, such as "> abc".
    isNonsense(column, text) {
      const filter = text.trim();
      const looksLikeOne = this.isNumber[column] && /^[<>=!≤≥≠]|\.\./.test(filter);
      return looksLikeOne && !readCondition(filter, this.keys[column] ?? {});
    }

    // Called by a page's script of rows; whoever has put the script there waits for them.
    static receive(data) {
      document.currentScript.dispatchEvent(new CustomEvent("rows", { detail: data }));
    }

    // The numbers of a column; NaN for missing ones.
    findNumbers(column) {
      if (!this.numbers.has(column)) {
        const given = this.keys[column]?.numbers;
        const numbers = given
          ? given.map((x) => (x === null ? NaN : Number(x))) // JSON has infinity as text
          : this.rows.map((row) => parseFloat(row[column]));
        this.numbers.set(column, Float64Array.from(numbers));
      }
      return this.numbers.get(column);
    }

    // Numbers that sort a column; NaN, which comes last, for missing cells.
    findSortKeys(column) {
      if (!this.sortKeys.has(column)) {
        const ranks = this.keys[column]?.ranks;
        let keys = Float64Array.from(ranks ?? this.rows.keys(), (x) => x ?? NaN);
        if (!ranks && this.isNumber[column]) keys = this.findNumbers(column);
        this.sortKeys.set(column, keys);
      }
      return this.sortKeys.get(column);
    }

    // One text for each row to search in: of one column, or of all of them.
    findFolded(column) {
      if (!this.folded.has(column)) {
        const read = (row, i, c) => (this.shown[c] ? `${row[c]}\n${this.shown[c][i]}` : row[c]);
        this.folded.set(
          column,
          this.rows.map((row, i) =>
            fold(column < 0 ? row.map((_, c) => read(row, i, c)).join("\n") : read(row, i, column)),
          ),
        );
      }
      return this.folded.get(column);
    }

    // Indices of the rows that have all words of `words` and meet the filter of each column, sorted.
    find(words, filters, orders) {
      let found = Uint32Array.from(this.rows.keys());
      for (const word of fold(words).split(/\s+/).filter(Boolean)) {
        const texts = this.findFolded(-1);
        found = found.filter((i) => texts[i].includes(word));
      }
      filters.forEach((text, column) => {
        const filter = text.trim();
        const condition = this.isNumber[column]
          ? readCondition(filter, this.keys[column] ?? {})
          : null;
        if (condition) {
          const numbers = this.findNumbers(column);
          found = found.filter((i) => condition(numbers[i]));
        } else if (filter) {
          const texts = this.findFolded(column);
          found = found.filter((i) => texts[i].includes(fold(filter)));
        }
      });
      for (const { column, dir } of [...orders].reverse()) {
        if (dir) found.sort(compareBy(this.findSortKeys(column), dir === "desc" ? -1 : 1));
      }
      return found;
    }
  }

  function compareBy(keys, sign) {
    return (i, j) => {
      const x = keys[i];
      const y = keys[j];
      if (Number.isNaN(x) || Number.isNaN(y)) return Number.isNaN(x) - Number.isNaN(y);
      return x === y ? 0 : sign * (x < y ? -1 : 1);
    };
  }

  window.NotebookTable = NotebookTable;
})();
