"""Orders that wait for the market, against the running server."""

import asyncio
from pathlib import Path
from typing import Any
from unittest import mock

import pytest

from fillwright import watcher
from fillwright.order import Order
from tests.api.running import SELL, Server, run, serving

FAR = {"type": "limit", "limitPrice": "100000"}
"""No market will ever pay that."""
PAIR = {"pair": "SOL/USDC", "amount": "1"}


async def placed(server: Server, **fields: Any) -> Any:
    answer = await server.post("/v1/orders", {**SELL, **fields} if "pair" not in fields else fields)
    assert answer.status == 201, answer.json
    return answer.json


async def reached(server: Server, order_id: str, status: str) -> Any:
    async with asyncio.timeout(20):
        while True:
            order = (await server.get(f"/v1/orders/{order_id}")).json
            if order["status"] == status:
                return order
            assert order["status"] not in {"confirmed", "failed", "canceled", "expired"} - {status}, order
            await asyncio.sleep(0.02)


async def price_of(server: Server, **fields: Any) -> float:
    """What the order's own size would get now."""
    answer = await server.post("/v1/quotes", {**SELL, **fields} if "pair" not in fields else fields)
    return float(answer.json["price"])


def test_a_limit_order_that_can_be_had_is_filled_at_its_price_or_better(tmp_path: Path) -> None:
    async def script() -> None:
        async with serving(tmp_path) as server:
            price = await price_of(server)
            limit = f"{price * 0.99:.4f}"
            order = await placed(server, type="limit", limitPrice=limit, slippageBps=5_000)
            frames, _ = await server.frames(order["wsUrl"])
            assert [frame["status"] for frame in frames] == [
                *("pending", "open", "pending", "routing", "building", "submitted", "confirmed"),
            ]
            assert [frame["cause"] for frame in frames][1:3] == ["armed", "triggered"]
            assert frames[1]["triggerPrice"] == limit
            done = await server.ended(order["orderId"])
            assert float(done["executedPrice"]) >= float(limit)
            (attempt,) = (await server.get(f"/v1/orders/{order['orderId']}/attempts")).json["data"]
            assert float(attempt["minOut"]) >= 1.5 * float(limit), "half the value as slippage does not lower the limit"

    run(script())


def test_a_preview_tells_the_bound_of_the_limit_price_where_it_is_tighter(tmp_path: Path) -> None:
    async def script() -> None:
        async with serving(tmp_path) as server:
            sell = {**SELL, "type": "limit", "limitPrice": "100000"}
            assert (await server.post("/v1/orders/preview", sell)).json["minOut"] == "150000"
            loose = (await server.post("/v1/orders/preview", {**sell, "limitPrice": "1"})).json
            market = (await server.post("/v1/orders/preview", SELL)).json
            assert float(loose["minOut"]) == pytest.approx(float(market["minOut"]), rel=0.05)
            buy = {"pair": "SOL/USDC", "side": "buy", "amount": "2", "type": "limit", "limitPrice": "3.5"}
            assert (await server.post("/v1/orders/preview", buy)).json["maxIn"] == "7"

    run(script())


@pytest.mark.parametrize("side", ["sell", "buy"])
@pytest.mark.parametrize(
    ("kind", "met", "unmet"),
    [
        ("limit", {"sell": 0.98, "buy": 1.02}, {"sell": 1.5, "buy": 0.5}),
        ("take_profit", {"sell": 0.98, "buy": 1.02}, {"sell": 1.5, "buy": 0.5}),
        ("stop", {"sell": 1.02, "buy": 0.98}, {"sell": 0.5, "buy": 1.5}),
    ],
)
def test_each_type_waits_on_the_right_side_of_the_market(
    tmp_path: Path, kind: str, side: str, met: dict[str, float], unmet: dict[str, float]
) -> None:
    async def script() -> None:
        async with serving(tmp_path) as server:
            price = await price_of(server, side=side, **PAIR)

            def told(factor: float) -> dict[str, Any]:
                at = f"{price * factor:.3f}"
                return {"limitPrice": at} if kind == "limit" else {"trigger": {"price": at}}

            waits = await placed(server, type=kind, side=side, **PAIR, **told(unmet[side]))
            goes = await placed(server, type=kind, side=side, **PAIR, **told(met[side]))
            await reached(server, goes["orderId"], "confirmed")
            assert (await reached(server, waits["orderId"], "open"))["type"] == kind
            explained = (await server.get(f"/v1/orders/{waits['orderId']}/explain")).json
            assert explained["waitsFor"] == "price"
            distance = abs(unmet[side] - 1) * 10_000
            assert abs(explained["distanceBps"] - distance) < 0.2 * distance
            assert explained["currentPrice"]

    run(script())


