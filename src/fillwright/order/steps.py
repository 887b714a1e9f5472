"""What comes next for an order in any state, and which event a request or a worker makes of it. Pure.

Decides: the next thing to do (`next_step`), which is both the way forward and the way back after a crash. Must never:
do anything, read a clock, or conclude an order whose transaction may still land.
"""

from typing import TypeAlias, assert_never

import msgspec

from fillwright.errors import OUTAGES, Code, FillwrightError, Problem
from fillwright.order.asked import Intent
from fillwright.order.events import (
    Aborted,
    Amended,
    Armed,
    Attested,
    Canceled,
    CancelRequested,
    Event,
    Expired,
    Failed,
    Landed,
    Lapsed,
    Reclaimed,
    Reverted,
    SliceLanded,
    SliceSkipped,
    Slipped,
    Started,
)
from fillwright.order.found import Fill, Quote, Route, SignedTx
from fillwright.order.state import Order, Recorded, Status, slice_over_at, transition
from fillwright.policy import Policy
from fillwright.schedule import Schedule
from fillwright.units import Millis


class FindRoute(msgspec.Struct, frozen=True):
    """Compare quotes; ends in Routed or Aborted."""


class SignRoute(msgspec.Struct, frozen=True):
    """Build and sign the chosen route; ends in Signed or Aborted."""

    route: Route


class LandTx(msgspec.Struct, frozen=True):
    """Broadcast these bytes until there is proof; ends in Landed, Reverted or Lapsed."""

    tx: SignedTx


class Conclude(msgspec.Struct, frozen=True):
    """Nothing outside has to happen: record this event."""

    event: Canceled | Expired | Failed | SliceSkipped


class Rest(msgspec.Struct, frozen=True):
    """Nothing to do for a worker before `until`; None: nothing ever again."""

    until: Millis | None


Step: TypeAlias = FindRoute | SignRoute | LandTx | Conclude | Rest


def next_step(order: Order, now: Millis, policy: Policy) -> Step:
    """What to do for this order now, whoever holds it and whatever happened before."""
    match order.status:
        case Status.OPEN:
            closing = None if order.intent.schedule is None else _closing(order, order.intent.schedule, now)
            return Conclude(closing) if closing else Rest(order.due_at)
        case Status.CONFIRMED | Status.FAILED | Status.CANCELED | Status.EXPIRED:
            return Rest(None)
        case Status.SUBMITTED:
            assert order.tx is not None
            return LandTx(order.tx)
        case Status.PENDING | Status.ROUTING | Status.BUILDING:
            ending = _ending(order, now, policy)
            return Conclude(ending) if ending else _onward(order, now, policy)
        case _:
            assert_never(order.status)


def _closing(order: Order, schedule: Schedule, now: Millis) -> Canceled | Expired | Failed | None:
    """The end of an order between two slices, if it should end. Whatever was filled stays."""
    if order.cancel_requested:
        return Canceled()
    if order.slice > schedule.slices:
        return Failed(problem=_shortfall(order))
    if order.deadline_at is not None and now >= order.deadline_at:
        return Expired(problem=_out_of_time(order))
    return None


def _shortfall(order: Order) -> Problem:
    """All slices are over, and not all was swapped: some were skipped."""
    why = "" if order.problem is None else f"; the last slice: {order.problem.detail}"
    if order.fill is None:
        return order.problem or Problem(Code.ORDER_PARTLY_FILLED, "no slice was swapped")
    return Problem(Code.ORDER_PARTLY_FILLED, f"slices were skipped, and their part was not swapped{why}")


def _out_of_time(order: Order) -> Problem:
    if order.intent.schedule is not None:
        return Problem(Code.EXECUTION_DEADLINE, "its time passed before the whole amount was swapped")
    if order.status is Status.OPEN:
        return Problem(Code.EXECUTION_DEADLINE, "its time passed while it waited for the market")
    return Problem(Code.EXECUTION_DEADLINE, "the deadline passed before a swap was signed")


def _ending(order: Order, now: Millis, policy: Policy) -> Canceled | Expired | Failed | SliceSkipped | None:
    """The end of an order, or of its slice, of which no transaction is alive, if it should end."""
    over = Failed if order.intent.schedule is None else SliceSkipped
    if order.cancel_requested:
        return Canceled()
    if order.status is Status.PENDING and order.problem is not None and order.intent.is_immediate:
        return Canceled(problem=order.problem)
    spent = order.attempt >= policy.attempts_max
    if order.status is Status.PENDING and order.problem is not None and (spent or not order.problem.retryable):
        return over(problem=order.problem)
    if order.attempt > policy.attempts_max:  # the limit was lowered while the order waited
        return over(problem=order.problem or Problem(Code.ENGINE_INTERNAL, "attempts spent"))
    if order.deadline_at is not None and now >= order.deadline_at:
        return Expired(problem=_out_of_time(order))
    return None


