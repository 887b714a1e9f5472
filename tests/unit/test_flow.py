"""The optimum of a network is the optimum: no split tried beats its bound, and its own split reaches it."""

import random
from collections.abc import Sequence
from math import inf

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fillwright.pools import Segment
from fillwright.routing.flow import Curve, Flow, Hop, Line, Network

CLOSE = 1e-9


def product(rate: float, depth: float) -> Line:
    return (Segment(rate, depth, inf),)


def bins(*stretches: tuple[float, float]) -> Line:
    return tuple(Segment(rate, inf, capacity) for rate, capacity in stretches)


def gives(line: Line, amount: float) -> float:
    """What one pool gives: the definition, by walking."""
    output = 0.0
    for segment in line:
        x = min(amount, segment.capacity)
        output += segment.rate * x / (1 + x / segment.depth)
        amount -= x
    assert amount <= 1e-6, "more than the pool takes"
    return output


def spread(curve: Curve, amount: float) -> float:
    """What the curve's own split of the amount gives."""
    shares = curve.amounts(amount)
    assert sum(shares) == pytest.approx(amount, rel=CLOSE)
    both = zip(curve.lines, shares, strict=True)
    return sum(gives(line, min(share, sum(s.capacity for s in line))) for line, share in both)


def executed(network: Network, flow: Flow) -> float:
    output = spread(network.direct, flow.direct) if flow.direct > 0 else 0.0
    for hop, amount in zip(network.hops, flow.hops, strict=True):
        if amount > 0:
            output += spread(hop.second, min(spread(hop.first, amount), hop.second.capacity))
    return output


rates = st.floats(0.9, 1.1)
depths = st.floats(1e3, 1e12)


@st.composite
def lines(draw: st.DrawFn) -> Line:
    """Constant products, bins, and concentrated ranges; the price falls along each."""
    kind, rate = draw(st.integers(0, 2)), draw(rates)
    if kind == 0:
        return product(rate, draw(depths))
    segments: list[Segment] = []
    for _ in range(draw(st.integers(1, 6))):
        depth = inf if kind == 1 else draw(depths)
        capacity = draw(st.floats(10, 1e9)) if kind == 1 else depth * draw(st.floats(1e-4, 0.1))
        segments.append(Segment(rate, depth, capacity))
        rate = rate / (1 + capacity / depth) ** 2 * draw(st.sampled_from([1.0, 0.999, 0.9]))
    return tuple(segments)


many = st.lists(lines(), max_size=3)


@st.composite
def networks(draw: st.DrawFn) -> Network:
    hops = draw(st.lists(st.tuples(many, many), max_size=2))
    return Network(Curve(draw(many)), [Hop(Curve(first), Curve(second)) for first, second in hops])


@given(networks(), st.floats(10, 1e10))
@settings(max_examples=150)
def test_the_split_reaches_its_bound(network: Network, amount: float) -> None:
    flow = network.exact_in(amount)
    if flow is None:
        assert amount > network.whole.capacity
        return
    assert flow.direct + sum(flow.hops) == pytest.approx(amount, rel=CLOSE)
    assert flow.output == pytest.approx(flow.bound, rel=1e-6)  # an estimate, from sums that cancel
    assert executed(network, flow) == pytest.approx(flow.bound, rel=1e-8)
    assert executed(network, flow) <= flow.bound * (1 + 1e-12)


@given(networks(), st.floats(10, 1e10), st.data())
@settings(max_examples=150)
def test_no_other_split_beats_the_bound(network: Network, amount: float, data: st.DataObject) -> None:
    flow = network.exact_in(amount)
    if flow is None:
        return
    pools = [line for line in network.direct.lines if sum(s.capacity for s in line) >= amount]
    weights = [data.draw(st.integers(0, 5)) for _ in pools]
    if sum(weights):
        other = sum(gives(line, amount * weight / sum(weights)) for line, weight in zip(pools, weights, strict=True))
        assert other <= flow.bound
    for hop in network.hops:
        for first in hop.first.lines:
            if sum(s.capacity for s in first) >= amount:
                between = gives(first, amount)
                for second in hop.second.lines:
                    if sum(s.capacity for s in second) >= between:
                        assert gives(second, between) <= flow.bound


@given(networks(), st.floats(10, 1e10))
@settings(max_examples=150)
def test_exact_out_is_the_inverse_of_exact_in(network: Network, amount: float) -> None:
    flow = network.exact_in(amount)
    if flow is None or flow.output >= network.whole.yields * 0.999:
        return
    back = network.exact_out(flow.output)
    assert back is not None
    assert back.bound <= amount * (1 + CLOSE)
    assert back.input <= amount * (1 + 1e-6)
    assert back.input == pytest.approx(back.bound, rel=1e-6)


