"""Many calls as one transaction: what waits together is written by a few statements over arrays.

Decides: the statements that change orders, and that two calls about the same thing are never in one batch. Must never:
change an order without the compare-and-set on its seq, or answer before the commit.
"""

from collections.abc import Hashable, Iterator, Sequence
from typing import Any, Final, TypeAlias

import asyncpg
import msgspec

from fillwright.adapters.postgres.link import Connection
from fillwright.adapters.postgres.rows import (
    EVENT,
    MOVE,
    MOVE_SET,
    NEW,
    ORDER,
    Row,
    columns,
    event_row,
    flat,
    move_row,
    new_row,
    order_of,
    unnest,
)
from fillwright.order import Order, Recorded, claim
from fillwright.ports import NewOrder, Stored, Switch
from fillwright.units import Millis, OrderId

# --- calls ------------------------------------------------------------------------------------------------


class Create(msgspec.Struct, frozen=True):
    """Answered with what is stored."""

    new: NewOrder
    rows: Sequence[Row]
    """Of the order, and of those tied to it."""
    events: Sequence[Row]

    @classmethod
    def of(cls, new: NewOrder, tied: Sequence[NewOrder] = ()) -> "Create":
        orders = (new, *tied)
        return cls(new, [new_row(each) for each in orders], [event_row(each.accepted) for each in orders])

    @property
    def name(self) -> tuple[str, str | None, str | None]:
        """Account, idempotency key and client order id."""
        return self.new.accepted.order.account, self.new.idempotency_key, self.new.accepted.order.client_order_id

    def touches(self) -> Iterator[Hashable]:
        account, key, client_order_id = self.name
        yield self.new.accepted.order.id
        if key is not None:
            yield "key", account, key
        if client_order_id is not None:
            yield "client id", account, client_order_id


class Move(msgspec.Struct, frozen=True):
    """Answered with whether the order still was as it was read."""

    id: OrderId
    group: OrderId | None
    row: Row
    events: Sequence[Row]

    @classmethod
    def of(cls, before: Order, recorded: Sequence[Recorded]) -> "Move":
        return cls(before.id, before.group, move_row(before, recorded), [event_row(each) for each in recorded])

    def touches(self) -> Iterator[Hashable]:
        yield self.id
        if self.group is not None:
            yield "group", self.group


class Claim(msgspec.Struct, frozen=True):
    """Answered with what was taken: the recorded events."""

    ids: Sequence[OrderId]
    worker: str

    def touches(self) -> Iterator[Hashable]:
        return iter(self.ids)


class Beat(msgspec.Struct, frozen=True):
    """A sign of life of a worker, or its last one. Answered with None."""

    worker: str
    alive: bool

    def touches(self) -> Iterator[Hashable]:
        yield "worker", self.worker


class Arm(msgspec.Struct, frozen=True):
    """Answered with the switch."""

    account: str
    seconds: int

    def touches(self) -> Iterator[Hashable]:
        yield "switch", self.account


class Disarm(msgspec.Struct, frozen=True):
    """`fires_at`: only the switch of this time; None: whatever there is. Answered with None."""

    account: str
    fires_at: Millis | None

    def touches(self) -> Iterator[Hashable]:
        yield "switch", self.account


Call: TypeAlias = Create | Move | Claim | Beat | Arm | Disarm


class Overtaken(Exception):
    """Another process was faster with one of these names or groups: nothing was changed, look again."""


# --- one transaction --------------------------------------------------------------------------------------


async def commit(connection: Connection, calls: Sequence[Call], lease_s: float) -> list[Any]:
    """Write all or nothing, and return each call's answer once that is durable.

    Raises Overtaken, or what the driver raises; the transaction may then still be open.
    """
    creates = [call for call in calls if isinstance(call, Create)]
    moves = [call for call in calls if isinstance(call, Move)]
    claims = [call for call in calls if isinstance(call, Claim)]
    beats = [call for call in calls if isinstance(call, Beat)]
    switches = [call for call in calls if isinstance(call, Arm | Disarm)]
    claimed = await _claimed(connection, claims, lease_s)
    moves += [Move.of(order, [recorded]) for order, recorded in claimed]
    armed: dict[str, Switch] = {}
    if creates or beats or switches:
        await connection.execute("BEGIN")
        stored = iter(await _create(connection, creates))
        won = await _move(connection, moves)
        await _beat(connection, beats, lease_s)
        armed = await _switch(connection, switches)
        await connection.execute("COMMIT")
    else:  # one statement is a transaction by itself
        stored = iter(())
        won = await _move(connection, moves)
    taken = {order.id: recorded for order, recorded in claimed if order.id in won}

    def answer(call: Call) -> Any:
        match call:
            case Create():
                return next(stored)
            case Move():
                return call.id in won
            case Claim():
                return [taken[order_id] for order_id in dict.fromkeys(call.ids) if order_id in taken]
            case Beat() | Disarm():
                return None
            case Arm():
                return armed[call.account]

    return [answer(call) for call in calls]