def _onward(order: Order, now: Millis, policy: Policy) -> Step:
    if order.status is Status.PENDING:
        return Rest(order.due_at)
    route = order.route
    if order.status is Status.BUILDING and route is not None and now - route.found_at <= policy.quote_ttl_ms:
        return SignRoute(route)
    return FindRoute()


def advance(order: Order, event: Event, now: Millis, policy: Policy) -> list[Recorded]:
    """The event, and the conclusions that follow from it at once if there are any: stored together."""
    after = transition(order, event, now)
    recorded = [Recorded(after, event)]
    while isinstance(step := next_step(after, now, policy), Conclude):  # of the last slice, and then of the order
        after = transition(after, step.event, now)
        recorded.append(Recorded(after, step.event))
    return recorded


def abort(order: Order, problem: Problem, now: Millis, policy: Policy, quotes: tuple[Quote, ...] = ()) -> Aborted:
    """What it means for an order that nothing can be signed for it now.

    An outage is no attempt of the order's, as long as patience lasts; after that it is: no order waits for ever.
    """
    standing = order.standing
    begun_at = order.created_at if standing is None or standing.begun_at is None else standing.begun_at
    is_patient = problem.code in OUTAGES and now < begun_at + policy.patience_ms
    retry_at = Millis(now + policy.backoff(order.attempt))
    return Aborted(problem=problem, retry_at=retry_at, quotes=quotes, spent=not is_patient)


def landed(order: Order, fill: Fill) -> Landed | SliceLanded:
    """What it means for an order that its transaction landed: all of it is swapped, or a slice."""
    is_whole = order.intent.schedule is None or order.filled_in + fill.amount_in >= order.intent.amount
    return Landed(fill=fill) if is_whole else SliceLanded(fill=fill)


def resolve(
    order: Order, event: Landed | SliceLanded | Reverted | Lapsed, vouched: Attested, now: Millis, policy: Policy
) -> list[Recorded]:
    """What somebody vouches for, instead of the chain: stored together."""
    attested = transition(order, vouched, now)
    return [Recorded(attested, vouched), *advance(attested, event, now, policy)]


def miss(order: Order, quotes: tuple[Quote, ...], now: Millis) -> Slipped | SliceSkipped | Canceled:
    """What it means for an order that its limit price cannot be had now."""
    if order.intent.schedule is not None:
        retry_at = Millis(now + order.intent.schedule.look_ms)
        if retry_at < slice_over_at(order):
            return Slipped(quotes=quotes, retry_at=retry_at)
        why = "the limit price could not be had until the next slice was due"
        return SliceSkipped(problem=Problem(Code.ORDER_LIMIT_NOT_MET, why))
    if order.intent.rests:
        return Slipped(quotes=quotes)
    return Canceled(problem=Problem(Code.ORDER_LIMIT_NOT_MET, "the limit price could not be had at once"))


def claim(order: Order, worker: str, at: Millis) -> Recorded:
    """What a worker that takes a due order up begins with: a new attempt, or the one that was left behind.

    An order that rests needs no worker: it is armed when it is new, and expires when its time has come. One with a
    schedule rests between its slices until the next is due.
    """
    event: Event
    match order.status:
        case Status.PENDING:
            event = Armed() if order.intent.rests and order.standing is None else Started(worker=worker)
        case Status.OPEN:
            has_time = order.deadline_at is None or at < order.deadline_at
            continues = order.intent.schedule is not None and has_time
            event = Started(worker=worker) if continues else Expired(problem=_out_of_time(order))
        case _:
            event = Reclaimed(worker=worker)
    return Recorded(transition(order, event, at), event)


def amend(order: Order, intent: Intent, at: Millis) -> Recorded:
    """The event by which an order that rests becomes this intent.

    Raises ORDER_NOT_OPEN for any other, and for one with a schedule, which has bought or sold by it already; and
    VALIDATION_CONTRADICTION for another amount of one that swaps a fill.
    """
    if order.intent.schedule is not None:
        raise FillwrightError(Code.ORDER_NOT_OPEN, "an order with a schedule cannot be amended; cancel it instead")
    if order.status is not Status.OPEN:
        raise FillwrightError(Code.ORDER_NOT_OPEN, f"the order is {order.status}; only one that rests can be amended")
    link = order.intent.link
    if link is not None and link.parent is not None and intent.amount != order.intent.amount:
        why = "its amount is what the order that it waits for gives"
        raise FillwrightError(Code.VALIDATION_CONTRADICTION, why, pointer="/amount")
    event = Amended(intent=intent)
    return Recorded(transition(order, event, at), event)


def cancel(order: Order, at: Millis) -> Recorded | None:
    """The event of a cancel request; None where one is already noted. Raises CANCEL_TOO_LATE when terminal."""
    if order.is_terminal:
        raise FillwrightError(Code.CANCEL_TOO_LATE, f"the order is already {order.status}")
    if order.cancel_requested:
        return None
    event = CancelRequested() if order.status is Status.SUBMITTED else Canceled()
    return Recorded(transition(order, event, at), event)
