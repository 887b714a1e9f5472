"""The verdict can fail: an honest run passes, and each way of doctoring its database or ledger is reported.

Decides: which broken promise each change must be reported as. Must never: doctor anything but copies.
"""

import asyncio
import shutil
import sqlite3
from collections.abc import Awaitable, Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import asyncpg
import pytest

from fillwright.app import open_engine
from fillwright.config import Config, Secret
from fillwright.engine import BracketAsked, Engine, Submission
from fillwright.units import OrderId
from fillwright.wire.brackets import parse_bracket
from fillwright.wire.reading import read_object
from fillwright.wire.requests import fingerprint, parse_order
from tests.chaos.campaign import recovered
from tests.chaos.memory import Memory, Wish
from tests.chaos.strikes import Outage
from tests.chaos.verdict import judge
from tests.servers.postgres import PostgresServer

ORDERS: Final = 4
BODY: Final = b'{"tokenIn":"SOL","tokenOut":"USDC","amount":"0.01","slippageBps":500,"clientOrderId":"order-%d"}'
SLICED: Final = (
    b'{"type":"twap","tokenIn":"SOL","tokenOut":"USDC","amount":"0.01","slippageBps":500,"clientOrderId":"sliced",'
    b'"schedule":{"slices":2,"intervalSeconds":1}}'
)
BRACKET: Final = (
    b'{"entry":{"tokenIn":"USDC","tokenOut":"SOL","amount":"1","slippageBps":500},"exits":['
    b'{"type":"take_profit","trigger":{"price":"0.001"},"slippageBps":500},{"type":"stop","trigger":{"price":"0.001"}}]}'
)


@dataclass(frozen=True)
class Run:
    """What an honest run left behind: its database (a template), its ledger and what its client was told."""

    server: PostgresServer
    database: str
    ledger: Path
    memory: Memory

    @property
    def first(self) -> str:
        return self.memory.acknowledged[0]

    @property
    def sliced(self) -> str:
        return self.memory.acknowledged[ORDERS]

    @property
    def entry(self) -> str:
        return self.memory.acknowledged[ORDERS + 1]

    @property
    def profit(self) -> str:
        """The exit that was filled."""
        return self.memory.exits[ORDERS + 1][0]

    @property
    def stop(self) -> str:
        """The one that was canceled for it."""
        return self.memory.exits[ORDERS + 1][1]


async def _run(database: str, folder: Path) -> Memory:
    memory = Memory()
    config = Config(database=Secret(database), data=folder, sim="instant")
    async with open_engine(config) as running:
        engine = running.engine
        for number, body in enumerate([*(BODY % number for number in range(ORDERS)), SLICED]):
            asked = parse_order(read_object(body), engine.tokens, engine.venues)
            key = f"key-{number}"
            stored = await engine.submit(
                Submission(
                    account="default",
                    intent=asked.intent,
                    fingerprint=fingerprint(asked),
                    client_order_id=asked.client_order_id,
                    idempotency_key=key,
                )
            )
            memory.asked.append(Wish(number, {}, key, asked.client_order_id))
            memory.acknowledge(memory.asked[-1], stored.order.id)
            await _follow(engine, memory, stored.order.id)
        wish = parse_bracket(read_object(BRACKET), engine.tokens, engine.venues)
        bracket = await engine.submit_bracket(
            BracketAsked(
                account="default",
                entry=wish.entry,
                exits=wish.exits,
                fingerprint=b"whole",
                client_order_id=None,
                idempotency_key="whole",
            )
        )
        entry_id, *exit_ids = [order.id for order in bracket.orders]
        memory.asked.append(Wish(ORDERS + 1, {"exits": []}, "whole", None))
        memory.acknowledge(memory.asked[-1], entry_id, tuple(exit_ids))
        for order_id in (entry_id, *exit_ids):
            await _follow(engine, memory, order_id)
    return memory


async def _follow(engine: Engine, memory: Memory, order_id: OrderId) -> None:
    async for news in engine.watch("default", order_id):
        memory.followed[order_id] = news.seq
    for recorded in await engine.history("default", order_id):
        cause = str(recorded.event.__struct_config__.tag)
        memory.saw(order_id, recorded.order.seq, recorded.order.status, cause)


@pytest.fixture(scope="module")
def honest(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Run]:
    folder = tmp_path_factory.mktemp("honest")
    with PostgresServer() as server, server.database() as database:
        memory = asyncio.run(_run(database, folder))
        yield Run(server, database, folder / "chain.db", memory)


Doctor = Callable[["asyncpg.Connection[asyncpg.Record]", sqlite3.Connection, Run], Awaitable[object]]


