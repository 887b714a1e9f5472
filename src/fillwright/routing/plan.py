"""From the optimal flow to a route that can be executed: exact amounts, few legs, and a certificate. Pure.

Decides: which legs are worth their cost, and how far the route is from the best that any split could do. Must never:
trust a float for an amount: every leg is quoted by its pool's own integers, and the total is their sum.
"""

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from math import floor
from typing import Final, TypeAlias

import msgspec

from fillwright.errors import FillwrightError
from fillwright.order import Intent, Leg, Mode
from fillwright.pools import Segment
from fillwright.routing.book import Candidate
from fillwright.routing.flow import Curve, Flow, Hop, Network
from fillwright.units import Atoms, Mint

_REFUSALS_MAX: Final = 64
_SELECTIONS_MAX: Final = 64
_SPARE: Final = 2
"""Legs beyond the limit among which the ones to keep are chosen by trying."""
_TRIES_MAX: Final = 8
"""Legs, the smallest ones, that are tried for being dropped before the rest is taken to pay."""
_EASES: Final = (1.0 - 1e-7, 1.0 - 1e-4)
"""Times a share that was refused: segments may promise a little more than a pool that is used up can give."""


class Paths(msgspec.Struct, frozen=True, dict=True):
    """Candidates by their place: straight from in to out, or over an intermediate.

    The network of the same candidates is folded once, and so is that of each selection of them: orders that find the
    same pools share the work.
    """

    direct: tuple[Candidate, ...]
    hops: tuple[tuple[tuple[Candidate, ...], tuple[Candidate, ...]], ...] = ()

    @cached_property
    def network(self) -> Network:
        return Network(_curve(self.direct), [Hop(_curve(first), _curve(second)) for first, second in self.hops])

    def __iter__(self) -> Iterator[Candidate]:
        yield from self.direct
        for first, second in self.hops:
            yield from first
            yield from second

    def only(self, kept: Iterable[Candidate]) -> "Paths":
        """Of these candidates; each may come with another curve than it had. Hops that lead nowhere go."""
        by_key = {candidate.key: candidate for candidate in kept}
        chosen = frozenset(id(candidate) for candidate in by_key.values())
        known = self._selections.get(chosen)
        if known is None:
            if len(self._selections) >= _SELECTIONS_MAX:
                self._selections.clear()
            known = self._selections[chosen] = (tuple(by_key.values()), self._selected(by_key))
        return known[1]

    @cached_property
    def _selections(self) -> dict[frozenset[int], tuple[tuple[Candidate, ...], "Paths"]]:
        """By the identities of what was chosen, which is held, so that an identity in use is not given anew."""
        return {}

    def _selected(self, by_key: Mapping[tuple[str, str, Mint], Candidate]) -> "Paths":
        def of(candidates: Sequence[Candidate]) -> tuple[Candidate, ...]:
            return tuple(by_key[candidate.key] for candidate in candidates if candidate.key in by_key)

        hops = ((of(first), of(second)) for first, second in self.hops)
        return Paths(of(self.direct), tuple((first, second) for first, second in hops if first and second))

    def but(self, candidate: Candidate, instead: Collection[Candidate] = ()) -> "Paths":
        return self.only([*(each for each in self if each is not candidate), *instead])


class Plan(msgspec.Struct, frozen=True):
    """Legs in an order in which they can be executed, their pools, and their exact totals."""

    legs: tuple[Leg, ...]
    candidates: tuple[Candidate, ...]
    amount_in: int
    amount_out: int
    sizes: tuple[float, ...]
    """What each leg carries, in output."""

    def smallest(self, count: int) -> list[Candidate]:
        order = sorted(range(len(self.sizes)), key=self.sizes.__getitem__)
        return [self.candidates[i] for i in order[:count]]

    def worth(self, mode: Mode, leg_cost: float) -> float:
        """What the route brings after the cost of its legs, in atoms of the amount that is not fixed."""
        value = self.amount_out if mode is Mode.EXACT_IN else -self.amount_in
        return value - leg_cost * len(self.legs)


class Solution(msgspec.Struct, frozen=True):
    """The optimum over some paths."""

    paths: Paths
    network: Network
    flow: Flow


