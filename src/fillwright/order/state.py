"""An order as its events have made it: the table of legal moves, and the state after each. Pure.

Decides: every legal move (`TRANSITIONS`), and the order's state after each recorded event (`transition`). Must never:
let a signed transaction be forgotten before there is proof of what became of it.
"""

from collections.abc import Iterable, Mapping
from enum import StrEnum
from typing import Final, assert_never

import msgspec

from fillwright.errors import Problem
from fillwright.order.asked import Intent, OrderType
from fillwright.order.events import (
    Aborted,
    Accepted,
    Amended,
    Armed,
    Attested,
    Canceled,
    CancelRequested,
    Declined,
    Event,
    Expired,
    Failed,
    Landed,
    Lapsed,
    Reclaimed,
    Released,
    Reopened,
    Reverted,
    Routed,
    Signed,
    SliceLanded,
    SliceSkipped,
    Slipped,
    Sniped,
    Started,
    Trailed,
    Triggered,
)
from fillwright.order.found import Fill, Route, SignedTx
from fillwright.schedule import Schedule
from fillwright.sniping import DECLINED_MAX, Listing
from fillwright.units import Atoms, Millis, OrderId, Price, Token


class Status(StrEnum):
    PENDING = "pending"
    """Durably accepted, or between two attempts."""
    OPEN = "open"
    """Resting: nothing is done until the market meets its condition."""
    ROUTING = "routing"
    """Quotes are being compared."""
    BUILDING = "building"
    """A route is chosen, its transaction is being built and signed; nothing was sent."""
    SUBMITTED = "submitted"
    """Signed and stored; may be on the network. Only evidence from the chain moves it from here."""
    CONFIRMED = "confirmed"
    FAILED = "failed"
    """Attempts spent, or hopeless, and each attempt proven over."""
    CANCELED = "canceled"
    EXPIRED = "expired"


AT_ONCE: Final = Millis(0)
"""The due time of an order that waits for nothing but a worker: long ago, on anybody's clock."""
NEVER: Final = Millis(253_402_300_799_000)
"""The due time of an order that no worker need look at by itself: the end of the year 9999."""
TERMINAL: Final = frozenset({Status.CONFIRMED, Status.FAILED, Status.CANCELED, Status.EXPIRED})
_HOLDING: Final = frozenset({Status.ROUTING, Status.BUILDING, Status.SUBMITTED, Status.CONFIRMED})


# --- the table --------------------------------------------------------------------------------------------

_S = Status
TRANSITIONS: Final[Mapping[tuple[Status, type], Status]] = {
    (_S.PENDING, Armed): _S.OPEN,
    (_S.OPEN, Released): _S.OPEN,
    (_S.OPEN, Trailed): _S.OPEN,
    (_S.OPEN, Amended): _S.OPEN,
    (_S.OPEN, Triggered): _S.PENDING,
    (_S.OPEN, Sniped): _S.PENDING,
    (_S.PENDING, Started): _S.ROUTING,
    (_S.ROUTING, Reclaimed): _S.ROUTING,  # its worker died; quoting has no effect, so it is repeated
    (_S.BUILDING, Reclaimed): _S.BUILDING,  # an unrecorded signature was never broadcast
    (_S.SUBMITTED, Reclaimed): _S.SUBMITTED,  # the same bytes go on to be landed
    (_S.ROUTING, Routed): _S.BUILDING,
    (_S.BUILDING, Routed): _S.BUILDING,  # the route had gone stale
    (_S.BUILDING, Signed): _S.SUBMITTED,
    (_S.SUBMITTED, Landed): _S.CONFIRMED,
    (_S.SUBMITTED, SliceLanded): _S.OPEN,
    (_S.OPEN, Started): _S.ROUTING,  # the next slice is due
    (_S.PENDING, SliceSkipped): _S.OPEN,
    (_S.ROUTING, SliceSkipped): _S.OPEN,
    (_S.BUILDING, SliceSkipped): _S.OPEN,
    (_S.SUBMITTED, Attested): _S.SUBMITTED,  # an operator knows: the next event is of the same commit
    (_S.CONFIRMED, Reopened): _S.SUBMITTED,  # the chain itself took its word back
    (_S.SUBMITTED, Reverted): _S.PENDING,
    (_S.SUBMITTED, Lapsed): _S.PENDING,
    (_S.ROUTING, Aborted): _S.PENDING,
    (_S.BUILDING, Aborted): _S.PENDING,
    (_S.ROUTING, Slipped): _S.OPEN,
    (_S.BUILDING, Slipped): _S.OPEN,
    (_S.ROUTING, Declined): _S.OPEN,
    (_S.BUILDING, Declined): _S.OPEN,  # its conditions are checked again after signing, before anything is stored
    (_S.SUBMITTED, CancelRequested): _S.SUBMITTED,  # honoured once this attempt is proven over
    (_S.PENDING, Canceled): _S.CANCELED,
    (_S.OPEN, Canceled): _S.CANCELED,
    (_S.ROUTING, Canceled): _S.CANCELED,  # nothing is signed and stored yet: the worker's record will conflict
    (_S.BUILDING, Canceled): _S.CANCELED,
    (_S.PENDING, Expired): _S.EXPIRED,
    (_S.OPEN, Expired): _S.EXPIRED,
    (_S.ROUTING, Expired): _S.EXPIRED,
    (_S.BUILDING, Expired): _S.EXPIRED,
    (_S.OPEN, Failed): _S.FAILED,  # no slice is left
    (_S.PENDING, Failed): _S.FAILED,
    (_S.ROUTING, Failed): _S.FAILED,
    (_S.BUILDING, Failed): _S.FAILED,
}
"""Every legal move. From SUBMITTED only proof leads on: the chain's word or, where that stays out, an operator's. From
a terminal status nothing leads on, unless the chain itself goes back on the block that held the swap."""