def test_a_trailing_stop_notes_the_best_price_and_shows_where_it_stands(tmp_path: Path) -> None:
    async def script() -> None:
        async with serving(tmp_path) as server:
            order = await placed(server, type="trailing_stop", trail={"bps": 4_000})
            shown: Any = order
            for _ in range(500):
                shown = (await server.get(f"/v1/orders/{order['orderId']}")).json
                if "bestPrice" in shown["trail"]:
                    break
                await asyncio.sleep(0.02)
            assert shown["status"] == "open"
            best, trigger = (float(shown["trail"][name]) for name in ("bestPrice", "triggerPrice"))
            assert trigger == pytest.approx(best * 0.6, rel=1e-6)
            events = (await server.get(f"/v1/orders/{order['orderId']}/events")).json["data"]
            assert [event["cause"] for event in events][:3] == ["accepted", "armed", "trailed"]
            assert (await server.post(f"/v1/orders/{order['orderId']}/cancel")).json["status"] == "canceled"

    run(script())


@pytest.mark.parametrize("force", ["ioc", "fok"])
def test_what_will_not_wait_is_canceled_where_its_price_is_not_there(tmp_path: Path, force: str) -> None:
    async def script() -> None:
        async with serving(tmp_path) as server:
            order = await placed(server, timeInForce=force, **FAR)
            frames, _ = await server.frames(order["wsUrl"])
            assert [frame["status"] for frame in frames] == ["pending", "routing", "canceled"]
            assert frames[-1]["code"] == "ORDER_LIMIT_NOT_MET"
            price = await price_of(server)
            order = await placed(server, type="limit", limitPrice=f"{price * 0.97:.3f}", timeInForce=force)
            assert (await server.ended(order["orderId"]))["status"] == "confirmed"

    run(script())


def test_an_order_good_till_a_time_expires_then(tmp_path: Path) -> None:
    async def script() -> None:
        async with serving(tmp_path) as server:
            soon = str(server.engine.clock.now() + 700)
            order = await placed(server, expireAt=soon, **FAR)
            assert order["timeInForce"] == "gtd"
            await reached(server, order["orderId"], "open")
            done = await server.ended(order["orderId"])
            assert (done["status"], done["code"]) == ("expired", "EXECUTION_DEADLINE")

    run(script())


def test_a_restart_loses_no_resting_order(tmp_path: Path) -> None:
    async def script() -> None:
        async with serving(tmp_path) as server:
            order = await placed(server, **FAR)
            await reached(server, order["orderId"], "open")
            price = await price_of(server)
        async with serving(tmp_path) as server:
            shown = await server.get(f"/v1/orders/{order['orderId']}")
            assert shown.json["status"] == "open"
            tag = shown.headers["ETag"]
            change = {"limitPrice": f"{price * 0.9:.3f}"}
            path = f"/v1/orders/{order['orderId']}"
            assert (await server.send("PATCH", path, json=change, headers={"If-Match": tag})).status == 200
            assert (await server.ended(order["orderId"]))["status"] == "confirmed"

    run(script())


def test_an_amendment_needs_the_order_as_it_was_seen_and_one_that_rests(tmp_path: Path) -> None:
    async def script() -> None:
        async with serving(tmp_path) as server:
            order = await placed(server, **FAR)
            await reached(server, order["orderId"], "open")
            path = f"/v1/orders/{order['orderId']}"

            async def amend(tag: str | None, **change: Any) -> Any:
                headers = {} if tag is None else {"If-Match": tag}
                return await server.send("PATCH", path, json=change, headers=headers)

            assert (await amend(None, amount="2")).status == 422
            assert (await amend("2", amount="2")).status == 422
            assert (await amend('"1"', amount="2")).json["code"] == "ORDER_CHANGED"
            for bad in ({}, {"side": "buy"}, {"limitPrice": None}, {"trigger": {"price": "1"}}, {"amount": "0"}):
                assert (await amend('"2"', **bad)).status == 422, bad
            told = await amend('"2"', amount="2.5", slippageBps=7, expireAt="2100-01-01T00:00:00Z")
            assert told.status == 200
            assert told.headers["ETag"] == '"3"'
            assert (told.json["amount"], told.json["slippageBps"], told.json["timeInForce"]) == ("2.5", 7, "gtd")
            assert told.json["limitPrice"] == "100000"
            again = await amend('"3"', expireAt=None)
            assert again.json["timeInForce"] == "gtc"
            assert again.json == (await server.get(path)).json
            await server.post(f"{path}/cancel")
            late = await amend('"5"', amount="1")
            assert (late.status, late.json["code"]) == (409, "ORDER_NOT_OPEN")

    run(script())


