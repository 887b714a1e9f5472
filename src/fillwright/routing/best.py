"""The route for an intent: the best single pool or the best split, whichever is worth more after costs. Pure.

Decides: which one, and the words of the reason. "Best" has one meaning: the most out for exact in, the least in for
exact out, after fees and the cost of every leg.
"""

from collections.abc import Sequence
from typing import Final

import msgspec

from fillwright.errors import Code, Problem
from fillwright.order import Intent, Leg, Mode, Quote, Route
from fillwright.routing.book import Book, Books, Offer
from fillwright.routing.plan import Plan, best_plan
from fillwright.routing.prices import Prices
from fillwright.routing.quotes import impact_problem, price_impact_bps, quotes_of, ranked, size_problem
from fillwright.routing.search import Found, find
from fillwright.units import BPS_ONE, NATIVE_MINT, Atoms, Bps, Millis, Mint, format_ratio

_ROUTES_MAX: Final = 2_000
"""Routes remembered of one moment of the chain."""


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """How long a route may be and what a leg costs. An intent may ask for less, never for more."""

    legs_max: int = 4
    """Of one transaction: accounts of more do not fit its 1,232 bytes."""
    hops_max: int = 2
    leg_cost_lamports: int = 1_000
    """Compute units of a swap at the priority fee paid."""


class NoRoute(msgspec.Struct, frozen=True):
    """Nobody can serve the intent now: the quotes, each with its reason, and the problem to report."""

    quotes: tuple[Quote, ...]
    problem: Problem


def best_route(
    intent: Intent, offers: Sequence[Offer], now: Millis, limits: Limits, book: Book | None = None
) -> Route | NoRoute:
    """What to execute for the intent, given what the venues offer. `book`: of these offers, where it is at hand."""
    book = book or Book(offers)
    leg_cost = _leg_cost(intent, book, limits)
    hops_max = min(limits.hops_max, intent.max_hops or limits.hops_max)
    legs_max = min(limits.legs_max, intent.max_legs or limits.legs_max)
    found = find(intent, book, tuple(offers), hops_max)
    optimum = found.solution
    plan = best_plan(intent, optimum, legs_max=legs_max, leg_cost=leg_cost) if optimum else None
    used = {(leg.venue, leg.pool) for leg in plan.legs} if plan else set()
    quotes = quotes_of(intent, offers, book, used)
    singles = ranked(intent, quotes)
    single = _single(intent, singles[0]) if singles else None
    chosen = _better(intent, single, _split(intent, plan), leg_cost)
    if chosen is None:
        return NoRoute(quotes, _why_none(intent, quotes, found, plan))
    return msgspec.structs.replace(
        chosen,
        bound=_bound(intent, chosen, found),
        quotes=quotes,
        found_at=now,
        reason=_reason(intent, chosen, singles),
    )


class Router:
    """`best_route` with a memory.

    Pools that are offered again as the same values are not sorted again, and the same swap over the same offers at the
    same moment of the chain is not searched for again.
    """

    def __init__(self) -> None:
        self._books = Books()

    def best_route(self, intent: Intent, offers: Sequence[Offer], now: Millis, limits: Limits) -> Route | NoRoute:
        book = self._books.of(offers)
        if any(offer.problem is not None for offer in offers):
            return best_route(intent, offers, now, limits, book)
        routes = book.read_at(tuple(offer.time for offer in offers))
        latencies = tuple(offer.latency_ms for offer in offers)
        swap = (
            intent.token_in.mint, intent.token_out.mint, intent.amount, intent.mode,
            intent.max_legs, intent.max_hops, intent.max_price_impact_bps, limits, latencies,
        )  # fmt: skip
        known = routes.get(swap)
        if not isinstance(known, Route | NoRoute):
            known = best_route(intent, offers, now, limits, book)
            if len(routes) < _ROUTES_MAX:
                routes[swap] = known
            return known
        return msgspec.structs.replace(known, found_at=now) if isinstance(known, Route) else known

    def prices(self, intent: Intent, offers: Sequence[Offer], limits: Limits) -> Prices:
        """What any size of this swap up to the intent's own would get from these offers."""
        hops_max = min(limits.hops_max, intent.max_hops or limits.hops_max)
        found = find(intent, self._books.of(offers), tuple(offers), hops_max)
        return Prices(found.paths.network, intent.mode)


# --- the two kinds ----------------------------------------------------------------------------------------


def _single(intent: Intent, best: Quote) -> Route:
    leg = Leg(
        venue=best.venue,
        pool=best.pool,
        mint_in=intent.token_in.mint,
        mint_out=intent.token_out.mint,
        amount_in=best.amount_in,
        amount_out=best.amount_out,
    )
    return _route((leg,), best.amount_in, best.amount_out, best.impact_bps)


def _split(intent: Intent, plan: Plan | None) -> Route | None:
    """The plan's route, unless it is one pool alone (then it is a single), or moves too much: of a price, or in all."""
    if plan is None or len(plan.legs) == 1:
        return None
    impact = _impact(intent, plan)
    if impact_problem(impact, intent.max_price_impact_bps) or size_problem(plan.amount_in, plan.amount_out):
        return None
    return _route(plan.legs, Atoms(plan.amount_in), Atoms(plan.amount_out), impact)


