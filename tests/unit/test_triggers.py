"""Resting orders: when a condition is met, and an index that finds the same orders as asking every one."""

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fillwright.order import (
    Amended,
    Armed,
    Mode,
    Order,
    OrderType,
    Side,
    Slipped,
    Started,
    Trailed,
    Triggered,
    transition,
)
from fillwright.routing import Prices
from fillwright.routing.flow import Curve, Network
from fillwright.triggers import Index, Wanted, is_concerned, meaning, probe, swap_of, trailing_trigger, watch_of
from fillwright.units import ATOMS_MAX, Atoms, Bps, Millis, Price
from tests.conformance.samples import NOW, SOL, USDC, accepted, intent_of, walked
from tests.unit.test_flow import networks, product

AT = Millis(NOW + 5)


def usdc(price: str) -> Price:
    """USDC for a SOL."""
    whole, _, part = price.partition(".")
    return Price.of(int(whole + part.ljust(6, "0")), 10**9)


def market(price: str, *, depth: float = 1e15, mode: Mode = Mode.EXACT_IN, buys: bool = False) -> Prices:
    """One pool without a fee, whose price is this one for small amounts."""
    told = usdc(price)
    rate = told.base / told.quote if buys else told.quote / told.base
    return Prices(Network(Curve([product(rate, depth)]), []), mode)


def resting(order_id: str = "o-1", **intent: Any) -> Order:
    return walked(accepted(order_id, **intent), [Armed])[-1].order


def after(order: Order, event: Any) -> Order:
    return transition(order, event, AT)


SELL: dict[str, Any] = {}
BUY: dict[str, Any] = {"side": Side.BUY, "token_in": USDC, "token_out": SOL, "amount": Atoms(100_000_000)}

# --- each type, on both sides -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("side", "kind", "waits_at", "meets"),
    [
        (SELL, OrderType.LIMIT, "99", "101"),
        (SELL, OrderType.TAKE_PROFIT, "99", "101"),
        (SELL, OrderType.STOP, "101", "99"),
        (BUY, OrderType.LIMIT, "101", "99"),
        (BUY, OrderType.TAKE_PROFIT, "101", "99"),
        (BUY, OrderType.STOP, "99", "101"),
    ],
)
def test_a_condition_at_100_is_met_on_its_side_alone(
    side: dict[str, Any], kind: OrderType, waits_at: str, meets: str
) -> None:
    told: dict[str, Any] = {"limit": usdc("100")} if kind is OrderType.LIMIT else {"trigger": usdc("100")}
    order = resting(type=kind, **told, **side)
    buys = bool(side)
    assert meaning(order, market(waits_at, buys=buys)) is None
    met = meaning(order, market(meets, buys=buys))
    if kind is OrderType.STOP:
        assert isinstance(met, Triggered)
    else:
        assert met == Wanted(usdc("100"))


def test_the_order_s_own_size_is_what_is_judged() -> None:
    """1.5 SOL move this pool by far more than one percent."""
    order = resting(type=OrderType.LIMIT, limit=usdc("100"))
    small = resting(type=OrderType.LIMIT, limit=usdc("100"), amount=Atoms(1_000))
    shallow = market("101", depth=2e10)
    assert meaning(order, shallow) is None
    assert meaning(small, shallow) == Wanted(usdc("100"))
    stop = resting(type=OrderType.STOP, trigger=usdc("100"))
    assert isinstance(meaning(stop, shallow), Triggered)


def test_exact_out_is_judged_by_what_it_takes() -> None:
    order = resting(type=OrderType.LIMIT, limit=usdc("100"), **BUY | {"amount": Atoms(10**9), "mode": Mode.EXACT_OUT})
    assert meaning(order, market("101", mode=Mode.EXACT_OUT, buys=True)) is None
    assert meaning(order, market("99", mode=Mode.EXACT_OUT, buys=True)) == Wanted(usdc("100"))
    deep_as_a_puddle = market("99", mode=Mode.EXACT_OUT, buys=True, depth=5e9)
    assert meaning(order, deep_as_a_puddle) is None


def test_what_the_pools_cannot_serve_meets_nothing() -> None:
    for kind in (OrderType.STOP, OrderType.TAKE_PROFIT):
        order = resting(type=kind, trigger=usdc("100"))
        assert meaning(order, Prices(Network(Curve([]), []), Mode.EXACT_IN)) is None


def test_a_triggered_stop_with_a_limit_waits_for_that() -> None:
    order = resting(type=OrderType.STOP, trigger=usdc("100"), limit=usdc("98"))
    triggered = after(order, meaning(order, market("97")))
    assert triggered.status == "pending"
    slipped = after(after(triggered, Started(worker="w-1")), Slipped())
    assert meaning(slipped, market("97")) is None
    assert meaning(slipped, market("99")) == Wanted(usdc("98"))


@pytest.mark.parametrize(
    "told",
    [{"type": OrderType.STOP, "trigger": usdc("100")}, {"type": OrderType.TRAILING_STOP, "trail_bps": Bps(1_000)}],
)
def test_a_triggered_order_whose_limit_is_taken_away_has_nothing_left_to_wait_for(told: dict[str, Any]) -> None:
    triggered = after(resting(limit=usdc("98"), **told), Triggered(price=usdc("97")))
    slipped = after(after(triggered, Started(worker="w-1")), Slipped())
    assert meaning(slipped, market("97")) is None
    freed = after(slipped, Amended(intent=msgspec.structs.replace(slipped.intent, limit=None)))
    assert is_concerned(watch_of(freed), market("97"), whole=True)
    assert isinstance(meaning(freed, market("97")), Triggered)