class IllegalTransition(Exception):
    """A defect of the engine, never of a request: this event cannot happen in this state."""


class Target(msgspec.Struct, frozen=True):
    """The new pool that a sniper has chosen, and what its token counts in."""

    pool: Listing
    decimals: int


class Standing(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What an order that waits has been through: since it was armed, or in its slices."""

    triggered: bool = False
    """Whether its trigger was met; a limit price may still keep it waiting."""
    best: Price | None = None
    """Of a trailing stop: the best price so far."""
    slice: int = 1
    """Of a schedule: the slice that is next or under way; one more than there are once all are over."""
    begun_at: Millis | None = None
    """When the first attempt began, of this slice or since the trigger was met."""
    target: Target | None = None
    """Of a sniper that has chosen its pool."""
    declined: tuple[str, ...] = ()
    """The latest pools that it declined, each as often as it did."""
    waiting: bool = False
    """Whether the order that it waits for has yet to be filled: until then no market concerns it."""


class Order(msgspec.Struct, frozen=True, kw_only=True):
    """An order as its events so far have made it: `replay(its events)` gives exactly this value."""

    id: OrderId
    account: str
    client_order_id: str | None
    intent: Intent
    status: Status
    seq: int
    """Number of events so far; every change is a compare-and-set on it."""
    created_at: Millis
    updated_at: Millis
    due_at: Millis | None
    """From when on a worker should look at it; None once terminal."""
    deadline_at: Millis | None
    attempt: int = 0
    """Of the order, or of its present slice."""
    worker: str | None = None
    cancel_requested: bool = False
    route: Route | None = None
    tx: SignedTx | None = None
    """The one live transaction; None unless submitted."""
    fill: Fill | None = None
    """What the chain has swapped for it: all of it together, and the signature and slot of the latest swap."""
    problem: Problem | None = None
    """Why the last attempt, slice, or the order, did not work."""
    standing: Standing | None = None
    """None unless it has ever rested, or begun a slice."""

    @property
    def is_terminal(self) -> bool:
        return self.status in TERMINAL

    @property
    def pauses(self) -> bool:
        """Whether it waits for its next attempt, after one that did not work."""
        return self.status is Status.PENDING and self.problem is not None and self.due_at != AT_ONCE

    @property
    def slice(self) -> int:
        """The slice that is next or under way, from 1 on."""
        return 1 if self.standing is None else self.standing.slice

    @property
    def filled_in(self) -> Atoms:
        return Atoms(0) if self.fill is None else self.fill.amount_in

    @property
    def filled_out(self) -> Atoms:
        return Atoms(0) if self.fill is None else self.fill.amount_out

    @property
    def part(self) -> Intent:
        """What its next transaction is to swap: all that was asked for, or its slice of it; with the chosen token."""
        schedule = self.intent.schedule
        if schedule is None:
            return self.swap
        return msgspec.structs.replace(self.intent, amount=_slice_amount(self, schedule))

    @property
    def target(self) -> Listing | None:
        """The only pool that it may swap on, where it has chosen one."""
        target = self.standing.target if self.standing is not None else None
        return None if target is None else target.pool

    @property
    def swap(self) -> Intent:
        """The intent, in which a sniper's token is the one of the pool that it has chosen."""
        target = self.standing.target if self.standing is not None else None
        return self.intent if target is None else aimed(self.intent, target)

    @property
    def is_waiting(self) -> bool:
        """Whether another order has to be filled before any market concerns this one."""
        return self.standing is not None and self.standing.waiting

    @property
    def group(self) -> OrderId | None:
        return None if self.intent.link is None else self.intent.link.group

    @property
    def holds(self) -> bool:
        """Whether it is its group's turn of this order: from its trigger on, unless the swap is proven not to happen.

        The store lets one order of a group hold it at a time, and a confirmed one holds it for ever.
        """
        if self.group is None:
            return False
        if self.status is Status.PENDING:
            return self.standing is not None  # triggered, or between two attempts
        return self.status in _HOLDING


def _slice_amount(order: Order, schedule: Schedule) -> Atoms:
    if order.intent.type is OrderType.DCA:
        return schedule.fixed(order.intent.amount, order.slice)
    return schedule.even(order.intent.amount - order.filled_in, order.slice)


def aimed(intent: Intent, target: Target) -> Intent:
    """A sniper's swap on this pool. A token that the engine does not know is called by its mint."""
    mint, asked = target.pool.mint, intent.token_out
    symbol = asked.symbol if asked.mint == mint else mint
    return msgspec.structs.replace(intent, token_out=Token(symbol, mint, target.decimals))


class Recorded(msgspec.Struct, frozen=True):
    """An event and the order right after it: what is stored, published and shown."""

    order: Order
    event: Event


class Stamped(msgspec.Struct, frozen=True):
    """An event as history keeps it."""

    seq: int
    at: Millis
    event: Event


def accept(order_id: OrderId, account: str, event: Accepted, at: Millis) -> Recorded:
    """The first event of a new order."""
    order = Order(
        id=order_id,
        account=account,
        client_order_id=event.client_order_id,
        intent=event.intent,
        status=Status.PENDING,
        seq=1,
        created_at=at,
        updated_at=at,
        due_at=AT_ONCE,
        deadline_at=_deadline_at(event.intent, at),
    )
    return Recorded(order, event)


def _deadline_at(intent: Intent, created_at: Millis) -> Millis | None:
    patience = None if intent.deadline_ms is None else Millis(created_at + intent.deadline_ms)
    return min((at for at in (patience, intent.expire_at) if at is not None), default=None)


def transition(order: Order, event: Event, at: Millis) -> Order:
    """The order after one more event. Raises IllegalTransition; then nothing has happened."""
    status = TRANSITIONS.get((order.status, type(event)))
    if status is None:
        raise IllegalTransition(f"{type(event).__name__} while {order.status} (order {order.id})")
    moved = msgspec.structs.replace(order, status=status, seq=order.seq + 1, updated_at=at, due_at=AT_ONCE)
    return _apply(moved, event)


def _apply(order: Order, event: Event) -> Order:
    change = msgspec.structs.replace
    match event:
        case Armed() | Released() | Trailed() | Amended() | Triggered() | Sniped() | Slipped() | Declined():
            return _rested(order, event)
        case Started(worker=worker):
            return change(order, worker=worker, attempt=order.attempt + 1, route=None, standing=_begun(order))
        case Reclaimed(worker=worker):
            return change(order, worker=worker)
        case Routed(route=route):
            return change(order, route=route)
        case Signed(tx=tx):
            return change(order, tx=tx)
        case Landed() | SliceLanded() | SliceSkipped() | Reopened():
            return _settled(order, event)
        case Reverted() | Lapsed() | Aborted():
            due_at = _retry_at(order, event.retry_at)
            attempt = order.attempt if not isinstance(event, Aborted) or event.spent else order.attempt - 1
            return change(order, worker=None, due_at=due_at, attempt=attempt, tx=None, problem=event.problem)
        case Attested():
            return order
        case CancelRequested():
            return change(order, cancel_requested=True)
        case Canceled(problem=problem) | Expired(problem=problem) | Failed(problem=problem):
            return change(order, worker=None, due_at=None, problem=problem or order.problem)
        case Accepted():
            raise IllegalTransition(f"accepted twice (order {order.id})")
        case _:
            assert_never(event)


def _rested(
    order: Order, event: Armed | Released | Trailed | Amended | Triggered | Sniped | Slipped | Declined
) -> Order:
    change = msgspec.structs.replace
    standing = order.standing or Standing()
    match event:
        case Armed():
            link = order.intent.link
            standing = change(standing, waiting=link is not None and link.parent is not None)
            return change(order, due_at=_rest_until(order), standing=standing)
        case Released(intent=intent):
            return change(order, intent=intent, due_at=_rest_until(order), standing=change(standing, waiting=False))
        case Trailed(best=best):
            return change(order, due_at=_rest_until(order), standing=change(standing, best=best))
        case Amended(intent=intent):
            amended = change(order, intent=intent, deadline_at=_deadline_at(intent, order.created_at))
            return change(amended, due_at=_rest_until(amended))
        case Triggered():
            return change(order, standing=change(standing, triggered=True, begun_at=None))
        case Slipped(retry_at=retry_at):
            due_at = _rest_until(order) if retry_at is None else _retry_at(order, retry_at)
            return change(order, worker=None, due_at=due_at, attempt=order.attempt - 1, standing=standing)
        case Sniped(pool=pool, facts=facts):
            target = Target(pool, facts.decimals)
            return change(order, standing=change(standing, triggered=True, begun_at=None, target=target))
        case Declined(pool=address):
            declined = (*standing.declined, address)[-DECLINED_MAX:]
            again = change(standing, triggered=False, target=None, declined=declined)
            return change(
                order, worker=None, due_at=_rest_until(order), attempt=order.attempt - 1, route=None, standing=again
            )
        case _:
            assert_never(event)


def _begun(order: Order) -> Standing | None:
    """The standing after a start: it tells when the first attempt was begun, of this slice or since the trigger."""
    if order.intent.schedule is None and order.standing is None:
        return None
    standing = order.standing or Standing()
    return standing if standing.begun_at else msgspec.structs.replace(standing, begun_at=order.updated_at)


def _settled(order: Order, event: Landed | SliceLanded | SliceSkipped | Reopened) -> Order:
    change = msgspec.structs.replace
    if isinstance(event, Reopened):
        return change(order, tx=event.tx, fill=None)
    if isinstance(event, SliceSkipped):
        return _sliced(change(order, problem=event.problem))
    filled = change(order, worker=None, due_at=None, tx=None, fill=_together(order.fill, event.fill), problem=None)
    return filled if isinstance(event, Landed) else _sliced(filled)


def _sliced(order: Order) -> Order:
    """After a slice, however it ended: the next one's turn comes at its time."""
    due_at = _retry_at(order, slice_over_at(order))
    standing = Standing(slice=order.slice + 1)
    return msgspec.structs.replace(order, worker=None, due_at=due_at, attempt=0, standing=standing)


def slice_over_at(order: Order) -> Millis:
    """When the slice after this one is due."""
    schedule, standing = order.intent.schedule, order.standing
    if schedule is None:
        return order.updated_at
    begun_at = standing.begun_at if standing is not None else None
    return schedule.over_at(order.id, order.created_at, order.slice, begun_at or order.updated_at)


def _together(fill: Fill | None, more: Fill) -> Fill:
    if fill is None:
        return more
    amount_in, amount_out = Atoms(fill.amount_in + more.amount_in), Atoms(fill.amount_out + more.amount_out)
    return msgspec.structs.replace(more, amount_in=amount_in, amount_out=amount_out)


def _rest_until(order: Order) -> Millis:
    return NEVER if order.deadline_at is None else order.deadline_at


def _retry_at(order: Order, at: Millis) -> Millis:
    return at if order.deadline_at is None else min(at, order.deadline_at)


def replay(order_id: OrderId, account: str, history: Iterable[Stamped]) -> list[Recorded]:
    """The recorded events of one order, folded from its first one on."""
    recorded: list[Recorded] = []
    for stamped in history:
        if isinstance(stamped.event, Accepted):
            recorded.append(accept(order_id, account, stamped.event, stamped.at))
        else:
            order = transition(recorded[-1].order, stamped.event, stamped.at)
            recorded.append(Recorded(order, stamped.event))
    return recorded
