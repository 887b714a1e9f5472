"""The console of an engine that asks for an API key."""

import secrets
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Request, expect

from tests.browser.conftest import Visit, running
from tests.processes.server import Server

KEY = f"fw_{secrets.token_hex(6)}_{secrets.token_hex(32)}"


@pytest.fixture
def locked(tmp_path: Path) -> Iterator[Server]:
    yield from running(tmp_path, {"FILLWRIGHT_SIM": "instant", "FILLWRIGHT_FIRST_KEY": KEY})


def test_a_wrong_key_is_refused_and_the_right_one_never_shows(locked: Server, visit: Visit) -> None:
    page = visit(locked, "/#/orders")
    asked: list[Request] = []
    addresses: list[str] = []

    def ask(request: Request) -> None:
        asked.append(request)

    page.on("request", ask)
    page.on("websocket", lambda socket: addresses.append(socket.url))
    dialog = page.get_by_role("dialog")
    expect(dialog).to_be_visible()
    expect(dialog.get_by_role("alert")).to_have_count(0)

    field = dialog.get_by_label("API key", exact=True)
    expect(field).to_have_attribute("type", "password")
    field.fill(f"{KEY[:-1]}{'0' if KEY[-1] != '0' else '1'}")
    page.keyboard.press("Enter")
    expect(dialog.get_by_role("alert")).to_have_text("The engine does not accept this key.")
    expect(field).to_be_empty()
    expect(page.locator("#link")).not_to_have_attribute("data-state", "live")

    field.fill(KEY)
    page.keyboard.press("Enter")
    expect(page.locator("#link")).to_have_attribute("data-state", "live")
    expect(dialog).to_be_hidden()
    page.goto(f"{locked.url}/#/lab")
    expect(page.locator(".verdict")).to_contain_text("Every promise holds")
    page.reload()
    expect(page.locator("#link")).to_have_attribute("data-state", "live")  # this tab remembers it
    expect(dialog).to_be_hidden()

    secret = KEY.rpartition("_")[2]
    assert any(secret in request.headers.get("authorization", "") for request in asked)
    assert not [url for url in (page.url, *addresses, *(request.url for request in asked)) if secret in url]
    assert secret not in page.content()
    another = page.context.new_page()
    another.goto(locked.url)
    expect(another.get_by_role("dialog")).to_be_visible()  # and no other tab
