"""The fault lab, as somebody uses it: faults turned by keyboard, a stream of orders, a worker killed, and an alarm."""

import re
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import Visit, running
from tests.browser.test_console import MARKET, asked, ended
from tests.browser.test_looks import AUDIT, AXE
from tests.processes.server import Audit, Server

TAKEN_OVER_MS = 40_000


@pytest.fixture
def quick(tmp_path: Path) -> Iterator[Server]:
    yield from running(tmp_path / "quick", {"FILLWRIGHT_SIM": "instant"})


@pytest.fixture
def shared(tmp_path: Path) -> Iterator[Server]:
    """An engine whose chain is elsewhere, and out of reach."""
    yield from running(tmp_path / "shared", {"FILLWRIGHT_CHAIN": "http://127.0.0.1:9"})


def counted(page: Page, name: str) -> int:
    figure = page.locator(".tally div").filter(has=page.get_by_text(name, exact=True)).locator("dd")
    return int(figure.inner_text().replace(",", ""))


def test_orders_survive_faults_and_a_killed_worker(quick: Server, visit: Visit) -> None:
    page = visit(quick, "/#/lab")
    expect(page.locator(".promise")).to_have_count(7)
    slower, dropped = page.get_by_role("slider", name="Slower blocks"), page.get_by_role("slider", name="Dropped sends")
    dropped.focus()
    page.keyboard.press("End")
    slower.focus()
    for _ in range(2):
        page.keyboard.press("ArrowRight")
    page.get_by_label("meteora").check()
    expect(dropped).to_have_attribute("aria-valuetext", "100 %")
    expect(slower).to_have_attribute("aria-valuetext", "200 ms")
    happened = page.get_by_role("region", name="What happened")
    expect(happened).to_contain_text("down: meteora")
    plan = asked(quick, "/v1/sim/faults")
    assert (plan["dropPct"], plan["landDelayMs"], plan["venuesDown"]) == (100, 200, ["meteora"])

    page.get_by_label("How many").fill("15")
    page.get_by_label("A second").fill("50")
    page.get_by_role("button", name="Place orders").click()
    expect(page.get_by_text("15 of 15 accepted")).to_be_visible()
    page.get_by_role("button", name="Kill the worker").click()
    expect(happened).to_contain_text(
        re.compile(r"Worker embedded was killed with [1-9]\d* orders in hand; embedded-2 follows\.")
    )
    page.get_by_role("button", name="Calm").click()
    expect(happened).to_contain_text(re.compile("embedded-2 has taken over .* the first after"), timeout=TAKEN_OVER_MS)
    expect(page.locator(".tally")).to_contain_text(re.compile(r"In flight\s*0"), timeout=TAKEN_OVER_MS)
    assert (counted(page, "Accepted"), counted(page, "Confirmed"), counted(page, "Failed")) == (15, 15, 0)
    assert counted(page, "Take-overs") == 10

    expect(page.locator(".verdict")).to_contain_text("All 15 orders")
    expect(page.locator(".verdict")).to_contain_text("Every promise holds")
    expect(page.locator(".zero")).to_have_text(["0"] * 7)
    quick.stop()
    audit = Audit.of(quick.folder)
    audit.check()
    assert len(audit.settlements) == 15
    expect(page.locator(".verdict")).to_contain_text("Not known now")
    quick.start()


def test_a_broken_promise_is_an_alarm(quick: Server, visit: Visit) -> None:
    for _ in range(3):
        asked(quick, "/v1/orders", MARKET)
    ended(quick)
    page = visit(quick, "/#/lab", color_scheme="dark")
    expect(page.locator(".verdict")).to_contain_text("Every promise holds")
    expect(page.get_by_role("alert")).to_have_count(0)
    with closing(sqlite3.connect(quick.folder / "chain.db", isolation_level=None)) as chain:
        (gone,) = chain.execute("DELETE FROM ledger WHERE id = 1 RETURNING order_id").fetchone()
    expect(page.get_by_role("alert")).to_have_text("Alarm: a promise is broken")
    broken = page.locator(".promise[data-broken]")
    expect(broken).to_have_count(1)
    expect(broken).to_contain_text("Confirmed, not settled")
    expect(broken.locator(".zero svg")).to_be_visible()
    page.evaluate(AXE)
    assert page.evaluate(AUDIT) == []
    broken.get_by_role("link", name=gone[-6:]).click()
    expect(page.locator(".timeline li")).to_have_count(5)


def test_the_lab_is_linked_only_where_there_is_one(quick: Server, shared: Server, visit: Visit) -> None:
    link = visit(quick).get_by_role("link", name="Fault lab")
    link.click()
    page = visit(shared)
    expect(page.locator("#link")).to_have_attribute("data-state", "live")
    page.wait_for_load_state("networkidle")
    expect(page.get_by_role("link", name="Operations")).to_be_visible()
    expect(page.get_by_role("link", name="Fault lab")).to_have_count(0)
    page.goto(f"{shared.url}/#/lab")
    expect(page.get_by_role("heading", level=1)).to_have_text("This engine has no fault lab")
