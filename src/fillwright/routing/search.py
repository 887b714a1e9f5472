"""Which of the offered pools can matter to an intent, and what no split over all of them can beat. Pure.

Decides: how far down the book to read. Must never: leave out a pool that could carry a part of the optimum: a pool
whose spot price is not above the price that the bound is made of earns nothing there, so the bound holds for it too.
"""

from bisect import bisect_left
from math import ceil, floor
from operator import neg
from typing import Final

import msgspec

from fillwright.order import Intent, Mode
from fillwright.routing.book import Book, Candidate, Offer, Shelf
from fillwright.routing.flow import Flow
from fillwright.routing.plan import Paths, Solution, solved
from fillwright.units import Mint

_POOLS_FIRST: Final = 16
_HOPS_FIRST: Final = 8
_GROWTH: Final = 4


class Found(msgspec.Struct, frozen=True):
    """The candidates that matter, and the certificate: most out for exact in, least in for exact out, in atoms.

    Without a solution where the curves do not reach to the amount; the bound is then the best spot price's.
    """

    paths: Paths
    bound: int
    solution: Solution | None


class _Reader:
    """One direction of the book, read from the top."""

    def __init__(self, book: Book, offers: tuple[Offer, ...], mint_in: Mint, mint_out: Mint) -> None:
        self.book, self.offers = book, offers
        self.mint_in, self.mint_out = mint_in, mint_out
        self.shelf: Shelf = book.shelf(mint_in, mint_out)
        self.read = 0
        self.found: list[Candidate] = []

    @property
    def rate_left(self) -> float:
        """Of the best pool that is not read yet."""
        return self.shelf.rates[self.read] if self.read < len(self.shelf.rates) else 0.0

    def onward(self, price: float = 0.0) -> bool:
        """Read more of the pools above this price; False where there is no more."""
        until = max(_POOLS_FIRST, self.read * _GROWTH)
        if price > 0:
            until = min(until, bisect_left(self.shelf.rates, -price, key=neg))
        rows = self.shelf.rows[self.read : until]
        for row in rows:
            candidate = self.book.candidate(row, self.mint_in, self.mint_out, self.offers[row.offer].time)
            if candidate is not None:
                self.found.append(candidate)
        self.read += len(rows)
        return bool(rows)


class _Ways:
    """Everything that is read so far: the direct pools, and the most promising intermediates."""

    def __init__(self, intent: Intent, book: Book, offers: tuple[Offer, ...], hops_max: int) -> None:
        ends = intent.token_in.mint, intent.token_out.mint
        self.direct = _Reader(book, offers, *ends)
        self.direct.onward()
        between = book.between(*ends) if hops_max > 1 else []
        pairs = [(_Reader(book, offers, ends[0], k), _Reader(book, offers, k, ends[1])) for k in between]
        self.hops = sorted(pairs, key=lambda pair: -_product(pair))
        self.open = 0
        self._paths: Paths | None = None
        self.open_hops()

    @property
    def best_rate(self) -> float:
        return max([self.direct.shelf.best_rate, *(_product(pair) for pair in self.hops[:1])])

    def paths(self) -> Paths:
        """The same value until more is read."""
        if self._paths is None:
            hops = ((tuple(first.found), tuple(second.found)) for first, second in self.hops[: self.open])
            self._paths = Paths(tuple(self.direct.found), tuple(hops))
        return self._paths

    def open_hops(self) -> bool:
        fresh = self.hops[self.open : max(_HOPS_FIRST, self.open * _GROWTH)]
        for pair in fresh:
            for reader in pair:
                reader.onward()
        self.open += len(fresh)
        return bool(fresh)

    def missing(self, flow: Flow) -> bool:
        """Read on wherever a pool left out could earn something at the flow's prices; False where none could."""
        readers = [(self.direct, flow.price)]
        for (first, second), middle in zip(self.hops, flow.middles, strict=False):
            readers += [(first, flow.price / middle), (second, middle)]
        more = [reader.onward(price) for reader, price in readers if reader.rate_left > price]
        if self.open < len(self.hops) and _product(self.hops[self.open]) > flow.price:
            more.append(self.open_hops())
        return self._changed(any(more))

    def all_onward(self) -> bool:
        readers = [self.direct, *(reader for pair in self.hops[: self.open] for reader in pair)]
        return self._changed(any([*(reader.onward() for reader in readers), self.open_hops()]))

    def _changed(self, more: bool) -> bool:
        if more:
            self._paths = None
        return more


def find(intent: Intent, book: Book, offers: tuple[Offer, ...], hops_max: int) -> Found:
    """Every round reads on, and the book is finite. What was read for one order is there for the next."""
    read = book.read_at(tuple(offer.time for offer in offers))
    name = (intent.token_in.mint, intent.token_out.mint, hops_max)
    ways = read.get(name)
    if not isinstance(ways, _Ways):
        ways = read[name] = _Ways(intent, book, offers, hops_max)
    while True:
        paths = ways.paths()
        solution = solved(intent, paths)
        if solution is None:
            if not ways.all_onward():
                return Found(paths, _at_best_price(intent, ways.best_rate), None)
        elif not ways.missing(solution.flow):
            bound = solution.flow.bound
            return Found(paths, floor(bound) if intent.mode is Mode.EXACT_IN else ceil(bound), solution)


def _product(pair: tuple[_Reader, _Reader]) -> float:
    return pair[0].shelf.best_rate * pair[1].shelf.best_rate


def _at_best_price(intent: Intent, rate: float) -> int:
    if intent.mode is Mode.EXACT_IN:
        return floor(intent.amount * rate)
    return ceil(intent.amount / rate) if rate > 0 else 0
