"""Check that every link inside the built pages leads to a page and a place that exist.

``python docs/check_links.py docs/_build/html``. Links to other sites are not followed.
(LinkChecker, which follows both, took minutes for what takes seconds here.)
"""

import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit


class Page(HTMLParser):
    """Places of a page, and the links from it."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.places: set[str] = {"", "top"}
        self.links: list[str] = []
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag, attrs):  # noqa: D102
        for name, value in attrs:
            if name == "id" or (name == "name" and tag == "a"):
                self.places.add(value)
            elif name in ("href", "src") and value is not None:
                self.links.append(value)


def broken(folder: Path) -> list[str]:
    """Links that lead nowhere, each with the page that it is on."""
    folder = folder.resolve()
    paths = [p for p in folder.rglob("*.html") if "_static" not in p.parts]  # templates
    pages = {path: Page(path) for path in paths}
    found = []
    for path, page in pages.items():
        for link in page.links:
            parts = urlsplit(link)
            if parts.scheme or parts.netloc:
                continue
            target = path
            if parts.path:
                target = (path.parent / unquote(parts.path)).resolve()
            if target.is_dir():
                target /= "index.html"
            there = target.exists()
            if there and parts.fragment and target in pages:
                there = unquote(parts.fragment) in pages[target].places
            if not there:
                found.append(f"{path.relative_to(folder)}: {link}")
    return found


if __name__ == "__main__":
    lost = broken(Path(sys.argv[1]))
    print(*lost, sep="\n")
    sys.exit(f"{len(lost)} links lead nowhere" if lost else 0)
