"""Orders in slices, against the running server."""

import asyncio
import json
import sqlite3
from pathlib import Path
from typing import Any

import pytest

from fillwright.adapters.sqlite import SqliteStore
from fillwright.policy import Policy
from tests.api.running import SELL, Server, run, serving

THREE = {"slices": 3, "intervalSeconds": 1}
LONG = {"slices": 4, "intervalSeconds": 3_600, "jitterPct": 10}
FAR = "100000"
"""No market will ever pay that."""


async def placed(server: Server, **fields: Any) -> Any:
    answer = await server.post("/v1/orders", {**SELL, **fields})
    assert answer.status == 201, answer.json
    return answer.json


async def reached(server: Server, order_id: str, cause: str) -> Any:
    """The order once this has happened to it."""
    async with asyncio.timeout(20):
        while True:
            events = (await server.get(f"/v1/orders/{order_id}/events")).json["data"]
            if any(event["cause"] == cause for event in events):
                return (await server.get(f"/v1/orders/{order_id}")).json
            await asyncio.sleep(0.02)


def settlements(folder: Path) -> list[tuple[int, int]]:
    """What the chain's own ledger has."""
    with sqlite3.connect(folder / "chain.db") as chain:
        lines = chain.execute("SELECT amount_in, amount_out FROM ledger WHERE problem IS NULL ORDER BY id").fetchall()
    chain.close()
    return lines


@pytest.mark.parametrize(("kind", "parts"), [("twap", ["0.5", "0.5", "0.500000001"]), ("dca", ["0.5", "0.5"])])
def test_three_slices_fill_the_whole_amount_one_after_another(tmp_path: Path, kind: str, parts: list[str]) -> None:
    async def script() -> None:
        async with serving(tmp_path) as server:
            price = float((await server.post("/v1/quotes", SELL)).json["price"])
            asked = {"schedule": THREE, "amount": "1.500000001", "limitPrice": f"{price * 0.9:.4f}"}
            order = await placed(server, type=kind, **asked)
            assert order["schedule"] == {"slices": 3, "intervalSeconds": 1, "jitterPct": 0}
            assert (order["slice"], order["slices"], order["leaves"]) == (1, 3, "1.500000001")
            frames, _ = await server.frames(order["wsUrl"])
            landings = [frame for frame in frames if frame["cause"] in ("slice_landed", "landed")]
            assert [frame["cause"] for frame in landings] == ["slice_landed", "slice_landed", "landed"]
            assert [frame["amountIn"] for frame in landings][: len(parts)] == parts
            assert [frame["filledIn"] for frame in landings[:2]] == ["0.5", "1"]
            assert landings[1]["timestamp"] - order_time(frames) >= 1_000
            assert landings[2]["timestamp"] - order_time(frames) >= 2_000
            assert landings[0]["nextSliceAt"] == order_time(frames) + 1_000
            done = await server.ended(order["orderId"])
            assert (done["status"], done["filledIn"], done["leaves"]) == ("confirmed", "1.500000001", "0")
            fills = (await server.get(f"/v1/orders/{order['orderId']}/fills")).json["data"]
            assert [fill["slice"] for fill in fills] == [1, 2, 3]
            assert len({fill["txHash"] for fill in fills}) == 3
            attempts = (await server.get(f"/v1/orders/{order['orderId']}/attempts")).json["data"]
            assert [(each["slice"], each["attempt"], each["outcome"]) for each in attempts] == [
                (1, 1, "landed"),
                (2, 1, "landed"),
                (3, 1, "landed"),
            ]
            ledger = settlements(tmp_path)
            assert sum(line[0] for line in ledger) == 1_500_000_001
            assert done["filledOut"] == f"{sum(line[1] for line in ledger) / 10**6:.6f}".rstrip("0")
            assert float(done["averagePrice"]) >= price * 0.9
            assert (await server.get("/v1/sim/audit")).json["broken"] == 0

    run(script())


