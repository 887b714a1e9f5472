"""The site builds without a warning, every link leads somewhere, and generated pages are what they are written from."""

import re
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from fillwright.client import Client
from tests.documentation.building import built
from tests.documentation.pages import ROOT, anchors, links, lists_without_room, name, paths
from tests.reference import FOLDER, PAGES


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`make docs`, elsewhere. A warning, such as a broken link or a page that the navigation leaves out, fails it."""
    return built(tmp_path_factory.mktemp("site"))


def test_every_page_is_on_the_site(site: Path) -> None:
    absent = {"README.md"}  # the front of the repository; the site has index.md
    for page in paths():
        uri = name(page).removeprefix("docs/")
        if name(page) not in absent:
            file = site / re.sub(r"(README)?\.md$", lambda found: "index.html" if found[1] else ".html", uri)
            assert file.is_file(), uri


def test_the_site_asks_nobody_else_for_anything(site: Path) -> None:
    """Pages, scripts and styles of ours and of the theme: nothing is loaded from another origin."""
    loaded = re.compile(r"""<(?:script|link|img|iframe)\b[^>]*?(?:src|href)=["']?((?:https?:)?//[^"'\s>]+)""")
    fetched = re.compile(r"""(?:@import|url\()\s*["']?((?:https?:)?//[^"')\s]+)""")
    for file in site.rglob("*"):
        if file.suffix == ".html":
            assert not loaded.findall(file.read_text()), file
        elif file.suffix == ".css":
            assert not fetched.findall(file.read_text()), file


@pytest.mark.parametrize("page", paths(), ids=name)
def test_links_lead_somewhere(page: Path) -> None:
    """As they are read in the repository; the site's own links are checked where it is built."""
    text = page.read_text()
    for target in links(text):
        parts = urlsplit(target)
        if parts.scheme:
            assert parts.scheme == "https", target
            assert parts.hostname, target
            continue
        file = (page.parent / parts.path).resolve() if parts.path else page
        assert file.exists(), target
        if parts.fragment:
            assert parts.fragment in anchors(file.read_text()), target


@pytest.mark.parametrize("page", paths(), ids=name)
def test_a_list_has_room_above_it(page: Path) -> None:
    assert not lists_without_room(page.read_text()), "put a blank line above the list, or the site shows no list"


@pytest.mark.parametrize("page", sorted((ROOT / "docs").rglob("*.md")), ids=name)
def test_a_page_says_first_whom_it_is_for(page: Path) -> None:
    title, blank, first = page.read_text().splitlines()[:3]
    assert title.startswith("# ")
    assert not blank
    assert first.startswith("For ")


@pytest.mark.parametrize("file", PAGES)
def test_a_generated_page_is_what_it_is_written_from(file: str) -> None:
    assert (FOLDER / file).read_text() == PAGES[file](), "run `python -m tests.reference`"


def test_every_call_of_the_client_has_its_contract() -> None:
    silent = [call for call, method in vars(Client).items() if not call.startswith("_") and not method.__doc__]
    assert not silent


def test_a_broken_anchor_is_noticed() -> None:
    text = (
        "# One title\n\n## A `code` of 503: more\n\n[x](#a-code-of-503-more) [y](other.md#z)\n\n```sh\n[n](no)\n```\n"
    )
    assert anchors(text) == {"one-title", "a-code-of-503-more"}
    assert links(text) == ["#a-code-of-503-more", "other.md#z"]
    assert lists_without_room("Three:\n- a\n") == ["- a"]
    assert lists_without_room("Three:\n\n- a\n  more\n- b\n") == []
