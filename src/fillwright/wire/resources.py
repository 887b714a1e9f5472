"""Orders and what is told about them, as they are read over HTTP.

Decides: the fields of an order, a route, an attempt and a fill. Must never: show more than was recorded, or an
amount as anything but exact text.
"""

from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise

import msgspec

from fillwright.errors import Problem
from fillwright.order import (
    Aborted,
    Canceled,
    Declined,
    Expired,
    Failed,
    Intent,
    Landed,
    Lapsed,
    Leg,
    Link,
    Mode,
    Order,
    Recorded,
    Reverted,
    Route,
    Routed,
    Signed,
    SliceLanded,
    SliceSkipped,
    Slipped,
    Started,
    Status,
)
from fillwright.policy import max_in, min_out
from fillwright.units import BPS_ONE, Atoms, Millis, Mint, Price, Token, ceil_div, format_atoms
from fillwright.wire import rfc3339
from fillwright.wire.conditions import ScheduleView, TrailView, TriggerView, condition_fields, progress
from fillwright.wire.frames import QuoteFrame, bound_texts, fill_in, price_text, quote_frames, retry_at
from fillwright.wire.sniper import SniperView, sniper_view

_BLOCK_MS = 400
"""About the time between two blocks: for estimates shown to people."""
_IMPACT_WORTH_A_WORD_BPS = 100
_GAP_PLACES = 4


class _Shown(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, rename="camel"):
    """What is unknown is left out."""


class RoutingView(_Shown, frozen=True, kw_only=True):
    venues: tuple[str, ...] | None = None
    max_legs: int | None = None
    max_hops: int | None = None


class LinkView(_Shown, frozen=True, kw_only=True):
    """How the order is tied to others: it waits for `parent`, `children` wait for it, and it excludes `siblings`."""

    parent: str | None = None
    children: tuple[str, ...] = ()
    group: str | None = None
    siblings: tuple[str, ...] = ()


class IntentView(_Shown, frozen=True, kw_only=True):
    type: str
    side: str
    pair: str
    token_in: str
    token_out: str
    mint_in: str
    mint_out: str
    amount: str
    amount_mode: str
    slippage_bps: int
    max_price_impact_bps: int | None = None
    deadline_ms: int | None = None
    limit_price: str | None = None
    trigger: TriggerView | None = None
    trail: TrailView | None = None
    schedule: ScheduleView | None = None
    sniper: SniperView | None = None
    time_in_force: str | None = None
    expire_at: str | None = None
    routing: RoutingView | None = None
    tags: tuple[str, ...] = ()
    linked_to: LinkView | None = None


class OrderView(IntentView, frozen=True, kw_only=True):
    id: str
    order_id: str
    client_order_id: str | None = None
    status: str
    seq: int
    attempt: int | None = None
    created_at: str
    updated_at: str
    deadline_at: str | None = None
    retry_at: str | None = None
    cancel_requested: bool = False
    outcome_known_by: str | None = None
    pool: str | None = None
    """The new pool that a sniper has chosen."""
    dex: str | None = None
    reason: str | None = None
    price: str | None = None
    executed_price: str | None = None
    amount_in: str | None = None
    amount_out: str | None = None
    slice: int | None = None
    slices: int | None = None
    next_slice_at: str | None = None
    filled_in: str | None = None
    filled_out: str | None = None
    leaves: str | None = None
    average_price: str | None = None
    min_out: str | None = None
    max_in: str | None = None
    tx_hash: str | None = None
    error: str | None = None
    code: str | None = None
    ws_url: str


class BracketView(_Shown, frozen=True, kw_only=True):
    """Orders that are tied to each other, as they were accepted. No entry: of the exits at most one swaps."""

    entry: OrderView | None = None
    exits: Sequence[OrderView]


class CancelView(_Shown, frozen=True, kw_only=True):
    """One order's answer to a cancel request. `outcome`: canceled, inFlight, or refused (`error`, `code`)."""

    order_id: str
    client_order_id: str | None = None
    status: str
    outcome: str
    outcome_known_by: str | None = None
    error: str | None = None
    code: str | None = None


class SwitchView(msgspec.Struct, frozen=True, rename="camel"):
    """The account's dead-man's switch. `fires_at` is null when it is off."""

    timeout_seconds: int
    fires_at: str | None


