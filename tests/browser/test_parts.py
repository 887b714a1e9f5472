"""What a person places that is more than one swap, or of a token that nobody knows yet: slices, brackets, snipers."""

import re
import time
from collections.abc import Iterator

import pytest
from playwright.sync_api import Page, expect

from fillwright.adapters.sim.newcomers import Newcomer, Trap
from tests.api.test_sniping import first_like
from tests.browser.conftest import Visit, running
from tests.browser.test_console import asked, orders
from tests.processes.server import Server

SEED, TRAP = first_like(lambda each: each.trap is Trap.MINTABLE)


@pytest.fixture(scope="module")
def newcomers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Server, Newcomer]]:
    """A server whose first new pool, against SOL, is a trap; about one a second follows."""
    settings = {"FILLWRIGHT_SIM": "instant", "FILLWRIGHT_NEW_POOLS_S": "1", "FILLWRIGHT_SEED": str(SEED)}
    for server in running(tmp_path_factory.mktemp("newcomers"), settings):
        yield server, TRAP


def sent(page: Page, region: str = "Your order") -> str:
    """Press, open the order's page, and its id."""
    page.get_by_role("button", name="Send order").click()
    page.get_by_role("region", name=region).get_by_role("link", name="Everything about it").click()
    expect(page.locator(".timeline")).to_be_visible()
    return page.url.split("/")[-1]


def released(server: Server, order_id: str) -> None:
    """Once its entry is filled; until then an exit's amount is a guess."""
    until = time.monotonic() + 15
    while "released" not in [each["cause"] for each in asked(server, f"/v1/orders/{order_id}/events")["data"]]:
        assert time.monotonic() < until
        time.sleep(0.05)


def test_slices_land_one_after_another(instant: Server, visit: Visit) -> None:
    page = visit(instant)
    page.get_by_label("Order type").select_option("twap")
    expect(page.get_by_role("group", name="The amount is what I")).to_be_hidden()  # it is always what is paid
    page.get_by_label("Amount", exact=True).fill("3")
    page.get_by_label("Slices", exact=True).fill("3")
    page.get_by_label("One every, s").fill("2")
    page.get_by_label("Moved at random by, %").fill("10")
    page.get_by_label("Price at worst").fill("1")
    sentence = page.locator(".sentence")
    expect(sentence).to_contain_text("Swaps 1 SOL now, then every 2 s: 3 slices, the last one in 4 s.")
    expect(sentence).to_contain_text("by up to 10 % of that interval")
    expect(sentence).to_contain_text("waits for 1 USDC or better")
    order_id = sent(page)
    slices = page.get_by_role("region", name="Slices")
    expect(slices.get_by_role("img", name=re.compile("^1 of 3 SOL swapped"))).to_be_visible()
    expect(slices.locator("tbody tr")).to_have_count(3)
    expect(page.locator(".heading [data-status=confirmed]")).to_be_visible()
    order = asked(instant, f"/v1/orders/{order_id}")
    assert order["schedule"] == {"slices": 3, "intervalSeconds": 2, "jitterPct": 10}
    assert (order["status"], order["filledIn"], order["limitPrice"]) == ("confirmed", "3", "1")
    expect(slices.get_by_title(f"{order['filledOut']} USDC")).to_be_visible()
    page.goto(f"{instant.url}/#/orders?q={order_id}")
    expect(page.locator("tbody tr")).to_contain_text("all 3 slices")


def test_a_schedule_under_way_tells_its_progress_and_keeps_what_it_swapped(instant: Server, visit: Visit) -> None:
    page = visit(instant, "/#/?type=dca&slices=4&interval=3600&amount=2")
    order_id = sent(page)
    expect(page.get_by_role("region", name="What it waits for").locator(".amend")).to_be_hidden()
    page.goto(f"{instant.url}/#/orders?q={order_id}")
    row = page.locator("tbody tr")
    expect(row).to_contain_text(re.compile(r"slice 2 of 4, next \d\d:\d\d:\d\d"))
    row.get_by_role("link").click()
    page.get_by_role("button", name="Cancel order").click()
    expect(page.locator(".heading [data-status=canceled]")).to_be_visible()
    expect(page.get_by_role("region", name="Slices")).to_contain_text("ended at slice 2 of 4")
    assert asked(instant, f"/v1/orders/{order_id}")["filledIn"] == "0.5"