# Rows are locked in the order of their names, so that batches of several processes wait for each other in a row.

_NEW_COLUMNS: Final = ", ".join(NEW)
_EVENT_COLUMNS: Final = ", ".join(EVENT)
_MOVE_COLUMNS: Final = ", ".join(MOVE)

_FIND: Final = (
    f"SELECT a.nth, k.order_id IS NOT NULL, o.fingerprint, {ORDER}"
    " FROM unnest($1::text[], $2::text[], $3::text[]) WITH ORDINALITY AS a (account, key, client_order_id, nth)"
    " LEFT JOIN idempotency_keys k ON k.account = a.account AND k.key = a.key"
    " JOIN orders o ON o.id = coalesce(k.order_id, (SELECT c.id FROM orders c"
    " WHERE c.account = a.account AND c.client_order_id = a.client_order_id))"
)
_NEW_AT: Final = 4
_NEW_EVENT_AT: Final = _NEW_AT + len(NEW)
_CREATE: Final = (
    "WITH named AS (INSERT INTO idempotency_keys (account, key, order_id)"
    " SELECT * FROM unnest($1::text[], $2::text[], $3::text[]) ON CONFLICT DO NOTHING RETURNING 1),"
    f" made AS (INSERT INTO orders ({_NEW_COLUMNS}, attempts, cancel_requested)"
    f" SELECT *, 0, false FROM {unnest(NEW, _NEW_AT)}"
    " ON CONFLICT (account, client_order_id) WHERE client_order_id IS NOT NULL DO NOTHING RETURNING 1),"
    f" told AS (INSERT INTO order_events ({_EVENT_COLUMNS}) SELECT * FROM {unnest(EVENT, _NEW_EVENT_AT)})"
    " SELECT (SELECT count(*) FROM named), (SELECT count(*) FROM made)"
)


async def _create(connection: Connection, creates: Sequence[Create]) -> list[Stored]:
    """Each order, unless its name is taken; and every key that names an order from now on."""
    if not creates:
        return []
    stored = await _existing(connection, creates)
    names: list[tuple[str, str, OrderId]] = []
    fresh: list[Create] = []
    for nth, call in enumerate(creates):
        account, key, _ = call.name
        found, by_key = stored.get(nth, (None, False))
        if found is None:
            fresh.append(call)
        if key is not None and not by_key and (found is None or found.fingerprint == call.new.fingerprint):
            names.append((account, key, found.order.id if found else call.new.accepted.order.id))
    if names or fresh:
        fresh.sort(key=lambda call: (call.name[0], call.name[2] or ""))
        rows = flat(call.rows for call in fresh)
        arrays = [
            *columns(sorted(names), 3),
            *columns(rows, len(NEW)),
            *columns(flat(call.events for call in fresh), len(EVENT)),
        ]
        done = await connection.fetchrow(_CREATE, *arrays)
        if done is None or tuple(done) != (len(names), len(rows)):
            raise Overtaken
    return [
        stored[nth][0] if nth in stored else Stored(call.new.accepted.order, call.new.fingerprint, is_new=True)
        for nth, call in enumerate(creates)
    ]


async def _existing(connection: Connection, creates: Sequence[Create]) -> dict[int, tuple[Stored, bool]]:
    """By position: the order that already has the call's key, else its client order id; and whether by its key."""
    names = [call.name for call in creates]
    if not any(key or client_order_id for _, key, client_order_id in names):
        return {}
    rows = await connection.fetch(_FIND, *columns(names, 3))
    return {
        nth - 1: (Stored(order_of(order), fingerprint, is_new=False), by_key)
        for nth, by_key, fingerprint, *order in rows
    }


NOW_MS: Final = "(extract(epoch FROM statement_timestamp()) * 1000)::bigint"
IS_DUE: Final = f"o.due_at <= {NOW_MS}"
IS_FREE: Final = (
    "(o.worker IS NULL OR o.worker = {worker} OR NOT EXISTS (SELECT 1 FROM workers w WHERE w.name = o.worker"
    " AND w.seen_at > statement_timestamp() - make_interval(secs => {lease})))"
)
"""Whether an order of `orders o` may be claimed: both, by the database's clock."""
_CLAIMED: Final = (
    f"SELECT c.worker, statement_timestamp(), {ORDER} FROM unnest($1::text[], $2::text[]) AS c (id, worker)"
    f" JOIN orders o ON o.id = c.id WHERE ({IS_DUE}) IS TRUE"  # in words that keep it from searching all that is due
    f" AND {IS_FREE.format(worker='c.worker', lease='$3')}"
)


