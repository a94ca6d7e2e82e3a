"""The guide's code does what the guide says."""

import re
import textwrap
from pathlib import Path

import pytest

GUIDE = Path(__file__).parents[1] / "docs" / "guide"
PAGES = [path for path in sorted(GUIDE.glob("*.rst")) if "code-block:: python" in path.read_text()]

CODE_BLOCK = re.compile(r"^\.\. code-block:: python\n\n((?:   .*\n|\n)+)", re.MULTILINE)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_code_of_a_page_runs_from_top_to_bottom(page):
    blocks = CODE_BLOCK.findall(page.read_text("utf-8"))
    assert blocks
    names = {}
    for block in blocks:
        exec(compile(textwrap.dedent(block), str(page), "exec"), names)


def test_there_is_a_page_to_run():
    assert any(page.stem == "equivariant_network" for page in PAGES)
