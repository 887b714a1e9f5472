"""What each committed event must be like, given what was known before it and what the chain knows.

Decides: which promise an event breaks. Must never: trust the engine's own tables or its word about the chain.
"""

from collections.abc import Callable, Iterator, Sequence
from fractions import Fraction
from math import ceil, floor
from typing import Final, TypeAlias

import msgspec

from fillwright.adapters.sim.newcomers import Trap
from fillwright.adapters.sim.transactions import SimTx
from fillwright.errors import Code, Problem
from fillwright.order import (
    TERMINAL,
    Accepted,
    Canceled,
    CancelRequested,
    Declined,
    Expired,
    Fill,
    Intent,
    Landed,
    Lapsed,
    Leg,
    Mode,
    Order,
    OrderType,
    Reclaimed,
    Recorded,
    Released,
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
    Started,
    Status,
    TimeInForce,
    Trailed,
    Triggered,
)
from fillwright.policy import Policy, max_in, min_out
from fillwright.ports import Rejection
from fillwright.sniping import Lock
from fillwright.units import OrderId, Price
from tests.simulation.faults import WorldChain

Objection: TypeAlias = tuple[str, str]
"""The invariant that is broken, and how."""
tx_of: Final = msgspec.msgpack.Decoder(SimTx).decode
_BY_ANYONE: Final = (Accepted, CancelRequested, Canceled, Started, Reclaimed)
_IMMEDIATE: Final = (TimeInForce.IOC, TimeInForce.FOK)
_CLOCK_SLACK: Final = 1.05
"""No host's clock runs faster than this."""


class Knowledge(msgspec.Struct):
    """What the rules may ask."""

    chain: WorldChain
    policy: Policy
    lives: Callable[[str], bool]
    """Whether a worker's lease still runs, by the store's clock."""
    state: Callable[[OrderId], Order | None]
    """An order as it was last committed."""
    signed: dict[OrderId, list[SignedTx]] = msgspec.field(default_factory=dict)
    disturbed: set[str] = msgspec.field(default_factory=set)
    """Workers that were paused, or whose clock jumped: their stamps prove nothing about how long a step took."""

    def alive(self, order_id: OrderId) -> list[SignedTx]:
        """The order's transactions that may still change the ledger. There must never be two."""
        return [tx for tx in self.signed.get(order_id, []) if self.chain.may_land(tx)]

    def filled(self, order_id: OrderId) -> Fill | None:
        """What the chain swapped for the order."""
        truths = (self.chain.truth(tx.signature) for tx in self.signed.get(order_id, []))
        return next((truth for truth in truths if isinstance(truth, Fill)), None)


def objections(known: Knowledge, by: str, states: Sequence[Recorded], recorded: Recorded) -> Iterator[Objection]:
    """Against this event, committed by worker `by` on top of `states`."""
    if not states:
        return
    before, order, event = states[-1].order, recorded.order, recorded.event
    if not isinstance(event, _BY_ANYONE) and before.worker not in (by, None):
        yield "I10", f"{by} recorded {type(event).__name__} on {order.id}, which {before.worker} holds"
    match event:
        case Started() | Reclaimed():
            yield from _on_claim(known, before, order, event)
        case Routed():
            yield from _on_route(order, part_of(states))
        case Triggered() | Trailed() | Expired() | Slipped() | Sniped() | Declined() | Released() | Canceled():
            yield from _on_rest(known, before, order, event)
        case Signed(tx=tx):
            known.signed.setdefault(order.id, []).append(tx)
            yield from _on_signature(known, before, tx)
            yield from _on_hunt(known, before, tx)
            yield from _on_haste(known, states[-1], order)
            yield from _on_slices(states, order)
            yield from _on_ties(known, before)
        case Lapsed() | Reverted():
            yield from _on_failure(known, order, event)
        case Landed(fill=fill) | SliceLanded(fill=fill):
            yield from _on_fill(known, before, fill, part_of(states))
            yield from _on_due(states, order)
        case SliceSkipped():
            if known.alive(order.id):
                yield "I8", f"a slice of {order.id} was skipped, and its transaction can land"
            yield from _on_due(states, order)
        case _:
            pass
    yield from _on_total([*states, recorded])
    if order.status in TERMINAL and order.status is not Status.CONFIRMED:
        yield from _on_no_fill(known, order, fills_of(states))


