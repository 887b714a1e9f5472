"""What the venues offer, as it is read over HTTP.

Decides: the fields of a pool and of a venue's health. Must never: show a reading without its slot and age.
"""

import msgspec

from fillwright.market import Reading
from fillwright.pools import Pool
from fillwright.routing import Offer
from fillwright.tokens import Tokens, quote_of
from fillwright.units import Millis, format_atoms, format_price
from fillwright.wire import rfc3339


class PoolView(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, rename="camel"):
    venue: str
    pool: str
    kind: str
    pair: str
    mint_base: str
    mint_quote: str
    reserve_base: str
    reserve_quote: str
    price: str
    """Spot, quote currency per base, before fees."""
    slot: int | None = None
    read_at: str
    age_ms: int


class VenueView(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, rename="camel"):
    """A venue's health, as this process met it."""

    venue: str
    status: str
    """ok, failing, or resting: left alone for a while after failures in a row."""
    latency_ms: int
    """Of its last answer or failure."""
    pools: int
    slot: int | None = None
    read_at: str
    age_ms: int
    error: str | None = None
    code: str | None = None


def pool_views(reading: Reading, tokens: Tokens, now: Millis) -> list[PoolView]:
    """Every pool of the reading, by venue and address."""
    found = [_pool_view(offer, pool, reading, tokens, now) for offer in reading.offers for pool in offer.pools]
    return sorted(found, key=lambda view: (view.venue, view.pool))


def _pool_view(offer: Offer, pool: Pool, reading: Reading, tokens: Tokens, now: Millis) -> PoolView:
    first, second = tokens.of(pool.mint_0), tokens.of(pool.mint_1)
    of_first, of_second = pool.reserves()
    quote = quote_of(first, second)
    base, of_base, of_quote = (second, of_second, of_first) if quote == first else (first, of_first, of_second)
    quote_atoms, base_atoms = pool.spot(base.mint)
    return PoolView(
        venue=offer.venue,
        pool=pool.address,
        kind=pool.kind,
        pair=f"{base.symbol}/{quote.symbol}",
        mint_base=base.mint,
        mint_quote=quote.mint,
        reserve_base=format_atoms(of_base, base.decimals),
        reserve_quote=format_atoms(of_quote, quote.decimals),
        price=format_price(quote_atoms, base_atoms, quote_decimals=quote.decimals, base_decimals=base.decimals),
        slot=_slot(offer),
        read_at=rfc3339(reading.at),
        age_ms=max(0, now - reading.at),
    )


def venue_views(reading: Reading, now: Millis) -> list[VenueView]:
    return [_venue_view(offer, reading, now) for offer in reading.offers]


def _venue_view(offer: Offer, reading: Reading, now: Millis) -> VenueView:
    problem = offer.problem
    status = "resting" if offer.venue in reading.resting else "ok" if problem is None else "failing"
    return VenueView(
        venue=offer.venue,
        status=status,
        latency_ms=offer.latency_ms,
        pools=len(offer.pools),
        slot=_slot(offer),
        read_at=rfc3339(reading.at),
        age_ms=max(0, now - reading.at),
        error=problem.detail if problem else None,
        code=problem.code if problem else None,
    )


def _slot(offer: Offer) -> int | None:
    return offer.time.slot if offer.time else None
