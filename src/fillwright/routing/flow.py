"""How much to send where: the optimal flow through parallel pools and over one intermediate token. Pure.

Decides: the split of an amount over the segments of many pools, and a bound that no split can beat. Must never:
decide an amount that is paid; it works in floats, and the exact quotes of `plan` have the last word.

The routing problem has a dual (Diamandis, Resnick, Chitra, Angeris: An Efficient Algorithm for Optimal Routing Through
Constant Function Market Makers, arXiv 2302.04938; Angeris et al.: Optimal Routing for CFMMs): given the price of each
token, every pool trades until its own marginal price meets them, and the optimum is where what arrives leaves. With
paths of at most two hops no search is needed for it, because segments (`pools.Segment`) are closed under what a network
does to them:

- Side by side: with w = 1 / sqrt(marginal price), a segment's input is linear in w. So is a sum of inputs: pools side
  by side are again one list of segments, with a new one wherever one of theirs begins or ends.
- In a row: a segment is a Möbius map of its input, and so is one after another.

A network therefore folds into one list of segments, in time n log n; the optimum is found in it by binary search, and
unfolds into the pools' shares. The bound comes from the prices there and the pools' own segments alone: by weak
duality it holds at any prices, so a mistake in folding would show as a gap, never as a false promise.
"""

from bisect import bisect_right
from collections.abc import Sequence
from itertools import accumulate
from math import fsum, inf, isinf, sqrt
from typing import Final, TypeAlias

import msgspec

from fillwright.pools import Segment

Line: TypeAlias = Sequence[Segment]
"""One pool in one direction: marginal prices fall along it."""
_SMOOTH: Final = -1
_NUDGE: Final = 1e-12
"""Times an amount: the distance at which a kink has two sides."""
_FLAT: Final = 1e-11
_ASIDE: Final = 1e-14
"""How far the bound's prices stand above the optimum's, so that a bin at its very price does not earn by rounding."""
_SLACK: Final = 1e-12
"""What float arithmetic may lose, relative to the output: given away, so that a bound stays one."""


class Curve:
    """Pools side by side in one direction, folded into one."""

    def __init__(self, lines: Sequence[Line]) -> None:
        self.lines = lines
        self.pieces, self._owners, self._starts = _fold(lines)
        """Each piece is all active segments together (`_SMOOTH`), or the bin of one line; `_starts` are their w."""
        self._inputs = list(accumulate((piece.capacity for piece in self.pieces), initial=0.0))
        self._outputs = list(accumulate((_gives(piece, piece.capacity) for piece in self.pieces), initial=0.0))

    @property
    def is_empty(self) -> bool:
        return not self.pieces

    @property
    def capacity(self) -> float:
        """The most input it takes."""
        return self._inputs[-1]

    @property
    def yields(self) -> float:
        """The most output it gives: reached at its capacity, or in the limit."""
        return self._outputs[-1]

    def output(self, amount: float) -> float:
        """The most output for this input, up to the capacity."""
        i, rest = self._place(amount)
        return self._outputs[i] + _gives(self.pieces[i], rest) if self.pieces else 0.0

    def input(self, amount: float) -> float:
        """The least input for this output, up to what it yields."""
        if amount <= 0 or not self.pieces:
            return 0.0
        i = min(bisect_right(self._outputs, amount), len(self.pieces)) - 1
        return self._inputs[i] + _takes(self.pieces[i], amount - self._outputs[i])

    def price(self, amount: float) -> float:
        """Output for one more atom of input; 0 at the capacity."""
        if amount >= self.capacity:
            return 0.0
        i, rest = self._place(amount)
        return _rest(self.pieces[i], rest).rate

    def sides(self, amount: float) -> tuple[float, float]:
        """The price just before and just after: they differ at a kink. Before the first atom any price is too low."""
        amount = min(amount, self.capacity)
        before = self.price(amount * (1.0 - _NUDGE)) if amount > 0 else inf
        return before, self.price(amount * (1.0 + _NUDGE))

    def profit(self, price: float) -> float:
        """Most of (output - price * input) over all inputs: the dual's term for these pools."""
        return fsum(_profit(segment, price) for line in self.lines for segment in line if segment.rate > price)

    def amounts(self, total: float) -> list[float]:
        """The best split of `total` input, by line."""
        shares = [0.0] * len(self.lines)
        if not self.pieces or total <= 0:
            return shares
        i, rest = self._place(total)
        for piece, owner in zip(self.pieces[:i], self._owners[:i], strict=True):
            if owner != _SMOOTH:
                shares[owner] += piece.capacity
        w, piece, owner = self._starts[i], self.pieces[i], self._owners[i]
        if owner != _SMOOTH:
            shares[owner] += rest
        onward = rest * (w / piece.depth) if owner == _SMOOTH else 0.0
        for line, segments in enumerate(self.lines):
            for segment in segments:
                start = 1.0 / sqrt(segment.rate)
                if start > w:
                    break
                if not _is_flat(segment):
                    x = segment.depth * (w / start - 1.0) + segment.depth * (onward / start)
                    shares[line] += min(segment.capacity, x)
        scale = total / fsum(shares)
        return [share * scale for share in shares]

    def outputs(self, inputs: Sequence[float]) -> list[float]:
        """What each line gives for its input."""
        return [_output(line, x) for line, x in zip(self.lines, inputs, strict=True)]

    def _place(self, amount: float) -> tuple[int, float]:
        """The piece that this input ends in, and how far into it."""
        last = len(self.pieces) - 1
        i = min(bisect_right(self._inputs, amount) - 1, last)
        if i < 0:
            return 0, 0.0
        return i, min(amount - self._inputs[i], self.pieces[i].capacity)