def _on_claim(known: Knowledge, before: Order, order: Order, event: Started | Reclaimed) -> Iterator[Objection]:
    if before.due_at is None or order.updated_at < before.due_at:
        yield "I10", f"{order.id} was claimed before it was due"
    if before.worker not in (None, event.worker) and known.lives(before.worker or ""):
        yield "I10", f"{order.id} was taken from {before.worker}, which is alive"
    if order.attempt > known.policy.attempts_max:
        yield "I4", f"attempt {order.attempt} of {order.id}"
    intent, standing = order.intent, order.standing
    waits = intent.type is not OrderType.MARKET and intent.schedule is None and intent.time_in_force not in _IMMEDIATE
    if waits and not (standing is not None and standing.triggered):
        yield "I6", f"{order.id} was started without its condition being met"


def _on_rest(
    known: Knowledge,
    before: Order,
    order: Order,
    event: Triggered | Trailed | Expired | Slipped | Sniped | Declined | Released | Canceled,
) -> Iterator[Objection]:
    match event:
        case Released():
            yield from _on_release(known, before, order)
        case Canceled(problem=Problem(code=code)):
            yield from _on_bound_cancel(known, before, code)
        case Triggered(price=price):
            yield from _on_trigger(before, price)
        case Trailed(best=best):
            yield from _on_trail(before, best)
        case Slipped():
            yield from _on_slip(known, before, order)
        case Sniped(pool=pool):
            yield from _on_find(known, before, pool.address)
        case Declined():
            if before.intent.snipe is None or order.attempt != before.attempt - 1 or known.alive(order.id):
                yield "I6", f"{order.id} gave its pool up: {before}"
        case Expired() if before.status is Status.OPEN:
            if before.deadline_at is None or order.updated_at < before.deadline_at:
                yield "I6", f"{order.id} expired while it rested, before {before.deadline_at}"
        case _:
            pass


def _on_trigger(before: Order, price: Price) -> Iterator[Objection]:
    """The price that was seen is on the right side of what the order waits for."""
    intent, standing = before.intent, before.standing
    assert standing is not None
    if intent.type is OrderType.LIMIT or standing.triggered:
        met = intent.limit is None or _is_good(intent, price, _fraction(intent.limit))
    elif intent.type is OrderType.TRAILING_STOP:
        trail = Fraction(intent.trail_bps or 0, 10_000) * (1 if intent.side is Side.BUY else -1)
        bound = None if standing.best is None else _fraction(standing.best) * (1 + trail)
        met = bound is not None and (not _is_good(intent, price, bound) or _fraction(price) == bound)
    else:
        assert intent.trigger is not None
        wanted = _fraction(intent.trigger)
        is_good = _is_good(intent, price, wanted)
        met = is_good if intent.type is OrderType.TAKE_PROFIT else not is_good or _fraction(price) == wanted
    if not met:
        yield "I6", f"{before.id} was triggered at {price}, it waits for {intent.limit} {intent.trigger} {standing}"


def _on_trail(before: Order, best: Price) -> Iterator[Objection]:
    known = before.standing.best if before.standing is not None else None
    if before.standing is not None and before.standing.triggered:
        yield "I6", f"{before.id} followed the market although it was triggered"
    if known is not None and not _is_good(before.intent, best, _fraction(known)):
        yield "I6", f"the best price of {before.id} went from {known} to {best}"


def _on_slip(known: Knowledge, before: Order, order: Order) -> Iterator[Objection]:
    """Only what waits for a limit price may go back to waiting, without an attempt spent, and with nothing alive."""
    if before.intent.limit is None or order.attempt != before.attempt - 1 or known.alive(order.id):
        yield "I6", f"{order.id} slipped back: {before}"


def _on_find(known: Knowledge, before: Order, address: str) -> Iterator[Objection]:
    """It is a pool that the order waits for."""
    intent, snipe = before.intent, before.intent.snipe
    newcomer, _ = known.chain.newcomer(address, 0)
    found = newcomer.token.mint, newcomer.creator, newcomer.pool.venue, newcomer.against
    if snipe is None or newcomer.against != intent.token_in:
        yield "I6", f"{before.id} found {found}, which it does not wait for: {intent}"
    elif snipe.mint not in (None, found[0]) or snipe.creator not in (None, found[1]):
        yield "I6", f"{before.id} found {found}, it waits for {snipe}"
    elif intent.venues is not None and found[2] not in intent.venues:
        yield "I6", f"{before.id} found {found}, it waits for {intent.venues}"


