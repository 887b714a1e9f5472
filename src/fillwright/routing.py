"""Which pool serves an intent best, and why. Pure.

Decides: how quotes are ranked and the words of the reason. Must never: ask a venue; it is given what they offer.
"Best" has one meaning: the most out for exact in, the least in for exact out, after fees. Ties go to the
deeper pool, then the faster venue, then the name.
"""

from collections.abc import Iterable, Sequence

import msgspec

from fillwright.errors import Code, FillwrightError, Problem
from fillwright.order import Intent, Leg, Mode, Quote, Route
from fillwright.pools import ChainTime, Pool, Swap
from fillwright.units import BPS_ONE, Bps, Millis, Mint, ceil_div, format_ratio


class Offer(msgspec.Struct, frozen=True, kw_only=True):
    """A venue's answer for a pair: its pools at a moment of the chain, or the problem it had."""

    venue: str
    latency_ms: Millis
    pools: tuple[Pool, ...] = ()
    time: ChainTime | None = None
    problem: Problem | None = None


class NoRoute(msgspec.Struct, frozen=True):
    """Nobody can serve the intent now: the quotes, each with its reason, and the problem to report."""

    quotes: tuple[Quote, ...]
    problem: Problem


def best_route(intent: Intent, offers: Iterable[Offer], now: Millis) -> Route | NoRoute:
    """The best single pool among the offers."""
    quotes = tuple(quote for offer in offers for quote in _quotes(intent, offer))
    ranked = sorted((quote for quote in quotes if quote.problem is None), key=lambda q: _rank(intent, q))
    if not ranked:
        return NoRoute(quotes, _why_none(quotes))
    best = ranked[0]
    leg = Leg(
        venue=best.venue,
        pool=best.pool,
        mint_in=intent.token_in.mint,
        mint_out=intent.token_out.mint,
        amount_in=best.amount_in,
        amount_out=best.amount_out,
    )
    return Route(
        legs=(leg,),
        amount_in=best.amount_in,
        amount_out=best.amount_out,
        impact_bps=best.impact_bps,
        reason=_reason(intent, ranked),
        quotes=quotes,
        found_at=now,
    )


def _quotes(intent: Intent, offer: Offer) -> list[Quote]:
    time = offer.time
    if time is None:
        return [Quote(venue=offer.venue, latency_ms=offer.latency_ms, problem=offer.problem)]
    if not offer.pools:
        problem = Problem(Code.ROUTE_NONE, "no pool for this pair")
        return [Quote(venue=offer.venue, latency_ms=offer.latency_ms, slot=time.slot, problem=problem)]
    return [_quote(intent, offer, pool, time) for pool in offer.pools]


def _quote(intent: Intent, offer: Offer, pool: Pool, time: ChainTime) -> Quote:
    mint_in = intent.token_in.mint
    try:
        if intent.mode is Mode.EXACT_IN:
            swap = pool.quote_in(intent.amount, mint_in, time)
        else:
            swap = pool.quote_out(intent.amount, mint_in, time)
    except FillwrightError as refused:
        return Quote(
            venue=offer.venue,
            pool=pool.address,
            kind=pool.kind,
            slot=time.slot,
            latency_ms=offer.latency_ms,
            problem=refused.problem,
        )
    impact = price_impact_bps(pool, swap, mint_in)
    cap = intent.max_price_impact_bps
    too_much = cap is not None and impact > cap
    reserve_0, reserve_1 = pool.reserves()
    return Quote(
        venue=offer.venue,
        pool=pool.address,
        kind=pool.kind,
        slot=time.slot,
        amount_in=swap.amount_in,
        amount_out=swap.amount_out,
        fee=swap.fee,
        fee_mint=swap.fee_mint,
        impact_bps=impact,
        depth=reserve_1 if mint_in == pool.mint_0 else reserve_0,
        latency_ms=offer.latency_ms,
        problem=_impact_problem(impact, cap) if too_much else None,
    )


def price_impact_bps(pool: Pool, swap: Swap, mint_in: Mint) -> Bps:
    """How far the swap's price, without its fee, is below the pool's spot price; rounded up."""
    numerator, denominator = pool.spot(mint_in)
    paid = swap.amount_in - (swap.fee if swap.fee_mint == mint_in else 0)
    got = swap.amount_out + (0 if swap.fee_mint == mint_in else swap.fee)
    ideal = paid * numerator
    if ideal <= got * denominator:
        return Bps(0)
    return Bps(ceil_div((ideal - got * denominator) * BPS_ONE, ideal))


def _impact_problem(impact: int, cap: int | None) -> Problem:
    return Problem(Code.ROUTE_PRICE_IMPACT, f"price impact of {impact} bps is above the order's {cap} bps")


def _rank(intent: Intent, quote: Quote) -> tuple[int, int, int, str, str]:
    worth = -quote.amount_out if intent.mode is Mode.EXACT_IN else quote.amount_in
    return worth, -quote.depth, quote.latency_ms, quote.venue, quote.pool


def _reason(intent: Intent, ranked: Sequence[Quote]) -> str:
    """How much better the winner is than the best of another venue, or of another pool if it stands alone."""
    best = ranked[0]
    others = [quote for quote in ranked if quote.venue != best.venue] or list(ranked[1:])
    if not others:
        return "the only quote"
    rival = others[0]
    name = rival.venue if rival.venue != best.venue else f"{rival.venue} {rival.kind}"
    if intent.mode is Mode.EXACT_IN:
        lead, whole = best.amount_out - rival.amount_out, rival.amount_out
    else:
        lead, whole = rival.amount_in - best.amount_in, rival.amount_in
    if lead == 0:
        return f"as good as {name}, with more depth or a faster answer"
    return f"+{_percent(lead, whole)} % over {name}"


def _percent(part: int, whole: int) -> str:
    if whole == 0 or part * 10_000 < whole:
        return "0.00" if whole == 0 else format_ratio(part * 100 * 10**4 // whole, 10**4)
    hundredths = part * 10_000 // whole
    return f"{hundredths // 100}.{hundredths % 100:02d}"


def _why_none(quotes: Sequence[Quote]) -> Problem:
    """The most telling problem: one that may pass outweighs those that will not."""
    problems = [quote.problem for quote in quotes if quote.problem is not None]
    passing = next((problem for problem in problems if problem.retryable), None)
    if passing is not None:
        return Problem(Code.ROUTE_UNAVAILABLE, f"no usable quote: {passing.detail}")
    telling = next((problem for problem in problems if problem.code is not Code.ROUTE_NONE), None)
    return telling or Problem(Code.ROUTE_NONE, "no venue has a pool for this pair")
