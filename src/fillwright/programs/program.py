"""What can be said to, and known of, any program that swaps: the `Program` protocol and its values.

Decides: the shape in which accounts and swaps pass between the chain and the engine. Must never: know one program's
layout, or do anything but turn values into values.
"""

from collections.abc import Mapping, Sequence
from typing import Protocol, TypeAlias

import msgspec
from solders.instruction import Instruction
from solders.pubkey import Pubkey

from fillwright.order import Mode
from fillwright.pools import Pool
from fillwright.units import Atoms, Mint


class Account(msgspec.Struct, frozen=True, gc=False):
    """What an address holds: the program that owns it, and its bytes."""

    owner: str
    data: bytes


Accounts: TypeAlias = Mapping[str, Account]
"""By address, all of one moment. An address that was asked for and holds nothing is simply absent."""


class SwapCall(msgspec.Struct, frozen=True, kw_only=True):
    """One swap as an instruction tells it.

    `amount` goes in for exact in, and comes out for exact out; `limit` is the least out, or the most in.
    """

    pool: str
    mode: Mode
    mint_in: Mint
    mint_out: Mint
    amount: Atoms
    limit: Atoms
    owner: str
    """Who signs, and owns the token accounts."""
    source: str
    """Token account that pays."""
    destination: str
    """Token account that is paid."""


class Program(Protocol):
    """One deployed program. Obligations of every implementation:

    - Anything unknown (owner, length, discriminator, a feature that we do not have) is refused with PoolRefused
      (POOL_REFUSED), never guessed at.
    - `read` of what `swap` wrote gives the same call, and None for an instruction of another kind than `swap` writes.
    """

    @property
    def id(self) -> str: ...

    @property
    def kind(self) -> str:
        """Of its pools: see pools.Pool.kind."""
        ...

    @property
    def venue(self) -> str:
        """See pools.Pool.venue."""
        ...

    @property
    def pool_bytes(self) -> int:
        """The length of a pool's account."""
        ...

    @property
    def mint_offsets(self) -> tuple[int, int]:
        """Where its two mints stand in it: to search a node's accounts by."""
        ...

    @property
    def limit_codes(self) -> frozenset[int]:
        """The custom errors of its instruction that say that a swap's limit was not met."""
        ...

    def is_pool(self, account: Account) -> bool:
        """Whether this is a pool of this program, swappable or not."""
        ...

    def mints(self, pool: Account) -> tuple[Mint, Mint]: ...

    def linked(self, address: str, known: Accounts) -> tuple[str, ...]:
        """The accounts that `decode` and `swap` need beside the pool's own, as far as `known` tells.

        Some follow from others (tick arrays from a bitmap): fetch, and ask again until nothing new is told; after two
        rounds it is complete. Optional ones are told as well, and may turn out to hold nothing.
        """
        ...

    def decode(self, address: str, known: Accounts) -> Pool:
        """The pool, from accounts of one moment."""
        ...

    def swap(self, call: SwapCall, known: Accounts, *, spare: int = 2) -> Instruction:
        """The program's own instruction, with every account that a swap of this size looks into.

        `spare`: how many tick or bin arrays more, in case the price has moved meanwhile: one beyond, then one before.
        Raises PoolRefused: another pool's mint, an account that `known` lacks, more than the pool can swap. Whether the
        limit will hold is not looked at.
        """
        ...

    def read(self, accounts: Sequence[Pubkey], data: bytes, holds: Mapping[str, Mint]) -> SwapCall | None:
        """The call that an instruction of this program makes; `accounts` are those it names, in its order.

        `holds`: token account -> its mint. Some programs tell the direction by nothing else: where `holds` does not
        know the paying account then, or the data is cut short, the instruction is refused.
        """
        ...
