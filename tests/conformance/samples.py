"""What tests are made of: tokens, intents, orders in any status, and random walks of legal events.

Decides: sample values only. Must never: hold a copy of a rule that the code under test decides.
"""

import asyncio
from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import Any, Final, get_args

import msgspec
from hypothesis import strategies as st

from fillwright.errors import Code, Problem
from fillwright.order import (
    TRANSITIONS,
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
    Fill,
    Intent,
    Landed,
    Lapsed,
    Leg,
    Link,
    Mode,
    Order,
    OrderType,
    Quote,
    Reclaimed,
    Recorded,
    Released,
    Reopened,
    Reverted,
    Route,
    Routed,
    Side,
    Signed,
    SignedTx,
    SliceLanded,
    SliceSkipped,
    Slipped,
    Sniped,
    Stamped,
    Started,
    Status,
    TimeInForce,
    Trailed,
    Triggered,
    accept,
    landed,
    transition,
)
from fillwright.ports import NewOrder
from fillwright.schedule import Schedule
from fillwright.sniping import Facts, Listing, Lock, Require, Snipe
from fillwright.units import Atoms, Bps, Millis, Mint, OrderId, Price, Signature, Token

SOL: Final = Token("SOL", Mint("So11111111111111111111111111111111111111112"), 9)
USDC: Final = Token("USDC", Mint("EPjFWdd5AufqSSqeM2qN1xzybapC8G4wEGGkZwyTDt1v"), 6)
BONK: Final = Token("BONK", Mint("DezXAZ8z7PnrnRJjz3wXBoRgixCa6xjnB7YaB1pPB263"), 5)
NOW: Final = Millis(1_790_000_000_000)
PASSING: Final = Problem(Code.VENUE_TIMEOUT, "meteora did not answer in time")
PRICE: Final = Price(197, 2_000)
"""98.5 USDC for a SOL."""
HOPELESS: Final = Problem(Code.POOL_REFUSED, "pool is frozen")
SCHEDULE: Final = Schedule(slices=3, interval_ms=Millis(2_000), jitter_pct=20)
TWAP: Final[dict[str, Any]] = {"type": OrderType.TWAP, "schedule": SCHEDULE}
SNIPE: Final = Snipe(creator="somebody", min_liquidity=Atoms(10**9), require=Require(liquidity=Lock.BURNED))
LISTING: Final = Listing(
    venue="raydium",
    address="pool-1",
    mint=Mint("SomethingNew"),
    against=SOL.mint,
    creator="somebody",
    slot=4_990,
    unix_seconds=NOW // 1_000 - 4,
)
FACTS: Final = Facts(
    slot=5_000,
    unix_seconds=NOW // 1_000,
    decimals=6,
    mint_authority=False,
    freeze_authority=False,
    liquidity=Atoms(40 * 10**9),
    locked_bps=10_000,
    burned_bps=10_000,
    extensions=(),
    sellable=True,
)
"""Of a pool that any sniper would take."""
EVENT_TYPES: Final[tuple[type, ...]] = get_args(Event)


class HandClock:
    """Time that stands still until the test moves it. Its sleep moves it, and lets others run."""

    def __init__(self, now: int = NOW) -> None:
        self.at = now

    def now(self) -> Millis:
        return Millis(self.at)

    def monotonic(self) -> float:
        return self.at / 1_000

    async def sleep(self, seconds: float) -> None:
        self.at += round(seconds * 1_000)
        await asyncio.sleep(0)


