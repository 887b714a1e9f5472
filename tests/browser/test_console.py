"""What a person does at the console, from the ticket to the end of an order, also when the engine goes away."""

import json
import re
import time
import urllib.request
from typing import Any

from playwright.sync_api import Page, expect

from tests.browser.conftest import Visit
from tests.processes.server import Server

MARKET = {"tokenIn": "SOL", "tokenOut": "USDC", "amount": "1"}
REFUSED = {"tokenIn": "SOL", "tokenOut": "BONK", "amount": "90000", "maxPriceImpactBps": 10}
FAR = {**MARKET, "type": "limit", "limitPrice": "100000"}
"""No market will ever pay that."""
ENDED = {"confirmed", "failed", "canceled", "expired"}


def asked(server: Server, path: str, body: object = None, method: str | None = None, **headers: str) -> Any:
    data = None if body is None else json.dumps(body).encode()
    told = {"Content-Type": "application/json"} | {name.replace("_", "-"): text for name, text in headers.items()}
    request = urllib.request.Request(server.url + path, data, told, method=method)
    with urllib.request.urlopen(request, timeout=10) as answer:
        return json.load(answer)


def orders(server: Server) -> dict[str, str]:
    """Every order's status, as the engine tells it."""
    return {order["id"]: order["status"] for order in asked(server, "/v1/orders?limit=1000")["data"]}


def rows(page: Page) -> list[tuple[str, str]]:
    """Each row of the blotter: its order and status."""
    script = "rows => rows.map(row => [row.dataset.id, row.querySelector('[data-status]').dataset.status])"
    return [(order_id, status) for order_id, status in page.locator("tbody tr").evaluate_all(script)]


def ended(server: Server) -> None:
    while not set(orders(server).values()) <= ENDED:
        time.sleep(0.05)


def test_an_order_is_quoted_sent_and_followed_to_its_end(instant: Server, visit: Visit) -> None:
    page = visit(instant)
    page.get_by_label("Amount", exact=True).fill("1500")
    quotes = page.get_by_role("region", name="Best route now")
    expect(quotes.locator("tbody tr")).to_have_count(5)
    expect(quotes).to_contain_text("legs")
    page.get_by_role("button", name="Send order").click()
    sent = page.get_by_role("region", name="Your order")
    expect(sent.locator("[data-status=confirmed]")).to_be_visible()

    sent.get_by_role("link").click()
    expect(page.locator(".timeline li")).to_have_count(5)
    expect(page.get_by_role("img", name=re.compile("^Route of"))).to_be_visible()
    order_id = page.url.split("/")[-1]
    order = asked(instant, f"/v1/orders/{order_id}")
    assert (order["status"], order["amount"]) == ("confirmed", "1500")
    expect(page.get_by_role("region", name="Attempts")).to_contain_text("landed")
    outcome = page.get_by_role("region", name="Outcome")
    expect(outcome.get_by_title(f"{order['amountOut']} USDC")).to_be_visible()
    expect(outcome.get_by_title(f"Copy {order['txHash']}")).to_be_visible()


def test_what_the_engine_refuses_is_told_in_its_words(instant: Server, visit: Visit) -> None:
    page = visit(instant)
    page.get_by_label("Get", exact=True).fill("NOPE")
    expect(page.locator(".problem-note")).to_contain_text("TOKEN_UNKNOWN")
    before = orders(instant)
    page.get_by_role("button", name="Send order").click()
    expect(page.get_by_role("alert")).to_contain_text("unknown token")
    assert orders(instant) == before


def test_an_order_that_waits_is_canceled(classic: Server, visit: Visit) -> None:
    page = visit(classic)
    for _ in range(4):  # the worker is busy with them for seconds
        asked(classic, "/v1/orders", MARKET)
    page.get_by_role("button", name="Send order").click()
    sent = page.get_by_role("region", name="Your order")
    sent.get_by_role("button", name="Cancel").click()
    expect(sent.locator("[data-status=canceled]")).to_be_visible()
    expect(sent.get_by_role("button", name="Cancel")).to_have_count(0)
    assert sorted(orders(classic).items())[-1][1] == "canceled"