@given(networks(), st.floats(10, 1e10), st.floats(0.5, 2), st.floats(0.5, 2))
@settings(max_examples=100)
def test_the_bound_holds_at_any_prices(network: Network, amount: float, price: float, middle: float) -> None:
    """Weak duality: wrong prices only make it looser."""
    flow = network.exact_in(amount)
    if flow is None:
        return
    surplus = network.surplus(flow.price * price, [m * middle for m in flow.middles])
    assert amount * flow.price * price + surplus >= flow.output * (1 - 1e-12)


def test_brute_force_finds_nothing_better_on_a_small_network() -> None:
    """A grid over two direct pools and a way over an intermediate, on random networks."""
    draw = random.Random(1)
    for _ in range(40):
        a, b, c, d = (product(draw.uniform(0.97, 1.03), 10 ** draw.uniform(4, 6)) for _ in range(4))
        network = Network(Curve([a, b]), [Hop(Curve([c]), Curve([d]))])
        flow = network.exact_in(10_000.0)
        assert flow is not None
        steps, best = 60, 0.0
        for i in range(steps + 1):
            for j in range(steps + 1 - i):
                x, y = 10_000 * i / steps, 10_000 * j / steps
                best = max(best, gives(a, x) + gives(b, y) + gives(d, gives(c, 10_000 - x - y)))
        assert best <= flow.bound
        assert flow.output >= best
        assert flow.output == pytest.approx(best, rel=1e-3)


def test_a_bin_is_filled_in_part_at_its_price() -> None:
    network = Network(Curve([bins((1.0, 100), (0.9, 100)), bins((0.95, 50))]), [])
    flow = network.exact_in(180.0)
    assert flow is not None
    assert network.direct.amounts(180.0) == pytest.approx([130, 50])
    assert flow.output == pytest.approx(100 + 47.5 + 27)
    assert flow.bound == pytest.approx(flow.output, rel=1e-11)


def test_bins_of_one_price_are_used_one_after_the_other() -> None:
    """Fewer legs for the same output."""
    curve = Curve([bins((1.0, 100)), bins((1.0, 100))])
    assert sorted(curve.amounts(80.0)) == [0, 80]


@pytest.mark.parametrize("amount", [1.0, 99.0, 100.0, 101.0, 199.0, 200.0])
def test_a_kink_in_the_middle_of_a_hop_has_a_price_for_both_sides(amount: float) -> None:
    network = Network(Curve([]), [Hop(Curve([bins((2.0, 100), (1.0, 100))]), Curve([bins((1.0, 200), (0.5, 200))]))])
    flow = network.exact_in(amount)
    assert flow is not None
    assert flow.output == pytest.approx(min(amount, 100) * 2 + max(0, amount - 100) * 0.5)
    assert flow.bound == pytest.approx(flow.output, rel=1e-11)


def test_what_cannot_be_served_is_none() -> None:
    full = Network(Curve([bins((1.0, 100))]), [])
    assert full.exact_in(100.0) is not None
    assert full.exact_in(100.1) is None
    assert full.exact_out(100.1) is None
    assert full.exact_in(0.0) is None
    assert Network(Curve([]), []).exact_in(1.0) is None
    product_only = Network(Curve([product(2.0, 50.0)]), [])
    assert product_only.exact_out(100.1) is None
    assert product_only.exact_out(99.0) is not None


@pytest.mark.parametrize("sided", [([product(1.0, 1e6)], []), ([], [product(1.0, 1e6)]), ([], [])])
def test_a_hop_that_leads_nowhere_takes_nothing(sided: tuple[Sequence[Line], Sequence[Line]]) -> None:
    hop = Hop(Curve(sided[0]), Curve(sided[1]))
    network = Network(Curve([product(1.0, 1e6)]), [hop])
    flow = network.exact_in(1e5)
    assert flow is not None
    assert flow.hops == (0.0,)
    assert flow.bound == pytest.approx(flow.output, rel=1e-11)
    assert Network(Curve([]), [hop]).exact_in(1.0) is None


@pytest.mark.parametrize("amount", [1.0, 1e9, 1e18])
@pytest.mark.parametrize("depth", [1e3, 1e18])
def test_pools_of_extreme_sizes_side_by_side(amount: float, depth: float) -> None:
    network = Network(
        Curve([product(1.0, depth), product(1.0, 1e9)]),
        [Hop(Curve([product(1.0, 1e18)]), Curve([bins((1.001, 1e19)), product(0.99, 1e3)]))],
    )
    flow = network.exact_in(amount)
    assert flow is not None
    assert flow.output == pytest.approx(flow.bound, rel=1e-9)
    assert executed(network, flow) == pytest.approx(flow.bound, rel=1e-9)
