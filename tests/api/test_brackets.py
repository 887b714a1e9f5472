"""Orders that are tied to each other, against the running server."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from fillwright.access import ACCOUNT_DEFAULT
from fillwright.adapters.local import SystemClock
from fillwright.adapters.sqlite import SqliteStore
from fillwright.order import cancel
from fillwright.units import OrderId
from tests.api.running import SELL, Server, run, serving
from tests.api.test_resting import price_of, reached

PAIR = {"pair": "SOL/USDC", "amount": "1"}
BUY = {**PAIR, "side": "buy"}
STOP = {"type": "stop", "trigger": {"price": "1"}}
"""Until SOL is worth a dollar."""
PROFIT = {"type": "take_profit", "trigger": {"price": "100000"}}


async def bracket(server: Server, entry: Any, *exits: Any, key: str | None = None, expect: int = 201) -> Any:
    body = {"exits": list(exits)} if entry is None else {"entry": entry, "exits": list(exits)}
    answer = await server.post("/v1/brackets", body, headers={} if key is None else {"Idempotency-Key": key})
    assert answer.status == expect, answer.json
    return answer.json


async def shown(server: Server, order: Any) -> Any:
    return (await server.get(f"/v1/orders/{order['orderId']}")).json


async def causes(server: Server, order: Any) -> list[str]:
    return [each["cause"] for each in (await server.get(f"/v1/orders/{order['orderId']}/events")).json["data"]]


def test_a_filled_entry_releases_its_exits_with_its_amount_and_one_of_them_ends_the_other(tmp_path: Path) -> None:
    async def script() -> None:
        async with serving(tmp_path) as server:
            price = await price_of(server, side="sell", **PAIR)
            near = {"type": "take_profit", "trigger": {"price": f"{price * 0.9:.3f}"}, "slippageBps": 500}
            entry = {"tokenIn": "USDC", "tokenOut": "SOL", "amount": "100"}
            told = await bracket(server, {**entry, "slippageBps": 500}, STOP, near)
            stop, profit = told["exits"]
            assert told["entry"]["linkedTo"] == {"children": [stop["orderId"], profit["orderId"]]}
            for exit_, other in ((stop, profit), (profit, stop)):
                assert exit_["linkedTo"]["parent"] == told["entry"]["orderId"]
                assert exit_["linkedTo"]["siblings"] == [other["orderId"]]
                assert (exit_["side"], exit_["tokenIn"], exit_["tokenOut"]) == ("sell", "SOL", "USDC")
            filled = await server.ended(told["entry"]["orderId"])
            assert filled["status"] == "confirmed"
            done = await server.ended(profit["orderId"])
            assert done["status"] == "confirmed"
            assert done["amount"] == done["amountIn"] == filled["amountOut"]
            assert (await causes(server, profit))[:4] == ["accepted", "armed", "released", "triggered"]
            gone = await server.ended(stop["orderId"])
            assert (gone["status"], gone["code"]) == ("canceled", "ORDER_SIBLING_FILLED")
            assert profit["orderId"] in gone["error"]

    run(script())


def test_exits_wait_for_their_entry_and_go_with_it(tmp_path: Path) -> None:
    """Their own condition is met from the first moment on: only the entry keeps them waiting, over a restart too."""

    async def script() -> None:
        async with serving(tmp_path) as server:
            met = {"type": "take_profit", "trigger": {"price": "1"}}
            told = await bracket(server, {**BUY, "type": "limit", "limitPrice": "1"}, met)
            (exit_,) = told["exits"]
            await reached(server, told["entry"]["orderId"], "open")
            await reached(server, exit_["orderId"], "open")
            await asyncio.sleep(1)
            assert await causes(server, exit_) == ["accepted", "armed"]
            explained = (await server.get(f"/v1/orders/{exit_['orderId']}/explain")).json
            assert explained["waitsFor"] == "order"
            assert told["entry"]["orderId"] in explained["summary"]
        async with serving(tmp_path) as server:
            await asyncio.sleep(0.5)
            assert (await shown(server, exit_))["status"] == "open"
            await server.post(f"/v1/orders/{told['entry']['orderId']}/cancel")
            gone = await server.ended(exit_["orderId"])
            assert (gone["status"], gone["code"]) == ("canceled", "ORDER_PARENT_UNFILLED")

    run(script())


def test_what_happened_while_nobody_watched_is_made_up_for(tmp_path: Path) -> None:
    async def script() -> None:
        async with serving(tmp_path) as server:
            told = await bracket(server, {**BUY, "type": "limit", "limitPrice": "1"}, STOP, PROFIT)
            for order in (told["entry"], *told["exits"]):
                await reached(server, order["orderId"], "open")
        store = SqliteStore(tmp_path / "orders.db", SystemClock(), lease_s=10)
        entry = await store.get(ACCOUNT_DEFAULT, OrderId(told["entry"]["orderId"]))
        assert entry is not None
        canceled = cancel(entry, entry.updated_at)
        assert canceled is not None
        await store.record(entry, [canceled])
        store.close()
        async with serving(tmp_path) as server:
            for each in told["exits"]:
                assert (await server.ended(each["orderId"]))["code"] == "ORDER_PARENT_UNFILLED"

    run(script())


def test_of_two_orders_that_exclude_each_other_one_swaps(tmp_path: Path) -> None:
    """Both conditions are met at once."""

    async def script() -> None:
        async with serving(tmp_path) as server:
            sell = {**SELL, "slippageBps": 500}
            told = await bracket(
                server,
                None,
                {**sell, "type": "limit", "limitPrice": "1"},
                {**sell, "type": "stop", "trigger": {"price": "100000"}},
            )
            assert "entry" not in told
            ends = [await server.ended(each["orderId"]) for each in told["exits"]]
            assert sorted(each["status"] for each in ends) == ["canceled", "confirmed"]
            (lost,) = (each for each in ends if each["status"] == "canceled")
            assert lost["code"] == "ORDER_SIBLING_FILLED"
            assert "triggered" not in await causes(server, lost)

    run(script())


def test_a_cancel_of_one_leaves_the_other_and_cancel_all_leaves_none(tmp_path: Path) -> None:
    async def script() -> None:
        async with serving(tmp_path) as server:
            told = await bracket(server, None, {**SELL, **STOP}, {**SELL, **PROFIT})
            first, second = told["exits"]
            for each in told["exits"]:
                await reached(server, each["orderId"], "open")
            await server.post(f"/v1/orders/{first['orderId']}/cancel")
            await asyncio.sleep(0.6)
            assert (await shown(server, second))["status"] == "open"
            await server.post("/v1/orders/cancel-all")
            assert (await shown(server, second))["status"] == "canceled"

    run(script())


def test_a_repetition_finds_the_same_orders_and_another_request_is_refused(tmp_path: Path) -> None:
    async def script() -> None:
        async with serving(tmp_path) as server:
            entry = {**BUY, "type": "limit", "limitPrice": "1", "clientOrderId": "mine"}
            told = await bracket(server, entry, STOP, PROFIT, key="k")
            ids = [told["entry"]["orderId"], *(each["orderId"] for each in told["exits"])]
            for key in ("k", "other", None):
                again = await bracket(server, entry, STOP, PROFIT, key=key, expect=200)
                assert [again["entry"]["orderId"], *(each["orderId"] for each in again["exits"])] == ids
            assert (await bracket(server, entry, STOP, key="k", expect=409))["code"] == "ORDER_DUPLICATE_CLIENT_ID"
            assert (await bracket(server, BUY, STOP, key="k", expect=422))["code"] == "IDEMPOTENCY_KEY_REUSED"
            alone = await server.post("/v1/orders", entry)
            assert (alone.status, alone.json["code"]) == (409, "ORDER_DUPLICATE_CLIENT_ID")
            assert server.rows() == 3

    run(script())


def test_the_amount_of_an_exit_is_not_its_owner_s_to_change(tmp_path: Path) -> None:
    async def script() -> None:
        async with serving(tmp_path) as server:
            told = await bracket(server, {**BUY, "type": "limit", "limitPrice": "1"}, STOP)
            (exit_,) = told["exits"]
            await reached(server, exit_["orderId"], "open")
            path, tag = f"/v1/orders/{exit_['orderId']}", {"If-Match": '"2"'}
            refused = await server.send("PATCH", path, json={"amount": "7"}, headers=tag)
            assert (refused.status, refused.json["code"]) == (422, "VALIDATION_CONTRADICTION")
            moved = await server.send("PATCH", path, json={"trigger": {"price": "2"}}, headers=tag)
            assert (moved.status, moved.json["trigger"]["price"]) == (200, "2")
            assert moved.json["linkedTo"] == exit_["linkedTo"]

    run(script())


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({}, "/exits"),
        ({"entry": BUY}, "/exits"),
        ({"entry": BUY, "exits": []}, "/exits"),
        ({"entry": BUY, "exits": [STOP, STOP, STOP]}, "/exits"),
        ({"entry": BUY, "exits": [1]}, "/exits"),
        ({"entry": BUY, "exits": STOP}, "/exits"),
        ({"entry": 7, "exits": [STOP]}, "/entry"),
        ({"entry": BUY, "exits": [STOP], "more": 1}, "/more"),
        ({"entry": {"amount": "1"}, "exits": [STOP]}, "/entry/tokenIn"),
        ({"entry": BUY, "exits": [{**STOP, "amount": "1"}]}, "/exits/0/amount"),
        ({"entry": BUY, "exits": [STOP, {**PROFIT, "side": "sell"}]}, "/exits/1/side"),
        ({"entry": BUY, "exits": [{**STOP, "clientOrderId": "x"}]}, "/exits/0/clientOrderId"),
        ({"entry": BUY, "exits": [{"type": "market"}]}, "/exits/0/type"),
        ({"entry": BUY, "exits": [{"type": "limit", "limitPrice": "1", "timeInForce": "ioc"}]}, "/exits/0/type"),
        ({"entry": BUY, "exits": [{"type": "stop"}]}, "/exits/0/trigger"),
        ({"exits": [{**SELL, **STOP}]}, "/exits"),
        ({"exits": [{**SELL, **STOP}, {**SELL, **PROFIT, "amount": "2"}]}, "/exits/1/amount"),
        ({"exits": [{**SELL, **STOP}, {**BUY, **PROFIT}]}, "/exits/1/tokenIn"),
        ({"exits": [{**SELL, **STOP}, {**SELL, **PROFIT, "clientOrderId": "x"}]}, "/exits/1/clientOrderId"),
        ({"exits": [{**SELL, **STOP}, SELL]}, "/exits/1/type"),
    ],
)
def test_a_bracket_that_makes_no_sense_names_its_field_and_stores_nothing(
    tmp_path: Path, body: dict[str, Any], pointer: str
) -> None:
    async def script() -> None:
        async with serving(tmp_path) as server:
            refused = await server.post("/v1/brackets", body)
            assert refused.status == 422, refused.json
            assert pointer in {each["pointer"] for each in refused.json["errors"]}
            assert server.rows() == 0

    run(script())
