"""The canonical calls, against the running server."""

import asyncio
import re
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from fillwright.policy import Policy
from tests.api.running import NOBODY, SELL, Server, run, serving


def test_an_order_is_stored_executed_and_told_without_a_gap(tmp_path: Path) -> None:
    async def script() -> None:
        async with serving(tmp_path) as server:
            answer = await server.post("/v1/orders", {**SELL, "clientOrderId": "mine 1", "tags": ["a", "b"]})
            order = answer.json
            assert answer.status == 201
            assert answer.headers["Location"] == f"/v1/orders/{order['orderId']}"
            assert order["status"] == "pending"
            assert (order["pair"], order["side"], order["amountMode"]) == ("SOL/USDC", "sell", "exactIn")
            frames, code = await server.frames(order["wsUrl"])
            assert code == 1000
            assert [frame["seq"] for frame in frames] == [1, 2, 3, 4, 5]
            assert [frame["status"] for frame in frames] == [
                "pending",
                "routing",
                "building",
                "submitted",
                "confirmed",
            ]
            last = frames[-1]
            stored = (await server.get(answer.headers["Location"])).json
            assert stored["status"] == "confirmed"
            for field in ("txHash", "amountIn", "amountOut", "executedPrice"):
                assert last[field] == stored[field]
            by_name = await server.get("/v1/orders/by-client-id/mine 1")
            assert by_name.json == stored

    run(script())


def test_history_folds_agree_with_the_order(tmp_path: Path) -> None:
    async def script() -> None:
        async with serving(tmp_path) as server:
            order = (await server.post("/v1/orders", {"pair": "SOL/USDC", "side": "buy", "amount": 2})).json
            path = f"/v1/orders/{order['orderId']}"
            done = await server.ended(order["orderId"])
            assert (done["tokenIn"], done["amountMode"], done["amountOut"]) == ("USDC", "exactOut", "2")
            events = (await server.get(f"{path}/events")).json["data"]
            streamed, _ = await server.frames(f"/ws/orders/{order['orderId']}")
            assert events == streamed
            (attempt,) = (await server.get(f"{path}/attempts")).json["data"]
            assert attempt["outcome"] == "landed"
            assert attempt["txHash"] == done["txHash"]
            assert float(attempt["maxIn"]) >= float(done["amountIn"])
            (fill,) = (await server.get(f"{path}/fills")).json["data"]
            assert (fill["amountIn"], fill["amountOut"]) == (done["amountIn"], done["amountOut"])
            assert fill["slot"] == attempt["proof"]["slot"]
            route = (await server.get(f"{path}/route")).json["route"]
            assert route["dex"] == done["dex"]
            assert route["reason"] == done["reason"]
            assert {quote["venue"] for quote in route["quotes"]} == {"raydium", "meteora"}
            cheapest = min(float(quote["amountIn"]) for quote in route["quotes"])
            assert float(route["amountIn"]) <= cheapest

    run(script())


def test_a_preview_and_a_quote_store_nothing(tmp_path: Path) -> None:
    async def script() -> None:
        async with serving(tmp_path) as server:
            preview = await server.post("/v1/orders/preview", {**SELL, "slippageBps": 0})
            assert preview.status == 200
            assert preview.json["minOut"] == preview.json["route"]["amountOut"]
            assert preview.json["warnings"]
            quote = await server.post("/v1/quotes", {**SELL, "routing": {"venues": ["meteora"]}})
            assert {each["venue"] for each in quote.json["quotes"]} == {"meteora"}
            too_far = await server.post("/v1/quotes", {**SELL, "amount": "1000000", "maxPriceImpactBps": 1})
            assert (too_far.status, too_far.json["code"]) == (422, "ROUTE_PRICE_IMPACT")
            assert server.rows() == 0

    run(script())


KEY = {"headers": {"Idempotency-Key": "k-1"}}


@pytest.mark.parametrize(
    ("first", "second", "status", "code"),
    [
        ((SELL, KEY), (SELL, KEY), 200, None),
        ((SELL, KEY), ({**SELL, "amount": "1.50"}, KEY), 200, None),
        ((SELL, KEY), ({"pair": "SOL/USDC", "side": "sell", "amount": 1.5}, KEY), 200, None),
        ((SELL, KEY), ({**SELL, "amount": "2"}, KEY), 422, "IDEMPOTENCY_KEY_REUSED"),
        (({**SELL, "clientOrderId": "c"}, {}), ({**SELL, "clientOrderId": "c"}, {}), 200, None),
        (
            ({**SELL, "clientOrderId": "c"}, {}),
            ({**SELL, "clientOrderId": "c", "slippageBps": 7}, {}),
            409,
            "ORDER_DUPLICATE_CLIENT_ID",
        ),
        (({**SELL, "clientOrderId": "c"}, KEY), ({**SELL, "clientOrderId": "d"}, KEY), 422, "IDEMPOTENCY_KEY_REUSED"),
        ((SELL, {}), (SELL, {}), 201, None),
    ],
)
def test_a_name_means_one_order_for_ever(
    tmp_path: Path, first: tuple[Any, Any], second: tuple[Any, Any], status: int, code: str | None
) -> None:
    async def script() -> None:
        async with serving(tmp_path) as server:
            one = await server.post("/v1/orders", first[0], **first[1])
            two = await server.post("/v1/orders", second[0], **second[1])
            assert one.status == 201
            assert two.status == status
            assert two.headers.get("Idempotent-Replayed") == ("true" if status == 200 else None)
            if status == 200:
                assert two.json["orderId"] == one.json["orderId"]
                assert two.headers["Location"] == one.headers["Location"]
            elif code is not None:
                assert two.json["code"] == code
                assert two.headers["Content-Type"] == "application/problem+json"
            if code == "ORDER_DUPLICATE_CLIENT_ID":
                assert two.json["orderId"] == one.json["orderId"]
            assert server.rows() == (2 if status == 201 else 1)

    run(script())


