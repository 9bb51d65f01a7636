"""The check of links, on pages made up for it."""

import runpy
from pathlib import Path

import pytest

DOCS = Path(__file__).parents[1] / "docs"
broken = runpy.run_path(str(DOCS / "check_links.py"))["broken"]


@pytest.fixture
def site(tmp_path):
    (tmp_path / "sub").mkdir()
    (tmp_path / "a b.html").write_text('<p id="here">x</p><a name="old">y</a>')
    (tmp_path / "sub" / "index.html").write_text("<p>z</p>")
    return tmp_path


@pytest.mark.parametrize(
    "link",
    [
        *("a%20b.html", "a%20b.html#here", "a%20b.html#old", "#", "#top", "sub/"),
        *("sub/index.html?digest=1", "https://elsewhere.org/gone", "mailto:a@b.c"),
    ],
)
def test_link_that_leads_somewhere(site, link):
    (site / "page.html").write_text(f'<a href="{link}">x</a>')
    assert broken(site) == []


@pytest.mark.parametrize(
    "link", ["gone.html", "a%20b.html#gone", "#gone", "gone/", "sub/#here"]
)
@pytest.mark.parametrize("tag", ['<a href="{}">', '<img src="{}">'])
def test_link_that_leads_nowhere_is_named_with_its_page(site, link, tag):
    (site / "sub" / "index.html").write_text("<p>z</p>")
    (site / "page.html").write_text(tag.format(link))
    assert broken(site) == [f"page.html: {link}"]


def test_templates_of_the_theme_are_no_pages(site):
    (site / "_static").mkdir()
    (site / "_static" / "macro.html").write_text('<a href="gone.html">x</a>')
    assert broken(site) == []
