"""Resting orders: what each waits for, and which of them a market concerns. Pure.

Decides: when an order's condition is met, and how to find those orders among very many without asking each. Must
never: pass over one whose condition is met.

All conditions are told as a rate: atoms out per atoms in, at the order's own size and after all fees. A higher rate is
better for the order, whichever side it is on. A rate never rises with the size, so orders of similar size stand
together, and what the smallest (or largest) of them would get rules out most of them at once.
"""

from bisect import bisect_left, insort
from collections.abc import Iterator
from math import ceil, exp2, floor, log2
from operator import attrgetter
from typing import Final

import msgspec

from fillwright.order import Intent, Mode, Order, OrderType, Side, Status, Trailed, Triggered
from fillwright.routing import Prices
from fillwright.units import ATOMS_MAX, BPS_ONE, Atoms, Bps, Mint, OrderId, Price, Token

_STEPS_PER_TRAIL: Final = 20
"""A trailing stop follows the market in steps of a twentieth of its trail, each of them stored."""
_SLACK: Final = 1e-6
"""More than float arithmetic may lose: what is better by less is looked at exactly."""


class Swap(msgspec.Struct, frozen=True):
    """What orders must have in common to be judged by the same prices."""

    mint_in: Mint
    mint_out: Mint
    mode: Mode
    venues: tuple[str, ...] | None
    max_hops: int | None


class Watch(msgspec.Struct, frozen=True, gc=False):
    """An order as the index keeps it. It is concerned by a rate of at least `rises_to`, or at most `falls_to`."""

    order_id: OrderId
    account: str
    seq: int
    size: float
    rises_to: float | None
    falls_to: float | None


# --- one order --------------------------------------------------------------------------------------------


def swap_of(intent: Intent) -> Swap:
    return Swap(intent.token_in.mint, intent.token_out.mint, intent.mode, intent.venues, intent.max_hops)


def watch_of(order: Order) -> Watch:
    """What to look out for, for an open order."""
    assert order.status is Status.OPEN
    rises_to, falls_to = _bounds(order)
    return Watch(order.id, order.account, order.seq, float(order.intent.amount), rises_to, falls_to)


def _bounds(order: Order) -> tuple[float | None, float | None]:
    intent, found = order.intent, awaited(order)
    if found is None:
        return 0.0, None
    rate = _rate(intent, found.price)
    return (rate, None) if found.better else (_next_step(order), rate)


class Awaited(msgspec.Struct, frozen=True):
    """An order waits for this price or a better one, or for this price or a worse one."""

    price: Price
    better: bool


def awaited(order: Order) -> Awaited | None:
    """What an open order waits for; None where any price will do. Of one with a schedule: what its slices keep to."""
    intent, standing = order.intent, order.standing
    triggered = standing is not None and standing.triggered
    if triggered or intent.type is OrderType.LIMIT or intent.schedule is not None:
        return None if intent.limit is None else Awaited(intent.limit, better=True)
    if intent.type is OrderType.TRAILING_STOP:
        best = standing.best if standing is not None else None
        return None if best is None else Awaited(trailing_trigger(intent, best), better=False)
    return None if intent.trigger is None else Awaited(intent.trigger, better=intent.type is OrderType.TAKE_PROFIT)


def _follows(order: Order) -> bool:
    """Whether better prices move what it waits for."""
    standing = order.standing
    return order.intent.type is OrderType.TRAILING_STOP and not (standing is not None and standing.triggered)


def _next_step(order: Order) -> float | None:
    """The rate at which a trailing stop follows; None for what does not."""
    intent, standing = order.intent, order.standing
    if not _follows(order) or standing is None or standing.best is None:
        return None
    return _rate(intent, standing.best) * (1.0 + (intent.trail_bps or 0) / BPS_ONE / _STEPS_PER_TRAIL)


def trailing_trigger(intent: Intent, best: Price) -> Price:
    """The price that the trail leads to from the best one: below it for a sell, above it for a buy."""
    trail = intent.trail_bps or 0
    share = BPS_ONE - trail if intent.side is Side.SELL else BPS_ONE + trail
    return Price.of(best.quote * share, best.base * BPS_ONE)


def _rate(intent: Intent, price: Price) -> float:
    numerator, denominator = intent.rate(price)
    return numerator / denominator


class Wanted(msgspec.Struct, frozen=True):
    """The order is triggered if a route at this price, or a better one, is there to be had."""

    price: Price


def meaning(order: Order, prices: Prices) -> Triggered | Trailed | Wanted | None:
    """What a market means for an open order that it may concern; None where it does not after all.

    For worse, the optimum's price will do, since a route is no better. For better, a route must be found.
    """
    watch = watch_of(order)
    rate = prices.at(watch.size)
    if rate is None:
        return None
    if watch.falls_to is not None and rate <= watch.falls_to:
        return Triggered(price=_price(order.intent, rate))
    if watch.rises_to is None or rate * (1.0 + _SLACK) < watch.rises_to:
        return None
    found = awaited(order)
    if found is not None and found.better:
        return Wanted(found.price)
    return _followed(order, rate) if _follows(order) else Triggered(price=_price(order.intent, rate))


def _followed(order: Order, rate: float) -> Trailed | None:
    """Up to a better price only: in the whole atoms of a small order it may be no better, or worse, after rounding."""
    best = _price(order.intent, rate)
    known = order.standing.best if order.standing is not None else None
    if known is None:
        return Trailed(best=best)
    (numerator, denominator), before = order.intent.rate(best), order.intent.rate(known)
    return Trailed(best=best) if numerator * before[1] > before[0] * denominator else None