# --- folding ----------------------------------------------------------------------------------------------


def _fold(lines: Sequence[Line]) -> tuple[list[Segment], list[int], list[float]]:
    """Lines side by side as one: its pieces by falling price, whose each is, and the w where each begins.

    Going up in w, a segment adds its `depth * sqrt(rate)` to what flows in for one more w, until it is full.
    """
    pieces: list[Segment] = []
    owners: list[int] = []
    starts: list[float] = []

    def add(w: float, depth: float, capacity: float, owner: int) -> None:
        if depth > 0 and capacity > 0:
            pieces.append(Segment(1.0 / (w * w), depth, capacity))
            owners.append(owner)
            starts.append(w)

    steep, lost, active, at = 0.0, 0.0, 0, 0.0
    for w, change, capacity, line in sorted(_changes(lines)):
        if active and w > at:
            add(at, (steep + lost) * at, (steep + lost) * (w - at), _SMOOTH)
        at = w
        if change == 0:
            add(w, inf, capacity, line)
            continue
        active += 1 if change > 0 else -1
        total = steep + change  # two-sum: what a shallow pool adds must survive beside a deep one
        part = total - steep
        lost += (steep - (total - part)) + (change - part)
        steep = total
        if not active:
            steep = lost = 0.0
    if active:
        add(at, (steep + lost) * at, inf, _SMOOTH)
    return pieces, owners, starts


def _changes(lines: Sequence[Line]) -> list[tuple[float, float, float, int]]:
    changes: list[tuple[float, float, float, int]] = []
    for i, line in enumerate(lines):
        for segment in line:
            if not (segment.rate > 0 and segment.depth > 0 and segment.capacity > 0):
                continue
            root = sqrt(segment.rate)
            w = 1.0 / root
            if _is_flat(segment):
                changes.append((w, 0.0, segment.capacity, i))
                continue
            changes.append((w, segment.depth * root, 0.0, i))
            if not isinf(segment.capacity):
                changes.append((w * (1.0 + segment.capacity / segment.depth), -segment.depth * root, 0.0, i))
    return changes


def _is_flat(segment: Segment) -> bool:
    """Whether its price falls too little for floats to tell where in it a price is reached."""
    return segment.capacity <= _FLAT * segment.depth


def _in_a_row(first: Line, second: Line) -> list[Segment]:
    """One line whose input is the first's and whose output is the second's, fed by the first."""
    pieces: list[Segment] = []
    to_go, to_feed = list(reversed(first)), list(reversed(second))
    while to_go and to_feed:
        a, b = to_go.pop(), to_feed.pop()
        between = _gives(a, a.capacity)
        x = a.capacity if between <= b.capacity else _takes(a, b.capacity)
        bend = 1.0 / a.depth + a.rate / b.depth
        pieces.append(Segment(a.rate * b.rate, 1.0 / bend if bend > 0 else inf, x))
        if between < b.capacity:
            to_feed.append(_rest(b, between))
        elif between > b.capacity:
            to_go.append(_rest(a, x))
    return pieces


def _gives(segment: Segment, x: float) -> float:
    return segment.rate / (1.0 / x + 1.0 / segment.depth) if x > 0 else 0.0


def _output(line: Line, x: float) -> float:
    output = 0.0
    for segment in line:
        output += _gives(segment, min(x, segment.capacity))
        x -= segment.capacity
        if x <= 0:
            break
    return output


