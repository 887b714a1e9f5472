"""The last look, when everything is over: database, the chain's own ledger and the clients' memory agree.

Decides: what must be true of a finished campaign, from these three witnesses alone. Must never: ask the engine.
"""

import asyncio
import sqlite3
from collections import Counter
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Final, NamedTuple

import asyncpg

from fillwright.adapters.postgres.link import connect
from fillwright.adapters.postgres.rows import ORDER, order_of, stamped_of
from fillwright.errors import Code
from fillwright.order import (
    Fill,
    IllegalTransition,
    Landed,
    Lapsed,
    Order,
    Reclaimed,
    Recorded,
    Reverted,
    Signed,
    SliceLanded,
    Stamped,
    Status,
    replay,
)
from fillwright.units import Atoms, Signature
from tests.chaos.memory import Findings, Memory
from tests.simulation.rules import limit_of, part_of, tx_of, within

_AT_ONCE: Final = 1_000
_ORDERS: Final = f"SELECT {ORDER} FROM orders o WHERE o.id > $1 ORDER BY o.id LIMIT {_AT_ONCE}"
_EVENTS: Final = (
    "SELECT order_id, status, event, seq, created_at, payload FROM order_events"
    " WHERE order_id = ANY($1::text[]) ORDER BY order_id, seq"
)
_STRAYS: Final = (
    "SELECT DISTINCT e.order_id FROM order_events e LEFT JOIN orders o ON o.id = e.order_id WHERE o.id IS NULL"
)
_KEYS: Final = "SELECT key, order_id FROM idempotency_keys"
_LEDGER: Final = "SELECT order_id, signature, slot, amount_in, amount_out, limit_atoms, problem IS NULL FROM ledger"
_OPEN: Final = "SELECT count(*) FROM orders WHERE due_at IS NOT NULL OR status = 'open'"


class Line(NamedTuple):
    """Of the ledger. `swapped`: false for what the chain undid."""

    order_id: str
    signature: str
    slot: int
    amount_in: int | None
    amount_out: int | None
    limit: int
    swapped: bool


class Told(NamedTuple):
    """An event, and what its row says beside it."""

    status: str
    cause: str
    stamped: Stamped


class Story(NamedTuple):
    order: Order
    events: Sequence[Told]


@dataclass
class Totals:
    """What was found, broken or not."""

    statuses: Counter[str] = field(default_factory=Counter)
    events: Counter[str] = field(default_factory=Counter)
    landed_at_s: list[float] = field(default_factory=list)
    """Of each landing, by the worker's clock, which is this machine's; sorted."""
    types: Counter[str] = field(default_factory=Counter)
    taken_over: int = 0
    """Orders that a worker took from another one."""


async def judge(memory: Memory, database: str, ledger: Path) -> Totals:
    findings, totals = memory.findings, Totals()
    lines = _lines(ledger)
    stored: dict[str, str | None] = {}
    tied: dict[str, Order] = {}
    connection = await connect(database)
    try:
        async for story in _stories(connection):
            order = story.order
            stored[order.id] = order.client_order_id
            if order.intent.link is not None:
                tied[order.id] = order
            _judge_story(findings, story, lines.get(order.id, []), totals)
            _judge_memory(memory, story)
        for (stray,) in await connection.fetch(_STRAYS):
            findings.violate("I1", f"{stray} has events and no row")
        keys: dict[str, str] = dict([tuple(row) for row in await connection.fetch(_KEYS)])
    finally:
        await connection.close()
    for order_id in lines.keys() - stored.keys():
        findings.violate("I2", f"{order_id} is in the ledger and not stored")
    swapped = {order_id for order_id, each in lines.items() if any(line.swapped for line in each)}
    for order in tied.values():
        _judge_ties(findings, order, tied, swapped)
    _judge_names(memory, stored, keys)
    totals.landed_at_s.sort()
    return totals


async def settled(database: str, within_s: float) -> float | None:
    """Seconds until no order was open any more; None: some still are."""
    loop = asyncio.get_running_loop()
    begun = loop.time()
    connection = await connect(database)
    try:
        while loop.time() - begun < within_s:
            if await connection.fetchval(_OPEN) == 0:
                return loop.time() - begun
            await asyncio.sleep(0.2)
    finally:
        await connection.close()
    return None


# --- reading ----------------------------------------------------------------------------------------------


def _lines(ledger: Path) -> dict[str, list[Line]]:
    lines: dict[str, list[Line]] = {}
    with closing(sqlite3.connect(ledger)) as file:
        for line in map(Line._make, file.execute(_LEDGER)):
            lines.setdefault(line.order_id, []).append(line)
    return lines


