"""Which pools there are for a pair of tokens, found among a program's accounts.

Decides: what is asked of the nodes for a pair, how long the answer stands, and which of many pools are the deepest.
Must never: ask for a pair that nobody wants, or twice at once: a node can be asked nothing heavier.
"""

import asyncio
from collections.abc import Iterable, Mapping
from typing import Final, NamedTuple, TypeAlias

from solders.pubkey import Pubkey

from fillwright.adapters.solana.protocol import Filter, Holds, Size
from fillwright.adapters.solana.rpc import Rpc
from fillwright.errors import FillwrightError
from fillwright.pools import PoolRefused, amm_v4, clmm, cpmm, damm_v2, dlmm
from fillwright.pools.pool import TOKEN_PROGRAM
from fillwright.programs import PROGRAMS, Account, Program
from fillwright.units import Mint

Pair: TypeAlias = tuple[Mint, Mint]
"""In rising order."""

_STANDS_S: Final = 600.0
_FAILED_S: Final = 30.0
"""A search that failed is made again after so long, if somebody asks; after twice as long with each failure more."""
_AT_ONCE: Final = 4
_CANDIDATES_MAX: Final = 400
"""Of one program and pair: more are not ranked, but left out."""
_PAIRS_MAX: Final = 1_024

_VAULTS: Final = {
    amm_v4.PROGRAM: amm_v4.AmmV4Pool.linked,
    cpmm.PROGRAM: cpmm.CpmmPool.linked,
    clmm.PROGRAM: clmm.ClmmPool.linked,
    dlmm.PROGRAM: dlmm.DlmmPool.linked,
    damm_v2.PROGRAM: damm_v2.DammV2Pool.linked,
}
"""The first two of these are a pool's vaults."""
_RISING: Final = frozenset({cpmm.PROGRAM, clmm.PROGRAM})
"""These hold their mints in the order of their bytes: one question a pair instead of two."""


class _Found(NamedTuple):
    pools: tuple[str, ...]
    until: float
    failure: FillwrightError | None
    failures: int
    """In a row."""


class Search:
    """To be used in one running loop, and closed in it."""

    def __init__(self, rpc: Rpc, *, each_max: int) -> None:
        """`each_max`: pools of one program and pair, the deepest."""
        self._rpc = rpc
        self._loop = asyncio.get_running_loop()
        self._each_max = each_max
        self._found: dict[Pair, _Found] = {}
        self._searching: dict[Pair, asyncio.Task[None]] = {}
        self._room = asyncio.Semaphore(_AT_ONCE)

    async def close(self) -> None:
        searching = tuple(self._searching.values())
        for task in searching:
            task.cancel()
        await asyncio.gather(*searching, return_exceptions=True)

    def known(self, pair: Pair) -> tuple[str, ...] | None:
        """What the last search has found; None before the first one has ended. Starts another where it is due."""
        found = self._found.get(pair)
        if (found is None or found.until <= self._loop.time()) and pair not in self._searching:
            task = self._searching[pair] = asyncio.create_task(self._search(pair))
            task.add_done_callback(lambda _: self._searching.pop(pair, None))
        return None if found is None else found.pools

    def failure(self, pair: Pair) -> FillwrightError | None:
        """Why the last search may have missed some."""
        found = self._found.get(pair)
        return None if found is None else found.failure

    async def wait(self, pairs: Iterable[Pair], within_s: float) -> None:
        """Until these searches have ended, or the time has."""
        under_way = {self._searching[pair] for pair in pairs if pair in self._searching}
        if under_way:
            await asyncio.wait(under_way, timeout=within_s)

    async def _search(self, pair: Pair) -> None:
        """Nodes may refuse such questions: then what was found before still stands."""
        failure: FillwrightError | None = None
        pools: list[str] = []
        for program in PROGRAMS.values():
            try:
                pools += await self._of(program, pair)
            except FillwrightError as error:
                failure = error
        before, failures = self._found.pop(pair, None), 0
        if failure is not None:
            failures = before.failures + 1 if before is not None else 1
            pools = list(dict.fromkeys((*(before.pools if before is not None else ()), *pools)))
        while len(self._found) >= _PAIRS_MAX:
            del self._found[next(iter(self._found))]
        stands_s = min(_STANDS_S, _FAILED_S * 2 ** min(failures - 1, 8)) if failures else _STANDS_S
        self._found[pair] = _Found(tuple(pools), self._loop.time() + stands_s, failure, failures)

    async def _of(self, program: Program, pair: Pair) -> list[str]:
        """This program's deepest pools of the pair."""
        found: dict[str, Account] = {}
        for order in _orders(program, pair):
            filters: list[Filter] = [Size(program.pool_bytes)]
            filters += [
                Holds(offset, bytes(Pubkey.from_string(mint)))
                for offset, mint in zip(program.mint_offsets, order, strict=True)
            ]
            async with self._room:
                _, accounts = await self._rpc.program_accounts(program.id, filters)
            found |= {address: account for address, account in accounts.items() if program.is_pool(account)}
        if len(found) <= self._each_max:
            return list(found)
        return await self._deepest(program, dict(list(found.items())[:_CANDIDATES_MAX]))

    async def _deepest(self, program: Program, found: Mapping[str, Account]) -> list[str]:
        """By the product of what lies in both vaults, which is comparable between pools of one pair."""
        vaults: dict[str, tuple[str, ...]] = {}
        for address, account in found.items():
            try:
                vaults[address] = _VAULTS[program.id](account.data)[:2]
            except PoolRefused:
                continue
        async with self._room:
            _, held = await self._rpc.accounts([vault for both in vaults.values() for vault in both])
        depth = {address: _amount(held.get(both[0])) * _amount(held.get(both[1])) for address, both in vaults.items()}
        ranked = sorted((address for address in depth if depth[address]), key=lambda address: -depth[address])
        return ranked[: self._each_max]


def pair_of(first: Mint, second: Mint) -> Pair:
    return (first, second) if first < second else (second, first)


def _orders(program: Program, pair: Pair) -> tuple[Pair, ...]:
    first, second = sorted(pair, key=lambda mint: bytes(Pubkey.from_string(mint)))
    return ((first, second),) if program.id in _RISING else ((first, second), (second, first))


def _amount(vault: Account | None) -> int:
    if vault is None or vault.owner != TOKEN_PROGRAM:
        return 0
    return int.from_bytes(vault.data[64:72], "little")