def _route(legs: tuple[Leg, ...], amount_in: Atoms, amount_out: Atoms, impact: Bps) -> Route:
    """Without what is the same for any choice."""
    return Route(
        legs=legs,
        amount_in=amount_in,
        amount_out=amount_out,
        impact_bps=impact,
        bound=Atoms(0),
        reason="",
        quotes=(),
        found_at=Millis(0),
    )


def _bound(intent: Intent, chosen: Route, found: Found) -> Atoms:
    """A quote may reach beyond the end of its pool's segments: the bound then gives way to what was found."""
    if intent.mode is Mode.EXACT_IN:
        return Atoms(max(found.bound, chosen.amount_out))
    return Atoms(min(found.bound, chosen.amount_in))


def _impact(intent: Intent, plan: Plan) -> Bps:
    """Of the way whose prices move most: over an intermediate, both of its swaps count."""
    ends = intent.token_in.mint, intent.token_out.mint
    first: dict[Mint, int] = {}
    second: dict[Mint, int] = {}
    direct = 0
    for leg, candidate in zip(plan.legs, plan.candidates, strict=True):
        swap = candidate.pool.quote_in(leg.amount_in, leg.mint_in, candidate.time)
        impact = price_impact_bps(candidate.pool, swap, leg.mint_in)
        if (leg.mint_in, leg.mint_out) == ends:
            direct = max(direct, impact)
        elif leg.mint_in == ends[0]:
            first[leg.mint_out] = max(first.get(leg.mint_out, 0), impact)
        else:
            second[leg.mint_in] = max(second.get(leg.mint_in, 0), impact)
    return Bps(max([direct, *(impact + second.get(mint, 0) for mint, impact in first.items())]))


def _better(intent: Intent, single: Route | None, split: Route | None, leg_cost: float) -> Route | None:
    if single is None or split is None:
        return single or split
    return split if _worth(intent, split, leg_cost) > _worth(intent, single, leg_cost) else single


def _worth(intent: Intent, route: Route, leg_cost: float) -> float:
    value = route.amount_out if intent.mode is Mode.EXACT_IN else -route.amount_in
    return value - leg_cost * len(route.legs)


def _leg_cost(intent: Intent, book: Book, limits: Limits) -> float:
    """A leg's lamports in atoms of the amount that is not fixed, at the deepest pool's spot; 0 where none tells it."""
    target = (intent.token_out if intent.mode is Mode.EXACT_IN else intent.token_in).mint
    if target == NATIVE_MINT:
        return float(limits.leg_cost_lamports)
    deepest = book.shelf(NATIVE_MINT, target).deepest
    return limits.leg_cost_lamports * deepest.rate if deepest else 0.0


# --- words ------------------------------------------------------------------------------------------------


def _reason(intent: Intent, chosen: Route, singles: Sequence[Quote]) -> str:
    """How much better it is than the next best thing."""
    if len(chosen.legs) > 1:
        ways = _ways(intent, chosen.legs)
        if not singles:
            return f"{ways}: no single pool can serve it"
        best = singles[0]
        return f"{ways}: {_lead(intent, chosen.amount_in, chosen.amount_out, best)} over {best.venue} {best.kind} alone"
    best, others = singles[0], [quote for quote in singles if quote.venue != singles[0].venue] or list(singles[1:])
    if not others:
        return "the only quote"
    rival = others[0]
    name = rival.venue if rival.venue != best.venue else f"{rival.venue} {rival.kind}"
    if (best.amount_in, best.amount_out) == (rival.amount_in, rival.amount_out):
        return f"as good as {name}, with more depth or a faster answer"
    return f"{_lead(intent, best.amount_in, best.amount_out, rival)} over {name}"


def _ways(intent: Intent, legs: Sequence[Leg]) -> str:
    through = dict.fromkeys(leg.mint_out for leg in legs if leg.mint_out != intent.token_out.mint)
    over = f", over {len(through)} intermediate token{'s' * (len(through) > 1)}" if through else ""
    return f"{len(legs)} legs{over}"


def _lead(intent: Intent, amount_in: int, amount_out: int, rival: Quote) -> str:
    if intent.mode is Mode.EXACT_IN:
        lead, whole = amount_out - rival.amount_out, rival.amount_out
    else:
        lead, whole = rival.amount_in - amount_in, rival.amount_in
    hundredths = lead * BPS_ONE // whole
    if hundredths:
        return f"+{hundredths // 100}.{hundredths % 100:02d} %"
    return f"+{format_ratio(lead * 10**8 // whole, 10**6)} %"


def _why_none(intent: Intent, quotes: Sequence[Quote], found: Found, plan: Plan | None) -> Problem:
    """The most telling problem: one that may pass outweighs those that will not."""
    problems = [quote.problem for quote in quotes if quote.problem is not None]
    passing = next((problem for problem in problems if problem.retryable), None)
    if passing is not None:
        return Problem(Code.ROUTE_UNAVAILABLE, f"no usable quote: {passing.detail}")
    telling = next((problem for problem in problems if problem.code is not Code.ROUTE_NONE), None)
    over = impact_problem(_impact(intent, plan), intent.max_price_impact_bps) if plan else None
    why = telling or over
    if why is not None:
        return why
    if found.solution is not None:
        return Problem(Code.ROUTE_NONE, "no route has as few legs as the order allows")
    if found.paths.network.is_empty:
        return Problem(Code.ROUTE_NONE, "no venue has a pool for this pair")
    return Problem(Code.POOL_LIQUIDITY, "all pools together cannot fill this amount")
