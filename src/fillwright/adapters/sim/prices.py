"""What tokens cost in the simulated world, tick by tick: a path from a seed, or a table of prices. Pure.

Decides: the price of each token at each tick, in integers. Must never: know a pool, touch a float, or keep state.
"""

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from decimal import Decimal, InvalidOperation
from functools import lru_cache
from hashlib import blake2b
from itertools import pairwise
from typing import Final, Protocol, Self

import msgspec

from fillwright.errors import Code, FillwrightError

TICK_SECONDS: Final = 2
PPM: Final = 1_000_000
USD: Final = 10**18
"""Prices are integers in units of 1e-18 US dollars per whole token."""
SPREAD_PPM: Final = (20_000, 50_000)
"""How far the venues' prices of one pair are apart."""

RECORDED_SOL_USDC: Final = (509_680_901_893_995, 44_106_978_612_721)
"""Lamports and micro-USDC: virtual reserves (L / sqrt P, L * sqrt P) of the mainnet SOL/USDC pool that the recorded
swap 28benrbW8FCe... met at slot 415822302, at 86.53 USDC a SOL."""
RECORDED_MEME_SOL: Final = (1_778_202_478_505_581, 79_258_797_649)
"""Reserves of a recorded mainnet AMM v4 swap of a token against SOL; its log line does not name the token."""

_SOL_USD: Final = RECORDED_SOL_USDC[1] * 10**3 * USD // RECORDED_SOL_USDC[0]
START_USD: Final = {
    "SOL": _SOL_USD,
    "USDC": USD,
    "USDT": USD,
    "mSOL": _SOL_USD * 5 // 4,
    "BONK": _SOL_USD * RECORDED_MEME_SOL[1] // (RECORDED_MEME_SOL[0] * 10**4),
    "WBTC": 68_000 * USD,
}
"""At tick 0, before any swing. SOL and BONK from recorded swaps; mSOL is worth 1.25 SOL."""
_FOLLOWS: Final = {"mSOL": "SOL"}
"""Moves with another token, and a little by itself."""
_SWING_PPM: Final = {3_000: 40_000, 300: 8_000, 30: 600}
"""Ticks a swing takes -> how far it goes: slow tides, quick ripples."""
_LIVELY_PERCENT: Final = {"SOL": 100, "USDC": 2, "USDT": 2, "mSOL": 3, "BONK": 100, "WBTC": 60}
"""How much of a swing a token follows."""
_SPREAD_PERIOD: Final = 600
_FIRST_COLUMN: Final = "seconds"
_USD_MAX: Final = 10**9


class Prices(Protocol):
    """Where the market's targets come from."""

    def usd(self, symbol: str, tick: int) -> int:
        """Of one whole token, in units of 1 / USD dollars. Above zero."""
        ...


class SeededPrices(msgspec.Struct, frozen=True):
    """Smooth pseudo-random paths, the same from the same seed."""

    seed: int

    def usd(self, symbol: str, tick: int) -> int:
        start, lively = START_USD[symbol], _LIVELY_PERCENT[symbol]
        if leader := _FOLLOWS.get(symbol):
            start = self.usd(leader, tick) * start // START_USD[leader]
        swing = sum(
            wave(self.seed, f"{symbol}:{period}", tick, period) * reach // PPM for period, reach in _SWING_PPM.items()
        )
        return start * (100 * PPM + swing * lively) // (100 * PPM)


class PriceTable(msgspec.Struct, frozen=True):
    """Prices from a file: straight lines between its rows; before the first and after the last row they hold.

    A token without a column keeps its start price; one that follows another, its start ratio to that one.
    """

    symbols: tuple[str, ...]
    seconds: tuple[int, ...]
    rows: tuple[tuple[int, ...], ...]

    @classmethod
    def parse(cls, text: str) -> Self:
        """CSV of a header `seconds,SOL,USDC,...` and rows of whole seconds since the chain's start, then US dollars.

        Raises FillwrightError(CONFIG_INVALID) for anything else: an unknown token, seconds that do not rise, a
        price that is not above zero.
        """
        header, *lines = [line.split(",") for line in text.splitlines() if line.strip()] or [[""]]
        first, *symbols = (name.strip() for name in header)
        if first != _FIRST_COLUMN or not symbols or len(set(symbols)) < len(symbols):
            raise _invalid(f'the first line must be "{_FIRST_COLUMN}", then the tokens, each once')
        if unknown := set(symbols) - set(START_USD):
            raise _invalid(f"unknown token {min(unknown)}; known: {', '.join(START_USD)}")
        if not lines or any(len(line) != len(header) for line in lines):
            raise _invalid("it needs at least one row, and in every row as many values as in the first line")
        seconds = tuple(_seconds(line[0]) for line in lines)
        if any(after <= before for before, after in pairwise(seconds)):
            raise _invalid("seconds must rise from row to row")
        return cls(tuple(symbols), seconds, tuple(tuple(_prices(line[1:])) for line in lines))

    def usd(self, symbol: str, tick: int) -> int:
        if symbol not in self.symbols:
            leader = _FOLLOWS.get(symbol)
            return self.usd(leader, tick) * START_USD[symbol] // START_USD[leader] if leader else START_USD[symbol]
        column, second = self.symbols.index(symbol), tick * TICK_SECONDS
        after = bisect_right(self.seconds, second)
        if after in (0, len(self.seconds)):
            return self.rows[max(after - 1, 0)][column]
        (since, until), low = self.seconds[after - 1 : after + 1], self.rows[after - 1][column]
        return low + (self.rows[after][column] - low) * (second - since) // (until - since)


def apart_ppm(seed: int, pair: str, tick: int, *, ours: bool) -> int:
    """How far one venue's price of a pair is from the middle; the other's is as far on the other side."""
    low, high = SPREAD_PPM
    spread = low + (wave(seed, f"{pair}:spread", tick, _SPREAD_PERIOD) + PPM) * (high - low) // (2 * PPM)
    above = (drawn(seed, f"{pair}:order", 0) >= 0) == ours
    return spread // 2 if above else -(spread // 2)


def wave(seed: int, label: str, tick: int, period: int) -> int:
    """A smooth pseudo-random walk between -PPM and +PPM: a knot every `period` ticks, lines between."""
    knot, offset = divmod(tick, period)
    before, after = drawn(seed, label, knot), drawn(seed, label, knot + 1)
    return before + (after - before) * offset // period


@lru_cache(maxsize=4_096)
def drawn(seed: int, label: str, index: int) -> int:
    """One of -PPM..PPM, always the same of the same."""
    digest = blake2b(f"{seed}:{label}:{index}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") % (2 * PPM + 1) - PPM


def _seconds(text: str) -> int:
    if not text.strip().isdecimal():
        raise _invalid(f"{text.strip()!r} is not a number of whole seconds")
    return int(text)


def _prices(texts: Sequence[str]) -> Iterator[int]:
    for text in texts:
        try:
            price = Decimal(text.strip())
        except InvalidOperation:
            raise _invalid(f"{text.strip()!r} is not a price") from None
        if not price.is_finite() or price >= _USD_MAX or (usd := int(price * USD)) <= 0:
            raise _invalid(f"{text.strip()!r} is not a price above zero and below {_USD_MAX} dollars")
        yield usd


def _invalid(why: str) -> FillwrightError:
    return FillwrightError(Code.CONFIG_INVALID, f"table of prices: {why}")
