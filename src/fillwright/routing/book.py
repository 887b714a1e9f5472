"""The offered pools, sorted for search: by direction, best spot price first. Pure.

Decides: which pools of a direction come first, and which tokens lie between two. Must never: depend on the time; a book
stays true as long as the pools are the same values, so `Books` can keep it from one order to the next.
"""

from collections.abc import Iterable, Sequence
from heapq import nlargest
from typing import Final

import msgspec

from fillwright.errors import FillwrightError, Problem
from fillwright.order import Intent, Mode
from fillwright.pools import ChainTime, Pool, Segment
from fillwright.units import Atoms, Millis, Mint

_HEADROOM: Final = 1.0 + 1e-8
"""Segments may promise a billionth more than the pool gives; a row's rate stays above that."""
_BOOKS_MAX: Final = 16


class Offer(msgspec.Struct, frozen=True, kw_only=True):
    """A venue's answer: its pools among the tokens asked for at a moment of the chain, or the problem it had."""

    venue: str
    latency_ms: Millis
    pools: tuple[Pool, ...] = ()
    time: ChainTime | None = None
    problem: Problem | None = None


class Candidate(msgspec.Struct, frozen=True):
    """A pool in one direction, with its curve."""

    pool: Pool
    time: ChainTime
    mint_in: Mint
    mint_out: Mint
    segments: tuple[Segment, ...]

    @property
    def key(self) -> tuple[str, str, Mint]:
        return self.pool.venue, self.pool.address, self.mint_in

    def give(self, amount_in: int) -> int:
        """Output for this input, to the unit. Raises PoolRefused."""
        return self.pool.quote_in(Atoms(amount_in), self.mint_in, self.time).amount_out

    def need(self, amount_out: int) -> int:
        """Input for this output, to the unit. Raises PoolRefused."""
        return self.pool.quote_out(Atoms(amount_out), self.mint_in, self.time).amount_in


class Row(msgspec.Struct, frozen=True):
    """A pool in one direction: which offer's, its place in the book, and what no part of a swap on it can exceed."""

    pool: Pool
    offer: int
    place: int
    rate: float
    """Output for one atom of input before fees; 0 where the pool tells no price."""
    depth: float
    """The reserve of the output token."""


class Shelf:
    """One direction's rows, best rate first; in the same order however the offers stood."""

    def __init__(self, rows: Iterable[Row]) -> None:
        self.rows = sorted(rows, key=lambda row: (-row.rate, -row.depth, row.pool.venue, row.pool.address))
        self.rates = [row.rate for row in self.rows]
        self.depths = [row.depth for row in self.rows]
        self.deepest = max(self.rows, key=lambda row: row.depth, default=None)
        self.offers = {row.offer for row in self.rows}
        self.by_name = {(row.pool.venue, row.pool.address): row for row in self.rows}

    @property
    def best_rate(self) -> float:
        return self.rates[0] if self.rates else 0.0

    def likeliest(self, intent: Intent, count: int) -> list[Row]:
        """The rows that would serve the whole intent best if each were a constant product without a fee."""
        if len(self.rows) <= count:
            return self.rows
        amount = float(intent.amount)
        both = zip(self.rates, self.depths, strict=True)
        if intent.mode is Mode.EXACT_IN:
            worth = [rate * amount * depth / (depth + rate * amount) if depth else 0.0 for rate, depth in both]
        else:
            worth = [rate * (depth - amount) / depth if depth else 0.0 for rate, depth in both]
        least = nlargest(count, worth)[-1]
        return [row for row, each in zip(self.rows, worth, strict=True) if each >= least][:count]


_EMPTY: Final = Shelf(())


class Book:
    """All offered pools by direction. A pool that is offered twice counts once."""

    def __init__(self, offers: Sequence[Offer]) -> None:
        self.pools = tuple(offer.pools for offer in offers)
        rows: dict[tuple[Mint, Mint], list[Row]] = {}
        seen: set[tuple[str, str]] = set()
        for index, offer in enumerate(offers):
            for pool in offer.pools:
                name = (pool.venue, pool.address)
                if name not in seen:
                    seen.add(name)
                    reserves = _reserves(pool)
                    for mint_in, mint_out, depth in zip(*_ways(pool), reserves, strict=True):
                        row = Row(pool, index, len(seen), _rate(pool, mint_in), depth)
                        rows.setdefault((mint_in, mint_out), []).append(row)
        self._shelves = {pair: Shelf(each) for pair, each in rows.items()}
        self._beside: dict[Mint, set[Mint]] = {}
        for mint_in, mint_out in rows:
            self._beside.setdefault(mint_in, set()).add(mint_out)
        self._candidates: dict[int, Candidate | None] = {}
        self._read: tuple[object, dict[object, object]] = (None, {})

    def shelf(self, mint_in: Mint, mint_out: Mint) -> Shelf:
        return self._shelves.get((mint_in, mint_out), _EMPTY)

    def between(self, mint_in: Mint, mint_out: Mint) -> list[Mint]:
        """Tokens that some pool connects with either end, in a stable order."""
        found = self._beside.get(mint_in, set()) & self._beside.get(mint_out, set())
        return sorted(found - {mint_in, mint_out})

    def read_at(self, times: object) -> dict[object, object]:
        """What searches have read of this book at these times of the offers; the last times' is kept."""
        if self._read[0] != times:
            self._read = (times, {})
        return self._read[1]

    def candidate(self, row: Row, mint_in: Mint, mint_out: Mint, time: ChainTime | None) -> Candidate | None:
        """The row's curve at this time; None where the pool cannot swap then. The last time's is remembered."""
        if time is None:
            return None
        known = self._candidates.get(id(row))
        if known is None or known.time != time:
            known = Candidate(row.pool, time, mint_in, mint_out, _segments(row.pool, mint_in, time))
            self._candidates[id(row)] = known
        return known if known.segments else None


class Books:
    """The books of the last few sets of pools: the same pools are not sorted twice."""

    def __init__(self) -> None:
        self._books: dict[tuple[int, ...], Book] = {}

    def of(self, offers: Sequence[Offer]) -> Book:
        name = tuple(id(offer.pools) for offer in offers)  # a book holds its pools, so an id in use is not given anew
        book = self._books.pop(name, None) or Book(offers)
        self._books[name] = book
        if len(self._books) > _BOOKS_MAX:
            del self._books[next(iter(self._books))]
        return book


# --- what a pool may refuse to tell -------------------------------------------------------------------------


def _ways(pool: Pool) -> tuple[tuple[Mint, Mint], tuple[Mint, Mint]]:
    return (pool.mint_0, pool.mint_1), (pool.mint_1, pool.mint_0)


def _rate(pool: Pool, mint_in: Mint) -> float:
    try:
        numerator, denominator = pool.spot(mint_in)
        return numerator / denominator * _HEADROOM
    except (FillwrightError, ArithmeticError):
        return 0.0


def _reserves(pool: Pool) -> tuple[float, float]:
    """Of the output token, for either direction."""
    try:
        reserve_0, reserve_1 = pool.reserves()
    except (FillwrightError, ArithmeticError):
        return 0.0, 0.0
    return float(reserve_1), float(reserve_0)


def _segments(pool: Pool, mint_in: Mint, time: ChainTime) -> tuple[Segment, ...]:
    try:
        return pool.segments(mint_in, time)
    except (FillwrightError, ArithmeticError):
        return ()
