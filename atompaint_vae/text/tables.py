"""Tables on the terminal."""

from collections.abc import Sequence


def format_table(
    rows: Sequence[Sequence[str]],
    aligns: str = "",
    *,
    max_width: int | None = None,
    num_fixed: int = 1,
) -> list[str]:
    """
    Return the lines of a table; wider ones are split into parts of at most `max_width` characters.

    aligns:    `<` or `>` for each column; all to the left by default
    num_fixed: columns that are repeated in each part
    """
    if not rows:
        return []
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    aligns = aligns or "<" * len(widths)
    fixed, parts = list(range(num_fixed)), [[]]
    for i in range(num_fixed, len(widths)):
        so_far = sum(widths[j] + 2 for j in [*fixed, *parts[-1]])
        if parts[-1] and max_width and so_far + widths[i] > max_width:
            parts.append([])
        parts[-1].append(i)
    lines = []
    for part in parts:
        lines += [""] * bool(lines)
        chosen = [*fixed, *part]
        lines += [
            format_row(*([x[i] for i in chosen] for x in (row, widths, aligns))) for row in rows
        ]
    return lines


def format_row(cells: Sequence[str], widths: Sequence[int], aligns: Sequence[str]) -> str:
    """Return one line of a table."""
    columns = zip(cells, aligns, widths, strict=True)
    return "  ".join(f"{cell:{align}{width}}" for cell, align, width in columns).rstrip()