def test_a_bracket_s_entry_is_confirmed_its_exits_rest_and_one_is_canceled(instant: Server, visit: Visit) -> None:
    page = visit(instant, "/#/?pay=USDC&get=SOL&amount=100")
    profit, loss = page.get_by_label("Take profit at"), page.get_by_label("Stop at")
    expect(profit).to_be_hidden()
    page.get_by_label("Take profit and stop").check()
    expect(profit).not_to_have_value("")  # prices around the one now are suggested
    back = float(asked(instant, "/v1/quotes", {"tokenIn": "SOL", "tokenOut": "USDC", "amount": "1"})["price"])
    assert float(loss.input_value()) < back < float(profit.input_value())  # and not around that of the entry
    profit.fill("100000")
    loss.fill("1")
    sentence = page.locator(".sentence")
    expect(sentence).to_contain_text(
        "the SOL that it gave is swapped back to USDC: takes profit at 100,000 USDC or more"
    )
    expect(sentence).to_contain_text("or stops at 1 USDC or less")
    entry_id = sent(page, "Your bracket")
    expect(page.locator(".heading [data-status=confirmed]")).to_be_visible()
    bracket = page.get_by_role("region", name="Bracket")
    expect(bracket.locator(".tied [data-status=open] .chip")).to_have_text(["resting", "resting"])
    entry = asked(instant, f"/v1/orders/{entry_id}")
    for each in entry["linkedTo"]["children"]:
        released(instant, each)
    exits = [asked(instant, f"/v1/orders/{each}") for each in entry["linkedTo"]["children"]]
    assert sorted((each["type"], each["amount"]) for each in exits) == [
        ("stop", entry["amountOut"]),
        ("take_profit", entry["amountOut"]),
    ]

    bracket.get_by_role("button", name="Cancel the exit: stop").click()
    expect(bracket.locator("li", has_text="exit: stop").locator(".chip")).to_have_text("canceled")
    expect(bracket.locator("li", has_text="exit: take profit").locator(".chip")).to_have_text("resting")
    bracket.get_by_role("link", name="All of them").click()
    rows = page.locator("tbody tr")
    expect(rows).to_have_count(3)
    expect(rows.first).to_contain_text("entry")
    expect(rows.filter(has_text="take profit")).to_contain_text("to go")
    rows.filter(has_text="take profit").get_by_role("link").click()
    waits = page.get_by_role("region", name="What it waits for")
    waits.locator("summary").click()
    expect(waits.get_by_label("Trigger price")).to_have_value("100000")
    expect(waits.get_by_label("Amount")).to_have_count(0)  # that is what its entry gave
    page.get_by_role("button", name="Cancel order").click()
    expect(page.locator(".heading [data-status=canceled]")).to_be_visible()


def test_a_bracket_is_placed_by_keyboard_and_its_exits_wait_for_its_entry(instant: Server, visit: Visit) -> None:
    page = visit(instant, "/#/?type=limit&pay=USDC&get=SOL&amount=10&limit=1")
    press = page.keyboard.press
    page.get_by_label("Take profit and stop").focus()
    press("Space")
    loss = page.get_by_label("Stop at")
    expect(loss).not_to_have_value("")
    press("Tab")
    expect(page.locator("*:focus")).to_have_accessible_name("Take profit at")
    press("Delete")  # the field's text is selected: one exit is enough
    page.keyboard.type("100000")
    press("Tab")
    press("Delete")
    expect(page.locator(".sentence")).not_to_contain_text("stops at")
    press("Enter")
    bracket = page.get_by_role("region", name="Your bracket")
    expect(bracket.locator(".tied li")).to_have_count(2)
    expect(bracket.locator(".tied")).to_contain_text("waits for its entry")
    expect(page.get_by_role("region", name="Newest orders").get_by_title("what its entry gives")).to_have_count(1)
    bracket.locator(".between").get_by_role("button", name="Cancel", exact=True).last.focus()
    press("Enter")
    expect(bracket.locator(".tied")).to_contain_text("its entry was not filled")
    expect(bracket.locator(".tied .chip")).to_have_text(["canceled", "canceled"])