async def _claimed(connection: Connection, claims: Sequence[Claim], lease_s: float) -> list[tuple[Order, Recorded]]:
    """What may be claimed, with the event that would do it. Nothing is locked: the compare-and-set decides."""
    asked = [(order_id, call.worker) for call in claims for order_id in dict.fromkeys(call.ids)]
    if not asked:
        return []
    rows = await connection.fetch(_CLAIMED, *columns(asked, 2), lease_s)
    found = [(order_of(order), worker, now) for worker, now, *order in rows]
    return [(order, claim(order, worker, now)) for order, worker, now in found]


# Whether an order was moved is looked up in a hash of those that were; a join of two unknown sizes could be anything.
# An order that would hold its group beside another one is left out; the index is there for what was committed just now.
_MOVE: Final = (
    f"WITH moved AS (UPDATE orders o SET {MOVE_SET} FROM {unnest(MOVE)} AS m ({_MOVE_COLUMNS})"
    " WHERE o.id = m.id AND o.account = m.account AND o.seq = m.seq_before"
    " AND NOT (m.holds AND EXISTS"
    " (SELECT 1 FROM orders s WHERE s.link_group = o.link_group AND s.holds AND s.id <> o.id))"
    " RETURNING o.id),"
    f" told AS (INSERT INTO order_events ({_EVENT_COLUMNS})"
    f" SELECT * FROM {unnest(EVENT, 1 + len(MOVE))} AS e ({_EVENT_COLUMNS})"
    " WHERE (e.order_id IN (SELECT id FROM moved)) IS TRUE)"
    " SELECT id FROM moved"
)


async def _move(connection: Connection, moves: Sequence[Move]) -> frozenset[OrderId]:
    """The compare-and-set of all, with the events of those that won it: which are returned."""
    if not moves:
        return frozenset()
    ordered = sorted(moves, key=lambda call: call.id)
    arrays = [
        *columns([call.row for call in ordered], len(MOVE)),
        *columns(flat(call.events for call in ordered), len(EVENT)),
    ]
    try:
        return frozenset(row[0] for row in await connection.fetch(_MOVE, *arrays))
    except asyncpg.UniqueViolationError as error:
        if error.constraint_name == "orders_held":
            raise Overtaken from error
        raise


_LIVE: Final = (
    "INSERT INTO workers (name, seen_at) SELECT name, clock_timestamp() FROM unnest($1::text[]) AS name"
    " ON CONFLICT (name) DO UPDATE SET seen_at = excluded.seen_at"
)
_BURY: Final = (  # whoever is just being written to is not dead
    "DELETE FROM workers WHERE name IN (SELECT name FROM workers"
    " WHERE seen_at < clock_timestamp() - make_interval(secs => $1) FOR UPDATE SKIP LOCKED)"
)
_RETIRE: Final = "DELETE FROM workers WHERE name = ANY($1::text[])"


async def _beat(connection: Connection, beats: Sequence[Beat], lease_s: float) -> None:
    alive = sorted(call.worker for call in beats if call.alive)
    gone = sorted(call.worker for call in beats if not call.alive)
    if alive:
        await connection.execute(_LIVE, alive)
        await connection.execute(_BURY, lease_s)
    if gone:
        await connection.execute(_RETIRE, gone)


_ARM: Final = (
    f"INSERT INTO switches (account, fires_at) SELECT account, {NOW_MS} + seconds * 1000"
    " FROM unnest($1::text[], $2::bigint[]) AS a (account, seconds)"
    " ON CONFLICT (account) DO UPDATE SET fires_at = excluded.fires_at RETURNING account, fires_at"
)
_DISARM: Final = (
    "DELETE FROM switches s USING unnest($1::text[], $2::bigint[]) AS d (account, fires_at)"
    " WHERE s.account = d.account AND s.fires_at = coalesce(d.fires_at, s.fires_at)"
)


async def _switch(connection: Connection, calls: Sequence[Arm | Disarm]) -> dict[str, Switch]:
    """The switches that were armed, by account."""
    armed = sorted((call.account, call.seconds) for call in calls if isinstance(call, Arm))
    gone = [(call.account, call.fires_at) for call in calls if isinstance(call, Disarm)]
    if gone:
        await connection.execute(_DISARM, *columns(gone, 2))
    rows = await connection.fetch(_ARM, *columns(armed, 2)) if armed else []
    return {account: Switch(account, fires_at) for account, fires_at in rows}
