"""What single pools offer for the whole order, ranked. Pure.

Decides: the order of quotes and the price impact of a swap. Must never: ask a venue; it is given what they offer.
"""

from collections.abc import Collection, Iterable, Sequence
from typing import Final

import msgspec

from fillwright.errors import Code, FillwrightError, Problem
from fillwright.order import Intent, Mode, Quote
from fillwright.pools import ChainTime, Pool, Swap
from fillwright.routing.book import Book, Offer, Row
from fillwright.units import ATOMS_MAX, BPS_ONE, Bps, Mint, ceil_div

QUOTES_MAX: Final = 32
"""Pools of one pair that are quoted to the unit: of more, the likeliest, and those that the split uses."""


def quotes_of(
    intent: Intent, offers: Sequence[Offer], book: Book, used: Collection[tuple[str, str]] = ()
) -> tuple[Quote, ...]:
    """One quote for each pool of the pair, or for a venue that has none; each with its problem where there is one.

    They stand in the order of the offers. `used`: venues and addresses of pools that are quoted in any case.
    """
    shelf = book.shelf(intent.token_in.mint, intent.token_out.mint)
    likely = shelf.likeliest(intent, QUOTES_MAX)
    rows = {row.place: row for row in [*likely, *(shelf.by_name[name] for name in used if name in shelf.by_name)]}
    quotes: list[tuple[int, int, Quote]] = []
    for index, offer in enumerate(offers):
        if offer.time is None or index not in shelf.offers:
            quotes.append((index, 0, _none(offer)))
    for row in rows.values():
        offer = offers[row.offer]
        if offer.time is not None:
            quotes.append((row.offer, row.place, _quote(intent, offer, row, offer.time)))
    return tuple(quote for _, _, quote in sorted(quotes, key=lambda entry: entry[:2]))


def ranked(intent: Intent, quotes: Iterable[Quote]) -> list[Quote]:
    """The usable ones, best first: most out for exact in, least in for exact out, after fees.

    Ties go to the deeper pool, then the faster venue, then the name.
    """
    return sorted((quote for quote in quotes if quote.problem is None), key=lambda quote: _rank(intent, quote))


def price_impact_bps(pool: Pool, swap: Swap, mint_in: Mint) -> Bps:
    """How far the swap's price, without its fee, is below the pool's spot price; rounded up."""
    numerator, denominator = pool.spot(mint_in)
    paid = swap.amount_in - (swap.fee if swap.fee_mint == mint_in else 0)
    got = swap.amount_out + (0 if swap.fee_mint == mint_in else swap.fee)
    ideal = paid * numerator
    if ideal <= got * denominator:
        return Bps(0)
    return Bps(ceil_div((ideal - got * denominator) * BPS_ONE, ideal))


def size_problem(amount_in: int, amount_out: int) -> Problem | None:
    """The chain counts to 2^64-1, an order to half of that: a fill that could not be stored must not be promised."""
    if max(amount_in, amount_out) <= ATOMS_MAX:
        return None
    return Problem(Code.POOL_LIQUIDITY, f"the swap moves more than {ATOMS_MAX} atoms")


def impact_problem(impact: Bps, cap: Bps | None) -> Problem | None:
    if cap is None or impact <= cap:
        return None
    return Problem(Code.ROUTE_PRICE_IMPACT, f"price impact of {impact} bps is above the order's {cap} bps")


def _none(offer: Offer) -> Quote:
    if offer.time is None:
        return Quote(venue=offer.venue, latency_ms=offer.latency_ms, problem=offer.problem or _NO_ANSWER)
    problem = Problem(Code.ROUTE_NONE, "no pool for this pair")
    return Quote(venue=offer.venue, latency_ms=offer.latency_ms, slot=offer.time.slot, problem=problem)


def _quote(intent: Intent, offer: Offer, row: Row, time: ChainTime) -> Quote:
    pool, mint_in = row.pool, intent.token_in.mint
    about = Quote(venue=offer.venue, pool=pool.address, kind=pool.kind, slot=time.slot, latency_ms=offer.latency_ms)
    try:
        if intent.mode is Mode.EXACT_IN:
            swap = pool.quote_in(intent.amount, mint_in, time)
        else:
            swap = pool.quote_out(intent.amount, mint_in, time)
        impact = price_impact_bps(pool, swap, mint_in)
    except FillwrightError as refused:
        return msgspec.structs.replace(about, problem=refused.problem)
    except ArithmeticError:
        problem = Problem(Code.POOL_REFUSED, f"pool {pool.address} cannot be priced")
        return msgspec.structs.replace(about, problem=problem)
    return msgspec.structs.replace(
        about,
        amount_in=swap.amount_in,
        amount_out=swap.amount_out,
        fee=swap.fee,
        fee_mint=swap.fee_mint,
        impact_bps=impact,
        depth=int(row.depth),
        problem=size_problem(swap.amount_in, swap.amount_out) or impact_problem(impact, intent.max_price_impact_bps),
    )


_NO_ANSWER: Final = Problem(Code.ROUTE_UNAVAILABLE, "the venue did not answer")


def _rank(intent: Intent, quote: Quote) -> tuple[int, int, int, str, str]:
    worth = -quote.amount_out if intent.mode is Mode.EXACT_IN else quote.amount_in
    return worth, -quote.depth, quote.latency_ms, quote.venue, quote.pool
