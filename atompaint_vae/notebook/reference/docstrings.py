"""Docstrings with an aligned legend, as valid reStructuredText."""

import re

# "atoms:   columns x, y, z [Å]", or two columns of names and meanings, without the colon
LEGEND_LINE = re.compile(r"(\*{0,2}[\w./]+(?:, ?\*{0,2}[\w./]+)*)(?::\s+|\s{2,})(\S.*)")
LIST_ITEM = re.compile(r"([-*•]|\(?\d+[.)]|#\.)\s")
PROTECTED = re.compile(
    r"``.*?``|:[\w:]+:`[^`]*`|`[^`]*`_?"
    r"|(?<!\$)\$[^$ ][^$]*\$"
    r"|(?<![\w*])(\*\*?)(?=[^\s*])[^*]*?(?<=[^\s*])\1(?![\w*])",
    re.DOTALL,
)
LOOSE_MARKUP = re.compile(r"\*|\||(?<=\w)_(?!\w)")


def format_docstring(lines: list[str]) -> list[str]:
    """
    Return a docstring as valid reStructuredText.

    Legends become field lists, and indented text becomes literal blocks. Characters that would
    start markup by accident are escaped.

    lines: of a docstring with blocks such as ``atoms:   columns x, y, z [Å]``
    """
    result, is_literal, may_indent = [], False, False
    for block in split_blocks(lines):
        if block[0][0].isspace():
            if not (is_literal or may_indent):
                result += ["::", ""]
                is_literal = True
            result += [*block, ""]
            continue
        is_literal = block[-1].endswith("::")
        may_indent = bool(LIST_ITEM.match(block[0])) or block[0].startswith((".. ", ":"))
        result += [*_format_block(block, may_indent), ""]
    return result


def parse_legend(block: list[str]) -> list[tuple[str, str]]:
    """Return the names and meanings in a paragraph, an empty list if it isn't a legend."""
    entries: list[tuple[str, str]] = []
    for line in block:
        if match := LEGEND_LINE.fullmatch(line):
            entries.append((match[1], match[2]))
        elif entries:
            name, text = entries[-1]
            entries[-1] = (name, f"{text} {line.strip()}")
        else:
            return []
    return entries


def split_blocks(lines: list[str]) -> list[list[str]]:
    """Return the paragraphs of a docstring, each as a list of lines."""
    blocks, block = [], []
    for line in [*lines, ""]:
        if line.strip():
            block.append(line)
        elif block:
            blocks.append(block)
            block = []
    return blocks


def _format_block(block: list[str], is_structure: bool) -> list[str]:
    if is_structure or block[0].startswith(">>> "):
        return block if block[0].startswith((".. ", ">>> ")) else _escape_lines(block)
    if entries := parse_legend(block):
        # Sphinx rewrites field lists at the top of an object's description, but not nested ones.
        fields = [f"   :{escape(name)}: {escape(text)}" for name, text in entries]
        return [".. container:: docstring-legend", "", *fields]
    if any(line[0].isspace() for line in block):
        return ["::", "", *(f"   {line}" for line in block)]
    return _escape_lines(block)


def _escape_lines(block: list[str]) -> list[str]:
    return escape("\n".join(block)).split("\n")


def escape(text: str) -> str:
    """Return text with a backslash before each character that would start markup by accident."""
    pieces, end = [], 0
    for match in PROTECTED.finditer(text):
        pieces += [_escape_loose(text[end : match.start()]), match[0]]
        end = match.end()
    return "".join([*pieces, _escape_loose(text[end:])])


def _escape_loose(text: str) -> str:
    return LOOSE_MARKUP.sub(lambda m: "\\" + m[0], text)