def solved(intent: Intent, paths: Paths) -> Solution | None:
    """None where the pools cannot serve the amount."""
    network, amount = paths.network, float(intent.amount)
    flow = network.exact_in(amount) if intent.mode is Mode.EXACT_IN else network.exact_out(amount)
    return None if flow is None else Solution(paths, network, flow)


def best_plan(intent: Intent, optimum: Solution, *, legs_max: int, leg_cost: float) -> Plan | None:
    """The best split of at most `legs_max` legs after costs; None where the pools cannot serve the amount so.

    `leg_cost` is in atoms of the amount that is not fixed.
    """
    paths = _narrowed(intent, optimum, legs_max + _SPARE)
    plan = realized(intent, paths)
    while plan is not None:
        paths = paths.only(plan.candidates)
        fewer = [realized(intent, paths.but(candidate)) for candidate in plan.smallest(_TRIES_MAX)]
        best = max(
            (each for each in fewer if each is not None and len(each.legs) < len(plan.legs)),
            key=lambda each: each.worth(intent.mode, leg_cost),
            default=None,
        )
        fits = len(plan.legs) <= legs_max
        if fits and (best is None or best.worth(intent.mode, leg_cost) < plan.worth(intent.mode, leg_cost)):
            return plan
        plan = best
    return None


def realized(intent: Intent, paths: Paths) -> Plan | None:
    """The optimal flow in exact amounts.

    A pool that refuses its share is offered a little less, then less; one that refuses again is left out.
    """
    eased: Counter[tuple[str, str, Mint]] = Counter()
    for _ in range(_REFUSALS_MAX):
        solution = solved(intent, paths)
        if solution is None:
            return None
        steps_of = _forwards if intent.mode is Mode.EXACT_IN else _backwards
        try:
            steps = steps_of(intent.amount, solution)
            return _plan(steps, intent.token_in.mint, intent.token_out.mint, solution.flow.price)
        except _Refused as refused:
            candidate = refused.candidate
            ease = _EASES[eased[candidate.key]] if eased[candidate.key] < len(_EASES) else 0.0
            shorter = _shorter(candidate, refused.amount_in * ease)
            eased[candidate.key] += 1
            paths = paths.but(candidate, [shorter] if shorter is not None else ())
    return None


