"""What is traded in the simulated world: tokens, and the pools of both venues as they are at the start.

Decides: which pools there are, how deep, and at which fees. Must never: move one. One pool is a recorded mainnet
state (market.json: the tick arrays around the price of 3ucNos4NbumPLZNWztqGHNFFgkHeRMBQAVemeeomsUxv at slot
415822326); the others are built at the start prices, as deep as recorded swaps met them, or at a round sum.
"""

from collections.abc import Iterator
from importlib import resources
from itertools import accumulate, pairwise
from math import isqrt
from typing import Final, TypeAlias

import msgspec

from fillwright.adapters.sim.prices import RECORDED_MEME_SOL, RECORDED_SOL_USDC, START_USD, USD
from fillwright.pools.amm_v4 import AmmV4Pool
from fillwright.pools.clmm import ClmmPool
from fillwright.pools.clmm_ticks import Tick
from fillwright.pools.cpmm import CpmmPool
from fillwright.pools.damm_v2 import DammV2Pool
from fillwright.pools.damm_v2_curve import Range
from fillwright.pools.damm_v2_fees import TimeFee, Wide
from fillwright.pools.dlmm import DlmmPool
from fillwright.pools.dlmm_bins import Bin, bin_price
from fillwright.units import Atoms, Mint, Token

SimPool: TypeAlias = AmmV4Pool | CpmmPool | ClmmPool | DlmmPool | DammV2Pool

SOL: Final = Token("SOL", Mint("So11111111111111111111111111111111111111112"), 9)
USDC: Final = Token("USDC", Mint("EPjFWdd5AufqSSqeM2qN1xzybapC8G4wEGGkZwyTDt1v"), 6)
USDT: Final = Token("USDT", Mint("Es9vMFrzaCERmJfrF4H2FYD4KCoNkY11McCe8BenwNYB"), 6)
MSOL: Final = Token("mSOL", Mint("mSoLzYCxHdYgdzU16g5QSh3i5K3z3KZK7ytfqcJm7So"), 9)
BONK: Final = Token("BONK", Mint("DezXAZ8z7PnrnRJjz3wXBoRgixCa6xjnB7YaB1pPB263"), 5)
WBTC: Final = Token("WBTC", Mint("3NZ9JMVBmGAqocybic2c7LQCJScmgsAZ6vQqTDzcqmJh"), 8)
TOKENS: Final = (SOL, USDC, USDT, MSOL, BONK, WBTC)
HUBS: Final = frozenset({SOL.mint, USDC.mint, USDT.mint, MSOL.mint})
"""What a route may pass on its way."""

_RECORDED_SHARE: Final = 4
"""The recorded pool lives on with one part in so many of its liquidity: else it would leave the others nothing."""
_EDGE_TICKS: Final = 2_000
"""So far (20 %) to either side of the recorded arrays its outermost liquidity goes on."""
_DLMM_STEP: Final = 25
_DLMM_BINS: Final = 50
"""To either side of the price: 13 %."""
_SQRT_MIN: Final = 4_295_048_016
_SQRT_MAX: Final = 79_226_673_521_066_979_257_578_248_091
"""The full range of DAMM v2: its constants.rs."""