def _price(intent: Intent, rate: float) -> Price:
    """The price of the whole order at this rate, rounded against the taker."""
    if intent.mode is Mode.EXACT_IN:
        return intent.price(intent.amount, max(1, floor(intent.amount * rate)))
    return intent.price(max(1, ceil(intent.amount / rate)), intent.amount)


def probe(swap: Swap, size: float) -> Intent:
    """An intent of this swap and size, to ask for prices."""
    return Intent(
        side=Side.SELL,
        token_in=Token("", swap.mint_in, 0),
        token_out=Token("", swap.mint_out, 0),
        amount=min(Atoms(ceil(size)), ATOMS_MAX),
        mode=swap.mode,
        slippage_bps=Bps(0),
        venues=swap.venues,
        max_hops=swap.max_hops,
    )


def is_concerned(watch: Watch, prices: Prices, *, whole: bool) -> bool:
    """Whether this market may concern the order: the definition, which the index only applies faster.

    `whole`: all venues are in the prices. Where one is missing nothing is taken to have become worse.
    """
    rate = prices.at(watch.size)
    if rate is None:
        return False
    if watch.rises_to is not None and rate * (1.0 + _SLACK) >= watch.rises_to:
        return True
    return whole and watch.falls_to is not None and rate <= watch.falls_to


# --- very many --------------------------------------------------------------------------------------------

_rises_to: Final = attrgetter("rises_to", "order_id")


def _falls_to(watch: Watch) -> tuple[float, OrderId]:
    assert watch.falls_to is not None
    return -watch.falls_to, watch.order_id


class _Bucket:
    """Orders of similar size: those that wait for a rise, nearest first, and those that wait for a fall."""

    __slots__ = ("falls", "rises")

    def __init__(self) -> None:
        self.rises: list[Watch] = []
        self.falls: list[Watch] = []

    def add(self, watch: Watch) -> None:
        if watch.rises_to is not None:
            insort(self.rises, watch, key=_rises_to)
        if watch.falls_to is not None:
            insort(self.falls, watch, key=_falls_to)

    def remove(self, watch: Watch) -> None:
        if watch.rises_to is not None:
            del self.rises[bisect_left(self.rises, _rises_to(watch), key=_rises_to)]
        if watch.falls_to is not None:
            del self.falls[bisect_left(self.falls, _falls_to(watch), key=_falls_to)]


class Shelf:
    """The resting orders of one swap, by size."""

    def __init__(self) -> None:
        self._buckets: dict[int, _Bucket] = {}

    @property
    def largest(self) -> float:
        """No order is larger."""
        return _top(max(self._buckets))

    @property
    def is_empty(self) -> bool:
        return not self._buckets

    def add(self, watch: Watch) -> None:
        self._buckets.setdefault(_bucket(watch.size), _Bucket()).add(watch)

    def remove(self, watch: Watch) -> None:
        number = _bucket(watch.size)
        bucket = self._buckets[number]
        bucket.remove(watch)
        if not bucket.rises and not bucket.falls:
            del self._buckets[number]

    def concerned(self, prices: Prices, *, whole: bool) -> list[Watch]:
        """The orders for which `is_concerned` holds."""
        found: dict[OrderId, Watch] = {}
        best = prices.best * (1.0 + _SLACK)
        for number, bucket in self._buckets.items():
            rises, falls = bucket.rises, bucket.falls
            if rises and rises[0].rises_to <= best:  # type: ignore[operator]
                for watch in _rising(rises, prices, number):
                    found[watch.order_id] = watch
            if whole and falls:
                for watch in _falling(falls, prices, number):
                    found[watch.order_id] = watch
        return list(found.values())


def _rising(rises: list[Watch], prices: Prices, number: int) -> Iterator[Watch]:
    most = prices.at(_bottom(number))
    if most is None:
        return
    most *= 1.0 + _SLACK
    for watch in rises:
        assert watch.rises_to is not None
        if watch.rises_to > most:
            return
        rate = prices.at(watch.size)
        if rate is not None and rate * (1.0 + _SLACK) >= watch.rises_to:
            yield watch


def _falling(falls: list[Watch], prices: Prices, number: int) -> Iterator[Watch]:
    least = (prices.at(_top(number)) or 0.0) * (1.0 - _SLACK)
    for watch in falls:
        assert watch.falls_to is not None
        if watch.falls_to < least:
            return
        rate = prices.at(watch.size)
        if rate is not None and rate <= watch.falls_to:
            yield watch


def _bucket(size: float) -> int:
    """One an octave: the power of two at or below."""
    return int(log2(size))


def _bottom(number: int) -> float:
    return max(1.0, exp2(number) * (1.0 - _SLACK))


def _top(number: int) -> float:
    return exp2(number + 1) * (1.0 + _SLACK)


class Index:
    """All open orders that this process knows of."""

    def __init__(self) -> None:
        self.shelves: dict[Swap, Shelf] = {}
        self._watches: dict[OrderId, tuple[Swap, Watch]] = {}

    def __len__(self) -> int:
        return len(self._watches)

    def put(self, order: Order) -> None:
        """Watch for this open order, in place of what it was before. One known in a later state stays as it is."""
        known = self._watches.get(order.id)
        if known is not None:
            if known[1].seq >= order.seq:
                return
            self.remove(order.id)
        swap, watch = swap_of(order.intent), watch_of(order)
        self._watches[order.id] = swap, watch
        self.shelves.setdefault(swap, Shelf()).add(watch)

    def remove(self, order_id: OrderId) -> None:
        known = self._watches.pop(order_id, None)
        if known is None:
            return
        swap, watch = known
        shelf = self.shelves[swap]
        shelf.remove(watch)
        if shelf.is_empty:
            del self.shelves[swap]