async def _stories(connection: "asyncpg.Connection[asyncpg.Record]") -> AsyncIterator[Story]:
    last = ""
    while orders := [order_of(row) for row in await connection.fetch(_ORDERS, last)]:
        events: dict[str, list[Told]] = {order.id: [] for order in orders}
        for order_id, status, cause, *stamped in await connection.fetch(_EVENTS, list(events)):
            events[order_id].append(Told(status, cause, stamped_of(stamped)))
        for order in orders:
            yield Story(order, events[order.id])
        last = orders[-1].id


# --- one order --------------------------------------------------------------------------------------------


def _judge_story(findings: Findings, story: Story, lines: Sequence[Line], totals: Totals) -> None:
    order = story.order
    totals.statuses[str(order.status)] += 1
    totals.types[str(order.intent.type) if order.intent.link is None else "tied"] += 1
    swaps = [line for line in lines if line.swapped]
    if not order.is_terminal:
        findings.violate("I1", f"{order.id} is still {order.status}")
    if order.status is Status.CONFIRMED and not swaps:
        findings.violate("I5", f"{order.id} is confirmed and not in the ledger")
    states = _replayed(findings, story)
    _judge_signatures(findings, order, states, lines)
    if order.intent.schedule is None:
        _judge_whole(findings, order, states, swaps)
    else:
        _judge_slices(findings, order, order.intent.schedule.slices, states, swaps)
    for before, after in zip([None, *states], states, strict=False):
        totals.events[str(after.event.__struct_config__.tag)] += 1
        if isinstance(after.event, Reclaimed) and before is not None and before.order.worker != after.event.worker:
            totals.taken_over += 1
        if after.order.status is Status.CONFIRMED:
            totals.landed_at_s.append(after.order.updated_at / 1_000)


def _judge_whole(findings: Findings, order: Order, states: Sequence[Recorded], swaps: Sequence[Line]) -> None:
    """One swap of all of it, or none."""
    if len(swaps) > 1:
        findings.violate("I2", f"{order.id} was settled {len(swaps)} times")
    if order.status is not Status.CONFIRMED and swaps:
        findings.violate("I8", f"{order.id} is {order.status}, and was settled: {swaps[0]}")
    if (order.status is Status.CONFIRMED) != (order.fill is not None):
        findings.violate("I5", f"{order.id} is {order.status} with the fill {order.fill}")
    if order.fill is not None and swaps:
        _judge_fill(findings, order, order.fill, swaps[0], states, order.intent.amount)


def _judge_slices(
    findings: Findings, order: Order, slices: int, states: Sequence[Recorded], swaps: Sequence[Line]
) -> None:
    """Each slice of the ledger is counted, each that is counted is in the ledger, and the order tells their sum."""
    total = (sum(line.amount_in or 0 for line in swaps), sum(line.amount_out or 0 for line in swaps))
    if len(swaps) > slices or total[0] > order.intent.amount:
        findings.violate("I2", f"{order.id}, of {slices} slices, was settled {len(swaps)} times")
    if total != (order.filled_in, order.filled_out):
        findings.violate("I5", f"{order.id} tells {order.fill}, the ledger {total}")
    if (order.status is Status.CONFIRMED) != (order.filled_in == order.intent.amount):
        findings.violate("I5", f"{order.id} is {order.status} with the fill {order.fill}")
    left = {line.signature: line for line in swaps}
    for nth, state in enumerate(states):
        if isinstance(state.event, Landed | SliceLanded):
            fill = state.event.fill
            line = left.pop(fill.signature, None)
            if line is None:
                findings.violate("I5", f"{order.id} tells {fill}, which the ledger does not")
            else:
                _judge_fill(findings, order, fill, line, states[:nth], part_of(states[:nth]))
    for line in left.values():
        findings.violate("I8", f"{order.id} is {order.status}, and has not counted {line}")


def _judge_ties(findings: Findings, order: Order, tied: Mapping[str, Order], swapped: Collection[str]) -> None:
    """Of a group at most one has swapped, an exit just what its entry gave; who was canceled for another, rightly."""
    link, code = order.intent.link, order.problem.code if order.problem else None
    assert link is not None
    others = [each for each in link.siblings if each in swapped]
    if others and order.id in swapped:
        findings.violate("OCO", f"{order.id} and {others} of its group were settled")
    if code is Code.ORDER_SIBLING_FILLED and not others:
        findings.violate("OCO", f"{order.id} was canceled for a fill that its group does not have")
    if link.parent is None:
        return
    entry = tied.get(link.parent)
    if entry is None:
        findings.violate("OTO", f"{order.id} waits for {link.parent}, which is not stored")
    elif order.id in swapped and (entry.fill is None or order.filled_in != entry.filled_out):
        findings.violate("OTO", f"{order.id} swapped {order.filled_in}, its entry gave {entry.fill}")
    elif code is Code.ORDER_PARENT_UNFILLED and entry.fill is not None:
        findings.violate("OTO", f"{order.id} was canceled though its entry was filled: {entry.fill}")