def _on_hunt(known: Knowledge, before: Order, tx: SignedTx) -> Iterator[Objection]:
    """What is signed for a sniper swaps on a pool that met each of its conditions at the slot of the signature."""
    snipe = before.intent.snipe
    if snipe is None:
        return
    pools = {wish.pool for wish in tx_of(tx.raw).instructions}
    if before.target is None or pools != {before.target.address}:
        yield "sniper", f"{before.id} chose {before.target}, signed for is {pools}"
        return
    newcomer, offset = known.chain.newcomer(before.target.address, tx.signed_slot)
    trap, require = newcomer.trap, snipe.require
    is_free = trap is Trap.UNLOCKED or newcomer.is_pulled(offset)
    reserve = known.chain.reserve(before.target.address)
    if not newcomer.is_pulled(offset):  # until then orders only add to it, and it may have gone since
        reserve = max(reserve, newcomer.pool.reserves()[newcomer.pool.mint_1 == newcomer.against.mint])
    failed = {
        "age": (offset - newcomer.offset) * 0.4 > snipe.max_age_s + 1,
        "liquidity": reserve < snipe.min_liquidity,
        "lock": require.liquidity is not Lock.ANY and is_free,
        "burn": require.liquidity is Lock.BURNED and not newcomer.burned,
        "mint": require.mint_authority_revoked and trap is Trap.MINTABLE,
        "freeze": require.freeze_authority_none and trap is Trap.FREEZABLE,
        "extensions": require.extensions_none and trap is Trap.TAXED,
        "sale": require.sellable and trap is Trap.UNSELLABLE,
    }
    if any(failed.values()):
        why = [name for name, fails in failed.items() if fails]
        yield "sniper", f"{before.id} was signed for {newcomer.pool.address}, a {trap}: {why}"


def _is_good(intent: Intent, price: Price, wanted: Fraction) -> bool:
    """At this price or better for the order."""
    return _fraction(price) >= wanted if intent.side is Side.SELL else _fraction(price) <= wanted


def _fraction(price: Price) -> Fraction:
    return Fraction(price.quote, price.base)


def fills_of(states: Sequence[Recorded]) -> list[Fill]:
    return [each.event.fill for each in states if isinstance(each.event, Landed | SliceLanded)]


def _slices_over(states: Sequence[Recorded]) -> int:
    return sum(isinstance(each.event, SliceLanded | SliceSkipped) for each in states)


def part_of(states: Sequence[Recorded]) -> int:
    """What the order is to swap next, counted from what has happened: all of it, or its slice."""
    intent = states[-1].order.intent
    schedule = intent.schedule
    if schedule is None:
        return intent.amount
    left = schedule.slices - _slices_over(states)
    if intent.type is OrderType.TWAP:
        return (intent.amount - sum(fill.amount_in for fill in fills_of(states))) // max(left, 1)
    part = intent.amount // schedule.slices
    return part + (intent.amount % schedule.slices if left == 1 else 0)


def _on_slices(states: Sequence[Recorded], order: Order) -> Iterator[Objection]:
    """No more slices are signed than were asked for, whatever became of them."""
    schedule = order.intent.schedule
    if schedule is not None and _slices_over(states) >= schedule.slices:
        yield "I2", f"{order.id} has {schedule.slices} slices, and one more was signed"


def _on_due(states: Sequence[Recorded], order: Order) -> Iterator[Objection]:
    """The next slice is not due before its time."""
    schedule = order.intent.schedule
    if schedule is None or order.is_terminal:
        return
    over = _slices_over(states) + 1
    jitter_ms = schedule.interval_ms * schedule.jitter_pct // 100
    soonest = order.created_at + over * schedule.interval_ms - jitter_ms
    if order.due_at is None or order.due_at < min(soonest, order.deadline_at or soonest):
        yield "I6", f"slice {over + 1} of {order.id} is due at {order.due_at}, not before {soonest} was asked"


def _on_total(states: Sequence[Recorded]) -> Iterator[Objection]:
    """The order tells the sum of its fills, whatever has happened since, and is confirmed by nothing less than all."""
    order, fills = states[-1].order, fills_of(states)
    told = (order.filled_in, order.filled_out)
    if told != (sum(fill.amount_in for fill in fills), sum(fill.amount_out for fill in fills)):
        yield "I5", f"{order.id} tells {told}, it was filled by {fills}"
    if order.intent.schedule is None:
        return
    if order.filled_in > order.intent.amount:
        yield "I6", f"{order.id} was filled beyond its amount: {order.filled_in} of {order.intent.amount}"
    if (order.status is Status.CONFIRMED) != (order.filled_in == order.intent.amount):
        yield "I5", f"{order.id} is {order.status} with {order.filled_in} of {order.intent.amount} filled"


