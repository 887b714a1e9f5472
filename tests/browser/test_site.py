"""The documentation site in Chromium, wide and narrow: it fits, its search finds, it asks nobody else for anything."""

import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Literal

import pytest
from playwright.sync_api import Browser, TimeoutError

from tests.browser.conftest import WITHIN_MS
from tests.browser.test_looks import AUDIT, AXE
from tests.documentation.building import built

READ = (
    *("index", "tutorial", "how-to/streams", "how-to/bot", "reference/http", "reference/python", "explanation/states"),
    *("CLIENT", "DEPLOY", "RUNBOOK", "SETTINGS", "ERRORS", "ARCHITECTURE", "BENCHMARKS", "CONTRIBUTING"),
)


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:
        """Nothing: pytest shows what matters."""


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = built(tmp_path_factory.mktemp("site"))
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(_Quiet, directory=str(folder))) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@pytest.mark.parametrize("width", [1440, 360])
def test_a_page_fits_and_asks_nobody_else(browser: Browser, address: str, width: int) -> None:
    page = browser.new_page(viewport={"width": width, "height": 900})
    asked: list[str] = []
    failed: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.on("pageerror", lambda error: failed.append(str(error)))
    for read in READ:
        page.goto(f"{address}/{read}.html", wait_until="networkidle", timeout=WITHIN_MS)
        wide = page.evaluate("document.documentElement.scrollWidth")
        assert wide <= width, f"{read} is {wide} wide"
    page.close()
    assert not [url for url in asked if not url.startswith((address, "data:"))]
    assert not failed


@pytest.mark.parametrize(("width", "scheme"), [(1440, "light"), (360, "dark")])
def test_axe_finds_nothing_serious(
    browser: Browser, address: str, width: int, scheme: Literal["light", "dark"]
) -> None:
    page = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)
    found = {}
    for read in READ:
        page.goto(f"{address}/{read}.html", wait_until="networkidle", timeout=WITHIN_MS)
        page.evaluate(AXE)
        found[read] = page.evaluate(AUDIT)
    page.close()
    assert {read: each for read, each in found.items() if each} == {}


def test_the_search_finds_a_page(browser: Browser, address: str) -> None:
    page = browser.new_page(viewport={"width": 1440, "height": 900})
    page.goto(f"{address}/index.html", wait_until="networkidle", timeout=WITHIN_MS)
    found = page.locator("a.md-search-result__link", has_text="falls silent").first
    for _ in range(10):  # what is typed before the index has been read is not searched for
        page.fill("input[name=query]", "")
        page.locator("input[name=query]").press_sequentially("dead-man")
        try:
            found.wait_for(timeout=WITHIN_MS / 5)
            break
        except TimeoutError:
            continue
    else:
        raise AssertionError("the search found nothing")
    page.close()
