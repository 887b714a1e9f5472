"""Canceling many orders, the dead-man's switch, an order in plain words, and what the venues offer."""

import asyncio
from pathlib import Path
from typing import Any

from fillwright.errors import Code, FillwrightError
from fillwright.policy import Policy
from fillwright.units import Millis, OrderId
from tests.api.running import NOBODY, SELL, Server, run, serving


async def _refuse(_: object) -> Any:
    raise FillwrightError(Code.VENUE_UNAVAILABLE, "out of order")


async def _waiting(server: Server, *orders: dict[str, Any]) -> list[str]:
    """Orders that nobody works on."""
    return [(await server.post("/v1/orders", order)).json["id"] for order in orders]


def test_cancel_all_answers_for_every_open_order(tmp_path: Path) -> None:
    async def script() -> None:
        async with serving(tmp_path, start_worker=False) as server:
            other = {**SELL, "tokenIn": "BONK", "amount": "1000"}
            ids = await _waiting(server, SELL, SELL, other)
            ended = ids[0]
            await server.post(f"/v1/orders/{ended}/cancel")
            of_pair = await server.post("/v1/orders/cancel-all", {"pair": "SOL/USDC"})
            assert of_pair.status == 200
            assert [(each["orderId"], each["outcome"]) for each in of_pair.json["data"]] == [(ids[1], "canceled")]
            rest = (await server.post("/v1/orders/cancel-all")).json["data"]
            assert [(each["orderId"], each["status"]) for each in rest] == [(ids[2], "canceled")]
            assert (await server.post("/v1/orders/cancel-all")).json == {"data": []}
            bad = await server.post("/v1/orders/cancel-all", {"pair": "SOL", "x": 1})
            assert (bad.status, {each["pointer"] for each in bad.json["errors"]}) == (422, {"/pair", "/x"})

    run(script())


def test_the_orders_of_a_silent_account_are_canceled_by_whoever_works_then(tmp_path: Path) -> None:
    """Armed in one process, carried out by the next: the switch is stored."""

    async def script() -> None:
        policy = Policy(switch_s=0.05, backoff_ms=(Millis(60_000),), patience_ms=Millis(0))
        async with serving(tmp_path, policy=policy) as server:
            for venue in server.engine._executor.venues:
                venue._venue.pools = _refuse  # type: ignore[attr-defined]
            (order_id,) = await _waiting(server, SELL)
            async for event in server.engine.watch("default", OrderId(order_id)):
                if b'"retryAt"' in event.frame:
                    break
            told = (await server.get(f"/v1/orders/{order_id}/explain")).json
            assert told["waitsFor"] == "pause"
            assert told["nextAction"] == "start attempt 2"
            assert told["lastProblem"]["code"] == "ROUTE_UNAVAILABLE"
            assert "2 are left" in told["lastProblem"]["words"]
            assert "nextAt" in told
            armed = await server.post("/v1/cancel-after", {"timeoutSeconds": 1})
            assert (armed.status, armed.json["timeoutSeconds"]) == (200, 1)
            assert armed.json["firesAt"].endswith("Z")
        async with serving(tmp_path, policy=policy) as server:
            async with asyncio.timeout(10):
                order = await server.ended(order_id)
            assert order["status"] == "canceled"
            assert order["updatedAt"] >= armed.json["firesAt"]

    run(script())


def test_a_switch_that_is_called_off_does_nothing(tmp_path: Path) -> None:
    async def script() -> None:
        async with serving(tmp_path, start_worker=False) as server:
            (order_id,) = await _waiting(server, SELL)
            await server.post("/v1/cancel-after", {"timeoutSeconds": 1})
            off = await server.post("/v1/cancel-after", {"timeoutSeconds": 0})
            assert off.json == {"timeoutSeconds": 0, "firesAt": None}
            await asyncio.sleep(1.1)
            assert await server.engine._store.fired(10) == []
            assert (await server.get(f"/v1/orders/{order_id}")).json["status"] == "pending"

    run(script())


def test_the_timeout_is_bounded(tmp_path: Path) -> None:
    async def script() -> None:
        async with serving(tmp_path, start_worker=False) as server:
            for body in ({}, {"timeoutSeconds": -1}, {"timeoutSeconds": 86_401}, {"timeoutSeconds": "soon"}):
                answer = await server.post("/v1/cancel-after", body)
                assert (answer.status, answer.json["errors"][0]["pointer"]) == (422, "/timeoutSeconds")

    run(script())


def test_an_order_explains_itself(tmp_path: Path) -> None:
    async def script() -> None:
        async with serving(tmp_path, start_worker=False) as server:
            (order_id,) = await _waiting(server, {**SELL, "deadlineMs": 60_000})
            told = (await server.get(f"/v1/orders/{order_id}/explain")).json
            assert (told["status"], told["waitsFor"], told["attempt"]) == ("pending", "worker", 0)
            assert told["nextAction"]
            assert "deadlineAt" in told
            await server.post(f"/v1/orders/{order_id}/cancel")
            told = (await server.get(f"/v1/orders/{order_id}/explain")).json
            assert (told["status"], told["waitsFor"]) == ("canceled", "nothing")
            assert "nextAction" not in told
            assert (await server.get(f"/v1/orders/{NOBODY}/explain")).status == 404

    run(script())


def test_pools_and_venues_are_one_reading(tmp_path: Path) -> None:
    async def script() -> None:
        async with serving(tmp_path, start_worker=False) as server:
            venues = (await server.get("/v1/venues")).json["data"]
            assert {each["venue"]: each["status"] for each in venues} == {"raydium": "ok", "meteora": "ok"}
            pools = (await server.get("/v1/pools")).json["data"]
            assert len(pools) == sum(each["pools"] for each in venues) > 0
            assert {each["readAt"] for each in [*pools, *venues]} == {pools[0]["readAt"]}
            assert all(pool["slot"] and float(pool["price"]) > 0 and pool["ageMs"] >= 0 for pool in pools)
            few = (await server.get("/v1/pools?pair=SOL/USDC&venue=raydium")).json["data"]
            assert few
            assert {(each["venue"], each["pair"]) for each in few} == {("raydium", "SOL/USDC")}
            assert [(await server.get(f"/v1/pools?{bad}")).status for bad in ("venue=x", "pair=SOL", "y=1")] == [
                422
            ] * 3

    run(script())


def test_a_resting_venue_is_told_and_not_asked(tmp_path: Path) -> None:
    async def script() -> None:
        policy = Policy(market_s=0.0, venue_failures_max=1)
        async with serving(tmp_path, start_worker=False, policy=policy) as server:
            asked = 0
            guarded = server.engine._executor.venues[0]

            async def refuse(_: object) -> Any:
                nonlocal asked
                asked += 1
                raise FillwrightError(Code.VENUE_UNAVAILABLE, "out of order")

            guarded._venue.pools = refuse  # type: ignore[attr-defined]
            await server.get("/v1/venues")
            told = (await server.get("/v1/venues")).json["data"][0]
            assert (told["venue"], told["status"], told["code"]) == (guarded.name, "resting", "VENUE_UNAVAILABLE")
            assert asked == 1

    run(script())


def test_many_who_look_cost_one_question(tmp_path: Path) -> None:
    async def script() -> None:
        async with serving(tmp_path, start_worker=False) as server:
            readings = await asyncio.gather(*(server.engine.market.read() for _ in range(50)))
            assert all(reading is readings[0] for reading in readings)

    run(script())
