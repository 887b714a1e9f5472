"""A recorded event as streams show it: one frame that holds what each of the older engines' frames held.

Decides: which field a client sees from which status on. Must never: show an amount as anything but exact text, or
a quote as if it were a fill.
"""

from collections.abc import Sequence

import msgspec

from fillwright.errors import Problem
from fillwright.order import (
    Attested,
    Canceled,
    Declined,
    Fill,
    Intent,
    Landed,
    Mode,
    Order,
    Quote,
    Recorded,
    Route,
    Side,
    SignedTx,
    SliceLanded,
    SliceSkipped,
    Sniped,
    Status,
    Triggered,
)
from fillwright.ports import News
from fillwright.units import BPS_ONE, Token, format_atoms, format_price, format_ratio
from fillwright.wire.conditions import awaited_price, progress, shown
from fillwright.wire.sniper import RefusalView, refusal_views


class QuoteFrame(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, rename="camel"):
    """One quote that was compared. Without amounts where the venue made no offer (`error`, `code`)."""

    venue: str
    pool: str | None = None
    kind: str | None = None
    slot: int | None = None
    amount_in: str | None = None
    amount_out: str | None = None
    price: str | None = None
    """Quote currency per base, fees included."""
    fee: str | None = None
    fee_token: str | None = None
    price_impact_bps: int | None = None
    slippage: str | None = None
    """The price impact as a fraction, the way the oldest clients read it."""
    liquidity_score: int | None = None
    """Depth against the deepest pool of the comparison, 0 to 100."""
    latency_ms: int
    error: str | None = None
    code: str | None = None


class Frame(
    msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, rename="camel", tag_field="type", tag="event"
):
    order_id: str
    seq: int
    status: str
    timestamp: int
    """Of the event, in epoch milliseconds."""
    cause: str
    """What happened: the event's own name. Two events may leave an order in the same status."""
    attempt: int | None = None
    retry_at: int | None = None
    trigger_price: str | None = None
    """What an open order waits for."""
    pool: str | None = None
    """The new pool that a sniper has chosen, or, with `refusals`, leaves alone after all."""
    token_out: str | None = None
    """Its token."""
    refusals: Sequence[RefusalView] | None = None
    dex: str | None = None
    chosen: str | None = None
    quotes: Sequence[QuoteFrame] | None = None
    reason: str | None = None
    price: str | None = None
    """As quoted by the chosen route, or the price that met the order's condition."""
    executed_price: str | None = None
    """As swapped by the chain."""
    amount_in: str | None = None
    amount_out: str | None = None
    """What the chain swapped, by this event."""
    slice: int | None = None
    """Of an order with a schedule: the next slice, or the one under way, of `slices`."""
    slices: int | None = None
    next_slice_at: int | None = None
    filled_in: str | None = None
    filled_out: str | None = None
    """What all slices so far have swapped."""
    leaves: str | None = None
    average_price: str | None = None
    min_out: str | None = None
    max_in: str | None = None
    """The bound that the chain enforces."""
    tx_hash: str | None = None
    error: str | None = None
    code: str | None = None
    by: str | None = None
    """Who vouches for what became of the transaction, where the chain does not tell."""
    evidence: str | None = None


_ROUTED = frozenset({Status.BUILDING, Status.SUBMITTED, Status.CONFIRMED})
_TROUBLED = frozenset({Status.PENDING, Status.FAILED, Status.EXPIRED})
encode_frame = msgspec.json.Encoder().encode


def frame_of(recorded: Recorded) -> Frame:
    order = recorded.order
    intent, tx, fill = order.swap, order.tx, fill_in(recorded)
    route = order.route if order.status in _ROUTED or fill else None
    done = progress(order)
    problem = _problem(recorded)
    min_out, max_in = bound_texts(intent, tx)
    venue = route.venue if route else None
    return Frame(
        order_id=order.id,
        seq=order.seq,
        status=order.status,
        timestamp=order.updated_at,
        cause=str(recorded.event.__struct_config__.tag),
        attempt=order.attempt or None,
        retry_at=retry_at(order),
        trigger_price=_awaited(order) if order.status is Status.OPEN else None,
        **_hunted(recorded),  # type: ignore[arg-type]
        dex=venue,
        chosen=venue,
        quotes=quote_frames(intent, route) if route and order.status is Status.BUILDING else None,
        reason=route.reason if route else None,
        price=_price(recorded, route),
        executed_price=price_text(intent, fill.amount_in, fill.amount_out) if fill else None,
        amount_in=format_atoms(fill.amount_in, intent.token_in.decimals) if fill else None,
        amount_out=format_atoms(fill.amount_out, intent.token_out.decimals) if fill else None,
        slice=done.slice,
        slices=done.slices,
        next_slice_at=done.next_slice_at,
        filled_in=done.filled_in,
        filled_out=done.filled_out,
        leaves=done.leaves,
        average_price=done.average_price,
        min_out=min_out,
        max_in=max_in,
        tx_hash=tx.signature if tx else fill.signature if fill else None,
        error=problem.detail if problem else None,
        code=problem.code if problem else None,
        **_vouched(recorded),  # type: ignore[arg-type]
    )


