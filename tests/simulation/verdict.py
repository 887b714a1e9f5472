"""The last look, when everything is over: the chain's ledger, the stored history and the clients' memory agree.

Decides: what must be true of a finished run, from the files alone. Must never: use what the engine holds in memory.
"""

import sqlite3
from collections.abc import Mapping
from pathlib import Path

from fillwright.adapters.sim.chain import Settlement
from fillwright.adapters.sqlite import _COLUMNS, _event_of, _order
from fillwright.order import IllegalTransition, Landed, Order, Recorded, Signed, SliceLanded, Stamped, Status, replay
from fillwright.units import Millis, OrderId
from tests.simulation.faults import WorldChain
from tests.simulation.invariants import Witness
from tests.simulation.rules import part_of, within


def judge(witness: Witness, chain: WorldChain, database: Path, acknowledged: Mapping[str, OrderId]) -> None:
    if not chain.quiet():
        witness.violate("harness", "something is still in flight")
    settlements = chain.settlements()
    orders, histories = _stored(database)
    settled: dict[OrderId, list[Settlement]] = {}
    for line in settlements:
        settled.setdefault(line.order_id, []).append(line)
    for order_id, lines in settled.items():
        schedule = orders[order_id].intent.schedule if order_id in orders else None
        if len(lines) > (1 if schedule is None else schedule.slices):
            witness.violate("I2", f"{order_id} was settled {len(lines)} times")
    for order_id in settled.keys() - orders.keys():
        witness.violate("I2", f"{order_id} was settled and is not stored")
    for name, order_id in acknowledged.items():
        if order_id not in orders:
            witness.violate("I1", f"{name} was acknowledged as {order_id}, which is not stored")
    for order_id, order in orders.items():
        _judge_ending(witness, order, settled.get(order_id, []))
    for order_id, order in orders.items():
        states = _judge_history(witness, order, histories[order_id])
        _judge_ties(witness, order, orders, settled)
        _judge_amounts(witness, order, settled.get(order_id, []), states)


def _stored(database: Path) -> tuple[dict[OrderId, Order], dict[OrderId, list[Stamped]]]:
    file = sqlite3.connect(database)
    orders = {order.id: order for order in map(_order, file.execute(f"SELECT {_COLUMNS} FROM orders ORDER BY id"))}
    histories: dict[OrderId, list[Stamped]] = {order_id: [] for order_id in orders}
    for order_id, seq, at, payload in file.execute("SELECT order_id, seq, at, payload FROM order_events ORDER BY seq"):
        histories[order_id].append(Stamped(seq, Millis(at), _event_of(payload)))
    file.close()
    return orders, histories


def _judge_ending(witness: Witness, order: Order, lines: list[Settlement]) -> None:
    """Terminal, and confirmed exactly where the ledger has a settlement; with a schedule: of the whole amount."""
    if not order.is_terminal:
        witness.violate("I1", f"{order.id} is still {order.status}")
    swapped = sum(line.amount_in for line in lines)
    is_whole = bool(lines) if order.intent.schedule is None else swapped == order.intent.amount
    if (order.status is Status.CONFIRMED) != is_whole:
        witness.violate("I8" if is_whole else "I5", f"{order.id} is {order.status}, the ledger has {lines}")


def _judge_ties(
    witness: Witness, order: Order, orders: Mapping[OrderId, Order], settled: Mapping[OrderId, list[Settlement]]
) -> None:
    """What it is tied to is stored; of a group one is settled; and none swaps more than what it waited for gave."""
    link = order.intent.link
    if link is None:
        return
    for other in (*link.siblings, *link.children, *((link.parent,) if link.parent is not None else ())):
        if other not in orders:
            witness.violate("OTO", f"{order.id} is tied to {other}, which is not stored")
    if order.id not in settled:
        return
    for other in link.siblings:
        if other in settled:
            witness.violate("OCO", f"{order.id} and {other} of one group were settled")
    if link.parent is not None:
        gave = sum(line.amount_out for line in settled.get(link.parent, []))
        if sum(line.amount_in for line in settled[order.id]) > gave:
            witness.violate("OTO", f"{settled[order.id]} is more than the {gave} that {link.parent} gave")


def _judge_history(witness: Witness, order: Order, history: list[Stamped]) -> list[Recorded]:
    """Seq 1 to n; its events, folded anew, make the row; and it is what was committed at the time."""
    numbers = [stamped.seq for stamped in history]
    if numbers != list(range(1, len(history) + 1)):
        witness.violate("I3", f"{order.id} has the events {numbers}")
    try:
        states = replay(order.id, order.account, history)
    except (IllegalTransition, IndexError) as error:
        witness.violate("I4", f"the history of {order.id} is not legal: {error}")
        return []
    if not states or states[-1].order != order:
        witness.violate("I4", f"the row of {order.id} is not what its events make of it")
    if states != witness.states[order.id]:
        witness.violate("I4", f"the history of {order.id} was rewritten")
    return states


def _judge_amounts(witness: Witness, order: Order, lines: list[Settlement], states: list[Recorded]) -> None:
    """Each settlement is told by one landing, within the limit that was signed, and all of them make the row."""
    told = {
        after.event.fill.signature: (after.event.fill, part_of(states[:nth]))
        for nth, after in enumerate(states)
        if isinstance(after.event, Landed | SliceLanded)
    }
    limits = {each.event.tx.signature: each.event.tx.limit for each in states if isinstance(each.event, Signed)}
    for line in lines:
        fill, part = told.pop(line.signature, (None, 0))
        if fill is None:
            witness.violate("I8", f"{order.id} does not tell of {line}")
        elif (fill.amount_in, fill.amount_out) != (line.amount_in, line.amount_out):
            witness.violate("I5", f"{order.id} tells {fill}, the ledger {line}")
        elif limits.get(line.signature) != line.limit or not within(
            order, part, line.amount_in, line.amount_out, line.limit
        ):
            witness.violate("I6", f"{line} is not within the limit that was signed for {order.id}, of {limits}")
    if told:
        witness.violate("I5", f"{order.id} tells of what the ledger does not have: {told}")
    if (order.filled_in, order.filled_out) != (
        sum(line.amount_in for line in lines),
        sum(line.amount_out for line in lines),
    ):
        witness.violate("I5", f"{order.id} tells {order.fill}, the ledger {lines}")