def order_time(frames: list[Any]) -> int:
    time: int = frames[0]["timestamp"]
    return time


def test_between_slices_it_tells_the_next_one_and_a_cancel_keeps_the_fills(tmp_path: Path) -> None:
    async def script() -> None:
        async with serving(tmp_path) as server:
            order = await placed(server, type="twap", schedule=LONG, amount="2")
            shown = await reached(server, order["orderId"], "slice_landed")
            assert (shown["status"], shown["slice"], shown["slices"]) == ("open", 2, 4)
            assert (shown["filledIn"], shown["leaves"]) == ("0.5", "1.5")
            path = f"/v1/orders/{order['orderId']}"
            explained = (await server.get(f"{path}/explain")).json
            assert (explained["waitsFor"], explained["nextAt"]) == ("slice", shown["nextSliceAt"])
            assert explained["nextAction"] == "swap slice 2 of 4: 0.5 SOL"
            told = await server.send("PATCH", path, json={"amount": "3"}, headers={"If-Match": f'"{shown["seq"]}"'})
            assert (told.status, told.json["code"]) == (409, "ORDER_NOT_OPEN")
            canceled = (await server.post(f"{path}/cancel")).json
            assert (canceled["status"], canceled["filledIn"], canceled["leaves"]) == ("canceled", "0.5", "1.5")
            assert canceled == (await server.get(path)).json
            assert len((await server.get(f"{path}/fills")).json["data"]) == 1
            assert "stays" in (await server.get(f"{path}/explain")).json["summary"]

    run(script())
    assert len(settlements(tmp_path)) == 1


def test_slices_beyond_the_band_are_skipped_and_nothing_is_swapped(tmp_path: Path) -> None:
    async def script() -> None:
        async with serving(tmp_path) as server:
            order = await placed(server, type="dca", schedule={"slices": 2, "intervalSeconds": 1}, limitPrice=FAR)
            shown = await reached(server, order["orderId"], "slipped")
            assert shown["status"] in ("open", "routing")
            frames, _ = await server.frames(order["wsUrl"])
            causes = [frame["cause"] for frame in frames]
            assert causes.count("slice_skipped") == 2
            assert [frame["code"] for frame in frames if frame["cause"] == "slice_skipped"] == [
                "ORDER_LIMIT_NOT_MET"
            ] * 2
            done = await server.ended(order["orderId"])
            assert (done["status"], done["code"], done["filledIn"]) == ("failed", "ORDER_LIMIT_NOT_MET", "0")

    run(script())
    assert settlements(tmp_path) == []


def test_an_order_that_runs_out_of_time_keeps_its_fills(tmp_path: Path) -> None:
    async def script() -> None:
        async with serving(tmp_path) as server:
            soon = str(server.engine.clock.now() + 1_500)
            order = await placed(server, type="twap", schedule={**LONG, "slices": 3}, expireAt=soon)
            done = await server.ended(order["orderId"])
            assert (done["status"], done["code"], done["filledIn"]) == ("expired", "EXECUTION_DEADLINE", "0.5")

    run(script())


def test_a_restart_between_slices_loses_none_and_repeats_none(tmp_path: Path) -> None:
    async def script() -> None:
        async with serving(tmp_path) as server:
            order = await placed(server, type="twap", schedule={"slices": 2, "intervalSeconds": 2})
            await reached(server, order["orderId"], "slice_landed")
        async with serving(tmp_path) as server:
            done = await server.ended(order["orderId"])
            assert (done["status"], done["filledIn"]) == ("confirmed", "1.5")

    run(script())
    assert [line[0] for line in settlements(tmp_path)] == [750_000_000] * 2