@pytest.mark.parametrize(
    ("fields", "pointer"),
    [
        ({"type": "limit"}, "/limitPrice"),
        ({"type": "limit", "limitPrice": "0"}, "/limitPrice"),
        ({"type": "limit", "limitPrice": "1.0000000000001"}, "/limitPrice"),
        ({"type": "limit", "limitPrice": "1", "trigger": {"price": "1"}}, "/trigger"),
        ({"type": "market", "limitPrice": "1"}, "/limitPrice"),
        ({"type": "stop"}, "/trigger"),
        ({"type": "stop", "trigger": {}}, "/trigger/price"),
        ({"type": "stop", "trigger": {"op": "gte", "price": "1"}}, "/trigger/op"),
        ({"type": "take_profit", "trigger": {"op": "lte", "price": "1"}}, "/trigger/op"),
        ({"type": "stop", "trigger": {"price": "1", "more": 1}}, "/trigger/more"),
        ({"type": "trailing_stop", "trail": {"bps": 0}}, "/trail/bps"),
        ({"type": "limit", "limitPrice": "1", "timeInForce": "gtd"}, "/expireAt"),
        ({"type": "limit", "limitPrice": "1", "timeInForce": "ioc", "expireAt": "2100-01-01T00:00:00Z"}, "/expireAt"),
        ({"type": "stop", "trigger": {"price": "1"}, "timeInForce": "fok"}, "/timeInForce"),
        ({"type": "limit", "limitPrice": "1", "expireAt": "tomorrow"}, "/expireAt"),
        ({"type": "iceberg"}, "/type"),
    ],
)
def test_a_condition_that_makes_no_sense_names_its_field(tmp_path: Path, fields: dict[str, Any], pointer: str) -> None:
    async def script() -> None:
        async with serving(tmp_path) as server:
            refused = await server.post("/v1/orders", {**SELL, **fields})
            assert refused.status == 422
            assert pointer in {each["pointer"] for each in refused.json["errors"]}
            assert (await server.get("/v1/orders")).json["data"] == []

    run(script())


def test_resting_orders_are_listed_as_such_and_go_with_cancel_all(tmp_path: Path) -> None:
    async def script() -> None:
        async with serving(tmp_path) as server:
            ids = {(await placed(server, **FAR))["orderId"] for _ in range(3)}
            for order_id in ids:
                await reached(server, order_id, "open")
            for status in ("resting", "open"):
                found = (await server.get(f"/v1/orders?status={status}")).json["data"]
                assert {order["orderId"] for order in found} == ids
            canceled = (await server.post("/v1/orders/cancel-all")).json["data"]
            assert {each["outcome"] for each in canceled} == {"canceled"}
            assert (await server.get("/v1/orders?status=resting")).json["data"] == []

    run(script())


def test_the_older_shapes_speak_the_new_types(tmp_path: Path) -> None:
    async def script() -> None:
        async with serving(tmp_path) as server:
            body = {"orderType": "LIMIT", "tokenIn": "SOL", "tokenOut": "USDC", "amount": 1, "limitPrice": "100000"}
            answer = await server.post("/api/orders/execute", body)
            assert answer.status == 201
            order = await reached(server, answer.json["orderId"], "open")
            assert (order["type"], order["limitPrice"]) == ("limit", "100000")

    run(script())


@pytest.mark.parametrize("where", ["meaning", "ties"])
def test_an_order_that_cannot_be_judged_does_not_hold_up_the_others(where: str, tmp_path: Path) -> None:
    """A defect, which no order should be able to trigger, strikes one of them."""
    honest = getattr(watcher, where)

    def struck(order: Order, *told: Any) -> Any:
        if order.client_order_id == "poison":
            raise ZeroDivisionError
        return honest(order, *told)

    async def script() -> None:
        async with serving(tmp_path) as server:
            price = await price_of(server)
            limit = f"{price * 0.9:.3f}"
            poison = await placed(server, type="limit", limitPrice=limit, clientOrderId="poison")
            other = await placed(server, type="limit", limitPrice=limit)
            assert (await server.ended(other["orderId"]))["status"] == "confirmed"
            again = await placed(server, type="limit", limitPrice=limit)
            assert (await server.ended(again["orderId"]))["status"] == "confirmed"
            assert (await server.get(f"/v1/orders/{poison['orderId']}")).json["status"] == "open"
            assert 'fillwright_failures_total{where="watch"} 1.0' in (await server.get("/metrics")).body.decode()

    with mock.patch.object(watcher, where, struck):
        run(script())
