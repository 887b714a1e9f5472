"""What must hold of every page: it fits, it can be read by everybody, and it tells what it lacks."""

from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import Visit
from tests.browser.test_console import FAR, MARKET, REFUSED, asked, ended
from tests.processes.server import Server

AXE = (Path(__file__).parent / "axe" / "axe.min.js").read_text()
AUDIT = """async () => (await axe.run({resultTypes: ["violations"]})).violations
    .filter(each => ["serious", "critical"].includes(each.impact))
    .map(each => `${each.id}: ${each.nodes.map(node => node.html.slice(0, 120)).join(" | ")}`)"""

NEVER = {"type": "take_profit", "trigger": {"price": "0.0001"}}
SLICED = {**MARKET, "type": "twap", "schedule": {"slices": 20, "intervalSeconds": 3600}}
HUNTER = {
    "type": "sniper",
    "tokenIn": "SOL",
    "amount": "1",
    "sniper": {"minLiquidity": "1000000", "require": {"sellable": False}},
}


def pages(server: Server) -> dict[str, str]:
    """Each page's address, and what it shows once it is ready."""
    told = {order["status"]: order["id"] for order in asked(server, "/v1/orders")["data"]}
    if {"confirmed", "failed"} - told.keys():
        for body in (REFUSED, {**MARKET, "amount": "1500"}):
            asked(server, "/v1/orders", body)
        ended(server)
        told = {order["status"]: order["id"] for order in asked(server, "/v1/orders")["data"]}
    whole = asked(server, "/v1/brackets", {"entry": MARKET, "exits": [NEVER]})
    sliced, hunter = (asked(server, "/v1/orders", body)["id"] for body in (SLICED, HUNTER))
    resting = told.get("open") or asked(server, "/v1/orders", FAR)["id"]
    return {
        "/#/?amount=1500": ".quotes .picture svg",
        "/#/?type=stop&force=gtd": ".sentence:not(:empty)",
        "/#/?type=twap&jitter=10": ".sentence:not(:empty)",
        "/#/?type=sniper": ".sentence:not(:empty)",
        "/#/?exits=on": ".sentence:not(:empty)",
        "/#/orders": "tbody tr",
        "/#/orders?status=resting": "tbody tr",
        f"/#/orders/{resting}": ".pricing svg",
        f"/#/orders/{whole['exits'][0]['id']}": ".tied .chip",
        f"/#/orders/{sliced}": ".slices",
        f"/#/orders/{hunter}": ".waits p",
        f"/#/orders/{told['confirmed']}": ".picture svg",
        f"/#/orders/{told['failed']}": ".timeline",
        "/#/markets?pay=BONK&get=WBTC&amount=900000000": ".picture svg",
        "/#/operations": ".tile",
        "/#/lab": ".promise",
        "/#/nowhere": ".empty",
    }


def shown(visit: Visit, server: Server, width: int, scheme: str = "light") -> Page:
    size = {"width": width, "height": 800}
    return visit(server, "/problems/ORDER_NOT_FOUND", viewport=size, color_scheme=scheme)


@pytest.mark.parametrize("width", [360, 1440])
def test_no_page_is_wider_than_the_window(instant: Server, visit: Visit, width: int) -> None:
    page = shown(visit, instant, width)
    for address, ready in pages(instant).items():
        page.goto(instant.url + address)
        expect(page.locator(ready).first).to_be_visible()
        assert page.evaluate("document.documentElement.scrollWidth") <= width, address


@pytest.mark.parametrize(("width", "scheme"), [(1440, "light"), (360, "dark")])
def test_axe_finds_nothing_serious(instant: Server, visit: Visit, width: int, scheme: str) -> None:
    page = shown(visit, instant, width, scheme)
    found = {}
    for address, ready in {"/problems/ORDER_NOT_FOUND": "h1", **pages(instant)}.items():
        page.goto(instant.url + address)
        expect(page.locator(ready).first).to_be_visible()
        page.evaluate(AXE)
        found[address] = page.evaluate(AUDIT)
    assert {address: each for address, each in found.items() if each} == {}


def test_the_chosen_theme_stays(instant: Server, visit: Visit) -> None:
    page = visit(instant, color_scheme="light")
    light = page.evaluate("getComputedStyle(document.body).backgroundColor")
    page.get_by_role("button", name="Switch to dark theme").click()
    dark = page.evaluate("getComputedStyle(document.body).backgroundColor")
    page.reload()
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == dark != light


def test_what_is_not_there_is_told(instant: Server, visit: Visit) -> None:
    page = visit(instant, "/#/orders/01890000-0000-7000-8000-000000000000")
    expect(page.get_by_role("heading", level=1)).to_have_text("There is no such order")
    page.goto(f"{instant.url}/#/nowhere")
    expect(page.get_by_role("heading", level=1)).to_have_text("There is no such page")