def _narrowed(intent: Intent, optimum: Solution, count: int) -> Paths:
    """About `count` candidates: the largest of the optimal flow, and of each way the largest of either side."""
    solution = optimum
    while True:
        groups = _sizes(solution)
        used = sorted((pair for group in groups for pair in group), key=lambda pair: -pair[0])
        paths = solution.paths.only(candidate for _, candidate in used)
        if len(used) <= count:
            return paths
        largest = [max(group, key=lambda pair: pair[0])[1] for group in groups if group]
        kept = [candidate for _, candidate in used[: max(count, len(used) // 4)]] + largest
        fewer = solved(intent, paths.only(kept))
        if fewer is None or sum(1 for _ in fewer.paths) == len(used):
            return paths
        solution = fewer


def _sizes(solution: Solution) -> list[list[tuple[float, Candidate]]]:
    """What each candidate carries, in output, by the stretch it is on; idle ones are left out."""

    def sized(
        candidates: Sequence[Candidate], curve: Curve, amount: float, price: float
    ) -> list[tuple[float, Candidate]]:
        shares = zip(curve.amounts(amount), candidates, strict=True)
        return [(share * price, candidate) for share, candidate in shares if share > 0]

    paths, network, flow = solution.paths, solution.network, solution.flow
    groups = [sized(paths.direct, network.direct, flow.direct, flow.price)]
    for (first, second), hop, x, middle in zip(paths.hops, network.hops, flow.hops, flow.middles, strict=True):
        groups.append(sized(first, hop.first, x, flow.price))
        groups.append(sized(second, hop.second, hop.first.output(x), middle))
    return groups


# --- exact amounts ----------------------------------------------------------------------------------------


class _Refused(Exception):
    """A pool does not take the share that the flow gave it."""

    def __init__(self, candidate: Candidate, amount_in: float) -> None:
        super().__init__(candidate.key)
        self.candidate, self.amount_in = candidate, amount_in


_Step: TypeAlias = tuple[Candidate, int, int]
"""What a pool takes and what it gives, to the unit."""


def _forwards(amount: int, solution: Solution) -> list[_Step]:
    """Exact in: what each way gets is settled first, and what its first pools give is what its second ones get."""
    paths, network, flow = solution.paths, solution.network, solution.flow
    direct, *ways = _whole([flow.direct, *flow.hops], amount)
    steps = _push(paths.direct, network.direct, direct)
    for (first, second), hop, way in zip(paths.hops, network.hops, ways, strict=True):
        before = _push(first, hop.first, way)
        steps += before + _push(second, hop.second, sum(gives for _, _, gives in before))
    return steps


def _push(candidates: Sequence[Candidate], curve: Curve, amount: int) -> list[_Step]:
    """Send `amount` through parallel pools."""
    shares = zip(candidates, _whole(curve.amounts(float(amount)), amount), strict=True)
    return [(candidate, share, _asked(candidate, candidate.give, share, share)) for candidate, share in shares if share]


def _backwards(amount: int, solution: Solution) -> list[_Step]:
    """Exact out: what each way gives is settled first, and what its second pools take its first ones must give."""
    paths, network, flow = solution.paths, solution.network, solution.flow
    between = [hop.first.output(x) for hop, x in zip(network.hops, flow.hops, strict=True)]
    ends = [hop.second.output(y) for hop, y in zip(network.hops, between, strict=True)]
    direct, *ways = _whole([network.direct.output(flow.direct), *ends], amount)
    steps = _pull(paths.direct, network.direct, flow.direct, direct)
    for (first, second), hop, x, y, way in zip(paths.hops, network.hops, flow.hops, between, ways, strict=True):
        after = _pull(second, hop.second, y, way)
        steps += _pull(first, hop.first, x, sum(takes for _, takes, _ in after)) + after
    return steps


def _pull(candidates: Sequence[Candidate], curve: Curve, about: float, amount: int) -> list[_Step]:
    """Get `amount` out of parallel pools, shared as an input of `about` would be."""
    inputs = curve.amounts(about)
    shares = zip(candidates, inputs, _whole(curve.outputs(inputs), amount), strict=True)
    return [(candidate, _asked(candidate, candidate.need, share, x), share) for candidate, x, share in shares if share]


def _asked(candidate: Candidate, quote: Callable[[int], int], share: int, amount_in: float) -> int:
    try:
        return quote(share)
    except (FillwrightError, ArithmeticError):
        raise _Refused(candidate, amount_in) from None


def _plan(steps: Sequence[_Step], token_in: Mint, token_out: Mint, price: float) -> Plan:
    legs = tuple(
        Leg(
            venue=candidate.pool.venue,
            pool=candidate.pool.address,
            mint_in=candidate.mint_in,
            mint_out=candidate.mint_out,
            amount_in=Atoms(amount_in),
            amount_out=Atoms(amount_out),
        )
        for candidate, amount_in, amount_out in steps
    )
    return Plan(
        legs=legs,
        candidates=tuple(candidate for candidate, _, _ in steps),
        amount_in=sum(leg.amount_in for leg in legs if leg.mint_in == token_in),
        amount_out=sum(leg.amount_out for leg in legs if leg.mint_out == token_out),
        sizes=tuple(leg.amount_in * price if leg.mint_in == token_in else float(leg.amount_out) for leg in legs),
    )


# --- parts ------------------------------------------------------------------------------------------------


def _curve(candidates: Sequence[Candidate]) -> Curve:
    return Curve([candidate.segments for candidate in candidates])


def _whole(shares: Sequence[float], total: int) -> list[int]:
    """The shares as integers that add up to `total`; what rounding leaves goes to the largest."""
    scale = sum(shares)
    if scale <= 0:
        return [0] * len(shares)
    whole = [floor(share / scale * total) for share in shares]
    largest = max(range(len(shares)), key=shares.__getitem__)
    whole[largest] += total - sum(whole)
    return whole


def _shorter(candidate: Candidate, amount: float) -> Candidate | None:
    """The candidate up to this input; None where nothing would be left."""
    kept: list[Segment] = []
    for segment in candidate.segments:
        if amount <= 0:
            break
        kept.append(Segment(segment.rate, segment.depth, min(segment.capacity, amount)))
        amount -= segment.capacity
    return msgspec.structs.replace(candidate, segments=tuple(kept)) if kept else None
