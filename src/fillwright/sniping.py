"""New pools: what a sniper wants of one, why it refuses one, and which snipers a pool concerns. Pure.

Decides: whether a pool is one that a sniper waits for, and which of its conditions the pool fails, in words. Must
never: take what is not known for good, or believe a token's own word: a new one has no name here but its mint.
"""

from collections.abc import Iterator
from enum import StrEnum
from typing import Final, TypeAlias

import msgspec

from fillwright.errors import Code, Problem
from fillwright.units import BPS_ONE, Atoms, Mint, OrderId, Token

LOCKED_BPS_MIN: Final = 9_500
"""Liquidity counts as locked (or burned) where at least this share of it is."""
MAX_AGE_S_DEFAULT: Final = 60
DECLINES_MAX: Final = 3
"""A pool that failed so often when it was signed for is left alone: turning it to and fro makes no endless history."""
DECLINED_MAX: Final = 32
"""Declined pools that an order remembers, the latest."""
UNCHOSEN: Final = Token("?", Mint(""), 0)
"""The token of a sniper that waits for any new pool, until one is chosen."""


class Listing(msgspec.Struct, frozen=True, kw_only=True):
    """A pool as it was created: `mint` is the new token, `against` the one it is paid with."""

    venue: str
    address: str
    mint: Mint
    against: Mint
    creator: str
    slot: int
    unix_seconds: int


class Facts(msgspec.Struct, frozen=True, kw_only=True):
    """What the chain knows of a listed pool and its new token at one slot."""

    slot: int
    unix_seconds: int
    decimals: int
    """Of the new token, from its mint account."""
    mint_authority: bool
    """Whether somebody can make more of the token."""
    freeze_authority: bool
    """Whether somebody can freeze holders' accounts."""
    liquidity: Atoms
    """The pool's reserve of the token that is paid."""
    locked_bps: int
    """The share of the liquidity that its providers cannot take back now, burned or not."""
    burned_bps: int
    extensions: tuple[str, ...]
    """Of Token-2022: a transfer fee, a hook and the like."""
    sellable: bool
    """Whether a sale of what was bought, simulated on this state, goes through."""


class Lock(StrEnum):
    """What must have become of the providers' claim on the liquidity."""

    LOCKED = "locked"
    BURNED = "burned"
    ANY = "any"


