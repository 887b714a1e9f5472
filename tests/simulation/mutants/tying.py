"""Mutants of orders that are tied to each other.

Decides: how each safeguard of links.py, watcher.py and the store's groups is switched off.
"""

from collections.abc import Mapping
from typing import Final

from fillwright import watcher
from fillwright.adapters.sqlite import SqliteStore
from fillwright.errors import Code, Problem
from fillwright.links import consequence
from fillwright.order import Armed, Canceled, Order, Released, Status, state
from fillwright.ports import NewOrder, Stored
from fillwright.units import Atoms, OrderId
from fillwright.watcher import Watcher
from tests.simulation.mutants.patch import Mutant, Patches, change

Others = Mapping[OrderId, Order]


def _group_not_enforced() -> Patches:
    return [(Order, "holds", property(lambda _: False))]


def _armed_without_waiting() -> Patches:
    """An exit is watched from the first moment on."""
    honest = state._rested

    def rested(held: Order, event: object) -> Order:
        after = honest(held, event)  # type: ignore[arg-type]
        if not isinstance(event, Armed) or after.standing is None:
            return after
        return change(after, standing=change(after.standing, waiting=False))

    return [(state, "_rested", rested)]


def _released_early() -> Patches:
    """With what the entry's route promises, as soon as it is signed."""

    def early(held: Order, others: Others) -> Released | Canceled | None:
        link = held.intent.link
        parent = others.get(link.parent) if link is not None and link.parent is not None else None
        if held.is_waiting and parent is not None and parent.status is Status.SUBMITTED and parent.route is not None:
            return Released(intent=change(held.intent, amount=parent.route.amount_out))
        return consequence(held, others)

    return [(watcher, "consequence", early)]


def _released_with_more() -> Patches:
    def more(held: Order, others: Others) -> Released | Canceled | None:
        found = consequence(held, others)
        if not isinstance(found, Released):
            return found
        return Released(intent=change(found.intent, amount=Atoms(found.intent.amount + 1)))

    return [(watcher, "consequence", more)]


def _never_canceled(code: Code) -> Patches:
    def kept(held: Order, others: Others) -> Released | Canceled | None:
        found = consequence(held, others)
        is_it = isinstance(found, Canceled) and found.problem is not None and found.problem.code is code
        return None if is_it else found

    return [(watcher, "consequence", kept)]


def _canceled_early() -> Patches:
    """As soon as a sibling is on its way."""

    def early(held: Order, others: Others) -> Released | Canceled | None:
        siblings = held.intent.link.siblings if held.intent.link is not None else ()
        if any(others[each].holds for each in siblings if each in others):
            return Canceled(problem=Problem(Code.ORDER_SIBLING_FILLED, "too early"))
        return consequence(held, others)

    return [(watcher, "consequence", early)]


def _stored_one_by_one() -> Patches:
    honest = SqliteStore.create

    async def create(self: SqliteStore, new: NewOrder, *tied: NewOrder) -> Stored:
        stored = await honest(self, new)
        for each in tied if stored.is_new else ():
            await honest(self, each)
        return stored

    return [(SqliteStore, "create", create)]


def _log_alone() -> Patches:
    """A watcher that comes learns which orders are open, and does not ask what has become of those they are tied to."""
    honest = Watcher._untie

    async def untie(self: Watcher, held: Order) -> None:
        if self._place is not None:
            await honest(self, held)

    return [(Watcher, "_untie", untie)]


MUTANTS: Final[dict[str, Mutant]] = {
    "group-not-enforced": Mutant("of a group one order is on its way at a time", _group_not_enforced),
    "armed-without-waiting": Mutant("an exit waits for its entry", _armed_without_waiting),
    "released-early": Mutant("an exit is released by a fill, not by a hope", _released_early),
    "released-with-more": Mutant("an exit swaps what its entry's fill gave", _released_with_more),
    "sibling-kept": Mutant("a fill ends the others of its group", lambda: _never_canceled(Code.ORDER_SIBLING_FILLED)),
    "exits-kept": Mutant("exits end with an entry that ends", lambda: _never_canceled(Code.ORDER_PARENT_UNFILLED)),
    "sibling-canceled-early": Mutant("only a fill ends the others of its group", _canceled_early),
    "ties-from-log-alone": Mutant("a watcher that comes asks what it has missed", _log_alone),
    "stored-one-by-one": Mutant("orders that are tied are stored all or none", _stored_one_by_one),
}
