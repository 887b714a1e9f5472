"""What a disk still holds after a power cut, against what its clients were told.

Decides: what counts as lost and what as torn. Must never: look at the disk itself; it works on a copy, which the store
opens as it does in earnest, with the standard library's SQLite.
"""

import asyncio
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

from fillwright.adapters.sqlite import _COLUMNS, SqliteStore, _event_of, _order
from fillwright.order import IllegalTransition, Order, Recorded, Stamped, claim, replay
from fillwright.units import Millis, OrderId
from tests.conformance.samples import HandClock, accepted, new_order, stamped
from tests.power.clients import LEASE_S, Memory, Told


class Findings:
    def __init__(self) -> None:
        self.lost: list[str] = []
        self.torn: list[str] = []


def audit(database: Path, memory: Memory, clock: HandClock, loop: asyncio.AbstractEventLoop) -> Findings:
    """Judge the file, then work on it. The memory then knows what became of the calls that were not answered."""
    found = Findings()
    try:
        with closing(SqliteStore(database, clock, lease_s=LEASE_S)) as store:
            _judge_file(store._reader, found)
            _judge_orders(store._reader, memory, clock, found)
            if not (found.lost or found.torn):
                loop.run_until_complete(_go_on(store, memory, clock, found))
    except Exception as error:  # whatever it is, the store cannot read what it once wrote
        found.torn.append(f"the store cannot work on it: {error!r}")
    return found


def _judge_file(file: sqlite3.Connection, found: Findings) -> None:
    for pragma in ("integrity_check", "foreign_key_check"):
        rows = file.execute(f"PRAGMA {pragma}").fetchall()
        if rows not in ([], [("ok",)]):
            found.torn.append(f"{pragma}: {rows[:3]}")


def _judge_orders(file: sqlite3.Connection, memory: Memory, clock: HandClock, found: Findings) -> None:
    orders = {order.id: order for order in map(_order, file.execute(f"SELECT {_COLUMNS} FROM orders"))}
    histories: dict[str, list[Stamped]] = {}
    for order_id, seq, at, payload in file.execute("SELECT order_id, seq, at, payload FROM order_events ORDER BY seq"):
        histories.setdefault(order_id, []).append(Stamped(seq, Millis(at), _event_of(payload)))
    keys = dict(file.execute("SELECT order_id, key FROM idempotency_keys").fetchall())
    seen = dict(file.execute("SELECT name, seen_at FROM workers").fetchall())
    for stray in (orders.keys() | histories.keys() | keys.keys()) - memory.orders.keys():
        found.torn.append(f"nobody asked for {stray}")
    for told in memory.orders.values():
        order, history = orders.get(told.id), histories.get(told.id, [])
        _judge_order(told, order, history, memory, found)
        if keys.get(told.id) != (told.key if order else None):
            found.torn.append(f"{told.id} has the key {keys.get(told.id)}")
    for worker, at in memory.seen.items():
        forgotten = at < clock.now() - LEASE_S * 1_000  # another worker's heartbeat may have dropped it
        if seen.get(worker, 0) < at and not forgotten:
            found.lost.append(f"{worker} was alive at {at}, stored is {seen.get(worker)}")


def _judge_order(told: Told, order: Order | None, history: list[Stamped], memory: Memory, found: Findings) -> None:
    """Its row is what its history makes of it, and its history is one of those that the answers allow."""
    states = _replayed(told, history)
    if states is None or (states[-1].order if states else None) != order:
        found.torn.append(f"{told.id}: the row is not what its {len(history)} events make of it")
    elif len(states) < len(told.states):
        found.lost.append(f"{told.id}: of {len(told.states)} acknowledged events {len(states)} are left")
    elif states not in memory.possible(told):
        found.torn.append(f"{told.id}: {len(states)} events, {len(told.states)} acknowledged, fit no call")
    else:
        was = "done" if len(states) > len(told.states) else "not done"
        for call in {"refused" if doubt.commits is not None else "unanswered" for doubt in told.doubts}:
            memory.counts[f"{call}, found {was}"] += 1
        told.states = states
        told.doubts.clear()


def _replayed(told: Told, history: list[Stamped]) -> list[Recorded] | None:
    if [each.seq for each in history] != list(range(1, len(history) + 1)):
        return None
    try:
        return replay(told.id, "alice", history)
    except (IllegalTransition, IndexError):
        return None


async def _go_on(store: SqliteStore, memory: Memory, clock: HandClock, found: Findings) -> None:
    """New work, old work, and an old request repeated."""

    def expect(what: str, answer: Any, wanted: Any) -> None:
        if answer != wanted:
            found.torn.append(f"afterwards, {what} answered {answer}")

    first = accepted("afterwards", at=clock.now())
    expect("a create", (await store.create(new_order(first, key="key-afterwards"))).is_new, True)
    taken = claim(first.order, "w-afterwards", clock.now())
    expect("a claim", await store.claim([OrderId("afterwards")], "w-afterwards"), [taken])
    expect("a history", await store.history("alice", OrderId("afterwards")), stamped([first, taken]))
    told = next((told for told in reversed(memory.orders.values()) if told.order is not None), None)
    if told is not None and told.order is not None:
        again = await store.create(new_order(accepted("again", at=clock.now()), key=told.key))
        expect("a repeated request", (again.is_new, again.order), (False, told.order))
        if not told.ended:
            taken = claim(told.order, "w-afterwards", clock.now())
            await store.record(told.order, [taken])
            expect("an old order", await store.get("alice", told.id), taken.order)