class Require(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Safety conditions; each is in force unless it was given up in so many words."""

    mint_authority_revoked: bool = True
    freeze_authority_none: bool = True
    liquidity: Lock = Lock.LOCKED
    extensions_none: bool = True
    sellable: bool = True


class Snipe(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Which new pool a sniper waits for: of a mint, by a creator, or any against the token that it pays."""

    mint: Mint | None = None
    creator: str | None = None
    min_liquidity: Atoms = Atoms(0)
    """Of the token that is paid."""
    max_age_s: int = MAX_AGE_S_DEFAULT
    """Since the pool was created, by the chain's clock."""
    require: Require = Require()


def wants(snipe: Snipe, against: Mint, venues: tuple[str, ...] | None, listing: Listing) -> bool:
    """Whether this is a pool that the sniper waits for, whatever its conditions say of it."""
    return (
        listing.against == against
        and snipe.mint in (None, listing.mint)
        and snipe.creator in (None, listing.creator)
        and (venues is None or listing.venue in venues)
    )


def refusals(snipe: Snipe, listing: Listing, facts: Facts | None) -> tuple[Problem, ...]:
    """Every condition that the pool fails; empty where it may be bought from. None: the chain has no such pool."""
    if facts is None:
        return (Problem(Code.SNIPE_GONE, "the pool is no more"),)
    return (*_of_the_pool(snipe, listing, facts), *_of_the_token(snipe.require, facts))


def _of_the_pool(snipe: Snipe, listing: Listing, facts: Facts) -> Iterator[Problem]:
    age_s = facts.unix_seconds - listing.unix_seconds
    if age_s > snipe.max_age_s:
        yield Problem(Code.SNIPE_AGE, f"the pool is {age_s} s old, at most {snipe.max_age_s} s are allowed")
    if facts.liquidity < snipe.min_liquidity:
        yield Problem(Code.SNIPE_LIQUIDITY, "the pool holds less of the token that is paid than is required")
    share = {Lock.LOCKED: facts.locked_bps, Lock.BURNED: facts.burned_bps, Lock.ANY: BPS_ONE}[snipe.require.liquidity]
    if share < LOCKED_BPS_MIN:
        why = f"only {share // 100} % of the liquidity are {snipe.require.liquidity}: the rest can be taken back"
        yield Problem(Code.SNIPE_UNLOCKED, why)


def _of_the_token(require: Require, facts: Facts) -> Iterator[Problem]:
    if require.mint_authority_revoked and facts.mint_authority:
        yield Problem(Code.SNIPE_MINTABLE, "somebody can still make more of the token")
    if require.freeze_authority_none and facts.freeze_authority:
        yield Problem(Code.SNIPE_FREEZABLE, "somebody can freeze the accounts of those who hold the token")
    if require.extensions_none and facts.extensions:
        yield Problem(Code.SNIPE_EXTENSIONS, f"the token has extensions: {', '.join(facts.extensions)}")
    if require.sellable and not facts.sellable:
        yield Problem(Code.SNIPE_UNSELLABLE, "what would be bought cannot be sold again")


def unsteady(declined: tuple[str, ...]) -> frozenset[str]:
    """Of the pools that an order has declined, each named once a time: those that it shall not choose again."""
    return frozenset(address for address in declined if declined.count(address) >= DECLINES_MAX)


# --- very many --------------------------------------------------------------------------------------------


class Hunter(msgspec.Struct, frozen=True):
    """A resting sniper as the index keeps it."""

    order_id: OrderId
    account: str
    seq: int
    against: Mint
    venues: tuple[str, ...] | None
    snipe: Snipe
    unsteady: frozenset[str] = frozenset()
    """Pools that it leaves alone, whatever they are now."""


_Key: TypeAlias = tuple[Mint, str, str]


class Hunters:
    """All resting snipers that this process knows of, by the token they pay and what they wait for."""

    def __init__(self) -> None:
        self._hunters: dict[OrderId, Hunter] = {}
        self._by_key: dict[_Key, dict[OrderId, Hunter]] = {}

    def __len__(self) -> int:
        return len(self._hunters)

    @property
    def max_age_s(self) -> int:
        """No hunter wants an older pool."""
        return max((hunter.snipe.max_age_s for hunter in self._hunters.values()), default=0)

    def put(self, hunter: Hunter) -> bool:
        """In place of what it was before; one known in a later state stays. Whether it is new, or has moved on."""
        known = self._hunters.get(hunter.order_id)
        if known is not None and known.seq >= hunter.seq:
            return False
        self.remove(hunter.order_id)
        self._hunters[hunter.order_id] = hunter
        self._by_key.setdefault(_key_of(hunter), {})[hunter.order_id] = hunter
        return True

    def remove(self, order_id: OrderId) -> None:
        hunter = self._hunters.pop(order_id, None)
        if hunter is None:
            return
        beside = self._by_key[_key_of(hunter)]
        del beside[order_id]
        if not beside:
            del self._by_key[_key_of(hunter)]

    def concerned(self, listing: Listing) -> bool:
        """Whether anybody waits for this pool."""
        return next(self._after(listing), None) is not None

    def after(self, listing: Listing) -> list[Hunter]:
        """Those that wait for this pool, first come first."""
        return sorted(self._after(listing), key=lambda hunter: hunter.order_id)

    def _after(self, listing: Listing) -> Iterator[Hunter]:
        keys = ((listing.against, "", ""), (listing.against, listing.mint, ""), (listing.against, "", listing.creator))
        beside = (hunter for key in keys for hunter in self._by_key.get(key, {}).values())
        return (
            each
            for each in beside
            if wants(each.snipe, each.against, each.venues, listing) and listing.address not in each.unsteady
        )


def _key_of(hunter: Hunter) -> _Key:
    """One that names a mint stands by it, whoever is to create the pool."""
    snipe = hunter.snipe
    return (hunter.against, snipe.mint or "", "" if snipe.mint else snipe.creator or "")