def test_a_hundred_equal_requests_at_once_are_one_order(tmp_path: Path) -> None:
    async def script() -> None:
        async with serving(tmp_path) as server:
            answers = await asyncio.gather(*(server.post("/v1/orders", SELL, **KEY) for _ in range(100)))
            assert sorted(answer.status for answer in answers) == [200] * 99 + [201]
            assert len({answer.json["orderId"] for answer in answers}) == 1
            assert server.rows() == 1

    run(script())


@pytest.mark.parametrize("key", ["", "two words", "k" * 256, "kühl"])
def test_an_idempotency_key_is_visible_ascii(tmp_path: Path, key: str) -> None:
    async def script() -> None:
        async with serving(tmp_path) as server:
            answer = await server.post("/v1/orders", SELL, headers={"Idempotency-Key": key})
            assert (answer.status, answer.json["code"]) == (400, "REQUEST_MALFORMED")
            assert server.rows() == 0

    run(script())


def test_a_request_id_is_echoed_if_it_is_harmless(tmp_path: Path) -> None:
    async def script() -> None:
        async with serving(tmp_path) as server:
            assert (await server.get("/livez", headers={"X-Request-Id": "abc-1"})).headers["X-Request-Id"] == "abc-1"
            answer = await server.get("/nowhere", headers={"X-Request-Id": '<script>"'})
            made = answer.headers["X-Request-Id"]
            assert re.fullmatch(r"[0-9a-f]{32}", made)
            assert answer.json["requestId"] == made

    run(script())


def test_cancel_before_anything_is_signed(tmp_path: Path) -> None:
    async def script() -> None:
        async with serving(tmp_path, start_worker=False) as server:
            order_id = (await server.post("/v1/orders", SELL)).json["orderId"]
            for method, path in (("POST", f"/v1/orders/{order_id}/cancel"), ("DELETE", f"/v1/orders/{order_id}")):
                answer = await server.send(method, path)
                assert (answer.status, answer.json["status"]) == (200, "canceled")
            frames, _ = await server.frames(f"/ws/orders/{order_id}")
            assert [frame["status"] for frame in frames] == ["pending", "canceled"]
            unknown = await server.post(f"/v1/orders/{NOBODY}/cancel")
            assert (unknown.status, unknown.json["code"]) == (404, "ORDER_NOT_FOUND")

    run(script())


def test_cancel_in_flight_waits_for_the_chain_and_then_is_too_late(tmp_path: Path) -> None:
    async def script() -> None:
        async with serving(tmp_path, sim="classic") as server:
            order_id = (await server.post("/v1/orders", SELL)).json["orderId"]
            async with server.http.ws_connect(f"/ws/orders/{order_id}") as ws:
                while (await ws.receive_json(timeout=10))["status"] != "submitted":
                    pass
                answer = await server.post(f"/v1/orders/{order_id}/cancel")
                assert answer.status == 202
                known_by = datetime.fromisoformat(answer.json["outcomeKnownBy"])
                assert (known_by - datetime.fromisoformat(answer.json["updatedAt"])).total_seconds() == 60
            done = await server.ended(order_id)
            again = await server.post(f"/v1/orders/{order_id}/cancel")
            if done["status"] == "canceled":  # the chain undid the swap
                assert again.status == 200
            else:
                assert done["status"] == "confirmed"
                assert (again.status, again.json["code"]) == (409, "CANCEL_TOO_LATE")
                assert again.json["orderId"] == order_id

    run(script())


async def _some_orders(server: Server, count: int) -> list[str]:
    ids = []
    for number in range(count):
        body = {"pair": "SOL/USDC" if number % 2 else "BONK/USDC", "side": "sell", "amount": "1"}
        ids.append((await server.post("/v1/orders", body)).json["orderId"])
    return ids


