"""The fault lab: faults strike while they are turned on, a killed worker costs nothing, and the audit can object."""

import asyncio
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from fillwright.adapters.local import SystemClock
from fillwright.adapters.sim import Auditor
from fillwright.lab import Audit
from fillwright.policy import Policy
from fillwright.units import Millis
from tests.api.running import SELL, TERMINAL, Server, run, serving

QUICK = Policy(
    backoff_ms=(Millis(10),),
    poll_s=0.02,
    rebroadcast_s=0.1,
    heartbeat_s=0.1,
    lease_s=0.6,
    sweep_s=0.05,
    drain_s=0.2,
)


async def turn(server: Server, **plan: Any) -> Any:
    answer = await server.send("PUT", "/v1/sim/faults", json=plan)
    assert answer.status == 200
    assert {**answer.json, **plan} == answer.json == (await server.get("/v1/sim/faults")).json
    return answer.json


async def accepted(server: Server, count: int) -> list[str]:
    return [(await server.post("/v1/orders", SELL)).json["id"] for _ in range(count)]


async def statuses(server: Server) -> list[str]:
    return [order["status"] for order in (await server.get("/v1/orders?limit=1000")).json["data"]]


async def until(server: Server, *wanted: str) -> None:
    """Every order is in one of these statuses."""
    while True:
        if set(await statuses(server)) <= set(wanted):
            return
        await asyncio.sleep(0.05)


async def audited(server: Server, orders: int) -> Any:
    """An audit from now on, which has looked at all of these orders and objects to nothing."""
    now = server.engine.clock.now()
    told = (await server.get("/v1/sim/audit")).json
    if told["at"] < now:  # one that somebody asked for just before
        await asyncio.sleep(0.6)
        told = (await server.get("/v1/sim/audit")).json
    assert (told["orders"], told["whole"]) == (orders, True)
    assert (told["broken"], [each for each in told["findings"] if each["count"]]) == (0, [])
    return told


def test_while_every_broadcast_is_dropped_nothing_lands_and_then_everything_does(tmp_path: Path) -> None:
    async def script() -> None:
        async with serving(tmp_path, policy=QUICK) as server:
            await turn(server, dropPct=100)
            await accepted(server, 8)
            await until(server, "submitted")
            await asyncio.sleep(0.5)  # several broadcasts of each
            assert set(await statuses(server)) == {"submitted"}
            assert (await audited(server, 8))["lines"] == 0
            await turn(server)
            await until(server, "confirmed")
            assert (await audited(server, 8))["lines"] == 8

    run(script())


def test_the_orders_of_a_killed_worker_are_taken_over_and_settle_once(tmp_path: Path) -> None:
    async def script() -> None:
        async with serving(tmp_path, policy=QUICK) as server:
            await turn(server, landDelayMs=1_500, lostAnswerPct=30)
            ids = await accepted(server, 12)  # more than one worker drives at once
            while True:
                if (await statuses(server)).count("submitted") == 10:
                    break
                await asyncio.sleep(0.02)
            at = server.engine.clock.now()
            killed = await server.post("/v1/sim/workers/kill")
            assert killed.json == {"worker": "embedded", "held": 10, "successor": "embedded-2", "leaseMs": 600}
            again = await server.post("/v1/sim/workers/kill")  # before it has taken anything up
            assert (again.json["worker"], again.json["successor"]) == ("embedded-2", "embedded-3")
            await until(server, "confirmed")
            told = [(await server.get(f"/v1/orders/{each}/events")).json["data"] for each in ids]
            taken_over = [event["timestamp"] for events in told for event in events if event["cause"] == "reclaimed"]
            assert len(taken_over) == 10
            assert min(taken_over) - at >= 300, "nobody handed them back: the lease had to run out first"
            assert [[event["cause"] for event in events].count("landed") for events in told] == [1] * 12
            await audited(server, 12)

    run(script())


def test_an_engine_that_stops_lets_its_last_worker_finish(tmp_path: Path) -> None:
    """A worker that was killed has a successor, which drains; nobody follows who would not."""

    async def script() -> None:
        async with serving(tmp_path, policy=QUICK) as server:
            await server.post("/v1/sim/workers/kill")
            await accepted(server, 1)
            server.engine.stop()
            late = await server.post("/v1/sim/workers/kill")
            assert (late.status, late.json["code"]) == (503, "ENGINE_DRAINING")

    run(script(), within_s=10)


@pytest.mark.parametrize(
    ("plan", "code"),
    [
        ({"revertPct": 100}, "CHAIN_REVERTED"),
        ({"quoteFailurePct": 100}, "ROUTE_UNAVAILABLE"),
        ({"venuesDown": ["raydium", "meteora"]}, "ROUTE_UNAVAILABLE"),
        ({"quoteDelayMs": 400}, "ROUTE_UNAVAILABLE"),
    ],
)
def test_what_fails_every_time_ends_the_order_with_its_reason(tmp_path: Path, plan: dict[str, Any], code: str) -> None:
    async def script() -> None:
        policy = Policy(backoff_ms=(Millis(10),), sweep_s=0.05, poll_s=0.02, quote_timeout_s=0.2)
        async with serving(tmp_path, policy=policy) as server:
            await turn(server, **plan)
            (order_id,) = await accepted(server, 1)
            order = await server.ended(order_id)
            assert (order["status"], order["code"], order["attempt"]) == ("failed", code, 3)
            await audited(server, 1)

    run(script())