class LegView(_Shown, frozen=True, kw_only=True):
    venue: str
    pool: str
    mint_in: str
    mint_out: str
    amount_in: str | None = None
    amount_out: str | None = None
    amount_in_atoms: str | None = None
    """Instead, for a token on the way whose decimals are not known here."""
    amount_out_atoms: str | None = None


class RouteView(_Shown, frozen=True, kw_only=True):
    dex: str
    amount_in: str
    amount_out: str
    price: str
    price_impact_bps: int
    bound: str
    """No split over the offered pools gives more of the output for exact in, or takes less input for exact out."""
    gap_bps: str | None = None
    """How far the route is from that, rounded up; absent where the bound is zero."""
    reason: str
    found_at: str
    legs: Sequence[LegView]
    quotes: Sequence[QuoteFrame]


class PreviewView(_Shown, frozen=True, kw_only=True):
    order: IntentView
    route: RouteView
    min_out: str | None = None
    max_in: str | None = None
    warnings: Sequence[str]


class FillView(_Shown, frozen=True, kw_only=True):
    slice: int | None = None
    tx_hash: str
    slot: int
    at: str
    amount_in: str
    amount_out: str
    price: str


class ProofView(_Shown, frozen=True, kw_only=True):
    """What the chain said: the slot it happened in, or the height beyond which it no longer can."""

    slot: int | None = None
    height: int | None = None


class AttemptView(_Shown, frozen=True, kw_only=True):
    """One transaction's life. `outcome`: live, landed, reverted, lapsed, or aborted before anything was sent."""

    attempt: int
    slice: int | None = None
    outcome: str = ""
    started_at: str
    ended_at: str | None = None
    dex: str | None = None
    tx_hash: str | None = None
    signed_at: str | None = None
    last_valid_block_height: int | None = None
    min_out: str | None = None
    max_in: str | None = None
    proof: ProofView | None = None
    error: str | None = None
    code: str | None = None


def ws_path(order_id: str) -> str:
    return f"/ws/orders/{order_id}"


def intent_view(intent: Intent) -> IntentView:
    return IntentView(**_intent_fields(intent))  # type: ignore[arg-type]


def _intent_fields(intent: Intent, best: Price | None = None) -> dict[str, object]:
    paid = intent.token_in if intent.mode is Mode.EXACT_IN else intent.token_out
    return {
        "type": intent.type,
        "side": intent.side,
        "pair": f"{intent.base.symbol}/{intent.quote.symbol}",
        "token_in": intent.token_in.symbol,
        "token_out": intent.token_out.symbol,
        "mint_in": intent.token_in.mint,
        "mint_out": intent.token_out.mint,
        "amount": format_atoms(intent.amount, paid.decimals),
        "amount_mode": intent.mode,
        "slippage_bps": intent.slippage_bps,
        "max_price_impact_bps": intent.max_price_impact_bps,
        "deadline_ms": intent.deadline_ms,
        **condition_fields(intent, best),
        "sniper": sniper_view(intent),
        "routing": _routing_view(intent),
        "tags": intent.tags,
        "linked_to": _link_view(intent.link),
    }


def _link_view(link: Link | None) -> LinkView | None:
    if link is None:
        return None
    return LinkView(parent=link.parent, children=link.children, group=link.group, siblings=link.siblings)


def _routing_view(intent: Intent) -> RoutingView | None:
    if intent.venues is None and intent.max_legs is None and intent.max_hops is None:
        return None
    return RoutingView(venues=intent.venues, max_legs=intent.max_legs, max_hops=intent.max_hops)


def order_view(order: Order) -> OrderView:
    intent, tx, fill, problem = order.swap, order.tx, order.fill, order.problem
    route = order.route
    least, most = bound_texts(intent, tx)
    again = retry_at(order)
    best = order.standing.best if order.standing else None
    done = progress(order)
    return OrderView(
        **_intent_fields(intent, best),  # type: ignore[arg-type]
        id=order.id,
        order_id=order.id,
        client_order_id=order.client_order_id,
        status=order.status,
        seq=order.seq,
        attempt=order.attempt or None,
        created_at=rfc3339(order.created_at),
        updated_at=rfc3339(order.updated_at),
        deadline_at=None if order.deadline_at is None else rfc3339(order.deadline_at),
        retry_at=None if again is None else rfc3339(Millis(again)),
        cancel_requested=order.cancel_requested,
        outcome_known_by=outcome_known_by(order),
        pool=order.target.address if order.target else None,
        dex=route.venue if route else None,
        reason=route.reason if route else None,
        price=price_text(intent, route.amount_in, route.amount_out) if route else None,
        executed_price=price_text(intent, fill.amount_in, fill.amount_out) if fill else None,
        amount_in=format_atoms(fill.amount_in, intent.token_in.decimals) if fill else None,
        amount_out=format_atoms(fill.amount_out, intent.token_out.decimals) if fill else None,
        slice=done.slice,
        slices=done.slices,
        next_slice_at=None if done.next_slice_at is None else rfc3339(Millis(done.next_slice_at)),
        filled_in=done.filled_in,
        filled_out=done.filled_out,
        leaves=done.leaves,
        average_price=done.average_price,
        min_out=least,
        max_in=most,
        tx_hash=tx.signature if tx else fill.signature if fill else None,
        error=problem.detail if problem else None,
        code=problem.code if problem else None,
        ws_url=ws_path(order.id),
    )