def test_pages_walk_every_order_once_newest_first(tmp_path: Path) -> None:
    async def script() -> None:
        async with serving(tmp_path, start_worker=False) as server:
            ids = await _some_orders(server, 23)
            seen: list[str] = []
            path = "/v1/orders?limit=5"
            while True:
                page = (await server.get(path)).json
                seen += [order["orderId"] for order in page["data"]]
                assert page["hasMore"] == (page["nextCursor"] is not None)
                if not page["hasMore"]:
                    break
                await server.post("/v1/orders", SELL)  # newer orders do not disturb the walk
                path = f"/v1/orders?limit=5&cursor={page['nextCursor']}"
            assert seen == sorted(ids, reverse=True)

    run(script())


def test_filters(tmp_path: Path) -> None:
    async def script() -> None:
        async with serving(tmp_path, start_worker=False) as server:
            ids = await _some_orders(server, 6)
            await server.post(f"/v1/orders/{ids[0]}/cancel")
            buy = (await server.post("/v1/orders", {"pair": "SOL/USDC", "side": "buy", "amount": "1"})).json

            async def found(query: str) -> set[str]:
                return {order["orderId"] for order in (await server.get(f"/v1/orders?{query}")).json["data"]}

            everything = {*ids, buy["orderId"]}
            assert await found("") == await found("status=all") == everything
            assert await found("status=closed") == await found("status=canceled") == {ids[0]}
            assert await found("status=open") == everything - {ids[0]}
            assert await found("pair=SOL/USDC") == await found("pair=USDC/sol") == {*ids[1::2], buy["orderId"]}
            assert await found("side=buy") == {buy["orderId"]}
            assert await found(f"since={buy['createdAt']}") >= {buy["orderId"]}
            assert await found("until=1700000000000") == set()
            assert await found("since=2020-01-01T00:00:00Z&until=2120-01-01T00:00:00%2B02:00") == everything

    run(script())


@pytest.mark.parametrize(
    "query",
    [
        "limit=0",
        "limit=1001",
        "limit=-1",
        "limit=x",
        "limit=%EF%BC%91",
        "cursor=x",
        "cursor=' OR 1=1",
        "status=nope",
        "side=both",
        "pair=SOL",
        "pair=SOL/SOL",
        "pair=SOL/NOPE",
        "since=yesterday",
        "since=2024-01-01T00:00:00",
        "until=99999999999999999999",
        "until=9999-99-99T00:00:00Z",
        "color=red",
        "side=buy&side=sell",
    ],
)
def test_a_filter_that_means_nothing_is_refused(tmp_path: Path, query: str) -> None:
    async def script() -> None:
        async with serving(tmp_path, start_worker=False) as server:
            answer = await server.get(f"/v1/orders?{query}")
            assert answer.status == 422, answer.body
            assert answer.headers["Content-Type"] == "application/problem+json"

    run(script())


@pytest.mark.parametrize("name", [NOBODY, "x", "%00", "%ED%A0%80", "'%20OR%201=1--", "a" * 5_000, NOBODY.upper()])
@pytest.mark.parametrize(
    "path", ["/v1/orders/{}", "/v1/orders/by-client-id/{}", "/v1/orders/{}/events", "/api/orders/{}", "/ws/orders/{}"]
)
def test_an_unknown_order_is_not_found(tmp_path: Path, path: str, name: str) -> None:
    async def script() -> None:
        async with serving(tmp_path, start_worker=False) as server:
            answer = await server.get(path.format(name))
            assert (answer.status, answer.json["code"]) == (404, "ORDER_NOT_FOUND")

    run(script())


def test_a_draining_engine_refuses_with_a_pause(tmp_path: Path) -> None:
    async def script() -> None:
        async with serving(tmp_path) as server:
            server.engine.stop()
            answer = await server.post("/v1/orders", SELL)
            assert (answer.status, answer.json["code"]) == (503, "ENGINE_DRAINING")
            assert answer.headers["Retry-After"] == "1"
            assert (await server.get("/readyz")).status == 503
            assert (await server.get("/livez")).status == 200

    run(script())


def test_the_excess_is_refused_before_it_is_stored(tmp_path: Path) -> None:
    """I13: with as many waiting as may wait, an order is turned away at once and leaves no row."""

    async def script() -> None:
        policy = Policy(waiting_max=5)
        async with serving(tmp_path, start_worker=False, policy=policy) as server:
            answers = [await server.post("/v1/orders", SELL) for _ in range(8)]
            assert [answer.status for answer in answers] == [201] * 5 + [503] * 3
            refused = answers[-1]
            assert refused.json["code"] == "ENGINE_OVERLOADED"
            assert refused.json["retryable"] is True
            assert int(refused.headers["Retry-After"]) >= 1
            assert server.rows() == 5

    run(script())


def test_orders_that_waited_too_long_close_the_door(tmp_path: Path) -> None:
    async def script() -> None:
        policy = Policy(waiting_s_max=0.3, admit_s=0.05)
        async with serving(tmp_path, start_worker=False, policy=policy) as server:
            assert (await server.post("/v1/orders", SELL)).status == 201
            await asyncio.sleep(0.6)
            assert (await server.post("/v1/orders", SELL)).json["code"] == "ENGINE_OVERLOADED"

    run(script())
