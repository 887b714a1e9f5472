"""New pools of made-up tokens: which are listed when, and which of them are traps. Pure.

Decides: a seed's schedule, and what is true of each newcomer at any slot. Must never: keep state (the chain does), or
let a trap look like anything but what it is once it has sprung.
"""

from enum import StrEnum
from functools import lru_cache
from hashlib import blake2b
from typing import Final

import msgspec

from fillwright.adapters.sim.listing import SOL, USDC, SimPool, cpmm, damm_v2
from fillwright.adapters.sim.prices import PPM, drawn
from fillwright.pools import ChainTime, PoolRefused
from fillwright.pools.cpmm import CpmmPool
from fillwright.pools.damm_v2 import DammV2Pool
from fillwright.pools.damm_v2_fees import Wide
from fillwright.sniping import Facts, Listing
from fillwright.units import BPS_ONE, Atoms, Mint, Token

_BASE58: Final = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
_ADDRESS: Final = 44
_NAMED: Final = 11
"""So many characters of its mint stand in the name of a pool."""
_CREATORS: Final = 4
_HONEST_PERCENT: Final = 50
_SOL_PERCENT: Final = 75
_BURNED_PERCENT: Final = 50
_LEFT: Final = 1_000
"""Of pulled liquidity one part in so many is left."""
_SHALLOW: Final = 400
"""A shallow pool holds one part in so many of what the others do."""
_PULL_SLOTS: Final = (3, 40)
"""So many slots after its creation a pool's liquidity is pulled."""
_SAMPLE: Final = 1_000
"""A sale is simulated with one part in so many of the pool's reserve."""


class Trap(StrEnum):
    MINTABLE = "mintable"
    FREEZABLE = "freezable"
    SHALLOW = "shallow"
    UNLOCKED = "unlocked"
    """Its liquidity can be pulled at any time, though nobody does."""
    PULLED = "pulled"
    """Looks honest, its lock included, until the lock ends and the liquidity goes."""
    UNSELLABLE = "unsellable"
    TAXED = "taxed"
    """A token extension takes a fee of every transfer."""


class Newcomer(msgspec.Struct, frozen=True, kw_only=True):
    """A listing with all that was, and will be, true of it."""

    offset: int
    """Slots from the chain's first one to its creation."""
    token: Token
    against: Token
    creator: str
    trap: Trap | None
    burned: bool
    pulled_at: int | None
    """Slots from the chain's first one until its liquidity goes."""
    pool: SimPool
    """As it is created."""

    def listing(self, time: ChainTime) -> Listing:
        """`time`: of its creation."""
        return Listing(
            venue=self.pool.venue,
            address=self.pool.address,
            mint=self.token.mint,
            against=self.against.mint,
            creator=self.creator,
            slot=time.slot,
            unix_seconds=time.unix_seconds,
        )

    def is_pulled(self, offset: int) -> bool:
        return self.pulled_at is not None and offset >= self.pulled_at

    def facts(self, pool: SimPool, offset: int, time: ChainTime) -> Facts:
        """Of its pool as it is at this offset and time."""
        free = self.trap is Trap.UNLOCKED or self.is_pulled(offset)
        return Facts(
            slot=time.slot,
            unix_seconds=time.unix_seconds,
            decimals=self.token.decimals,
            mint_authority=self.trap is Trap.MINTABLE,
            freeze_authority=self.trap is Trap.FREEZABLE,
            liquidity=pool.reserves()[pool.mint_1 == self.against.mint],
            locked_bps=0 if free else BPS_ONE,
            burned_bps=BPS_ONE if self.burned and not free else 0,
            extensions=("transferFeeConfig",) if self.trap is Trap.TAXED else (),
            sellable=self.trap is not Trap.UNSELLABLE and self._buys_back(pool, time),
        )

    def _buys_back(self, pool: SimPool, time: ChainTime) -> bool:
        amount = pool.reserves()[pool.mint_1 == self.token.mint] // _SAMPLE
        try:
            return pool.swap_in(Atoms(max(1, amount)), self.token.mint, time)[0].amount_out > 0
        except PoolRefused:
            return False


class Newcomers(msgspec.Struct, frozen=True):
    """One pool about every so many slots, the same from the same seed."""

    seed: int
    every_slots: int

    def latest(self, offset: int) -> int:
        """The number of the last one that is listed at this offset; -1 before the first."""
        last = offset // self.every_slots
        return last if _offset(self.seed, self.every_slots, last) <= offset else last - 1

    def number(self, number: int) -> Newcomer:
        return _newcomer(self.seed, self.every_slots, number)


def pulled(pool: SimPool) -> SimPool:
    """The pool after its providers took back all but a little."""
    change = msgspec.structs.replace
    match pool:
        case CpmmPool():
            reserve_0, reserve_1 = pool.reserves()
            return change(
                pool,
                vault_0_amount=Atoms(pool.vault_0_amount - reserve_0 + max(1, reserve_0 // _LEFT)),
                vault_1_amount=Atoms(pool.vault_1_amount - reserve_1 + max(1, reserve_1 // _LEFT)),
            )
        case DammV2Pool():
            return change(
                pool,
                liquidity=Wide(str(int(pool.liquidity) // _LEFT)),
                reserve_0=Atoms(pool.reserve_0 // _LEFT),
                reserve_1=Atoms(pool.reserve_1 // _LEFT),
            )
        case _:
            raise AssertionError(f"no newcomer is a {pool.kind}")


def _offset(seed: int, every_slots: int, number: int) -> int:
    return number * every_slots + _below(seed, number, "offset", every_slots)


@lru_cache(maxsize=1_024)
def _newcomer(seed: int, every_slots: int, number: int) -> Newcomer:
    mint = _address("Sim", seed, f"mint:{number}")
    token = Token(mint[:_NAMED], Mint(mint), (6, 9)[_below(seed, number, "nine", 2)])
    against = SOL if _below(seed, number, "against", 100) < _SOL_PERCENT else USDC
    offset = _offset(seed, every_slots, number)
    trap = None
    if _below(seed, number, "honest", 100) >= _HONEST_PERCENT:
        trap = tuple(Trap)[_below(seed, number, "trap", len(Trap))]
    units = (40 if against is SOL else 4_000) * (50 + _below(seed, number, "depth", 100)) // 100
    reserve = units * 10**against.decimals // (_SHALLOW if trap is Trap.SHALLOW else 1)
    supply = (10**6 + _below(seed, number, "supply", 10**9)) * 10**token.decimals
    low, high = _PULL_SLOTS
    return Newcomer(
        offset=offset,
        token=token,
        against=against,
        creator=_address("SimCreator", seed, f"creator:{_below(seed, number, 'creator', _CREATORS)}"),
        trap=trap,
        burned=_below(seed, number, "burned", 100) < _BURNED_PERCENT,
        pulled_at=offset + low + _below(seed, number, "pulled", high - low) if trap is Trap.PULLED else None,
        pool=(cpmm, damm_v2)[_below(seed, number, "venue", 2)](token, against, supply, reserve),
    )


def _below(seed: int, number: int, what: str, bound: int) -> int:
    """One of 0 to bound - 1."""
    return (drawn(seed, f"newcomer:{what}", number) + PPM) * bound // (2 * PPM + 1)


def _address(prefix: str, seed: int, what: str) -> str:
    """Base58 as long as a real one, and readable as made up."""
    digest = blake2b(f"{seed}:{what}".encode(), digest_size=_ADDRESS - len(prefix)).digest()
    return prefix + "".join(_BASE58[byte % len(_BASE58)] for byte in digest)