def test_the_other_venue_goes_on_alone(tmp_path: Path) -> None:
    async def script() -> None:
        async with serving(tmp_path, policy=QUICK) as server:
            await turn(server, venuesDown=["raydium"])
            (order_id,) = await accepted(server, 1)
            assert (await server.ended(order_id))["status"] == "confirmed"
            quotes = (await server.get(f"/v1/orders/{order_id}/route")).json["route"]["quotes"]
            assert {quote["venue"]: quote.get("code") for quote in quotes} == {
                "raydium": "VENUE_UNAVAILABLE",
                "meteora": None,
            }

    run(script())


@pytest.mark.parametrize("plan", [{"latePct": 100}, {"landDelayMs": 3_000}])
def test_what_lands_later_is_waited_for(tmp_path: Path, plan: dict[str, Any]) -> None:
    async def script() -> None:
        async with serving(tmp_path, policy=QUICK) as server:
            await turn(server, **plan)
            await accepted(server, 3)
            await until(server, "submitted")
            await asyncio.sleep(0.3)  # without the fault they would have landed in the block of the moment
            assert "submitted" in await statuses(server)
            await audited(server, 3)

    run(script())


def test_a_plan_that_cannot_be_is_refused_and_changes_nothing(tmp_path: Path) -> None:
    async def script() -> None:
        async with serving(tmp_path, sim="classic") as server:
            before = (await server.get("/v1/sim/faults")).json
            assert before["revertPct"] == 8  # as the preset has it
            for body in (
                {"dropPct": 101},
                {"dropPct": -1},
                {"lostAnswerPct": 91},
                {"quoteDelayMs": 5_001},
                {"venuesDown": ["orca"]},
                {"drop": 1},
            ):
                answer = await server.send("PUT", "/v1/sim/faults", json=body)
                assert (answer.status, [each["pointer"] for each in answer.json["errors"]]) == (
                    422,
                    [f"/{next(iter(body))}"],
                )
            assert (await server.get("/v1/sim/faults")).json == before

    run(script())


def test_an_engine_on_a_shared_chain_has_no_lab(tmp_path: Path) -> None:
    async def script() -> None:
        async with serving(tmp_path, chain="http://127.0.0.1:9", start_worker=False) as server:
            for method, path in (
                ("GET", "/v1/sim/faults"),
                ("PUT", "/v1/sim/faults"),
                ("POST", "/v1/sim/workers/kill"),
                ("GET", "/v1/sim/audit"),
            ):
                answer = await server.send(method, path, json={})
                assert (answer.status, answer.json["code"]) == (404, "REQUEST_NOT_FOUND")
                assert "no fault lab" in answer.json["detail"]

    run(script())


# --- the audit can object ---------------------------------------------------------------------------------

_LAST = "(SELECT max(id) FROM orders)"
_COPY = (
    "INSERT INTO ledger (signature, order_id, attempt, slot, amount_in, amount_out, limit_atoms)"
    " SELECT 'another', order_id, 2, slot, amount_in, amount_out, limit_atoms FROM ledger"
    " ORDER BY order_id DESC LIMIT 1"
)
_OF_LAST = "order_id = (SELECT max(order_id) FROM ledger)"
_OPENED = "status = 'submitted', filled_in = NULL, filled_out = NULL, fill_hash = NULL, due_at = 1, tx = x'7B7D'"
DOCTORED = {
    "the order is gone, its events are not": ("lost", "orders", f"DELETE FROM orders WHERE id = {_LAST}"),
    "all of it is gone, the chain knows it": (
        "lost",
        "orders",
        f"DELETE FROM order_events WHERE order_id = {_LAST}; DELETE FROM orders WHERE id = {_LAST}",
    ),
    "the ledger has a second swap": ("settledTwice", "chain", _COPY),
    "it settled and was told as failed": (
        "settledUnconfirmed",
        "orders",
        f"UPDATE orders SET status = 'failed' WHERE id = {_LAST}",
    ),
    "it settled and is about to be tried again": (
        "settledUnconfirmed",
        "orders",
        f"UPDATE orders SET status = 'pending', tx_hash = NULL WHERE id = {_LAST}",
    ),
    "the chain has no such swap": ("confirmedUnsettled", "chain", f"DELETE FROM ledger WHERE {_OF_LAST}"),
    "the chain undid it": ("confirmedUnsettled", "chain", f"UPDATE ledger SET problem = x'7B7D' WHERE {_OF_LAST}"),
    "the chain swapped less": ("wrongFill", "chain", f"UPDATE ledger SET amount_out = amount_out - 1 WHERE {_OF_LAST}"),
    "an event is missing": ("gaps", "orders", f"DELETE FROM order_events WHERE order_id = {_LAST} AND seq = 2"),
    "the last event is missing": (
        "gaps",
        "orders",
        f"DELETE FROM order_events WHERE order_id = {_LAST} AND status = 'confirmed'",
    ),
    "nobody works, and it is due": (
        "stuck",
        "orders",
        f"UPDATE orders SET {_OPENED}, worker = NULL WHERE id = {_LAST}",
    ),
    "its worker died long ago": ("stuck", "orders", f"UPDATE orders SET {_OPENED}, worker = 'gone' WHERE id = {_LAST}"),
    "a worker with room leaves it": (
        "stuck",
        "orders",
        f"UPDATE orders SET {_OPENED}, worker = NULL WHERE id = {_LAST}; INSERT INTO workers VALUES ('w', 9e12)",
    ),
    "its worker lives and does nothing": (
        "stuck",
        "orders",
        f"UPDATE orders SET {_OPENED}, worker = 'w' WHERE id = {_LAST}; INSERT INTO workers VALUES ('w', 9e12)",
    ),
}