def _replayed(findings: Findings, story: Story) -> list[Recorded]:
    """Its events, folded anew, make the row; none is missing, and each row tells what its event does."""
    order = story.order
    seqs = [told.stamped.seq for told in story.events]
    if seqs != list(range(1, order.seq + 1)):
        findings.violate("I3", f"{order.id}, of {order.seq} events, has {seqs}")
        return []
    try:
        states = replay(order.id, order.account, [told.stamped for told in story.events])
    except (IllegalTransition, IndexError) as error:
        findings.violate("I4", f"the history of {order.id} is not legal: {error}")
        return []
    if states[-1].order != order:
        findings.violate("I4", f"the row of {order.id} is not what its events make of it: {order}")
    for told, state in zip(story.events, states, strict=True):
        if (told.status, told.cause) != (state.order.status, state.event.__struct_config__.tag):
            findings.violate("I4", f"{order.id}/{told.stamped.seq} is told as {told.status} by {told.cause}")
    return states


def _judge_signatures(findings: Findings, order: Order, states: Sequence[Recorded], lines: Sequence[Line]) -> None:
    """What reached the chain was stored before; what was given up never swapped; each keeps to the order's limit."""
    signed: dict[Signature, int] = {}
    for before, after in pairwise(states):
        match after.event:
            case Signed(tx=tx):
                signed[tx.signature] = tx.limit
                if tx.limit != limit_of(before.order) or tx_of(tx.raw).order_id != order.id:
                    findings.violate("I6", f"{order.id} was signed with the limit {tx.limit}")
            case Reverted(signature=signature) | Lapsed(signature=signature):
                if any(line.signature == signature and line.swapped for line in lines):
                    findings.violate("I8", f"{signature} of {order.id} was given up, and settled")
            case _:
                pass
    for line in lines:
        if signed.get(Signature(line.signature)) != line.limit:
            findings.violate("I10", f"the chain has {line}, which {order.id} never stored")


def _judge_fill(
    findings: Findings, order: Order, fill: Fill, line: Line, states: Sequence[Recorded], part: int
) -> None:
    """`states`: up to the fill. `part`: what it was to swap."""
    told = (fill.signature, fill.slot, fill.amount_in, fill.amount_out)
    if told != (line.signature, line.slot, line.amount_in, line.amount_out):
        findings.violate("I5", f"{order.id} tells {fill}, the ledger {line}")
    limits = [state.event.tx.limit for state in states if isinstance(state.event, Signed)]
    if limits and not within(order, part, Atoms(fill.amount_in), Atoms(fill.amount_out), limits[-1]):
        findings.violate("I6", f"{fill} of {order.id} is not within {limits[-1]}")


# --- what clients remember --------------------------------------------------------------------------------


def _judge_memory(memory: Memory, story: Story) -> None:
    order_id = str(story.order.id)
    if order_id in memory.canceled and story.order.status is not Status.CANCELED:
        memory.findings.violate("I4", f"{order_id} was told to be canceled, and is {story.order.status}")
    stored = {told.stamped.seq: (told.status, told.cause) for told in story.events}
    for seq, frame in memory.frames.get(order_id, {}).items():
        if stored.get(seq) != frame:
            memory.findings.violate("I9", f"{order_id}/{seq} was streamed as {frame}, stored is {stored.get(seq)}")
    if memory.followed.get(order_id, story.order.seq) != story.order.seq:
        memory.findings.violate("I3", f"a follower of {order_id} ended at {memory.followed[order_id]}")


def _judge_names(memory: Memory, stored: Mapping[str, str | None], keys: Mapping[str, str]) -> None:
    """Every acknowledged order is stored, under the names it was asked by; and no other is."""
    findings = memory.findings
    for order_id in memory.frames.keys() - stored.keys():
        findings.violate("I9", f"{order_id} was streamed and is not stored")
    for name, times in Counter(stored.values()).items():
        if name is not None and times > 1:
            findings.violate("I7", f"{times} orders have the client order id {name}")
    by_client_id = {client_id: order_id for order_id, client_id in stored.items() if client_id is not None}
    expected: set[str] = set()
    for wish in memory.asked:
        acknowledged = memory.acknowledged.get(wish.number)
        named = {keys.get(wish.key)} if wish.key is not None else set()
        if wish.client_order_id is not None:
            named.add(by_client_id.get(wish.client_order_id))
        if acknowledged is None:
            findings.violate("I1", f"wish {wish.number} was never acknowledged")
        elif gone := [each for each in (acknowledged, *memory.exits.get(wish.number, ())) if each not in stored]:
            findings.violate("I1", f"wish {wish.number} was acknowledged as {gone}, not stored")
        elif named != {acknowledged}:
            findings.violate("I7", f"wish {wish.number} was acknowledged as {acknowledged}; its names say {named}")
        if acknowledged is not None:
            expected |= {acknowledged, *memory.exits.get(wish.number, ())}
    for order_id in stored.keys() - expected:
        findings.violate("I14", f"{order_id} is stored, and nobody asked for it: {stored[order_id]}")