class LoopClock:
    """The virtual time of a simulation's loop."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop

    def now(self) -> Millis:
        return Millis(NOW + round(self._loop.time() * 1_000))

    def monotonic(self) -> float:
        return self._loop.time()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


# --- values -----------------------------------------------------------------------------------------------


def intent_of(**changes: Any) -> Intent:
    """Sell 1.5 SOL for USDC, unless told otherwise."""
    plain = Intent(
        side=Side.SELL,
        token_in=SOL,
        token_out=USDC,
        amount=Atoms(1_500_000_000),
        mode=Mode.EXACT_IN,
        slippage_bps=Bps(50),
    )
    return msgspec.structs.replace(plain, **changes)


def accepted(
    order_id: str = "o-1",
    *,
    account: str = "alice",
    client_order_id: str | None = None,
    at: int = NOW,
    **intent: Any,
) -> Recorded:
    event = Accepted(intent=intent_of(**intent), client_order_id=client_order_id)
    return accept(OrderId(order_id), account, event, Millis(at))


def new_order(first: Recorded, *, key: str | None = None, fingerprint: bytes = b"asked") -> NewOrder:
    return NewOrder(accepted=first, idempotency_key=key, fingerprint=fingerprint)


def route_of(order: Order, *, found_at: int = NOW) -> Route:
    exact_in = order.intent.mode is Mode.EXACT_IN
    amount = order.part.amount
    amount_in = amount if exact_in else Atoms(amount + 7)
    amount_out = Atoms(amount + 9) if exact_in else amount
    leg = Leg(
        venue="raydium",
        pool="pool-1",
        mint_in=order.intent.token_in.mint,
        mint_out=order.intent.token_out.mint,
        amount_in=amount_in,
        amount_out=amount_out,
    )
    quotes = (
        Quote(venue="raydium", pool="pool-1", kind="cpmm", amount_in=amount_in, amount_out=amount_out),
        Quote(venue="meteora", problem=PASSING),
    )
    return Route(
        legs=(leg,),
        amount_in=amount_in,
        amount_out=amount_out,
        bound=amount_out,
        impact_bps=Bps(3),
        reason="the only quote",
        quotes=quotes,
        found_at=Millis(found_at),
    )


def tx_of(order: Order) -> SignedTx:
    signature = Signature(f"sig-{order.id}-{order.seq}")
    return SignedTx(
        signature=signature,
        raw=b"\x00raw \xff" + signature.encode(),
        last_valid_height=1_150,
        signed_slot=5_000,
        signed_height=1_000,
        limit=Atoms(order.intent.amount),
    )


def fill_of(order: Order) -> Fill:
    """Just within the order, or its slice: all that was asked and no atom more."""
    signature = order.tx.signature if order.tx else Signature(f"sig-{order.id}")
    exact_in = order.intent.mode is Mode.EXACT_IN
    amount = order.part.amount
    return Fill(
        signature=signature,
        slot=5_009,
        amount_in=amount if exact_in else Atoms(77),
        amount_out=Atoms(99) if exact_in else amount,
    )


def event_of(
    kind: type, order: Order, *, worker: str = "w-1", at: int = NOW, retry_at: int = NOW, problem: Problem = PASSING
) -> Event:
    """A sample of each event, fit for this order where it is legal."""
    signature = order.tx.signature if order.tx else Signature("sig-none")
    samples: dict[type, Event] = {
        Accepted: Accepted(intent=order.intent, client_order_id=order.client_order_id),
        Armed: Armed(),
        Released: Released(intent=msgspec.structs.replace(order.intent, amount=Atoms(order.intent.amount + 1))),
        Trailed: Trailed(best=PRICE),
        Amended: Amended(intent=msgspec.structs.replace(order.intent, slippage_bps=Bps(7))),
        Triggered: Triggered(price=PRICE),
        Slipped: Slipped(),
        Sniped: Sniped(pool=LISTING, facts=FACTS),
        Declined: Declined(pool=LISTING.address, problems=(HOPELESS,)),
        Started: Started(worker=worker),
        Reclaimed: Reclaimed(worker=worker),
        Routed: Routed(route=route_of(order, found_at=at)),
        Signed: Signed(tx=tx_of(order)),
        Landed: Landed(fill=fill_of(order)),
        SliceLanded: SliceLanded(fill=fill_of(order)),
        SliceSkipped: SliceSkipped(problem=problem),
        Attested: Attested(by="fw_1", evidence="two explorers and a finalized height beyond its last"),
        Reopened: Reopened(tx=tx_of(order)),
        Reverted: Reverted(signature=signature, slot=5_009, problem=problem, retry_at=Millis(retry_at)),
        Lapsed: Lapsed(signature=signature, height=1_151, problem=problem, retry_at=Millis(retry_at)),
        Aborted: Aborted(problem=problem, retry_at=Millis(retry_at)),
        CancelRequested: CancelRequested(),
        Canceled: Canceled(),
        Expired: Expired(problem=problem),
        Failed: Failed(problem=problem),
    }
    return samples[kind]


_WAYS: Final[dict[Status, tuple[type, ...]]] = {
    Status.PENDING: (),
    Status.OPEN: (Armed,),
    Status.ROUTING: (Started,),
    Status.BUILDING: (Started, Routed),
    Status.SUBMITTED: (Started, Routed, Signed),
    Status.CONFIRMED: (Started, Routed, Signed, Landed),
    Status.FAILED: (Started, Aborted, Failed),
    Status.CANCELED: (Canceled,),
    Status.EXPIRED: (Expired,),
}


def way_to(status: Status, first: Recorded | None = None, *, worker: str = "w-1") -> list[Recorded]:
    """An order's events from acceptance to this status."""
    return walked(first or accepted(), _WAYS[status], worker=worker)