def test_an_order_that_can_have_no_exits_forgets_them(instant: Server, visit: Visit) -> None:
    page = visit(instant, "/#/?type=stop&exits=on")
    expect(page.locator(".sentence")).to_contain_text("Once triggered")
    expect(page.get_by_label("Take profit and stop")).to_be_hidden()
    assert asked(instant, f"/v1/orders/{sent(page)}").get("linkedTo") is None


def test_what_the_engine_refuses_of_an_exit_is_told_at_its_field(instant: Server, visit: Visit) -> None:
    page = visit(instant, "/#/?exits=on&profit=1&loss=0")
    before = orders(instant)
    page.get_by_role("button", name="Send order").click()
    expect(page.get_by_label("Stop at")).to_have_attribute("aria-invalid", "true")
    expect(page.get_by_label("Take profit at")).not_to_have_attribute("aria-invalid", "true")
    assert orders(instant) == before


def test_a_sniper_leaves_a_trap_alone_until_its_condition_is_given_up(
    newcomers: tuple[Server, Newcomer], visit: Visit
) -> None:
    server, trap = newcomers
    page = visit(server)
    page.get_by_label("Order type").select_option("sniper")
    expect(page.get_by_label("Get", exact=True)).to_be_hidden()
    boxes = page.get_by_role("group", name="A pool must be safe").get_by_role("checkbox")
    assert [box.is_checked() for box in boxes.all()] == [True] * 5
    page.get_by_label("Amount", exact=True).fill("0.5")
    page.get_by_label("Token, by its mint").fill(trap.token.mint)
    page.get_by_label("Oldest pool, s").fill("3600")
    page.get_by_label("Slippage, %").fill("5")
    expect(page.locator(".sentence")).to_contain_text("It must be safe in every respect")
    sent(page)
    pools = page.get_by_role("region", name="New pools, judged now")
    expect(pools.locator("li").first).to_contain_text("Left alone")
    expect(pools).to_contain_text("somebody can still make more of the token")
    expect(page.locator(".heading [data-status=open]")).to_be_visible()
    page.get_by_role("button", name="Cancel order").click()

    page.goto(f"{server.url}/#/?type=sniper&amount=0.5&age=3600&slippage=5&mint={trap.token.mint}")
    page.get_by_label("Nobody can make more of it").uncheck()
    expect(page.get_by_role("list", name="Given up")).to_contain_text("Its maker can make more of it")
    expect(page.locator(".sentence")).to_contain_text("but for what is given up (1 of 5)")
    bought = sent(page)
    expect(page.locator(".heading [data-status=confirmed]")).to_be_visible()
    order = asked(server, f"/v1/orders/{bought}")
    assert (order["pool"], order["sniper"]["require"]["mintAuthority"]) == (trap.pool.address, "any")


def test_a_sniper_buys_from_the_first_honest_pool(newcomers: tuple[Server, Newcomer], visit: Visit) -> None:
    server, trap = newcomers
    page = visit(server, "/#/?type=sniper&amount=0.5&liquidity=1&slippage=5&venue=raydium")
    order_id = sent(page)
    expect(page.locator(".heading [data-status=confirmed]")).to_be_visible(timeout=60_000)
    expect(page.locator(".timeline")).to_contain_text("A new pool meets its conditions")
    order = asked(server, f"/v1/orders/{order_id}")
    assert order["pool"] != trap.pool.address
    assert (order["sniper"]["venues"], order["sniper"]["minLiquidity"]) == (["raydium"], "1")
    expect(page.get_by_role("region", name="Asked for")).to_contain_text(order["pool"])
    expect(page.get_by_role("region", name="Outcome")).to_contain_text(order["tokenOut"][:4])