def fill_in(recorded: Recorded) -> Fill | None:
    """What this event says that the chain swapped."""
    return recorded.event.fill if isinstance(recorded.event, Landed | SliceLanded) else None


def _vouched(recorded: Recorded) -> dict[str, str]:
    event = recorded.event
    return {"by": event.by, "evidence": event.evidence} if isinstance(event, Attested) else {}


def _hunted(recorded: Recorded) -> dict[str, object]:
    match recorded.event:
        case Sniped(pool=pool):
            return {"pool": pool.address, "token_out": recorded.order.swap.token_out.symbol}
        case Declined(pool=address, problems=problems):
            return {"pool": address, "refusals": refusal_views(problems)}
        case _:
            return {}


def _problem(recorded: Recorded) -> Problem | None:
    if isinstance(recorded.event, Canceled | SliceSkipped):
        return recorded.event.problem
    return recorded.order.problem if recorded.order.status in _TROUBLED else None


def _price(recorded: Recorded, route: Route | None) -> str | None:
    if isinstance(recorded.event, Triggered):
        return shown(recorded.order.intent, recorded.event.price)
    return None if route is None else price_text(recorded.order.swap, route.amount_in, route.amount_out)


def _awaited(order: Order) -> str | None:
    awaited = awaited_price(order)
    return None if awaited is None else shown(order.intent, awaited[1])


def news_of(recorded: Recorded) -> News:
    """The event as the bus carries it: its frame is encoded here, once, however many watch it."""
    order = recorded.order
    return News(order.id, order.account, order.seq, order.is_terminal, encode_frame(frame_of(recorded)))


def retry_at(order: Order) -> int | None:
    """When the next attempt begins, between two attempts."""
    return order.due_at if order.pauses else None


def quote_frames(intent: Intent, route: Route) -> tuple[QuoteFrame, ...]:
    deepest = max((quote.depth for quote in route.quotes), default=0)
    return tuple(_quote_frame(intent, quote, deepest) for quote in route.quotes)


def _quote_frame(intent: Intent, quote: Quote, deepest: int) -> QuoteFrame:
    problem = quote.problem
    offered = quote.amount_in > 0
    fee_token = _fee_token(intent, quote)
    return QuoteFrame(
        venue=quote.venue,
        pool=quote.pool or None,
        kind=quote.kind or None,
        slot=quote.slot or None,
        amount_in=format_atoms(quote.amount_in, intent.token_in.decimals) if offered else None,
        amount_out=format_atoms(quote.amount_out, intent.token_out.decimals) if offered else None,
        price=price_text(intent, quote.amount_in, quote.amount_out) if offered else None,
        fee=format_atoms(quote.fee, fee_token.decimals) if offered else None,
        fee_token=fee_token.symbol if offered else None,
        price_impact_bps=quote.impact_bps if offered else None,
        slippage=format_ratio(quote.impact_bps, BPS_ONE) if offered else None,
        liquidity_score=quote.depth * 100 // deepest if offered and deepest else None,
        latency_ms=quote.latency_ms,
        error=problem.detail if problem else None,
        code=problem.code if problem else None,
    )


def _fee_token(intent: Intent, quote: Quote) -> Token:
    return intent.token_out if quote.fee_mint == intent.token_out.mint else intent.token_in


def price_text(intent: Intent, amount_in: int, amount_out: int) -> str:
    """Quote currency per base."""
    base_atoms, quote_atoms = (amount_in, amount_out) if intent.side is Side.SELL else (amount_out, amount_in)
    return format_price(
        quote_atoms, base_atoms, quote_decimals=intent.quote.decimals, base_decimals=intent.base.decimals
    )


def bound_texts(intent: Intent, tx: SignedTx | None) -> tuple[str | None, str | None]:
    """Least out and most in of a signed transaction: one of them, by the order's mode."""
    if tx is None:
        return None, None
    if intent.mode is Mode.EXACT_IN:
        return format_atoms(tx.limit, intent.token_out.decimals), None
    return None, format_atoms(tx.limit, intent.token_in.decimals)
