"""The simulated market: its tokens, its pools, and where outside trading moves them. Pure.

Decides: the price each pool is pulled to at each tick, from the seed alone. Must never: keep state; the chain does.
Prices follow a smooth pseudo-random path, and the two venues stay 2 to 5 percent apart, as the older mocks did.
"""

from collections.abc import Iterator
from hashlib import blake2b
from math import isqrt
from typing import Final, TypeAlias

import msgspec

from fillwright.pools.amm_v4 import AmmV4Pool
from fillwright.pools.cpmm import CpmmPool
from fillwright.units import Atoms, Mint, Token

SimPool: TypeAlias = AmmV4Pool | CpmmPool

SOL: Final = Token("SOL", Mint("So11111111111111111111111111111111111111112"), 9)
USDC: Final = Token("USDC", Mint("EPjFWdd5AufqSSqeM2qN1xzybapC8G4wEGGkZwyTDt1v"), 6)
USDT: Final = Token("USDT", Mint("Es9vMFrzaCERmJfrF4H2FYD4KCoNkY11McCe8BenwNYB"), 6)
BONK: Final = Token("BONK", Mint("DezXAZ8z7PnrnRJjz3wXBoRgixCa6xjnB7YaB1pPB263"), 5)
TOKENS: Final = (SOL, USDC, USDT, BONK)

_SLOTS_A_TICK: Final = 5
_PPM: Final = 1_000_000
_SPREAD_PPM: Final = (20_000, 50_000)
"""How far the venues' prices of one pair are apart."""
_SPREAD_PERIOD: Final = 600
_SWING_PPM: Final = {3_000: 40_000, 300: 8_000, 30: 600}
"""Ticks a swing takes -> how far it goes: slow tides, quick ripples."""


class Market(msgspec.Struct, frozen=True, kw_only=True):
    seed: int
    pools: tuple[SimPool, ...]

    def tick(self, slots: int) -> int:
        """Pools are moved at every tick of two seconds."""
        return slots // _SLOTS_A_TICK

    def drift(self, pool: SimPool, tick: int) -> SimPool:
        """The pool pulled to its price of this tick by outside trades, its liquidity (r0 * r1) kept.

        Its price at tick 0 is that of its own pools-list entry, so markets start from recorded numbers.
        """
        origin = next(p for p in self.pools if p.address == pool.address)
        origin_0, origin_1 = origin.reserves()
        reserve_0, reserve_1 = pool.reserves()
        ratio = self._path_ppm(pool, tick)
        target_0 = isqrt(reserve_0 * reserve_1 * origin_0 * _PPM // (origin_1 * ratio))
        target_1 = reserve_0 * reserve_1 // target_0
        return msgspec.structs.replace(
            pool,
            vault_0_amount=Atoms(pool.vault_0_amount - reserve_0 + target_0),
            vault_1_amount=Atoms(pool.vault_1_amount - reserve_1 + target_1),
        )

    def _path_ppm(self, pool: SimPool, tick: int) -> int:
        """The pool's price of token 0 in token 1 against its start, in millionths."""
        pair = f"{pool.mint_0}/{pool.mint_1}"
        swing = sum(
            self._wave(f"{pair}:{period}", tick, period) * reach // _PPM for period, reach in _SWING_PPM.items()
        )
        low, high = _SPREAD_PPM
        spread = low + (self._wave(f"{pair}:spread", tick, _SPREAD_PERIOD) + _PPM) * (high - low) // (2 * _PPM)
        above = (self._hash(f"{pair}:order", 0) >= 0) == (pool.venue == "raydium")
        apart = spread // 2 if above else -(spread // 2)
        return (_PPM + swing) * (_PPM + apart) // _PPM

    def _wave(self, label: str, tick: int, period: int) -> int:
        """A smooth pseudo-random walk between -PPM and +PPM: a knot every `period` ticks, lines between."""
        knot, offset = divmod(tick, period)
        before, after = self._hash(label, knot), self._hash(label, knot + 1)
        return before + (after - before) * offset // period

    def _hash(self, label: str, index: int) -> int:
        digest = blake2b(f"{self.seed}:{label}:{index}".encode(), digest_size=8).digest()
        return int.from_bytes(digest, "big") % (2 * _PPM + 1) - _PPM


def default_market(seed: int) -> Market:
    """The market that the embedded engine starts with."""
    return Market(seed=seed, pools=tuple(_default_pools()))


_SOL_USDC: Final = (509680901893995, 44106978612721)
"""Lamports and micro-USDC: virtual reserves (L / sqrt P, L * sqrt P) of the mainnet SOL/USDC pool that the recorded
swap 28benrbW8FCe... met at slot 415822302, at 86.53 USDC a SOL."""
_MEME_SOL: Final = (1_778_202_478_505_581, 79_258_797_649)
"""Reserves of a recorded mainnet AMM v4 swap of a token against SOL; its log line does not name the token."""


def _default_pools() -> Iterator[SimPool]:
    sol, usdc = _SOL_USDC
    meme, meme_sol = _MEME_SOL
    yield _amm_v4("raydium", SOL, USDC, sol // 50, usdc // 50)
    yield _cpmm("raydium", SOL, USDC, sol // 200, usdc // 200)
    yield _cpmm("meteora", SOL, USDC, sol // 60, usdc // 60)
    yield _amm_v4("raydium", SOL, USDT, sol // 150, usdc // 150)
    yield _cpmm("meteora", SOL, USDT, sol // 200, usdc // 200)
    yield _cpmm("raydium", USDC, USDT, usdc // 50, usdc // 50)
    yield _cpmm("meteora", USDC, USDT, usdc // 80, usdc // 80)
    yield _amm_v4("raydium", BONK, SOL, meme, meme_sol)
    yield _cpmm("meteora", BONK, SOL, meme, meme_sol)


def _amm_v4(venue: str, token_0: Token, token_1: Token, reserve_0: int, reserve_1: int) -> AmmV4Pool:
    """With the program's usual fee of 0.25 %."""
    return AmmV4Pool(
        address=_address(venue, "amm_v4", token_0, token_1),
        venue=venue,
        mint_0=token_0.mint,
        mint_1=token_1.mint,
        vault_0_amount=Atoms(reserve_0),
        vault_1_amount=Atoms(reserve_1),
        fee_numerator=25,
        fee_denominator=10_000,
    )


def _cpmm(venue: str, token_0: Token, token_1: Token, reserve_0: int, reserve_1: int) -> CpmmPool:
    """With the usual rates: 0.25 % of the input, of which 12 % to the protocol and 4 % to the fund.

    At the Meteora venue this curve stands in for Meteora's own, which a later version brings.
    """
    return CpmmPool(
        address=_address(venue, "cpmm", token_0, token_1),
        venue=venue,
        mint_0=token_0.mint,
        mint_1=token_1.mint,
        vault_0_amount=Atoms(reserve_0),
        vault_1_amount=Atoms(reserve_1),
        trade_fee_rate=2_500,
        protocol_fee_rate=120_000,
        fund_fee_rate=40_000,
    )


def _address(venue: str, kind: str, token_0: Token, token_1: Token) -> str:
    """Readable on purpose: nobody should take a simulated pool for a real one."""
    return f"sim-{venue}-{kind}-{token_0.symbol}-{token_1.symbol}"