def test_a_limit_order_rests_is_amended_and_confirmed(instant: Server, visit: Visit) -> None:
    page = visit(instant)
    page.get_by_label("Order type").select_option("limit")
    limit = page.get_by_label("Limit price")
    expect(limit).not_to_have_value("")  # a price near the one now is suggested
    expect(page.locator(".sentence")).to_contain_text(re.compile(r"^Waits until .* or more: \+(0\.9|1\.0)"))
    limit.fill("100000")
    expect(page.locator(".sentence")).to_contain_text("100,000 USDC per SOL or more")
    page.get_by_role("button", name="Send order").click()
    sent = page.get_by_role("region", name="Your order")
    expect(sent.locator("[data-status=open]")).to_have_text("resting")
    sent.get_by_role("link").click()

    waits = page.get_by_role("region", name="What it waits for")
    expect(waits.get_by_role("img", name=re.compile(r"^now [\d.]+, limit 100,000$"))).to_be_visible()
    order_id = page.url.split("/")[-1]
    assert asked(instant, f"/v1/orders/{order_id}")["limitPrice"] == "100000"
    waits.locator("summary").click()
    waits.get_by_label("Limit price").fill("1")
    waits.get_by_role("button", name="Amend").click()
    expect(page.locator(".heading [data-status=confirmed]")).to_be_visible()
    for step in ("Rests until", "Amended", "Triggered by the market", "Landed"):
        expect(page.locator(".timeline")).to_contain_text(step)
    order = asked(instant, f"/v1/orders/{order_id}")
    assert (order["status"], order["limitPrice"]) == ("confirmed", "1")


def test_a_limit_order_is_placed_and_canceled_by_keyboard(instant: Server, visit: Visit) -> None:
    page = visit(instant)
    press = page.keyboard.press
    page.get_by_label("Order type").focus()
    page.keyboard.type("Li")
    expect(page.get_by_label("Limit price")).not_to_have_value("")
    page.get_by_label("Amount", exact=True).focus()
    press("Tab")  # fields that a limit order does not have are not stopped at
    expect(page.locator("*:focus")).to_have_accessible_name("Limit price")
    press("Control+a")
    page.keyboard.type("100000")
    press("Enter")
    sent = page.get_by_role("region", name="Your order")
    expect(sent.locator("[data-status=open]")).to_be_visible()
    sent.get_by_role("button", name="Cancel").focus()
    press("Enter")
    expect(sent.locator("[data-status=canceled]")).to_be_visible()


def test_an_amendment_of_what_another_has_changed_is_explained_first(instant: Server, visit: Visit) -> None:
    path = f"/v1/orders/{asked(instant, '/v1/orders', FAR)['id']}"
    page = visit(instant, f"/#{path.removeprefix('/v1')}")
    waits = page.get_by_role("region", name="What it waits for")
    waits.locator("summary").click()
    amount = waits.get_by_label("Amount")
    amount.fill("3")
    seq = asked(instant, path)["seq"]
    asked(instant, path, {"limitPrice": "90000"}, "PATCH", If_Match=f'"{seq}"')
    expect(page.locator(".timeline")).to_contain_text("Amended")  # the page is drawn again around the form
    expect(amount).to_be_focused()
    expect(amount).to_have_value("3")
    page.keyboard.press("Enter")
    expect(waits.get_by_role("alert")).to_contain_text("ORDER_CHANGED")
    expect(waits.get_by_label("Limit price")).to_have_value("90000")
    assert asked(instant, path)["amount"] == "1"
    waits.get_by_role("button", name="Amend").click()
    expect(page.get_by_role("heading", level=1)).to_contain_text("3")
    order = asked(instant, path)
    assert (order["amount"], order["limitPrice"]) == ("3", "90000")
    page.get_by_role("button", name="Cancel order").click()
    expect(page.locator(".heading [data-status=canceled]")).to_be_visible()


def test_resting_orders_are_counted_found_and_told_with_their_distance(instant: Server, visit: Visit) -> None:
    ids = [asked(instant, "/v1/orders", {**FAR, "limitPrice": price})["id"] for price in ("100000", "200000")]
    page = visit(instant, "/#/orders?status=resting")
    expect(page.locator("tbody tr")).to_have_count(2)
    expect(page.locator("button[data-status=open] .count")).to_have_text("2")
    for order_id, price in zip(ids, ("100,000", "200,000"), strict=True):
        row = page.locator(f"tr[data-id='{order_id}']")
        expect(row).to_contain_text(f"≥\u00a0{price}")
        expect(row).to_contain_text(re.compile(r"\d+\.\d\d\s%\sto go"))
    for order_id in ids:
        asked(instant, f"/v1/orders/{order_id}/cancel", {})
    expect(page.locator(".empty")).to_contain_text("is resting")


def test_a_price_is_not_kept_for_another_pair_or_side(instant: Server, visit: Visit) -> None:
    page = visit(instant, "/#/?type=stop&trigger=12.5")
    trigger = page.get_by_label("Trigger price")
    expect(trigger).to_have_value("12.5")
    page.get_by_role("button", name="Swap the two tokens").click()
    expect(page.locator(".sentence")).to_contain_text("or more: +")  # a buy's stop is above the price now
    assert trigger.input_value() not in ("", "12.5")