# --- a trailing stop ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("side", "prices", "best", "trigger", "holds", "fires"),
    [
        (SELL, ("100", "104", "110"), "110", "99", "99.1", "98.9"),
        (BUY, ("100", "96", "90"), "90", "99", "98.9", "99.1"),
    ],
)
def test_a_trailing_stop_follows_the_best_price_and_no_other(
    side: dict[str, Any], prices: tuple[str, ...], best: str, trigger: str, holds: str, fires: str
) -> None:
    order = resting(type=OrderType.TRAILING_STOP, trail_bps=Bps(1_000), **side)
    for price in prices:
        event = meaning(order, market(price, buys=bool(side)))
        assert isinstance(event, Trailed)
        order = after(order, event)
    assert order.standing is not None
    assert order.standing.best is not None
    assert shown(order.standing.best) == pytest.approx(float(best), rel=1e-4)
    assert shown(trailing_trigger(order.intent, order.standing.best)) == pytest.approx(float(trigger), rel=1e-4)
    assert meaning(order, market(holds, buys=bool(side))) is None
    coarse = msgspec.structs.replace(order, intent=msgspec.structs.replace(order.intent, amount=Atoms(10)))
    better = market("111" if not side else "89.5", buys=bool(side))
    assert isinstance(meaning(order, better), Trailed)
    assert meaning(coarse, better) is None, "in whole atoms it is no better: the best price never becomes worse"
    assert isinstance(meaning(order, market(fires, buys=bool(side))), Triggered)


def shown(price: Price) -> float:
    return price.quote / price.base * 10.0 ** (SOL.decimals - USDC.decimals)


def test_a_trailing_stop_follows_in_steps() -> None:
    """A twentieth of ten percent: what is less is not worth an event."""
    order = resting(type=OrderType.TRAILING_STOP, trail_bps=Bps(1_000))
    order = after(order, meaning(order, market("100")))
    assert meaning(order, market("100.49")) is None
    assert isinstance(meaning(order, market("100.51")), Trailed)


# --- the index ----------------------------------------------------------------------------------------------

_PRICE = st.integers(1, 10**9).flatmap(lambda quote: st.integers(1, 10**9).map(lambda base: Price.of(quote, base)))


@st.composite
def orders(draw: st.DrawFn) -> list[Order]:
    """Of one swap and all types, with prices about those of the networks."""
    found = []
    for n in range(draw(st.integers(1, 30))):
        kinds = [kind for kind in OrderType if kind not in (OrderType.MARKET, OrderType.SNIPER)]
        kind = draw(st.sampled_from(kinds))
        order = resting(
            f"o-{n}",
            type=kind,
            amount=Atoms(draw(st.integers(1, 2**40) | st.integers(1, ATOMS_MAX))),
            limit=draw(_PRICE),
            trigger=draw(_PRICE),
            trail_bps=Bps(draw(st.integers(1, 5_000))),
        )
        if kind is OrderType.TRAILING_STOP and draw(st.booleans()):
            order = after(order, Trailed(best=draw(_PRICE)))
        found.append(order)
    return found


@given(orders(), st.lists(networks(), min_size=1, max_size=4), st.booleans(), st.data())
def test_the_index_finds_exactly_what_asking_every_order_finds(
    book: list[Order], ticks: list[Network], whole: bool, data: st.DataObject
) -> None:
    index = Index()
    for order in book:
        index.put(order)
    swap = swap_of(intent_of())
    for network in ticks:
        prices = Prices(network, Mode.EXACT_IN)
        concerned = index.shelves[swap].concerned(prices, whole=whole) if swap in index.shelves else []
        asked_each = {order.id for order in book if is_concerned(watch_of(order), prices, whole=whole)}
        assert {watch.order_id for watch in concerned} == asked_each
        assert len(concerned) == len(asked_each)
        gone = data.draw(st.sampled_from(book)) if book else None
        if gone is not None:
            index.remove(gone.id)
            book = [order for order in book if order.id != gone.id]
        assert len(index) == len(book)


@given(networks(), st.floats(1, 1e6), st.floats(1, 1e6), st.sampled_from(Mode))
def test_a_price_never_gets_better_with_the_size(network: Network, size: float, more: float, mode: Mode) -> None:
    """What the index's short cuts rest on."""
    prices = Prices(network, mode)
    small, large = prices.at(size), prices.at(size + more)
    if small is None:
        assert large is None
    elif large is not None:
        assert large <= small * (1 + 1e-6)
        assert small <= prices.best * (1 + 1e-6)


def test_an_order_known_in_a_later_state_is_not_put_back() -> None:
    order = resting(type=OrderType.TRAILING_STOP, trail_bps=Bps(1_000))
    later = after(order, Trailed(best=usdc("100")))
    index = Index()
    for each in (later, order, later):
        index.put(each)
    assert len(index) == 1
    (watch,) = index.shelves[swap_of(order.intent)].concerned(market("50"), whole=True)
    assert watch.seq == later.seq
    index.remove(order.id)
    assert not index.shelves


def test_a_missing_venue_is_no_fall() -> None:
    """Half of the pools are silent: what is left is worse, and a stop must not take that for the market."""
    index = Index()
    order = resting(type=OrderType.STOP, trigger=usdc("100"))
    index.put(order)
    shelf = index.shelves[swap_of(order.intent)]
    assert shelf.concerned(market("99"), whole=False) == []
    assert len(shelf.concerned(market("99"), whole=True)) == 1


def test_a_probe_is_as_large_as_the_largest_order_may_be() -> None:
    index = Index()
    order = resting(type=OrderType.STOP, trigger=usdc("100"))
    index.put(order)
    swap = swap_of(order.intent)
    asked = probe(swap, index.shelves[swap].largest)
    assert order.intent.amount <= asked.amount <= 2 * order.intent.amount
    assert swap_of(asked) == swap
