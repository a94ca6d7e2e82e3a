"""Mathematics as MathML, converted at build time: no script, no font, no network."""

import html
import re
from xml.etree import ElementTree

from docutils import nodes
from latex2mathml.converter import Converter
from sphinx.transforms import SphinxTransform
from sphinx.transforms.post_transforms import SphinxPostTransform
from sphinx.util import logging
from sphinx.util.math import get_node_equation_number
from sphinx_math_dollar.extension import TransformMath
from sphinx_math_dollar.math_dollar import split_dollars

from .problems import shorten

logger = logging.getLogger(__name__)

# LaTeX's environments, and what latex2mathml calls them
ENVIRONMENTS = {"aligned": "split", "alignedat": "split", "gathered": "gather*"}
FUNCTIONS = re.compile(
    "a?(sin|cos|tan)h?|arc(sin|cos|tan)|arg|cot|csc|deg|det|dim|exp|hom|inf|ker|lg|ln|log|max|min"
    "|sec|sup|Pr"
)
THIN_SPACE = "0.167em"  # TeX's \, (the TeXbook, chapter 18)


AMOUNT = re.compile(r"(?<![\\$])\$(?=\d[^$]*\s\$)")
"""A dollar sign before an amount of money: there is a space before the next dollar sign."""

# Short text without escapes that touches a formula.
BEFORE, AFTER = re.compile(r"(?<!\S)[^\s\0]{1,8}\Z"), re.compile(r"[^\s\0]{1,8}(?!\S)")

VERBATIM = (nodes.FixedTextElement, nodes.literal, nodes.math)


class DollarMath(SphinxTransform):
    """
    Convert ``$x$`` and ``$$x$$`` in the text to mathematics.

    Until the text is written, docutils keeps each backslash of the source as a null character. The
    extension sphinx_math_dollar turns all of them into backslashes, which would be visible in the
    text beside the mathematics. So only its splitting is used.
    """

    default_priority = 500

    def apply(self, **kwargs):
        for text in list(self.document.findall(nodes.Text)):
            if "$" in text and not _is_verbatim(text):
                parts = split_dollars(AMOUNT.sub(r"\\$", text.replace("\0", "\\")))
                if any(kind != "text" for kind, _ in parts):
                    text.parent.replace(text, [_make_part(*part) for part in parts])


def _is_verbatim(node: nodes.Node) -> bool:
    while (node := node.parent) is not None:
        if isinstance(node, VERBATIM):
            return True
    return False


def _make_part(kind: str, text: str) -> nodes.Node:
    if kind == "math":
        return nodes.math(text, text)
    if kind == "display math":
        return nodes.math_block(text, text, nowrap=False, number=None)
    return nodes.Text(re.sub(r"\\(.)", "\0\\1", text, flags=re.DOTALL))


class KeepTogether(SphinxPostTransform):
    """Keep a formula on one line with the punctuation beside it, where browsers break lines."""

    default_priority = 900
    formats = ("html",)

    def run(self, **kwargs):
        for math in list(self.document.findall(nodes.math)):
            row, i = math.parent, math.parent.index(math)
            before = BEFORE.search(_get_text(row, i - 1)) if i else None
            after = AFTER.match(_get_text(row, i + 1))
            if not (before or after):
                continue
            parts = [math]
            if after:
                parts.append(nodes.Text(after[0]))
                row[i + 1] = nodes.Text(row[i + 1][after.end() :])
            if before:
                parts.insert(0, nodes.Text(before[0]))
                row[i - 1] = nodes.Text(row[i - 1][: before.start()])
            row[i] = nodes.inline("", "", *parts, classes=["math-unbroken"])


def _get_text(row: nodes.Element, i: int) -> str:
    return str(row[i]) if i < len(row) and isinstance(row[i], nodes.Text) else ""


class MathError(ValueError):
    """LaTeX that can't be converted."""


