// The rows of one table: sorted, searched and filtered, 100,000 of them while one types.
// What a cell holds decides, not how it is shown; the rules are those of cells.py.
(() => {
  "use strict";

  function readNumber(text) {
    const plain = text.trim().replaceAll(",", "").replaceAll("−", "-");
    const infinite = /^([+-]?)inf/i.exec(plain);
    return infinite ? (infinite[1] === "-" ? -Infinity : Infinity) : parseFloat(plain);
  }

  function fold(text) {
    const isPlain = /^[\x00-\x7f]*$/.test(text); // eslint-disable-line no-control-regex
    return (isPlain ? text : text.normalize("NFD").replace(/\p{M}/gu, "")).toLowerCase();
  }

  const COMPARISON = /^(<=|>=|<|>|=)\s*(\S+)$/;
  const INTERVAL = /^(\S+?)\s*\.\.\s*(\S+)$/;

  // A test of one number, such as "> 0.5" or "1..3"; null if the text is no condition.
  function readCondition(text) {
    const comparison = COMPARISON.exec(text);
    if (comparison) {
      const limit = readNumber(comparison[2]);
      const test = {
        "<": (x) => x < limit,
        ">": (x) => x > limit,
        "<=": (x) => x <= limit,
        ">=": (x) => x >= limit,
        "=": (x) => x === limit,
      }[comparison[1]];
      return Number.isNaN(limit) ? null : test;
    }
    const interval = INTERVAL.exec(text);
    if (!interval) return null;
    const [low, high] = [readNumber(interval[1]), readNumber(interval[2])];
    return Number.isNaN(low) || Number.isNaN(high) ? null : (x) => low <= x && x <= high;
  }

  class NotebookTable {
    // rows: cells as they are written; shown: by column, how they are shown if otherwise
    constructor(rows, shown, isNumber) {
      Object.assign(this, { rows, shown, isNumber });
      this.sortKeys = new Map();
      this.folded = new Map();
    }

    // Whether a filter of numbers looks like a condition but is none, such as "> abc".
    static isNonsense(text) {
      const filter = text.trim();
      return /^[<>=]|\.\./.test(filter) && !readCondition(filter);
    }

    // Called by a page's script of rows; whoever has put the script there waits for them.
    static receive(data) {
      document.currentScript.dispatchEvent(new CustomEvent("rows", { detail: data }));
    }

    // Numbers that sort a column; NaN, which comes last, for empty cells.
    findSortKeys(column) {
      if (!this.sortKeys.has(column)) {
        const texts = this.rows.map((row) => row[column]);
        this.sortKeys.set(column, this.isNumber[column] ? texts.map(readNumber) : rank(texts));
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
        const condition = this.isNumber[column] ? readCondition(filter) : null;
        if (condition) {
          const numbers = this.findSortKeys(column);
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
      const [x, y] = [keys[i], keys[j]];
      if (Number.isNaN(x) || Number.isNaN(y)) return Number.isNaN(x) - Number.isNaN(y);
      return x === y ? 0 : sign * (x < y ? -1 : 1);
    };
  }

  function rank(texts) {
    const keys = texts.map((x) => fold(x.trim()).replace(/\d+/g, (n) => n.padStart(12, "0")));
    const ranks = new Map([...new Set(keys)].sort().map((key, i) => [key, i]));
    return keys.map((key) => (key ? ranks.get(key) : NaN));
  }

  window.NotebookTable = NotebookTable;
})();