def test_a_watcher_of_a_silent_order_does_not_read_its_long_history_again_and_again(tmp_path: Path) -> None:
    async def script() -> None:
        async with serving(tmp_path, policy=Policy(watch_s=0.02)) as server:
            order = await placed(server, type="twap", schedule=LONG)
            await reached(server, order["orderId"], "slice_landed")
            store = server.engine._store
            assert isinstance(store, SqliteStore)
            async with server.http.ws_connect(order["wsUrl"]) as ws:
                assert json.loads((await ws.receive(timeout=10)).data)["cause"] == "accepted"
                await asyncio.sleep(0.2)
                read: list[str] = []
                store._reader.set_trace_callback(read.append)
                await asyncio.sleep(0.5)
                store._reader.set_trace_callback(None)
                assert sum("FROM orders WHERE id" in each for each in read) >= 3, "it asks whether anything is new"
                assert not [each for each in read if "e.payload" in each]

    run(script())


def test_a_preview_shows_the_route_of_one_slice(tmp_path: Path) -> None:
    async def script() -> None:
        async with serving(tmp_path) as server:
            shown = (await server.post("/v1/orders/preview", {**SELL, "type": "dca", "schedule": THREE})).json
            assert (shown["order"]["amount"], shown["route"]["amountIn"]) == ("1.5", "0.5")

    run(script())


@pytest.mark.parametrize(
    ("fields", "pointer"),
    [
        ({"type": "twap"}, "/schedule"),
        ({"type": "dca", "schedule": 3}, "/schedule"),
        ({"type": "market", "schedule": THREE}, "/schedule"),
        ({"type": "limit", "limitPrice": "1", "schedule": THREE}, "/schedule"),
        ({"type": "twap", "schedule": {"slices": 3}}, "/schedule/intervalSeconds"),
        ({"type": "twap", "schedule": {"intervalSeconds": 1}}, "/schedule/slices"),
        ({"type": "twap", "schedule": {**THREE, "slices": 1}}, "/schedule/slices"),
        ({"type": "twap", "schedule": {**THREE, "slices": 1_001}}, "/schedule/slices"),
        ({"type": "twap", "schedule": {**THREE, "intervalSeconds": 0}}, "/schedule/intervalSeconds"),
        ({"type": "twap", "schedule": {**THREE, "intervalSeconds": 1.5}}, "/schedule/intervalSeconds"),
        ({"type": "twap", "schedule": {**THREE, "jitterPct": 51}}, "/schedule/jitterPct"),
        ({"type": "twap", "schedule": {**THREE, "more": 1}}, "/schedule/more"),
        ({"type": "twap", "schedule": THREE, "trigger": {"price": "1"}}, "/trigger"),
        ({"type": "twap", "schedule": THREE, "timeInForce": "ioc"}, "/timeInForce"),
        ({"type": "twap", "schedule": THREE, "amountMode": "exactOut"}, "/amountMode"),
        ({"type": "twap", "schedule": THREE, "amount": "0.000000002"}, "/amount"),
    ],
)
def test_a_schedule_that_makes_no_sense_names_its_field(tmp_path: Path, fields: dict[str, Any], pointer: str) -> None:
    async def script() -> None:
        async with serving(tmp_path) as server:
            refused = await server.post("/v1/orders", {**SELL, **fields})
            assert refused.status == 422
            assert pointer in {each["pointer"] for each in refused.json["errors"]}
            assert server.rows() == 0

    run(script())


def test_a_buy_by_pair_is_told_to_fix_what_goes_in(tmp_path: Path) -> None:
    async def script() -> None:
        async with serving(tmp_path) as server:
            buy = {"pair": "SOL/USDC", "side": "buy", "amount": "10", "type": "dca", "schedule": LONG}
            refused = await server.post("/v1/orders", buy)
            assert refused.json["errors"][0]["pointer"] == "/amountMode"
            answer = await server.post("/v1/orders", {**buy, "amountMode": "exactIn"})
            assert answer.status == 201
            shown = await reached(server, answer.json["orderId"], "slice_landed")
            assert shown["filledIn"] == "2.5"

    run(script())