def _on_route(order: Order, part: int) -> Iterator[Objection]:
    """It keeps to the venues, the amount and the price impact that were asked for."""
    intent, route = order.intent, order.route
    assert route is not None
    cap = intent.max_price_impact_bps
    fixed = route.amount_in if intent.mode is Mode.EXACT_IN else route.amount_out
    foreign = any(intent.venues and leg.venue not in intent.venues for leg in route.legs)
    if foreign or not fixed == part == _fixed_end(intent, route):
        yield "I6", f"the route of {order.id} is not within what was asked: {route}"
    if route.amount_out < _demanded(intent, route.amount_in):
        yield "I6", f"the route of {order.id} is worse than its limit price {intent.limit}: {route}"
    if cap is not None and route.impact_bps > cap:
        yield "I6", f"the route of {order.id} moves the price by {route.impact_bps} bps, allowed are {cap}"


def _on_signature(known: Knowledge, before: Order, tx: SignedTx) -> Iterator[Objection]:
    """It is the only live one, and swaps what was asked, within the limit worked out anew from the route."""
    if len(known.alive(before.id)) > 1:
        yield "I2", f"{before.id} has more than one transaction that can land"
    if before.cancel_requested:
        yield "I8", f"signed although a cancel was noted: {before.id}"
    signed, route, intent = tx_of(tx.raw), before.route, before.swap
    assert route is not None
    if signed.order_id != before.id or len(signed.instructions) != len(route.legs) or tx.limit != limit_of(before):
        yield "I6", f"another transaction than the route's was signed for {before.id}"
    for wish, leg in zip(signed.instructions, route.legs, strict=False):
        amount = leg.amount_in if intent.mode is Mode.EXACT_IN else leg.amount_out
        asked = (leg.pool, leg.mint_in, leg.mint_out, intent.mode, amount)
        ends = _is_at_free_end(intent, leg)
        if (wish.pool, wish.mint_in, wish.mint_out, wish.mode, wish.amount) != asked or (
            ends and wish.limit != _leg_limit(intent, route, leg)
        ):
            yield "I6", f"signed {wish}, asked was {asked} (order {before.id})"


def _on_ties(known: Knowledge, before: Order) -> Iterator[Objection]:
    """No other order of its group is alive on the chain or filled, and what it waited for is there to be swapped."""
    link = before.intent.link
    if link is None:
        return
    for other in link.siblings:
        if known.alive(other) or known.filled(other):
            yield "OCO", f"{before.id} was signed beside {other} of its group"
    if link.parent is not None:
        fill = known.filled(link.parent)
        if fill is None:
            yield "OTO", f"{before.id} was signed before {link.parent} was filled"
        elif before.intent.mode is not Mode.EXACT_IN or before.intent.amount > fill.amount_out:
            yield "OTO", f"{before.id} swaps {before.intent.amount}, the fill of {link.parent} gave {fill.amount_out}"


def _on_release(known: Knowledge, before: Order, order: Order) -> Iterator[Objection]:
    """By the fill, with its amount, and with nothing else changed."""
    link = before.intent.link
    fill = None if link is None or link.parent is None else known.filled(link.parent)
    if fill is None or not before.is_waiting:
        yield "OTO", f"{before.id} was released without a fill of what it waited for"
    elif order.intent != msgspec.structs.replace(before.intent, amount=fill.amount_out):
        yield "OTO", f"{before.id} was released as {order.intent}, the fill is {fill}"


def _on_bound_cancel(known: Knowledge, before: Order, code: Code) -> Iterator[Objection]:
    """Where the engine cancels for what became of another order, that has become of it."""
    link = before.intent.link
    if code is Code.ORDER_SIBLING_FILLED and not any(known.filled(each) for each in (link.siblings if link else ())):
        yield "OCO", f"{before.id} was canceled for a fill that its group does not have"
    if code is Code.ORDER_PARENT_UNFILLED:
        parent = None if link is None or link.parent is None else known.state(link.parent)
        if parent is None or not parent.is_terminal or known.filled(parent.id):
            yield "OTO", f"{before.id} was canceled for {parent}"