def convert_latex(latex: str, display: str = "inline") -> str:
    """
    Return LaTeX as a ``<math>`` element.

    display: inline or block
    raises:  MathError if a command is unknown or the braces don't match
    """
    depth = 0
    for brace in re.findall(r"(?<!\\)[{}]", latex.replace("\\\\", "  ")):
        depth += 1 if brace == "{" else -1
        if depth < 0:
            break
    if depth:
        raise MathError("the braces don't match")
    if display == "block" and re.search(r"\\\\|(?<!\\)&", latex) and r"\begin" not in latex:
        latex = rf"\begin{{split}}{latex}\end{{split}}"
    latex = re.sub(
        r"\\(begin|end)\{(\w+\*?)\}",
        lambda m: rf"\{m[1]}{{{ENVIRONMENTS.get(m[2], m[2])}}}",
        latex,
    )
    try:
        tree = Converter(display=display).convert_to_element(latex)
    except Exception as error:
        # latex2mathml's own errors share no base, and a StopIteration is among the others.
        raise MathError(f"{type(error).__name__} {error}".strip()) from error

    for element in tree.iter():
        element.text = element.text and html.unescape(element.text)
        if element.tag in ("mi", "mo") and re.match(r"\\[A-Za-z]", element.text or ""):
            raise MathError(f"unknown command {element.text}")
        if element.tag == "mtable":
            _style_columns(element)
    _join_thousands(tree[0])
    for row in list(tree.iter("mrow")):
        _space_functions(row)
    return ElementTree.tostring(tree, encoding="unicode")


def _style_columns(table: ElementTree.Element) -> None:
    """Style columns for MathML Core, which has neither columnalign nor columnspacing."""
    is_aligned = table.get("columnspacing", "").startswith("0")
    for cell in table.iter("mtd"):
        align = cell.attrib.pop("columnalign", None)
        style = [f"text-align: {align}"] if align else []
        if is_aligned:
            style.append("padding-left: 0; padding-right: " + ("0" if align == "right" else "1em"))
        if style:
            cell.set("style", "; ".join(style))


def _join_thousands(row: ElementTree.Element) -> None:
    """Make ``42,875`` one number, unless brackets around it mark a pair."""
    if any(x.tag == "mo" and x.text in tuple("([{") for x in row.iter()):
        return
    i = 0
    while i + 2 < len(row):
        number, comma, digits = row[i : i + 3]
        if (
            [number.tag, comma.tag, digits.tag] == ["mn", "mo", "mn"]
            and comma.text == ","
            and re.fullmatch(r"\d{1,3}(,\d{3})*", number.text or "")
            and re.fullmatch(r"\d{3}(\.\d+)?", digits.text or "")
        ):
            number.text += "," + digits.text
            row.remove(comma)
            row.remove(digits)
        else:
            i += 1


def _space_functions(row: ElementTree.Element) -> None:
    """Add a thin space between ``ln`` and its operand, as TeX does."""
    for i in reversed(range(len(row) - 1)):
        is_function = row[i].tag == "mi" and FUNCTIONS.fullmatch(row[i].text or "")
        operand = row[i + 1]
        if is_function and operand.tag != "mspace" and (operand.text or "") not in tuple("([{)]},"):
            row.insert(i + 1, ElementTree.Element("mspace", width=THIN_SPACE))


def _write_math(translator, node: nodes.Node, display: str) -> None:
    latex = node.astext()
    try:
        translator.body.append(convert_latex(latex, display))
    except MathError as error:
        text = shorten(f"math: {error} in {latex!r}")
        logger.warning("%s", text, location=node, type="math")
        translator.body.append(f"<code>{html.escape(latex)}</code>")


def visit_math(translator, node):
    translator.body.append(translator.starttag(node, "span", "", CLASS="math notranslate"))
    _write_math(translator, node, "inline")
    translator.body.append("</span>")
    raise nodes.SkipNode


def visit_math_block(translator, node):
    # $$ ... $$ within a paragraph: a div would end the paragraph.
    is_in_text = isinstance(node.parent, nodes.paragraph)
    tag = "span" if is_in_text else "div"
    translator.body.append(translator.starttag(node, tag, "", CLASS="math notranslate nohighlight"))
    if node.get("number"):
        number = get_node_equation_number(translator, node)
        translator.body.append(f'<span class="eqno">({number})')
        translator.add_permalink_ref(node, "Link to this equation")
        translator.body.append("</span>")
    translator.body.append('<span class="math-body">')  # this element scrolls; a <math> can't
    _write_math(translator, node, "block")
    translator.body.append(f"</span></{tag}>\n")
    raise nodes.SkipNode


def replace_other(app, config):
    """Remove the transform of the extension sphinx_math_dollar, if that is enabled too."""
    transforms = app.registry.get_transforms()
    transforms[:] = [x for x in transforms if x is not TransformMath]


def setup_component(app):
    app.add_transform(DollarMath)
    app.connect("config-inited", replace_other)
    app.add_post_transform(KeepTogether)
    app.add_html_math_renderer("mathml", (visit_math, None), (visit_math_block, None))
