import re

from atompaint_vae.config.schema import list_keys
from atompaint_vae.config.space import SearchHparams
from atompaint_vae.notebook.reference.hparams import mark_code


def test_every_key_is_on_the_page(notebook):
    text = "Index\n=====\n\n.. hyperparameters::\n\nSee :confval:`loss.beta`.\n"
    notebook.write("index.rst", text)
    warnings, out = notebook.build()
    assert warnings == ""
    html = (out / "index.html").read_text("utf-8")
    ids = re.findall(r'id="confval-([\w.-]+)"', html)
    # Kinds of model share some.
    assert ids == [*dict.fromkeys(key.name for key in list_keys())]
    assert 'href="#confval-loss.beta"' in html
    text = re.sub(r"<.*?>", "", html)
    assert "Type:\nan integer &gt;= 0 and &lt; 4294967296" in text
    assert "Default:\nnone: it must be given" in text
    assert '<code class="docutils literal notranslate"><span class="pre">all</span></code>' in html


def test_every_key_of_searches_is_on_the_page(notebook):
    notebook.write("index.rst", "Index\n=====\n\n.. hyperparameters::\n   :search:\n")
    warnings, out = notebook.build()
    assert warnings == ""
    html = (out / "index.html").read_text("utf-8")
    ids = re.findall(r'id="confval-([\w.-]+)"', html)
    assert ids == [f"search.{key}" for key in SearchHparams.model_fields]


def test_descriptions_are_shown_as_they_are_written():
    assert mark_code("*a* `b*` c_") == r"\*a\* ``b*`` c\_"