def _on_haste(known: Knowledge, last: Recorded, order: Order) -> Iterator[Objection]:
    """Nothing is signed on a stale route or after the deadline, give or take the time that signing may take."""
    if order.worker is None or order.worker in known.disturbed:
        return
    signing_ms = known.policy.sign_timeout_s * 1_000 * _CLOCK_SLACK
    if isinstance(last.event, Routed):
        age_ms = order.updated_at - last.event.route.found_at
        if age_ms > known.policy.quote_ttl_ms + signing_ms:
            yield "I6", f"signed {order.id} on a route {age_ms} ms old"
    if order.deadline_at is not None and order.updated_at > order.deadline_at + signing_ms:
        yield "I6", f"signed {order.id} {order.updated_at - order.deadline_at} ms after its deadline"


def _on_failure(known: Knowledge, order: Order, event: Lapsed | Reverted) -> Iterator[Objection]:
    """A transaction is declared over only when it is: beyond its last height and without a trace, or undone."""
    tx, truth = known.signed[order.id][-1], known.chain.truth(event.signature)
    if isinstance(event, Reverted):
        if not isinstance(truth, Rejection):
            yield "I8", f"declared reverted, but it was not: {event.signature} of {order.id}"
    elif tx.signature != event.signature or truth is not None or known.chain.may_land(tx):
        yield "I8", f"declared lapsed, but it landed or can: {event.signature} of {order.id}"


def _on_fill(known: Knowledge, before: Order, fill: Fill, part: int) -> Iterator[Objection]:
    """What the chain swapped, and within the limit."""
    truth = known.chain.truth(fill.signature)
    if truth != fill:
        yield "I5", f"{before.id} tells {fill}, the chain {truth}"
    if not within(before, part, fill.amount_in, fill.amount_out, limit_of(before)):
        yield "I6", f"{fill} is not within the limit {limit_of(before)} of {before.id}"
    if fill.amount_out < _demanded(before.intent, fill.amount_in):
        yield "I6", f"{fill} is worse than the limit price {before.intent.limit} of {before.id}"


def _on_no_fill(known: Knowledge, order: Order, fills: Sequence[Fill]) -> Iterator[Objection]:
    """An order that ends otherwise has no transaction that landed, but those of its slices, or still can."""
    landed = {fill.signature for fill in fills}
    for tx in known.signed.get(order.id, []):
        if tx.signature in landed:
            continue
        if known.chain.may_land(tx) or isinstance(known.chain.truth(tx.signature), Fill):
            yield "I8", f"{order.id} is {order.status}, but {tx.signature} landed or still can"


def limit_of(order: Order) -> int:
    """The bound that this order's route and slippage allow: least out for exact in, most in for exact out."""
    route, intent = order.route, order.swap
    assert route is not None
    return sum(_leg_limit(intent, route, leg) for leg in route.legs if _is_at_free_end(intent, leg))


def _leg_limit(intent: Intent, route: Route, leg: Leg) -> int:
    """Of its slippage, or of its share of what the limit price demands of the whole."""
    if intent.mode is Mode.EXACT_IN:
        least = min_out(leg.amount_out, intent.slippage_bps)
        whole = _demanded(intent, route.amount_in)
        return max(least, ceil(Fraction(leg.amount_out * ceil(whole), route.amount_out)))
    most = max_in(leg.amount_in, intent.slippage_bps)
    if intent.limit is None:
        return most
    at_price = _fraction(intent.limit)
    whole = Fraction(route.amount_out) * (at_price if intent.side is Side.BUY else 1 / at_price)
    return min(most, floor(Fraction(leg.amount_in * floor(whole), route.amount_in)))


def _demanded(intent: Intent, amount_in: int) -> Fraction:
    """Of the output, by the limit price."""
    if intent.limit is None:
        return Fraction(0)
    at_price = _fraction(intent.limit)
    return amount_in * (at_price if intent.side is Side.SELL else 1 / at_price)


def _is_at_free_end(intent: Intent, leg: Leg) -> bool:
    """Whether the leg moves the amount that the order does not fix."""
    if intent.mode is Mode.EXACT_IN:
        return leg.mint_out == intent.token_out.mint
    return leg.mint_in == intent.token_in.mint


def _fixed_end(intent: Intent, route: Route) -> int:
    """What the legs at the other end add up to."""
    if intent.mode is Mode.EXACT_IN:
        return sum(leg.amount_in for leg in route.legs if leg.mint_in == intent.token_in.mint)
    return sum(leg.amount_out for leg in route.legs if leg.mint_out == intent.token_out.mint)


def within(order: Order, part: int, amount_in: int, amount_out: int, limit: int) -> bool:
    """`part`: the amount that this swap fixes."""
    if order.intent.mode is Mode.EXACT_IN:
        return amount_in == part and amount_out >= limit
    return amount_out == part and amount_in <= limit
