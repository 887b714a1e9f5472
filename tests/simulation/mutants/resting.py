"""Mutants of orders that wait: their conditions, their limit price, their time, and their amendment.

Decides: how each safeguard of watcher.py, triggers.py and executor.py is switched off.
"""

from typing import Final

from fillwright import engine, executor, order, triggers, watcher
from fillwright.adapters import sqlite
from fillwright.engine import Engine
from fillwright.executor import Executor
from fillwright.order import (
    Armed,
    Declined,
    Intent,
    Leg,
    Order,
    Recorded,
    Route,
    SignedTx,
    Started,
    Trailed,
    Triggered,
)
from fillwright.routing import Prices
from fillwright.triggers import Wanted
from fillwright.units import Atoms, Millis, OrderId
from tests.simulation.mutants.patch import Mutant, Patches, change


def _floor_forgotten() -> Patches:
    honest = executor._limit

    def limit(intent: Intent, route: Route, leg: Leg) -> Atoms:
        return honest(change(intent, limit=None), route, leg)

    return [(executor, "_limit", limit)]


def _any_route_will_do() -> Patches:
    return [(Intent, "keeps_limit", lambda *_: True)]


def _curve_is_believed() -> Patches:
    """What the optimum promises is taken for what a route gives, and a little more."""
    honest = triggers.meaning

    def meaning(held: Order, prices: Prices) -> Triggered | Trailed | Wanted | None:
        found = honest(held, prices)
        if not isinstance(found, Wanted):
            return found
        worse = found.price.quote * 99, found.price.base * 100
        return Triggered(price=change(found.price, quote=worse[0], base=worse[1]))

    return [(watcher, "meaning", meaning)]


def _never_armed() -> Patches:
    honest = order.claim

    def claim(held: Order, worker: str, at: Millis) -> Recorded:
        recorded = honest(held, worker, at)
        if not isinstance(recorded.event, Armed):
            return recorded
        event = Started(worker=worker)
        return Recorded(order.transition(held, event, at), event)

    return [(sqlite, "claim", claim)]


def _expired_at_once() -> Patches:
    honest = order.claim

    def claim(held: Order, worker: str, at: Millis) -> Recorded:
        recorded = honest(held, worker, at)
        if not isinstance(recorded.event, Armed):
            return recorded
        return Recorded(change(recorded.order, due_at=order.AT_ONCE), recorded.event)

    return [(sqlite, "claim", claim)]


def _amended_unseen() -> Patches:
    """Whatever the order has become, the amendment is made."""
    honest = Engine.amend

    async def amend(self: Engine, account: str, order_id: OrderId, intent: Intent, seq: int) -> Order:
        now = await self.get(account, order_id)
        return await honest(self, account, order_id, intent, now.seq)

    return [(Engine, "amend", amend)]


def _amended_in_flight() -> Patches:
    """An order that is pending again takes another intent as well."""

    def amend(held: Order, intent: Intent, at: Millis) -> Recorded:
        event = order.Amended(intent=intent)
        return Recorded(change(held, intent=intent, seq=held.seq + 1, updated_at=at), event)

    return [(engine, "amend", amend)]


def _checked_once() -> Patches:
    """What was good when it was found is taken for good when it is signed."""

    async def no_doubts(self: Executor, held: Order, tx: SignedTx) -> Declined | None:
        return None

    return [(Executor, "_doubts", no_doubts)]


MUTANTS: Final[dict[str, Mutant]] = {
    "floor-forgotten": Mutant("the limit price is part of what the chain enforces", _floor_forgotten),
    "any-route-will-do": Mutant("a route below the limit price is not signed", _any_route_will_do),
    "curve-is-believed": Mutant("for better, a route must be found", _curve_is_believed),
    "never-armed": Mutant("what rests is not started before its condition is met", _never_armed),
    "expired-at-once": Mutant("what rests is due at its deadline, not before", _expired_at_once),
    "amended-unseen": Mutant("an amendment is of the order as its owner saw it", _amended_unseen),
    "checked-once": Mutant("a sniper's conditions are checked again when it is signed", _checked_once),
    "amended-in-flight": Mutant("only an order that rests is amended", _amended_in_flight),
}