def verdict(honest: Run, doctor: Doctor, tmp_path: Path, memory: Memory | None = None) -> set[str]:
    """The invariants that are reported once the copies have been doctored."""
    ledger = tmp_path / "chain.db"
    shutil.copy(honest.ledger, ledger)
    judged = Memory() if memory is None else memory
    judged.asked, judged.acknowledged = judged.asked or honest.memory.asked, dict(honest.memory.acknowledged)
    judged.exits = dict(honest.memory.exits)
    judged.frames = {order_id: dict(frames) for order_id, frames in honest.memory.frames.items()}
    judged.followed = {**honest.memory.followed, **judged.followed}

    async def run(database: str) -> None:
        connection = await asyncpg.connect(database)
        try:
            with closing(sqlite3.connect(ledger, isolation_level=None)) as file:
                await doctor(connection, file, honest)
        finally:
            await connection.close()
        await judge(judged, database, ledger)

    with honest.server.database(template=honest.database.rpartition("/")[2]) as copy:
        asyncio.run(run(copy))
    return set(judged.findings.counts)


async def nothing(_: object, __: object, ___: object) -> None: ...


def in_database(sql: str, order: str = "first") -> Doctor:
    """$1 is the order's id."""
    return lambda connection, _, run: connection.fetch(sql, getattr(run, order))


async def two_of_one_name(connection: asyncpg.Connection, _: object, run: Run) -> None:
    """What the unique index forbids."""
    await connection.execute("DROP INDEX orders_client_order_id")
    for change in (
        "UPDATE order_events SET payload = replace(payload::text, 'order-0', 'order-1')::json"
        " WHERE order_id = $1 AND seq = 1",
        "UPDATE orders SET client_order_id = 'order-1' WHERE id = $1",
    ):
        await connection.execute(change, run.first)


def in_ledger(sql: str, order: str = "first") -> Doctor:
    async def doctor(_: object, file: sqlite3.Connection, run: Run) -> None:
        assert file.execute(sql, {"id": getattr(run, order), "other": run.stop}).rowcount == 1

    return doctor


CONFIRMED_AS: Final = (
    "UPDATE orders SET filled_in = NULL, filled_out = NULL, fill_slot = NULL, fill_hash = NULL, status = '{}'"
    " WHERE id = $1"
)
COPY: Final = (
    "INSERT INTO ledger (signature, order_id, attempt, slot, amount_in, amount_out, limit_atoms, problem)"
    " SELECT {}, {}, attempt + 1, slot, amount_in, amount_out, limit_atoms, problem FROM ledger WHERE order_id = :id"
)

LATEST: Final = "(SELECT signature FROM ledger WHERE order_id = :id ORDER BY slot DESC LIMIT 1)"

