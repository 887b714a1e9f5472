"""One order: what was asked, what has happened, and what comes next. Pure.

Decides: every legal move (`TRANSITIONS`), the order's state after each recorded event (`transition`), and the
next thing to do for an order in any state (`next_step`), which is both the way forward and the way back
after a crash. Must never: do I/O, read a clock, or let a signed transaction be forgotten before there is
proof of what became of it.
"""

from collections.abc import Iterable, Mapping
from enum import StrEnum
from typing import Final, TypeAlias, assert_never

import msgspec

from fillwright.errors import Code, FillwrightError, Problem
from fillwright.policy import Policy
from fillwright.schedule import Schedule
from fillwright.sniping import DECLINED_MAX, Facts, Listing, Snipe
from fillwright.units import Atoms, Bps, Millis, Mint, OrderId, Price, Signature, Token


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


class Mode(StrEnum):
    EXACT_IN = "exactIn"
    EXACT_OUT = "exactOut"


class Side(StrEnum):
    """Seen from the base token: a sell pays it in, a buy gets it out."""

    BUY = "buy"
    SELL = "sell"


class OrderType(StrEnum):
    """When an order swaps. What it waits for is judged by the quote that its own size would get, after all fees."""

    MARKET = "market"
    """At once."""
    LIMIT = "limit"
    """While that quote is at the limit price or better."""
    STOP = "stop"
    """Once it has become as bad as the trigger price."""
    TAKE_PROFIT = "take_profit"
    """Once it has become as good as the trigger price."""
    TRAILING_STOP = "trailing_stop"
    """Once it has become worse, by the trail, than the best that was seen."""
    TWAP = "twap"
    """In slices over time: what is left is spread evenly over those to come, so that a skipped one is caught up."""
    DCA = "dca"
    """In equal slices over time; the part of a skipped one stays unspent."""
    SNIPER = "sniper"
    """Once there is a new pool that it waits for and that meets its conditions: on that pool alone."""


class TimeInForce(StrEnum):
    """How long an order waits."""

    GTC = "gtc"
    """Until it is filled or canceled."""
    GTD = "gtd"
    """Until a given time."""
    IOC = "ioc"
    """Not at all: what cannot be swapped at once is canceled."""
    FOK = "fok"
    """Not at all, and all of it or nothing."""


# --- what was asked, what was found, what was done --------------------------------------------------------