def cancel_view(order: Order, problem: Problem | None) -> CancelView:
    outcome = "refused" if problem else "inFlight" if is_in_flight(order) else "canceled"
    return CancelView(
        order_id=order.id,
        client_order_id=order.client_order_id,
        status=order.status,
        outcome=outcome,
        outcome_known_by=outcome_known_by(order),
        error=problem.detail if problem else None,
        code=problem.code if problem else None,
    )


def outcome_known_by(order: Order) -> str | None:
    """By when the live transaction of a cancel request will have landed or lapsed."""
    expected = outcome_expected_at(order) if order.cancel_requested else None
    return None if expected is None else rfc3339(expected)


def outcome_expected_at(order: Order) -> Millis | None:
    """By when the live transaction will have landed or lapsed: an estimate, never early news."""
    if order.tx is None:
        return None
    blocks = order.tx.last_valid_height - order.tx.signed_height
    return Millis(order.updated_at + blocks * _BLOCK_MS)


def route_view(intent: Intent, route: Route, tokens: Iterable[Token] = ()) -> RouteView:
    """`tokens`: those that a route may lead over; the order's own two are known."""
    decimals = {token.mint: token.decimals for token in (*tokens, intent.token_in, intent.token_out)}
    bounded = intent.token_out if intent.mode is Mode.EXACT_IN else intent.token_in
    return RouteView(
        dex=route.venue,
        amount_in=format_atoms(route.amount_in, intent.token_in.decimals),
        amount_out=format_atoms(route.amount_out, intent.token_out.decimals),
        price=price_text(intent, route.amount_in, route.amount_out),
        price_impact_bps=route.impact_bps,
        bound=format_atoms(route.bound, bounded.decimals),
        gap_bps=gap_text(intent, route),
        reason=route.reason,
        found_at=rfc3339(route.found_at),
        legs=[_leg_view(leg, decimals) for leg in route.legs],
        quotes=quote_frames(intent, route),
    )


def _leg_view(leg: Leg, decimals: Mapping[Mint, int]) -> LegView:
    of_in, of_out = decimals.get(leg.mint_in), decimals.get(leg.mint_out)
    return LegView(
        venue=leg.venue,
        pool=leg.pool,
        mint_in=leg.mint_in,
        mint_out=leg.mint_out,
        amount_in=None if of_in is None else format_atoms(leg.amount_in, of_in),
        amount_out=None if of_out is None else format_atoms(leg.amount_out, of_out),
        amount_in_atoms=str(leg.amount_in) if of_in is None else None,
        amount_out_atoms=str(leg.amount_out) if of_out is None else None,
    )


def gap_text(intent: Intent, route: Route) -> str | None:
    """Basis points between the route and its bound, in ten-thousandths, rounded up."""
    if route.bound == 0:
        return None
    exact_in = intent.mode is Mode.EXACT_IN
    missed = route.bound - route.amount_out if exact_in else route.amount_in - route.bound
    return format_atoms(Atoms(ceil_div(max(0, missed) * BPS_ONE * 10**_GAP_PLACES, route.bound)), _GAP_PLACES)


