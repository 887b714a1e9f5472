"""Mutants of orders in slices: what a slice swaps, when it is over, and what is kept of it.

Decides: how each safeguard of schedule.py and of the slices in order is switched off.
"""

from typing import Final

from fillwright import executor, order
from fillwright.errors import Code, Problem
from fillwright.executor import Executor
from fillwright.order import (
    TRANSITIONS,
    Canceled,
    Event,
    Fill,
    Landed,
    Lapsed,
    Order,
    SignedTx,
    SliceLanded,
    SliceSkipped,
    Status,
    state,
    steps,
)
from fillwright.schedule import Schedule
from tests.simulation.mutants.patch import Mutant, Patches, change

_WHY: Final = Problem(Code.CHAIN_LAPSED, "made up")


def _signed_again() -> Patches:
    """A slice that landed is taken for one that did not."""
    honest = Executor._land

    async def land(self: Executor, held: Order, tx: SignedTx) -> Event | None:
        event = await honest(self, held, tx)
        if not isinstance(event, SliceLanded):
            return event
        return Lapsed(signature=tx.signature, height=tx.last_valid_height + 1, problem=_WHY, retry_at=order.AT_ONCE)

    return [(Executor, "_land", land)]


def _number_kept() -> Patches:
    honest = state._sliced

    def sliced(held: Order) -> Order:
        after = honest(held)
        assert after.standing is not None
        return change(after, standing=change(after.standing, slice=held.slice))

    return [(state, "_sliced", sliced)]


def _whole_amount() -> Patches:
    return [(Order, "part", property(lambda held: held.intent))]


def _fills_forgotten() -> Patches:
    honest = state._apply

    def apply(held: Order, event: Event) -> Order:
        after = honest(held, event)
        return change(after, fill=None) if isinstance(event, Canceled) else after

    return [(state, "_apply", apply)]


def _latest_fill_alone() -> Patches:
    return [(state, "_together", lambda _, more: more)]


def _all_at_once() -> Patches:
    return [(each, "slice_over_at", lambda held: held.updated_at) for each in (state, steps)]


def _skipped_alive() -> Patches:
    """The next slice does not wait for proof of what became of this one."""
    honest = Executor._land

    async def land(self: Executor, held: Order, tx: SignedTx) -> Event | None:
        event = await honest(self, held, tx)
        sliced = event is None and held.intent.schedule is not None
        return SliceSkipped(problem=_WHY) if sliced else event

    settled = state._settled

    def without_tx(held: Order, event: Landed | SliceLanded | SliceSkipped) -> Order:
        return change(settled(held, event), tx=None)

    return [
        (Executor, "_land", land),
        (TRANSITIONS, "", {(Status.SUBMITTED, SliceSkipped): Status.OPEN}),
        (state, "_settled", without_tx),
    ]


def _confirmed_early() -> Patches:
    def landed(_: Order, fill: Fill) -> Landed:
        return Landed(fill=fill)

    return [(executor, "landed", landed)]


def _more_than_left() -> Patches:
    """What earlier slices have swapped is not counted."""

    def even(self: Schedule, left: int, number: int) -> int:
        return left

    return [(Schedule, "even", even)]


MUTANTS: Final[dict[str, Mutant]] = {
    "slice-signed-twice": Mutant("a slice that landed is over", _signed_again),
    "slice-number-kept": Mutant("after a slice comes the next one", _number_kept),
    "whole-amount": Mutant("a slice's transaction swaps the slice's amount", _whole_amount),
    "fills-forgotten": Mutant("a cancel keeps what was filled", _fills_forgotten),
    "latest-fill-alone": Mutant("an order tells the sum of its fills", _latest_fill_alone),
    "slices-at-once": Mutant("a slice waits until it is due", _all_at_once),
    "slice-skipped-alive": Mutant("a slice is skipped once its transaction is proven over", _skipped_alive),
    "confirmed-early": Mutant("an order is confirmed once all of it is swapped", _confirmed_early),
    "all-left-in-one-slice": Mutant("what is left is spread over the slices that are left", _more_than_left),
}
