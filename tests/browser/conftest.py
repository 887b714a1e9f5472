"""A browser, servers for it to visit, and the promises that hold on every visit.

Decides: which browser it is and how it is started. Must never: download one.
"""

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, sync_playwright

from tests.processes.server import Server
from tests.servers.machine import installed

QUIET = [
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"),
    *("--disable-component-update", "--disable-sync"),
]
WITHIN_MS = 15_000


def _chromium() -> Path | None:
    found = shutil.which("chromium")
    return None if found is None else Path(found)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Module by module: while it is open, no other event loop can run in this thread."""
    program = installed(_chromium, "chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=QUIET)
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def instant(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server whose chain answers at once."""
    yield from running(tmp_path_factory.mktemp("instant"), {"FILLWRIGHT_SIM": "instant"})


@pytest.fixture
def classic(tmp_path: Path) -> Iterator[Server]:
    """A server whose chain takes its time, and whose worker takes two orders at a time."""
    yield from running(tmp_path, {"FILLWRIGHT_SIM": "classic", "CONCURRENCY": "2"})


def running(folder: Path, settings: dict[str, str]) -> Iterator[Server]:
    server = Server(folder, settings)
    server.start()
    yield server
    server.stop()


Visit = Callable[..., Page]


@pytest.fixture
def visit(browser: Browser) -> Iterator[Visit]:
    """Open an address of a server. Afterwards: no request left the origin and no script failed on the way."""
    with _watched(browser) as open_page:
        yield open_page


@contextmanager
def _watched(browser: Browser) -> Iterator[Visit]:
    contexts: list[BrowserContext] = []
    asked: set[str] = set()
    origins: set[str] = set()
    failures: list[str] = []

    def open_page(server: Server, address: str = "/", **options: Any) -> Page:
        context = browser.new_context(**options)
        contexts.append(context)
        context.set_default_timeout(WITHIN_MS)
        page = context.new_page()
        origins.update({server.url, server.url.replace("http", "ws", 1)})
        page.on("request", lambda request: asked.add(_origin(request.url)))
        page.on("websocket", lambda socket: asked.add(_origin(socket.url)))
        page.on("pageerror", lambda error: failures.append(str(error)))
        page.on("console", lambda said: failures.append(said.text) if "Content Security" in said.text else None)
        page.goto(server.url + address)
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert asked <= origins
    assert failures == []


def _origin(url: str) -> str:
    return "/".join(url.split("/")[:3])