def test_filters_live_in_the_address(instant: Server, visit: Visit) -> None:
    for body in (MARKET, MARKET, REFUSED, {**MARKET, "tags": ["needle"]}):
        asked(instant, "/v1/orders", body)
    ended(instant)
    page = visit(instant, "/#/orders")
    statuses = list(orders(instant).values())
    expect(page.locator("tbody tr")).to_have_count(len(statuses))
    for status in ("confirmed", "failed"):
        choice = page.locator(f"button[data-status={status}]")
        assert choice.locator(".count").inner_text() == str(statuses.count(status))

    page.locator("button[data-status=failed]").click()
    assert "status=failed" in page.url
    expect(page.locator("tbody tr")).to_have_count(statuses.count("failed"))
    page.reload()
    expect(page.locator("tbody tr")).to_have_count(statuses.count("failed"))
    expect(page.locator("button[data-status=failed]")).to_have_attribute("aria-pressed", "true")

    page.locator("button[data-status=all]").click()
    page.get_by_role("searchbox").fill("needle")
    expect(page.locator("tbody tr")).to_have_count(1)
    assert page.url.endswith("#/orders?q=needle")
    page.get_by_role("searchbox").fill("no such order")
    expect(page.locator(".empty")).to_contain_text("No order matches")


def test_a_restart_leaves_no_gap_and_no_second_row(classic: Server, visit: Visit) -> None:
    page = visit(classic, "/#/orders")
    for _ in range(2):
        asked(classic, "/v1/orders", MARKET)
    expect(page.locator("tbody tr")).to_have_count(2)
    classic.kill()
    expect(page.locator("#banner")).to_be_visible()
    page.context.set_offline(True)  # so that all of this happens while the page cannot hear of it
    classic.start()
    for _ in range(3):
        asked(classic, "/v1/orders", REFUSED)
    ended(classic)
    page.context.set_offline(False)
    expect(page.locator("#link")).to_have_attribute("data-state", "live")
    expect(page.locator("#banner")).to_be_hidden()
    expect(page.locator("tbody tr")).to_have_count(5)
    assert rows(page) == sorted(orders(classic).items(), reverse=True)
    asked(classic, "/v1/orders", REFUSED)
    expect(page.locator("tbody tr [data-status=failed]")).to_have_count(4)
    assert rows(page) == sorted(orders(classic).items(), reverse=True)


def test_operations_tell_each_stage_s_latency_by_the_engine_s_own_metric(instant: Server, visit: Visit) -> None:
    asked(instant, "/v1/orders", MARKET)
    ended(instant)
    page = visit(instant, "/#/operations")
    landed = page.get_by_role("region", name="Latency by stage").locator("tr").filter(has_text="Landed")
    expect(landed.locator("td").nth(1)).to_have_text(re.compile("^≤ "))
    with urllib.request.urlopen(f"{instant.url}/metrics", timeout=10) as answer:
        (told,) = re.findall(r'fillwright_stage_seconds_count\{event="landed"\} (\d+)', answer.read().decode())
    expect(landed.locator("td").last).to_have_text(told)


def test_the_api_s_documents_are_one_click_away(instant: Server, visit: Visit) -> None:
    page = visit(instant)
    page.get_by_role("link", name="API").click()
    expect(page).to_have_url(f"{instant.url}/docs")
    expect(page.get_by_text("/v1/sim/faults").first).to_be_visible()


def test_everything_works_without_a_mouse(instant: Server, visit: Visit) -> None:
    page = visit(instant)
    press = page.keyboard.press
    press("Tab")
    expect(page.get_by_role("button", name="Skip to content")).to_be_focused()
    press("Enter")
    for name in ("Order type", "Pay", "Swap the two tokens", "Get"):
        press("Tab")
        expect(page.locator("*:focus")).to_have_accessible_name(name)
    press("Tab")
    expect(page.get_by_label("pay", exact=True).and_(page.get_by_role("radio"))).to_be_focused()
    press("Tab")
    press("Control+a")
    page.keyboard.type("3.25")
    press("Enter")
    expect(page.get_by_role("region", name="Your order").locator("[data-status=confirmed]")).to_be_visible()

    page.goto(f"{instant.url}/#/orders")
    expect(page.locator("tbody tr").first).to_contain_text("3.25")
    page.get_by_role("searchbox").focus()
    press("ArrowDown")
    expect(page.locator("tbody tr").first).to_be_focused()
    press("End")
    expect(page.locator("tbody tr").last).to_be_focused()
    press("Home")
    press("Enter")
    expect(page.get_by_role("heading", level=1)).to_contain_text("3.25")
    expect(page.locator("#main")).to_be_focused()