def _takes(segment: Segment, output: float) -> float:
    """The input that gives this output, at most all of it."""
    share = output / segment.rate / segment.depth
    return min(segment.capacity, output / segment.rate / (1.0 - share)) if share < 1 else segment.capacity


def _rest(segment: Segment, x: float) -> Segment:
    """What is left of the segment after an input of x."""
    stretch = 1.0 + x / segment.depth
    return Segment(segment.rate / (stretch * stretch), segment.depth + x, max(0.0, segment.capacity - x))


def _profit(segment: Segment, price: float) -> float:
    """max over x of out(x) - price * x; for an interior optimum depth * (sqrt(rate) - sqrt(price))**2."""
    if isinf(segment.depth):
        return (segment.rate - price) * segment.capacity
    root = sqrt(segment.rate) - sqrt(price)
    if segment.depth * root <= segment.capacity * sqrt(price):
        return segment.depth * root * root
    return segment.capacity * (segment.rate / (1.0 + segment.capacity / segment.depth) - price)


# --- the network ------------------------------------------------------------------------------------------


class Hop:
    """Two curves in a row: into an intermediate token, and out of it; `line` is what they are together."""

    def __init__(self, first: Curve, second: Curve) -> None:
        self.first, self.second = first, second
        self.line = _in_a_row(first.pieces, second.pieces)

    def middle(self, amount: float, price: float) -> float:
        """A price of the intermediate, in output, at which both sides are content with this input.

        The first wants price / middle within its own two sides, the second the middle itself.
        """
        first_before, first_after = self.first.sides(amount)
        second_before, second_after = self.second.sides(self.first.output(amount))
        least = max(second_after, price / first_before)
        most = min(second_before, price / first_after if first_after > 0 else inf)
        if isinf(most):
            return 2.0 * least if least > 0 else price
        if least > most:  # a kink so close that rounding stepped over it
            return min(least, most, key=lambda middle: self.surplus(price, middle))
        return sqrt(least * most) if least > 0 else 0.5 * most

    def surplus(self, price: float, middle: float) -> float:
        """What both sides would earn at these prices, in output."""
        return middle * self.first.profit(price / middle) + self.second.profit(middle)


class Flow(msgspec.Struct, frozen=True):
    """The optimum, in real numbers: the amounts, how much of the input each way gets, and the prices there.

    `price` is the output for one more atom of input, `middles` are the intermediates' prices in output. `bound` is the
    dual's value: most output for exact in, least input for exact out.
    """

    direct: float
    hops: tuple[float, ...]
    input: float
    output: float
    price: float
    middles: tuple[float, ...]
    bound: float


class Network:
    """Every way of at most two hops from one token to another."""

    def __init__(self, direct: Curve, hops: Sequence[Hop]) -> None:
        self.direct, self.hops = direct, hops
        self.whole = Curve([direct.pieces, *(hop.line for hop in hops)]) if hops else direct

    @property
    def is_empty(self) -> bool:
        return self.whole.is_empty

    def exact_in(self, amount: float) -> Flow | None:
        """The most output for `amount` of input; None where the pools cannot take it."""
        if not 0 < amount <= self.whole.capacity:
            return None
        flow = self._flow(amount)
        surplus = self.surplus(flow.price, flow.middles)
        return msgspec.structs.replace(flow, bound=(amount * flow.price + surplus) * (1.0 + _SLACK))

    def exact_out(self, amount: float) -> Flow | None:
        """The least input for `amount` of output; None where the pools cannot give it."""
        if not 0 < amount < self.whole.yields:
            return None
        flow = self._flow(self.whole.input(amount))
        if flow.price <= 0:
            return None
        surplus = self.surplus(flow.price, flow.middles)
        return msgspec.structs.replace(flow, bound=max(0.0, (amount * (1.0 - _SLACK) - surplus) / flow.price))

    def surplus(self, price: float, middles: Sequence[float]) -> float:
        """What the pools would earn at these prices, each for itself. A pool that starts below them earns nothing."""
        ways = zip(self.hops, middles, strict=True)
        return fsum([self.direct.profit(price), *(hop.surplus(price, middle) for hop, middle in ways)])

    def _flow(self, amount: float) -> Flow:
        direct, *hops = self.whole.amounts(amount) if self.hops else [amount]
        price = self.whole.price(amount) or self.whole.price(amount * (1.0 - _NUDGE))
        return Flow(
            direct=direct,
            hops=tuple(hops),
            input=amount,
            output=self.whole.output(amount),
            price=price * (1.0 + 2.0 * _ASIDE),
            middles=tuple(hop.middle(x, price) * (1.0 + _ASIDE) for hop, x in zip(self.hops, hops, strict=True)),
            bound=0.0,
        )