def walked(first: Recorded, kinds: Iterable[type], *, worker: str = "w-1") -> list[Recorded]:
    """The first event and samples of these kinds after it, a millisecond apart."""
    recorded = [first]
    for kind in kinds:
        order = recorded[-1].order
        at = Millis(order.updated_at + 1)
        event = event_of(kind, order, worker=worker, at=at, retry_at=at)
        recorded.append(Recorded(transition(order, event, at), event))
    return recorded


def order_in(status: Status, **intent: Any) -> Order:
    return way_to(status, accepted(**intent))[-1].order


def stamped(recorded: Iterable[Recorded]) -> list[Stamped]:
    """As history keeps these events."""
    return [Stamped(each.order.seq, each.order.updated_at, each.event) for each in recorded]


# --- random walks -----------------------------------------------------------------------------------------


def _scheduled(intent: Intent) -> Intent:
    if intent.type not in (OrderType.TWAP, OrderType.DCA):
        return intent
    amount = max(intent.amount, Atoms(SCHEDULE.slices))
    return msgspec.structs.replace(intent, schedule=SCHEDULE, mode=Mode.EXACT_IN, amount=amount)


INTENTS: Final = st.builds(
    intent_of,
    side=st.sampled_from(Side),
    mode=st.sampled_from(Mode),
    amount=st.integers(1, 2**63 - 1),
    slippage_bps=st.integers(0, 10_000),
    deadline_ms=st.none() | st.integers(1, 20_000),
    max_price_impact_bps=st.none() | st.integers(0, 10_000),
    venues=st.none() | st.just(("raydium",)),
    tags=st.lists(st.text(max_size=5), max_size=2).map(tuple),
    type=st.sampled_from(OrderType),
    limit=st.none() | st.just(PRICE),
    trigger=st.none() | st.just(PRICE),
    trail_bps=st.none() | st.integers(1, 5_000),
    time_in_force=st.sampled_from(TimeInForce),
    expire_at=st.none() | st.integers(NOW, NOW + 20_000),
    snipe=st.none() | st.just(SNIPE),
    link=st.sampled_from(
        (None, None, Link(parent=OrderId("o-p")), Link(group=OrderId("g"), siblings=(OrderId("o-s"),)))
    ),
).map(_scheduled)


def can_happen(order: Order, kind: type) -> bool:
    """Whether an order of this intent meets such an event, where the table allows it."""
    if kind is Landed or kind is SliceLanded:
        return type(landed(order, fill_of(order))) is kind
    if order.intent.schedule is None:
        return kind is not SliceSkipped and (order.status is not Status.OPEN or kind not in (Started, Failed))
    if order.status is Status.OPEN and kind is Started:
        return order.slice <= order.intent.schedule.slices
    return kind not in (Armed, Trailed, Amended, Triggered)


@st.composite
def walks(draw: st.DrawFn, *, order_id: str = "o-1", account: str = "alice", length_max: int = 14) -> list[Recorded]:
    """An order's life by any sequence of legal events, at times that may jump back, as clocks do."""
    event = Accepted(intent=draw(INTENTS), client_order_id=draw(st.none() | st.just(f"mine-{order_id}")))
    recorded = [accept(OrderId(order_id), account, event, NOW)]
    for _ in range(draw(st.integers(0, length_max))):
        order = recorded[-1].order
        kinds = [kind for status, kind in TRANSITIONS if status is order.status and can_happen(order, kind)]
        if not kinds:
            break
        at = Millis(order.updated_at + draw(st.integers(-500, 5_000)))
        following = event_of(
            draw(st.sampled_from(kinds)),
            order,
            worker=draw(st.sampled_from(["w-1", "w-2"])),
            at=at,
            retry_at=at + draw(st.integers(0, 8_000)),
            problem=draw(st.sampled_from([PASSING, HOPELESS])),
        )
        recorded.append(Recorded(transition(order, following, at), following))
    return recorded


def steps_of(recorded: Sequence[Recorded]) -> list[tuple[Order, Recorded]]:
    """Each order beside what was recorded next."""
    return [(before.order, after) for before, after in pairwise(recorded)]
