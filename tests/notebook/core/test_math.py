import re

import pytest

from atompaint_vae.notebook.core.math import MathError, convert_latex


def strip(mathml):
    return re.sub(r"<math[^>]*>|</math>|</?mrow>", "", mathml)


def test_power():
    assert convert_latex("x^2").startswith(
        '<math xmlns="http://www.w3.org/1998/Math/MathML" display="inline">'
    )
    assert strip(convert_latex("x^2")) == "<msup><mi>x</mi><mn>2</mn></msup>"


@pytest.mark.parametrize(
    "latex, expected",
    [
        ("42,875", "<mn>42,875</mn>"),
        ("1,000,000", "<mn>1,000,000</mn>"),
        ("1,23", "<mn>1</mn><mo>,</mo><mn>23</mn>"),
        ("a,b", "<mi>a</mi><mo>,</mo><mi>b</mi>"),
    ],
)
def test_thousands_are_one_number(latex, expected):
    assert strip(convert_latex(latex)) == expected


def test_a_pair_in_brackets_is_no_number():
    assert "<mn>1</mn><mo>,</mo><mn>100</mn>" in convert_latex("f(1,100)")


def test_function_and_operand_are_apart():
    assert strip(convert_latex(r"\ln x")) == '<mi>ln</mi><mspace width="0.167em" /><mi>x</mi>'
    assert "mspace" not in convert_latex(r"\ln(x)")


@pytest.mark.parametrize("environment", ["aligned", "split"])
def test_aligned_equations(environment):
    mathml = convert_latex(rf"\begin{{{environment}}}a &= b \\ c &= d\end{{{environment}}}")
    assert mathml.count("<mtr>") == 2
    assert "&amp;" not in mathml
    assert "text-align: right" in mathml


def test_lines_of_a_block_become_a_table():
    assert convert_latex(r"a &= b \\ c &= d", "block").count("<mtr>") == 2


def test_text_is_inert():
    mathml = convert_latex(r"\text{<script>alert(1)</script>} a < b")
    assert "<script>" not in mathml
    assert "&lt;script&gt;" in mathml
    assert "<mo>&lt;</mo>" in mathml


@pytest.mark.parametrize(
    "latex, message",
    [
        (r"\foo x", r"unknown command \\foo"),
        (r"\frac{1", "the braces don't match"),
        (r"a}{b", "the braces don't match"),
        (r"x_1_2", "DoubleSubscripts"),
    ],
)
def test_bad_latex(latex, message):
    with pytest.raises(MathError, match=message):
        convert_latex(latex)


def test_pages_hold_mathml_and_no_script(notebook):
    notebook.write(
        "index.rst",
        "Title\n=====\n\nMultiply by $35^3 = 42,875$, :math:`\\beta`.\n\n"
        ".. math:: E = mc^2\n   :label: energy\n\nSee :eq:`energy`. In a block: $$a + b$$\n\n"
        "It costs $5. ``a $literal$ stays``, and `$HOME`::\n\n   $ ls $HOME\n",
    )
    warnings, out = notebook.build()
    assert warnings == ""
    html = (out / "index.html").read_text("utf-8")
    assert html.count("<math ") == 4
    assert "<msup><mn>35</mn><mn>3</mn></msup><mo>=</mo><mn>42,875</mn>" in html
    assert '<span class="eqno">(1)' in html
    assert 'href="#equation-energy">(1)</a>' in html
    assert "It costs $5." in html
    assert "$literal$" in html
    assert "$ ls $HOME" in re.sub(r"<[^>]*>", "", html)
    assert "mathjax" not in html.lower()


def test_escapes_beside_mathematics_are_not_shown(notebook):
    text = "r\\ :sub:`i`\\ th of $n$, $R^2$\\ -values, \\*stars\\*, C:\\\\dir, 5\\ × $\\%$, \\$5."
    notebook.write("index.rst", f"Title\n=====\n\n{text} $$a \\\\ b$$\n")
    warnings, out = notebook.build()
    assert warnings == ""
    html = (out / "index.html").read_text("utf-8")
    shown = re.sub(r"<math.*?</math>", "M", html, flags=re.DOTALL)
    shown = re.sub(r"<[^>]*>", "", shown)
    assert r"rith of M, M-values, *stars*, C:\dir, 5× M, $5. M" in shown
    assert html.count("<mtr>") == 2