class Link(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """How an order is tied to others of its account. All are accepted together, so each can name the others."""

    parent: OrderId | None = None
    """It waits until this order is filled, and swaps what that fill gave."""
    children: tuple[OrderId, ...] = ()
    """These wait for its fill."""
    group: OrderId | None = None
    """Of all orders of this group at most one ever swaps."""
    siblings: tuple[OrderId, ...] = ()
    """The others of its group."""


class Intent(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What was asked for. `amount` is of token_in for exact in, of token_out for exact out."""

    type: OrderType = OrderType.MARKET
    side: Side
    token_in: Token
    token_out: Token
    amount: Atoms
    mode: Mode
    slippage_bps: Bps
    max_price_impact_bps: Bps | None = None
    deadline_ms: Millis | None = None
    """From acceptance; no attempt is signed after it."""
    venues: tuple[str, ...] | None = None
    """Only these venues, where given."""
    max_legs: int | None = None
    max_hops: int | None = None
    """Shorter routes than the engine would take, where given."""
    tags: tuple[str, ...] = ()
    limit: Price | None = None
    """The worst price at which it may swap, whatever the slippage."""
    trigger: Price | None = None
    """Of a stop or take profit."""
    trail_bps: Bps | None = None
    """Of a trailing stop: how far its trigger stays behind the best price seen."""
    time_in_force: TimeInForce = TimeInForce.GTC
    expire_at: Millis | None = None
    """No attempt is signed after it, either."""
    schedule: Schedule | None = None
    """Of a twap or dca, whose `amount` is that of all slices together; exact in."""
    snipe: Snipe | None = None
    """Of a sniper. Its token_out is the mint that it names, of unknown decimals, or `sniping.UNCHOSEN`."""
    link: Link | None = None

    @property
    def base(self) -> Token:
        return self.token_in if self.side is Side.SELL else self.token_out

    @property
    def quote(self) -> Token:
        return self.token_out if self.side is Side.SELL else self.token_in

    @property
    def rests(self) -> bool:
        """Whether it may have to wait for the market."""
        if self.type is OrderType.MARKET or self.schedule is not None:
            return False
        return self.time_in_force in (TimeInForce.GTC, TimeInForce.GTD)

    @property
    def opening(self) -> "Intent":
        """What its first transaction is to swap."""
        if self.schedule is None:
            return self
        return msgspec.structs.replace(self, amount=self.schedule.even(self.amount, 1))

    @property
    def is_watched(self) -> bool:
        """Whether watchers must hear of its events."""
        return self.rests or self.link is not None

    @property
    def is_immediate(self) -> bool:
        """Whether it has one attempt, now or never."""
        return self.time_in_force in (TimeInForce.IOC, TimeInForce.FOK)

    def rate(self, price: Price) -> tuple[int, int]:
        """The price as atoms out per atoms in: numerator and denominator."""
        return (price.quote, price.base) if self.side is Side.SELL else (price.base, price.quote)

    def price(self, amount_in: int, amount_out: int) -> Price:
        """The price of this swap."""
        return Price.of(amount_out, amount_in) if self.side is Side.SELL else Price.of(amount_in, amount_out)

    def keeps_limit(self, amount_in: int, amount_out: int) -> bool:
        """Whether this swap is at the limit price or better."""
        return self.limit is None or is_at_least(self.rate(self.limit), amount_in, amount_out)


def is_at_least(rate: tuple[int, int], amount_in: int, amount_out: int) -> bool:
    """Whether a swap gives this many atoms out per atoms in, or more."""
    numerator, denominator = rate
    return amount_out * denominator >= amount_in * numerator


class Quote(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A pool's promise at a slot, or the reason why it made none (`problem`; the amounts are then 0)."""

    venue: str
    pool: str = ""
    kind: str = ""
    slot: int = 0
    amount_in: Atoms = Atoms(0)
    amount_out: Atoms = Atoms(0)
    fee: Atoms = Atoms(0)
    fee_mint: Mint = Mint("")
    impact_bps: Bps = Bps(0)
    depth: int = 0
    """Liquidity for ranking equal quotes: the pool's reserve of the output token, in atoms."""
    latency_ms: Millis = Millis(0)
    problem: Problem | None = None


class Leg(msgspec.Struct, frozen=True, kw_only=True):
    """A chosen swap on one pool. A route's legs stand in an order in which they can be executed."""

    venue: str
    pool: str
    mint_in: Mint
    mint_out: Mint
    amount_in: Atoms
    amount_out: Atoms


class Route(msgspec.Struct, frozen=True, kw_only=True):
    """The chosen legs, beside every quote that was compared and why these won.

    `bound` certifies them: no split over the offered pools gives more for exact in, or takes less for exact out.
    """

    legs: tuple[Leg, ...]
    amount_in: Atoms
    amount_out: Atoms
    bound: Atoms
    impact_bps: Bps
    reason: str
    quotes: tuple[Quote, ...]
    found_at: Millis

    @property
    def venue(self) -> str:
        return "+".join(dict.fromkeys(leg.venue for leg in self.legs))


class SignedTx(msgspec.Struct, frozen=True, kw_only=True):
    """A signed transaction. These bytes, and no others, may be broadcast for their attempt.

    `signed_slot` and `signed_height` are the chain's when it was signed: later heights are judged by them.
    `limit` is the bound that the chain enforces: least out for exact in, most in for exact out.
    """

    signature: Signature
    raw: bytes
    last_valid_height: int
    signed_slot: int
    signed_height: int
    limit: Atoms


class Fill(msgspec.Struct, frozen=True, kw_only=True):
    """What the chain swapped, told by the chain."""

    signature: Signature
    slot: int
    amount_in: Atoms
    amount_out: Atoms


# --- events: what has happened, in the past tense ---------------------------------------------------------


class _Event(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", omit_defaults=True):
    pass


class Accepted(_Event, frozen=True, kw_only=True, tag="accepted"):
    intent: Intent
    client_order_id: str | None = None


class Armed(_Event, frozen=True, kw_only=True, tag="armed"):
    """From here on the order waits for the market."""


class Released(_Event, frozen=True, kw_only=True, tag="released"):
    """The order that it waited for was filled: from here on it waits for the market, with what the fill gave."""

    intent: Intent


class Trailed(_Event, frozen=True, kw_only=True, tag="trailed"):
    """The market has become better for a trailing stop: its trigger follows."""

    best: Price


class Amended(_Event, frozen=True, kw_only=True, tag="amended"):
    """Its owner wants something else of it from now on."""

    intent: Intent


class Triggered(_Event, frozen=True, kw_only=True, tag="triggered"):
    """The market met the condition, at this price for the order's own size."""

    price: Price


class Sniped(_Event, frozen=True, kw_only=True, tag="sniped"):
    """A new pool is what the order waits for, and by these facts meets its conditions: it is the one to swap on."""

    pool: Listing
    facts: Facts


class Started(_Event, frozen=True, kw_only=True, tag="started"):
    """A worker began an attempt."""

    worker: str


class Reclaimed(_Event, frozen=True, kw_only=True, tag="reclaimed"):
    """A worker took an order over, in the state in which another one left it."""

    worker: str


class Routed(_Event, frozen=True, kw_only=True, tag="routed"):
    route: Route


class Signed(_Event, frozen=True, kw_only=True, tag="signed"):
    tx: SignedTx


class Landed(_Event, frozen=True, kw_only=True, tag="landed"):
    fill: Fill


class SliceLanded(_Event, frozen=True, kw_only=True, tag="slice_landed"):
    """One slice is swapped, and not yet the whole amount."""

    fill: Fill


class SliceSkipped(_Event, frozen=True, kw_only=True, tag="slice_skipped"):
    """This slice will not be swapped; each of its attempts is proven over."""

    problem: Problem


class Reverted(_Event, frozen=True, kw_only=True, tag="reverted"):
    """The chain executed the transaction and undid it: proof that this attempt swapped nothing."""

    signature: Signature
    slot: int
    problem: Problem
    retry_at: Millis


class Lapsed(_Event, frozen=True, kw_only=True, tag="lapsed"):
    """The transaction can no longer land: proof that this attempt never will swap anything."""

    signature: Signature
    height: int
    problem: Problem
    retry_at: Millis


class Aborted(_Event, frozen=True, kw_only=True, tag="aborted"):
    """The attempt ended before anything was signed and stored. `quotes`: what was compared, if that was the trouble."""

    problem: Problem
    retry_at: Millis
    quotes: tuple[Quote, ...] = ()


class Slipped(_Event, frozen=True, kw_only=True, tag="slipped"):
    """The market left the limit price before anything was signed: the order waits again, and no attempt is spent.

    `retry_at`: when a slice looks again; None where the market's return will be noticed.
    """

    quotes: tuple[Quote, ...] = ()
    retry_at: Millis | None = None


class Declined(_Event, frozen=True, kw_only=True, tag="declined"):
    """The chosen pool is good no more, before anything was stored: the order waits again, and no attempt is spent."""

    pool: str
    problems: tuple[Problem, ...]


class CancelRequested(_Event, frozen=True, kw_only=True, tag="cancel_requested"):
    pass


class Canceled(_Event, frozen=True, kw_only=True, tag="canceled"):
    """By its owner, or, with a problem, because it would not wait, or for what became of an order it is tied to."""

    problem: Problem | None = None


class Expired(_Event, frozen=True, kw_only=True, tag="expired"):
    problem: Problem


class Failed(_Event, frozen=True, kw_only=True, tag="failed"):
    problem: Problem


Event: TypeAlias = (
    Accepted
    | Armed
    | Released
    | Trailed
    | Amended
    | Triggered
    | Sniped
    | Started
    | Reclaimed
    | Routed
    | Signed
    | Landed
    | SliceLanded
    | SliceSkipped
    | Reverted
    | Lapsed
    | Aborted
    | Slipped
    | Declined
    | CancelRequested
    | Canceled
    | Expired
    | Failed
)

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
"""Every legal move. From SUBMITTED only the chain's word leads on, and nothing leads on from a terminal status."""


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
    """When this slice's first attempt began."""
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
        case Landed() | SliceLanded() | SliceSkipped():
            return _settled(order, event)
        case Reverted() | Lapsed() | Aborted():
            due_at = _retry_at(order, event.retry_at)
            return change(order, worker=None, due_at=due_at, tx=None, problem=event.problem)
        case CancelRequested():
            return change(order, cancel_requested=True)
        case Canceled(problem=problem):
            return change(order, worker=None, due_at=None, problem=problem or order.problem)
        case Expired(problem=problem) | Failed(problem=problem):
            return change(order, worker=None, due_at=None, problem=problem)
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
            return change(order, standing=change(standing, triggered=True))
        case Slipped(retry_at=retry_at):
            due_at = _rest_until(order) if retry_at is None else _retry_at(order, retry_at)
            return change(order, worker=None, due_at=due_at, attempt=order.attempt - 1, standing=standing)
        case Sniped(pool=pool, facts=facts):
            return change(order, standing=change(standing, triggered=True, target=Target(pool, facts.decimals)))
        case Declined(pool=address):
            declined = (*standing.declined, address)[-DECLINED_MAX:]
            again = change(standing, triggered=False, target=None, declined=declined)
            return change(
                order, worker=None, due_at=_rest_until(order), attempt=order.attempt - 1, route=None, standing=again
            )
        case _:
            assert_never(event)


def _begun(order: Order) -> Standing | None:
    """The standing after a start: of a schedule it tells when the slice was begun."""
    if order.intent.schedule is None:
        return order.standing
    standing = order.standing or Standing()
    return standing if standing.begun_at else msgspec.structs.replace(standing, begun_at=order.updated_at)


def _settled(order: Order, event: Landed | SliceLanded | SliceSkipped) -> Order:
    change = msgspec.structs.replace
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


# --- what comes next --------------------------------------------------------------------------------------


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


def landed(order: Order, fill: Fill) -> Landed | SliceLanded:
    """What it means for an order that its transaction landed: all of it is swapped, or a slice."""
    is_whole = order.intent.schedule is None or order.filled_in + fill.amount_in >= order.intent.amount
    return Landed(fill=fill) if is_whole else SliceLanded(fill=fill)


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