def preview_view(intent: Intent, route: Route, tokens: Iterable[Token] = ()) -> PreviewView:
    """What would happen now, with the bound that would be signed: the slippage's, or the limit price's if tighter."""
    exact_in = intent.mode is Mode.EXACT_IN
    least = min_out(route.amount_out, intent.slippage_bps)
    most = max_in(route.amount_in, intent.slippage_bps)
    if intent.limit is not None:
        numerator, denominator = intent.rate(intent.limit)
        least = max(least, Atoms(ceil_div(route.amount_in * numerator, denominator)))
        most = min(most, Atoms(route.amount_out * denominator // numerator))
    return PreviewView(
        order=intent_view(intent),
        route=route_view(intent, route, tokens),
        min_out=format_atoms(least, intent.token_out.decimals) if exact_in else None,
        max_in=None if exact_in else format_atoms(most, intent.token_in.decimals),
        warnings=_warnings(intent, route),
    )


def _warnings(intent: Intent, route: Route) -> list[str]:
    warnings = []
    if route.impact_bps >= _IMPACT_WORTH_A_WORD_BPS:
        warnings.append(f"the order moves the price by {route.impact_bps} bps")
    if intent.slippage_bps == 0:
        warnings.append("without any slippage allowed, the smallest move of the price makes the swap fail")
    failing = sorted({quote.venue for quote in route.quotes if quote.problem is not None and quote.problem.retryable})
    if failing:
        warnings.append(f"no answer from {', '.join(failing)}: the comparison is incomplete")
    return warnings


# --- folds over history -----------------------------------------------------------------------------------


def last_routed(history: Sequence[Recorded]) -> tuple[Intent, Route] | None:
    """The route of the latest attempt that had one, and the swap that it was for."""
    routed = [(each.order.swap, each.event.route) for each in history if isinstance(each.event, Routed)]
    return routed[-1] if routed else None


def fill_views(history: Sequence[Recorded]) -> list[FillView]:
    return [
        FillView(
            slice=None if after.order.intent.schedule is None else before.order.slice,
            tx_hash=fill.signature,
            slot=fill.slot,
            at=rfc3339(after.order.updated_at),
            amount_in=format_atoms(fill.amount_in, after.order.swap.token_in.decimals),
            amount_out=format_atoms(fill.amount_out, after.order.swap.token_out.decimals),
            price=price_text(after.order.swap, fill.amount_in, fill.amount_out),
        )
        for before, after in pairwise(history)
        if (fill := fill_in(after)) is not None
    ]


def attempt_views(history: Sequence[Recorded]) -> list[AttemptView]:
    attempts: list[AttemptView] = []
    for recorded in history:
        at = rfc3339(recorded.order.updated_at)
        if isinstance(recorded.event, Started):
            number = None if recorded.order.intent.schedule is None else recorded.order.slice
            started = AttemptView(attempt=recorded.order.attempt, slice=number, outcome="live", started_at=at)
            if attempts and (attempts[-1].attempt, attempts[-1].slice) == (started.attempt, number):
                attempts.pop()  # an outage ended it before anything was signed: it is begun again
            attempts.append(started)
        elif isinstance(recorded.event, Slipped | Declined):
            attempts.pop()  # it was not one: nothing was spent on it
        elif attempts and attempts[-1].ended_at is None:
            attempts[-1] = _further(attempts[-1], recorded, at)
    return attempts


def _further(attempt: AttemptView, recorded: Recorded, at: str) -> AttemptView:
    """The attempt after one more event of its order."""
    change = msgspec.structs.replace
    match recorded.event:
        case Routed(route=route):
            return change(attempt, dex=route.venue)
        case Signed(tx=tx):
            least, most = bound_texts(recorded.order.swap, tx)
            return change(
                attempt,
                tx_hash=tx.signature,
                signed_at=at,
                last_valid_block_height=tx.last_valid_height,
                min_out=least,
                max_in=most,
            )
        case Landed(fill=fill) | SliceLanded(fill=fill):
            return change(attempt, outcome="landed", ended_at=at, proof=ProofView(slot=fill.slot))
        case Reverted(slot=slot, problem=problem):
            proof = ProofView(slot=slot)
            return change(
                attempt, outcome="reverted", ended_at=at, proof=proof, error=problem.detail, code=problem.code
            )
        case Lapsed(height=height, problem=problem):
            proof = ProofView(height=height)
            return change(attempt, outcome="lapsed", ended_at=at, proof=proof, error=problem.detail, code=problem.code)
        case (
            Aborted(problem=problem)
            | Expired(problem=problem)
            | Failed(problem=problem)
            | SliceSkipped(problem=problem)
        ):
            return change(attempt, outcome="aborted", ended_at=at, error=problem.detail, code=problem.code)
        case Canceled():
            return change(attempt, outcome="aborted", ended_at=at)
        case _:
            return attempt


def is_in_flight(order: Order) -> bool:
    """Whether a cancel request has to wait for the chain's word."""
    return order.status is Status.SUBMITTED