def test_amounts_of_money_are_no_mathematics(notebook):
    text = "It costs $12 and $15, so $x$ and $12 y$; $3 more, $ $a$."
    notebook.write("index.rst", f"Title\n=====\n\n{text}\n")
    _, out = notebook.build()
    html = (out / "index.html").read_text("utf-8")
    shown = re.sub(r"<math.*?</math>", "M", html, flags=re.DOTALL)
    assert "It costs $12 and $15, so M and M; $3 more, $ M." in re.sub(r"<[^>]*>", "", shown)


def test_equations_have_numbers_of_their_page(notebook):
    notebook.write("conf.py", (notebook.source / "conf.py").read_text("utf-8") + "numfig = True\n")
    equation = ".. math:: a = {0}\n   :label: {1}\n\n"
    notebook.write(
        "index.rst",
        "Title\n=====\n\n" + equation.format(1, "one") + equation.format(2, "two")
        + "See :eq:`two` and :eq:`other`.\n\n.. toctree::\n\n   other\n",
    )  # fmt: skip
    notebook.write("other.rst", "Other\n=====\n\n" + equation.format(3, "other"))
    warnings, out = notebook.build()
    assert warnings == ""
    html = (out / "index.html").read_text("utf-8")
    assert re.findall(r'href="[^"]*#equation-\w+">(.*?)<', html) == ["(2)", "(1)"]


def test_bad_latex_is_a_warning_at_the_line(notebook):
    notebook.write("index.rst", "Title\n=====\n\nFine.\n\nThis is not: $\\foo$.\n")
    warnings, out = notebook.build()
    assert r"index.rst:6: WARNING: math: unknown command \foo in '\\foo'" in warnings
    assert r"<code>\foo</code>" in (out / "index.html").read_text("utf-8")


@pytest.mark.parametrize("builder", ["latex", "text"])
def test_other_builders(notebook, builder):
    notebook.write("index.rst", "Title\n=====\n\nMultiply by $35^3 = 42,875$.\n")
    warnings, out = notebook.build(builder)
    assert warnings == ""
    (path,) = [*out.glob("*.tex"), *out.glob("*.txt")]
    assert "35^3 = 42,875" in path.read_text("utf-8")


def test_formulas_keep_the_stops_and_brackets_beside_them(notebook):
    text = "Page\n====\n\nSee ($x$), then $y$ and $z$.\n"
    notebook.write("index.rst", text)
    warnings, out = notebook.build()
    assert not warnings
    html = (out / "index.html").read_text("utf-8")
    found = re.findall(r'<span class="math-unbroken">(.*?)</span>([^<]*)</span>', html)
    assert [re.sub(r"<.*>", "M", before) + after for before, after in found] == ["(M),", "M."]
    assert "See <span" in html and " then <span" in html and " and <span" in html


def test_a_formula_after_a_line_break_keeps_its_space(notebook):
    notebook.write("index.rst", "Page\n====\n\nReaches an\n$R^2$ of 0.5.\n")
    warnings, out = notebook.build()
    assert not warnings
    html = (out / "index.html").read_text("utf-8")
    shown = re.sub(r"<math.*?</math>", "M", html, flags=re.DOTALL)
    assert "Reaches an M of 0.5." in " ".join(re.sub(r"<[^>]*>", "", shown).split())


def test_beside_the_extension_that_also_reads_dollars(notebook):
    notebook.write("index.rst", "Title\n=====\n\nPays \\$5, 5\\ × 3, of $x$ and $$y$$\n")
    pages = []
    for extensions in [
        ["atompaint_vae.notebook"],
        ["sphinx_math_dollar", "sphinx.ext.mathjax", "atompaint_vae.notebook"],
        ["atompaint_vae.notebook", "sphinx_math_dollar"],
    ]:
        notebook.write("conf.py", f"extensions = {extensions}\nhtml_theme = 'basic'\n")
        warnings, out = notebook.build(fresh=True)
        assert warnings == ""
        html = (out / "index.html").read_text("utf-8")
        pages.append(html.partition("Pays")[2].partition("</p>")[0])
    assert pages[0].startswith(" $5, 5× 3, of ") and pages[0].count("<math") == 2
    assert pages[1:] == 2 * pages[:1]
