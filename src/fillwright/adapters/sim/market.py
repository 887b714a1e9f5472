"""The simulated market: where outside trading moves each pool. Pure.

Decides: each venue's target price of a pair, and the trades that follow it: some noise, then an arbitrageur who
trades until the next unit no longer pays. Must never: keep state (the chain does), or touch a pool but by the same
swaps that orders make.
"""

from collections.abc import Sequence
from fractions import Fraction
from functools import cached_property
from math import sqrt
from typing import Final, TypeVar

import msgspec

from fillwright.adapters.sim.listing import (
    BONK,
    HUBS,
    MSOL,
    SOL,
    TOKENS,
    USDC,
    USDT,
    WBTC,
    SimPool,
    recorded,
    start_pools,
)
from fillwright.adapters.sim.newcomers import Newcomers
from fillwright.adapters.sim.prices import PPM, Prices, PriceTable, SeededPrices, apart_ppm, drawn
from fillwright.pools import ChainTime, Pool, PoolRefused, Segment
from fillwright.units import Atoms, Mint

__all__ = [
    "BONK",
    "HUBS",
    "MSOL",
    "SOL",
    "TOKENS",
    "USDC",
    "USDT",
    "WBTC",
    "Market",
    "SimPool",
    "arbitrage",
    "default_market",
    "recorded",
]

_SLOTS_A_TICK: Final = 5
_NOISY_PPM: Final = 250_000
"""In this part of all ticks somebody trades in a given pool for reasons of their own."""
_NOISE_PPM: Final = 300
"""A noise trade is at most this part of what the pool held at the start, in either token."""
_LEFT_AT_THE_END: Final = 1 - 1e-4
"""Where a pool runs out before its target: what the arbitrageur takes of all that it can still be paid."""
_BY_MINT: Final = {token.mint: token for token in TOKENS}

P = TypeVar("P", bound=Pool)


class Market(msgspec.Struct, frozen=True, kw_only=True, dict=True):
    """`pools` as they are before the first tick."""

    seed: int
    pools: tuple[SimPool, ...]
    prices: Prices
    newcomers: Newcomers | None = None
    """What is listed later on."""

    def tick(self, slots: int) -> int:
        """Pools are moved at every tick of two seconds."""
        return slots // _SLOTS_A_TICK

    def starts(self, tick: int) -> int:
        """The first slot of a tick: when its trades happen."""
        return tick * _SLOTS_A_TICK

    def drift(self, pool: P, tick: int, now: ChainTime) -> P:
        """The pool after this tick's trades. Ticks that nobody looked at are skipped: their trades never were.

        Afterwards no swap at the target price pays, after fees, in either direction.
        """
        return _arbitraged(self._with_noise(pool, tick, now), self.target(pool, tick), now)

    def target(self, pool: Pool, tick: int) -> Fraction:
        """The price of token 0 at this pool's venue, in atoms of token 1 per atom."""
        token_0, token_1 = _BY_MINT[pool.mint_0], _BY_MINT[pool.mint_1]
        apart = apart_ppm(self.seed, f"{pool.mint_0}/{pool.mint_1}", tick, ours=pool.venue == "raydium")
        return Fraction(
            self.prices.usd(token_0.symbol, tick) * 10**token_1.decimals * (PPM + apart),
            self.prices.usd(token_1.symbol, tick) * 10**token_0.decimals * PPM,
        )

    def _with_noise(self, pool: P, tick: int, now: ChainTime) -> P:
        chance, size = (drawn(self.seed, f"{pool.address}:{what}", tick) for what in ("noise", "size"))
        if chance > 2 * _NOISY_PPM - PPM:
            return pool
        side = size < 0
        amount = self._depths[pool.address][side] * abs(size) * _NOISE_PPM // PPM**2
        return _swapped(pool, amount, (pool.mint_0, pool.mint_1)[side], now)

    @cached_property
    def _depths(self) -> dict[str, tuple[Atoms, Atoms]]:
        return {pool.address: pool.reserves() for pool in self.pools}


def default_market(seed: int, prices_csv: str | None = None, *, newcomer_every_slots: int = 0) -> Market:
    """The market that the embedded engine starts with; `prices_csv` as in PriceTable.parse. 0: no new pools."""
    prices = SeededPrices(seed) if prices_csv is None else PriceTable.parse(prices_csv)
    newcomers = Newcomers(seed, newcomer_every_slots) if newcomer_every_slots else None
    return Market(seed=seed, pools=tuple(start_pools()), prices=prices, newcomers=newcomers)


def arbitrage(pool: Pool, target: Fraction, now: ChainTime) -> tuple[Mint, int] | None:
    """The mint that the pool pays more for than the target, and how much of it until it does not; None: neither."""
    price_1, price_0 = target.as_integer_ratio()
    for mint_in, worth, per in ((pool.mint_0, price_1, price_0), (pool.mint_1, price_0, price_1)):
        try:
            output, per_input = pool.spot(mint_in)
        except PoolRefused:
            continue
        if output * per > per_input * worth:
            return mint_in, _input_until(pool.segments(mint_in, now), worth / per)
    return None


def _arbitraged(pool: P, target: Fraction, now: ChainTime) -> P:
    trade = arbitrage(pool, target, now)
    return pool if trade is None else _swapped(pool, trade[1], trade[0], now)


def _input_until(segments: Sequence[Segment], price: float) -> int:
    """The input after which the marginal price, fees included, has come down to `price`."""
    total = 0.0
    for segment in segments:
        if segment.rate <= price:
            return int(total)
        wanted = segment.depth * (sqrt(segment.rate / price) - 1)
        if wanted < segment.capacity:
            return int(total + wanted)
        total += segment.capacity
    return int(total * _LEFT_AT_THE_END)


def _swapped(pool: P, amount: int, mint_in: Mint, now: ChainTime) -> P:
    """The pool after the swap, or as it was where there is nothing to swap or it refuses."""
    if not amount:
        return pool
    try:
        return pool.swap_in(Atoms(amount), mint_in, now)[1]
    except PoolRefused:
        return pool