DOCTORED_SLICES = {
    "the ledger has one more slice": ("settledTwice", "chain", _COPY),
    "nobody signed one of its slices": (
        "settledUnconfirmed",
        "orders",
        "UPDATE order_events SET tx_hash = NULL WHERE id = (SELECT min(id) FROM order_events WHERE event = 'signed')",
    ),
    "the chain has no such slice": (
        "confirmedUnsettled",
        "chain",
        "DELETE FROM ledger WHERE id = (SELECT max(id) FROM ledger)",
    ),
    "it tells less than its slices": ("wrongFill", "orders", "UPDATE orders SET filled_out = filled_out - 1"),
    "a slice swapped more": ("wrongFill", "chain", "UPDATE ledger SET amount_out = amount_out + 1 WHERE id = 1"),
}


class Later(SystemClock):
    """Ten minutes on, so that whatever lies about has lain long."""

    def now(self) -> Millis:
        return Millis(super().now() + 600_000)


def audit_of(folder: Path) -> Audit:
    return asyncio.run(Auditor(folder, Later(), lease_s=10, concurrency=2).audit())


@pytest.fixture(scope="module")
def settled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The files of an engine that has settled five orders and stopped."""
    folder = tmp_path_factory.mktemp("settled")

    async def script() -> None:
        async with serving(folder, policy=QUICK) as server:
            await accepted(server, 5)
            await until(server, *TERMINAL)

    run(script())
    return folder


@pytest.fixture(scope="module")
def sliced(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The files of an engine that has settled one order in two slices and stopped."""
    folder = tmp_path_factory.mktemp("sliced")

    async def script() -> None:
        async with serving(folder, policy=QUICK) as server:
            schedule = {"slices": 2, "intervalSeconds": 1}
            await server.post("/v1/orders", {**SELL, "type": "twap", "schedule": schedule})
            await until(server, *TERMINAL)

    run(script())
    return folder


@pytest.mark.parametrize("how", DOCTORED)
def test_doctored_files_do_not_pass(settled: Path, tmp_path: Path, how: str) -> None:
    doctor(settled, tmp_path, *DOCTORED[how])


@pytest.mark.parametrize("how", DOCTORED_SLICES)
def test_doctored_slices_do_not_pass(sliced: Path, tmp_path: Path, how: str) -> None:
    doctor(sliced, tmp_path, *DOCTORED_SLICES[how])


def doctor(intact: Path, tmp_path: Path, name: str, file: str, script: str) -> None:
    """A doctored copy breaks this promise; the copy itself breaks none."""
    for each in intact.glob("*.db*"):
        shutil.copy(each, tmp_path)
    assert audit_of(tmp_path).broken == 0
    with closing(sqlite3.connect(tmp_path / "orders.db")) as orders:
        (last,) = orders.execute(f"SELECT {_LAST}").fetchone()
    with closing(sqlite3.connect(tmp_path / f"{file}.db", isolation_level=None)) as doctored:
        doctored.execute("PRAGMA ignore_check_constraints = ON")
        doctored.executescript(script)
    found = {each.name: each.orders for each in audit_of(tmp_path).findings if each.count}
    assert found[name] == (last,)


def test_an_order_that_only_waits_its_turn_is_not_stuck(settled: Path, tmp_path: Path) -> None:
    for each in settled.glob("*.db*"):
        shutil.copy(each, tmp_path)
    with closing(sqlite3.connect(tmp_path / "orders.db", isolation_level=None)) as busy:
        busy.execute("PRAGMA ignore_check_constraints = ON")
        busy.executescript(
            f"UPDATE orders SET {_OPENED}, worker = NULL;"
            "INSERT INTO workers VALUES ('w', 9e12);"
            "UPDATE orders SET worker = 'w', updated_at = 9e12 WHERE id IN (SELECT id FROM orders LIMIT 2)"
        )
    assert audit_of(tmp_path).broken == 0