def start_pools() -> Iterator[SimPool]:
    """Every pair is traded on both venues."""
    lamports, micro_usdc = RECORDED_SOL_USDC
    yield _amm_v4(SOL, USDC, lamports // 50, micro_usdc // 50)
    yield cpmm(SOL, USDC, lamports // 200, micro_usdc // 200)
    yield _recorded_clmm(SOL, USDC)
    yield _dlmm(SOL, USDC, usd_a_bin=11_000)
    yield damm_v2(SOL, USDC, lamports // 60, micro_usdc // 60)
    yield _amm_v4(SOL, USDT, lamports // 150, micro_usdc // 150)
    yield damm_v2(SOL, USDT, lamports // 200, micro_usdc // 200)
    yield cpmm(USDC, USDT, micro_usdc // 50, micro_usdc // 50)
    yield damm_v2(USDC, USDT, micro_usdc // 80, micro_usdc // 80)
    yield cpmm(MSOL, SOL, *_worth(MSOL, SOL, usd=2_500_000))
    yield damm_v2(MSOL, SOL, *_worth(MSOL, SOL, usd=1_500_000))
    yield _amm_v4(MSOL, USDC, *_worth(MSOL, USDC, usd=400_000))
    yield _dlmm(MSOL, USDC, usd_a_bin=4_000)
    yield _amm_v4(BONK, SOL, *RECORDED_MEME_SOL)
    yield damm_v2(BONK, SOL, *RECORDED_MEME_SOL)
    yield cpmm(WBTC, USDC, *_worth(WBTC, USDC, usd=2_000_000))
    yield _dlmm(WBTC, USDC, usd_a_bin=6_000)
    yield _amm_v4(WBTC, SOL, *_worth(WBTC, SOL, usd=600_000))
    yield damm_v2(WBTC, SOL, *_worth(WBTC, SOL, usd=800_000))


def recorded() -> ClmmPool:
    """The mainnet pool as it was, without what lies beyond three tick arrays and with vaults that never run dry."""
    text = resources.files("fillwright.adapters.sim").joinpath("market.json").read_bytes()
    return msgspec.json.decode(text, type=ClmmPool)


def _recorded_clmm(token_0: Token, token_1: Token) -> ClmmPool:
    """The recorded liquidity, scaled and its edges prolonged; fees start from nothing."""
    pool = recorded()
    below = int(pool.liquidity) - sum(int(tick.net) for tick in pool.ticks if tick.index <= pool.tick_current)
    levels = accumulate((int(tick.net) for tick in pool.ticks), initial=below)
    scaled = [0, *(level // _RECORDED_SHARE for level in levels), 0]
    indexes = [tick.index for tick in pool.ticks]
    indexes = [indexes[0] - _EDGE_TICKS, *indexes, indexes[-1] + _EDGE_TICKS]
    nets = (after - before for before, after in pairwise(scaled))
    whole = msgspec.structs.replace(
        pool,
        address=_address("raydium", "clmm", token_0, token_1),
        liquidity=str(int(pool.liquidity) // _RECORDED_SHARE),
        ticks=tuple(Tick(index, str(net)) for index, net in zip(indexes, nets, strict=True)),
        cut_below=False,
        cut_above=False,
        fee_growth_0="0",
        fee_growth_1="0",
        lp_fees_0=0,
        lp_fees_1=0,
    )
    reserve_0, reserve_1 = whole.reserves()
    return msgspec.structs.replace(whole, vault_0_amount=_with_spare(reserve_0), vault_1_amount=_with_spare(reserve_1))


def _amm_v4(token_0: Token, token_1: Token, reserve_0: int, reserve_1: int) -> AmmV4Pool:
    """With the program's usual fee of 0.25 %."""
    return AmmV4Pool(
        address=_address("raydium", "amm_v4", token_0, token_1),
        mint_0=token_0.mint,
        mint_1=token_1.mint,
        vault_0_amount=Atoms(reserve_0),
        vault_1_amount=Atoms(reserve_1),
        fee_numerator=25,
        fee_denominator=10_000,
    )


def cpmm(token_0: Token, token_1: Token, reserve_0: int, reserve_1: int) -> CpmmPool:
    """With the usual rates: 0.25 % of the input, of which 12 % to the protocol and 4 % to the fund."""
    return CpmmPool(
        address=_address("raydium", "cpmm", token_0, token_1),
        mint_0=token_0.mint,
        mint_1=token_1.mint,
        vault_0_amount=Atoms(reserve_0),
        vault_1_amount=Atoms(reserve_1),
        trade_fee_rate=2_500,
        protocol_fee_rate=120_000,
        fund_fee_rate=40_000,
    )


def damm_v2(token_0: Token, token_1: Token, reserve_0: int, reserve_1: int) -> DammV2Pool:
    """Over the full range, for a flat 0.25 % of the output."""
    curve = Range(isqrt(reserve_0 * reserve_1) << 64, isqrt((reserve_1 << 128) // reserve_0), _SQRT_MIN, _SQRT_MAX)
    all_0, all_1 = curve.reserves()
    return DammV2Pool(
        address=_address("meteora", "damm_v2", token_0, token_1),
        mint_0=token_0.mint,
        mint_1=token_1.mint,
        vault_0_amount=Atoms(all_0),
        vault_1_amount=Atoms(all_1),
        reserve_0=Atoms(all_0),
        reserve_1=Atoms(all_1),
        liquidity=Wide(str(curve.liquidity)),
        sqrt_price=Wide(str(curve.price)),
        sqrt_price_min=Wide(str(curve.low)),
        sqrt_price_max=Wide(str(curve.high)),
        base_fee=TimeFee(cliff=2_500_000),
    )


def _dlmm(token_0: Token, token_1: Token, *, usd_a_bin: int) -> DlmmPool:
    """The same worth in every bin; fees as the program's preset of this step: 0.25 %, and more while prices run."""
    amount_0, amount_1 = _worth(token_0, token_1, usd=usd_a_bin)
    at = _bin_of(amount_0, amount_1)
    ids = range(at - _DLMM_BINS, at + _DLMM_BINS + 1)
    bins = tuple(_bin(bin_id, amount_0 if bin_id > at else 0, amount_1 if bin_id <= at else 0) for bin_id in ids)
    return DlmmPool(
        address=_address("meteora", "dlmm", token_0, token_1),
        mint_0=token_0.mint,
        mint_1=token_1.mint,
        vault_0_amount=_with_spare(sum(b.amount_0 for b in bins)),
        vault_1_amount=_with_spare(sum(b.amount_1 for b in bins)),
        bin_step=_DLMM_STEP,
        active_id=at,
        bins=bins,
        base_fee_rate=2_500_000,
        filter_period=30,
        decay_period=600,
        reduction_factor=5_000,
        variable_fee_control=15_000,
        max_volatility=200_000,
        index_reference=at,
        protocol_share=500,
    )


def _bin(bin_id: int, amount_0: int, amount_1: int) -> Bin:
    """Liquidity as the program counts it: price * x + y, times 2^64."""
    price = bin_price(bin_id, _DLMM_STEP)
    return Bin(bin_id, amount_0, amount_1, str(price), str(price * amount_0 + (amount_1 << 64)))


def _bin_of(amount_0: int, amount_1: int) -> int:
    """The highest bin whose price is not above amount_1 / amount_0."""
    wanted, low, high = (amount_1 << 64) // amount_0, -20_000, 20_000
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if bin_price(middle, _DLMM_STEP) <= wanted else (low, middle)
    return low


def _worth(token_0: Token, token_1: Token, *, usd: int) -> tuple[int, int]:
    """Atoms of either token for so many dollars, at start prices."""
    amount_0, amount_1 = (usd * USD * 10**token.decimals // START_USD[token.symbol] for token in (token_0, token_1))
    return amount_0, amount_1


def _with_spare(amount: int) -> Atoms:
    """A vault also holds unclaimed fees: no swap takes all of it."""
    return Atoms(amount + amount // 1_000)


def _address(venue: str, kind: str, token_0: Token, token_1: Token) -> str:
    """Readable on purpose: nobody should take a simulated pool for a real one."""
    return f"sim-{venue}-{kind}-{token_0.symbol}-{token_1.symbol}"
