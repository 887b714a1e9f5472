"""Orders tied to each other: how they are tied when they are asked for, and what one's end means for the others. Pure.

Decides: which order waits for which (OTO), and which exclude each other (OCO). Must never: let an order swap more than
the fill that it waited for. That two of a group never swap is the store's law (`Order.holds`); here is what follows.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Final

import msgspec

from fillwright.errors import Code, Problem
from fillwright.order import Canceled, Intent, Link, Mode, Order, Released, Status
from fillwright.units import ATOMS_MAX, Atoms, OrderId

change: Final = msgspec.structs.replace


class Tied(msgspec.Struct, frozen=True):
    """Orders to be accepted together; the first one names them all."""

    ids: tuple[OrderId, ...]
    intents: tuple[Intent, ...]


def tie(entry: Intent | None, exits: Sequence[Intent], new_id: Callable[[], OrderId]) -> Tied:
    """The entry first, if there is one, and its exits after it; two exits are a group.

    An exit of an entry has no amount of its own: it swaps what the entry's fill gives, exact in.
    """
    parent = None if entry is None else new_id()
    ids = tuple(new_id() for _ in exits)
    group = ids[0] if len(ids) > 1 else None
    tied = []
    for nth, intent in enumerate(exits):
        siblings = ids[:nth] + ids[nth + 1 :]
        tied.append(change(intent, link=Link(parent=parent, group=group, siblings=siblings)))
    if entry is None or parent is None:
        return Tied(ids, tuple(tied))
    expected = _expected(entry, exits)
    waiting = [change(intent, amount=expected, mode=Mode.EXACT_IN) for intent in tied]
    return Tied((parent, *ids), (change(entry, link=Link(children=ids)), *waiting))


def _expected(entry: Intent, exits: Sequence[Intent]) -> Atoms:
    """About what the entry will give, by the first price that is named: shown until then, never swapped."""
    if entry.mode is Mode.EXACT_OUT:
        return entry.amount
    named = [price for intent in (entry, *exits) for price in (intent.limit, intent.trigger) if price is not None]
    if not named:
        return Atoms(1)
    numerator, denominator = entry.rate(named[0])
    return Atoms(min(max(1, entry.amount * numerator // denominator), ATOMS_MAX))


def ties(order: Order) -> tuple[OrderId, ...]:
    """The orders whose end concerns this one while it is open."""
    link = order.intent.link
    if link is None:
        return ()
    return link.siblings if link.parent is None else (link.parent, *link.siblings)


def consequence(order: Order, others: Mapping[OrderId, Order]) -> Released | Canceled | None:
    """What the state of the orders that it is tied to means for an open one."""
    assert order.status is Status.OPEN
    link = order.intent.link
    if link is None:
        return None
    for other in (others[each] for each in link.siblings if each in others):
        if other.status is Status.CONFIRMED:
            why = f"order {other.id} was filled, and at most one of the group may be"
            return Canceled(problem=Problem(Code.ORDER_SIBLING_FILLED, why))
    parent = others.get(link.parent) if link.parent is not None and order.is_waiting else None
    if parent is None or not parent.is_terminal:
        return None
    if parent.fill is None:
        why = f"order {parent.id}, for whose fill it waited, is {parent.status}"
        return Canceled(problem=Problem(Code.ORDER_PARENT_UNFILLED, why))
    return Released(intent=change(order.intent, amount=parent.fill.amount_out))