DOCTORED: Final[dict[str, tuple[Doctor, str]]] = {
    "an order is gone": (in_database("DELETE FROM orders WHERE id = $1"), "I1"),
    "its events are gone as well": (
        in_database(
            "WITH o AS (DELETE FROM orders WHERE id = $1), e AS (DELETE FROM order_events WHERE order_id = $1)"
            " DELETE FROM idempotency_keys WHERE order_id = $1"
        ),
        "I1",
    ),
    "an order has not ended": (
        in_database(CONFIRMED_AS.format("pending").replace("status =", "due_at = 0, status =")),
        "I1",
    ),
    "a line of the ledger twice": (in_ledger(COPY.format("'again'", "order_id")), "I2"),
    "a line of the ledger for an order nobody made": (in_ledger(COPY.format("'other'", "'other'")), "I2"),
    "a gap in the events": (in_database("DELETE FROM order_events WHERE order_id = $1 AND seq = 2"), "I3"),
    "an event after the end": (
        in_database(
            "INSERT INTO order_events (created_at, seq, order_id, status, event, payload) SELECT created_at, seq + 1,"
            " order_id, 'canceled', 'canceled', '{\"type\":\"canceled\"}' FROM order_events WHERE order_id = $1"
            " ORDER BY seq DESC LIMIT 1"
        ),
        "I3",
    ),
    "a row that its events did not make": (in_database("UPDATE orders SET attempts = 2 WHERE id = $1"), "I4"),
    "an illegal history": (
        in_database(
            "UPDATE order_events SET payload = '{\"type\":\"canceled\"}', event = 'canceled'"
            " WHERE order_id = $1 AND seq = 2"
        ),
        "I4",
    ),
    "an event told as another status": (
        in_database("UPDATE order_events SET status = 'failed' WHERE order_id = $1 AND seq = 2"),
        "I4",
    ),
    "confirmed, and not in the ledger": (in_ledger("DELETE FROM ledger WHERE order_id = :id"), "I5"),
    "confirmed, and undone by the chain": (
        in_ledger("UPDATE ledger SET problem = x'7b7d', amount_in = NULL, amount_out = NULL WHERE order_id = :id"),
        "I5",
    ),
    "another amount than the ledger's": (
        in_ledger("UPDATE ledger SET amount_out = amount_out + 1 WHERE order_id = :id"),
        "I5",
    ),
    "another signature than the ledger's": (
        in_ledger("UPDATE ledger SET signature = 'other' WHERE order_id = :id"),
        "I10",
    ),
    "another limit than the one that was signed": (
        in_ledger("UPDATE ledger SET limit_atoms = limit_atoms - 1 WHERE order_id = :id"),
        "I10",
    ),
    "less than the limit": (in_database("UPDATE orders SET filled_out = 1 WHERE id = $1"), "I6"),
    "two orders with one client id": (two_of_one_name, "I7"),
    "a key that names another order": (
        in_database("UPDATE idempotency_keys SET order_id = 'other' WHERE order_id = $1"),
        "I7",
    ),
    "a key that names no order": (in_database("DELETE FROM idempotency_keys WHERE order_id = $1"), "I7"),
    "canceled, and in the ledger": (in_database(CONFIRMED_AS.format("canceled")), "I8"),
    "failed, and in the ledger": (in_database(CONFIRMED_AS.format("failed")), "I8"),
    "a slice settled once more than was asked for": (
        in_ledger(COPY.format("'again'", "order_id") + " LIMIT 1", "sliced"),
        "I2",
    ),
    "a slice that was settled and is not counted": (
        in_ledger("UPDATE ledger SET signature = 'other' WHERE signature = " + LATEST, "sliced"),
        "I8",
    ),
    "a slice that is counted and was not settled": (
        in_ledger("DELETE FROM ledger WHERE signature = " + LATEST, "sliced"),
        "I5",
    ),
    "slices that add up to something else": (
        in_database("UPDATE orders SET filled_out = filled_out + 1 WHERE id = $1", "sliced"),
        "I5",
    ),
    "both exits of an entry settled": (in_ledger(COPY.format("'again'", ":other"), "profit"), "OCO"),
    "an exit canceled for a fill that nobody has": (
        in_ledger("DELETE FROM ledger WHERE order_id = :id", "profit"),
        "OCO",
    ),
    "an exit of another amount than its entry gave": (
        in_database("UPDATE orders SET filled_in = filled_in - 1 WHERE id = $1", "profit"),
        "OTO",
    ),
    "an exit whose entry is gone": (in_database("DELETE FROM orders WHERE id = $1", "entry"), "OTO"),
    "a frame that was never committed": (
        in_database("UPDATE order_events SET event = 'reclaimed' WHERE order_id = $1 AND seq = 2"),
        "I9",
    ),
}


def test_an_honest_run_passes(honest: Run, tmp_path: Path) -> None:
    assert verdict(honest, nothing, tmp_path) == set()


@pytest.mark.parametrize("name", DOCTORED)
def test_what_was_doctored_is_reported(honest: Run, tmp_path: Path, name: str) -> None:
    doctor, invariant = DOCTORED[name]
    assert invariant in verdict(honest, doctor, tmp_path)


def test_a_client_that_was_told_otherwise_is_believed(honest: Run, tmp_path: Path) -> None:
    assert verdict(honest, nothing, tmp_path, Memory(canceled={honest.first})) == {"I4"}
    assert verdict(honest, nothing, tmp_path, Memory(followed={honest.first: 1})) == {"I3"}
    unheard = Wish(99, {}, "key-99", None)
    assert verdict(honest, nothing, tmp_path, Memory(asked=[*honest.memory.asked, unheard])) == {"I1"}
    assert verdict(honest, nothing, tmp_path, Memory(asked=honest.memory.asked[1:])) == {"I14"}


def test_a_client_notices_two_answers_and_two_tellings() -> None:
    memory = Memory()
    wish = Wish(1, {}, "key", None)
    memory.acknowledge(wish, "one")
    memory.acknowledge(wish, "one")
    memory.saw("one", 1, "pending", "accepted")
    assert not memory.findings.counts
    memory.acknowledge(wish, "two")
    memory.saw("one", 1, "pending", "started")
    assert set(memory.findings.counts) == {"I7", "I9"}


def test_recovery_is_the_first_moment_from_which_throughput_holds() -> None:
    outage = Outage(killed_at=100.0, back_at=101.0, quiet_until=108.0)
    steady = [101 + nth / 10 for nth in range(70)]
    assert recovered(steady, outage, 10) == 0.0
    assert recovered(steady[20:], outage, 10) == pytest.approx(1.9, abs=0.11)
    assert recovered([], outage, 10) is None
    a_burst_and_nothing_more = [102.0 + nth / 100 for nth in range(30)]
    assert recovered(a_burst_and_nothing_more, replace(outage, quiet_until=120.0), 10) is None
