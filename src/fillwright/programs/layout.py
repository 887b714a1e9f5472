"""What the programs here share: telling a pool's account, finding others, writing and reading an instruction.

Decides: when an account is another than it should be. Must never: know one program's layout.
"""

from collections.abc import Mapping, Sequence
from typing import ClassVar, Final, TypeVar

from solders.instruction import AccountMeta
from solders.pubkey import Pubkey

from fillwright.order import Mode
from fillwright.pools import ChainTime, Pool
from fillwright.pools import pool as p
from fillwright.pools.pool import TOKEN_PROGRAM, U64_MAX
from fillwright.programs.program import Account, Accounts, SwapCall
from fillwright.units import Atoms, Mint

U64_BYTES: Final = 8
ARRAYS_EACH_WAY: Final = 4
"""Tick or bin arrays that are looked into beyond the one of the current price: a transaction holds no more."""
_LONG_PAST: Final = ChainTime(slot=2**62, unix_seconds=2**62)
"""When every pool has opened, and no recent volatility raises a fee: so a swap goes as far as it ever will."""

P = TypeVar("P", bound=Pool)


class Layout:
    """What can be told of a pool's account by its owner, its length and its first bytes: see program.Program."""

    id: ClassVar[str]
    kind: ClassVar[str]
    venue: ClassVar[str]
    pool_bytes: ClassVar[int]
    mint_offsets: ClassVar[tuple[int, int]]
    discriminator: ClassVar[bytes]
    limit_codes: ClassVar[frozenset[int]]

    def is_pool(self, account: Account) -> bool:
        begins_so = account.data.startswith(self.discriminator)
        return account.owner == self.id and len(account.data) == self.pool_bytes and begins_so

    def mints(self, pool: Account) -> tuple[Mint, Mint]:
        first, second = self.mint_offsets
        return Mint(p.pubkey(pool.data, first)), Mint(p.pubkey(pool.data, second))

    def pool_at(self, address: str, known: Accounts) -> Account:
        """Raises POOL_REFUSED where there is none."""
        account = account_at(address, known)
        if not self.is_pool(account):
            raise p.refused(f"{address} is no pool of {self.kind}")
        return account

    def pays_first(self, call: SwapCall, pool: Account) -> bool:
        """Whether the first of its mints goes in. Raises POOL_REFUSED unless both of the call's are the pool's."""
        mints = self.mints(pool)
        if (call.mint_in, call.mint_out) not in (mints, mints[::-1]):
            raise p.refused(f"pool {call.pool} does not trade {call.mint_in} for {call.mint_out}")
        return call.mint_in == mints[0]


def account_at(address: str, known: Accounts) -> Account:
    """Raises POOL_REFUSED where `known` lacks it."""
    account = known.get(address)
    if account is None:
        raise p.refused(f"account {address} is not known")
    return account


def optional_at(address: str, known: Accounts, owner: str) -> bytes | None:
    """The bytes of an account that need not be there: what others own at its address is not it."""
    account = known.get(address)
    return account.data if account is not None and account.owner == owner else None


def vault_at(address: str, known: Accounts) -> bytes:
    """The bytes of a token account of the plain token program: of Token-2022, none may be traded."""
    account = account_at(address, known)
    if account.owner != TOKEN_PROGRAM:
        raise p.refused(f"vault {address} belongs to {account.owner}, not to the token program")
    return account.data


# ---- arrays of ticks and bins


def after(pool: P, call: SwapCall) -> P:
    """The pool as this swap leaves it, to see how far it goes. Raises PoolRefused where it cannot swap so much."""
    swap = pool.swap_in if call.mode is Mode.EXACT_IN else pool.swap_out
    return swap(call.amount, call.mint_in, _LONG_PAST)[1]


def on_the_way(used: Sequence[int], here: int, last: int, *, down: bool, spare: int) -> list[int]:
    """Of the arrays in use (numbers, rising) those from `here` to `last`, in travel order.

    With one to spare, the next one beyond them as well; with two, also the nearest one before them.
    """
    onward, back = [n for n in used if n >= here], [n for n in reversed(used) if n < here]
    if down:
        onward, back = [n for n in reversed(used) if n <= here], [n for n in used if n > here]
    needed = sum(n >= last if down else n <= last for n in onward)
    return back[: max(0, spare - 1)] + onward[: needed + min(spare, 1)]


# ---- writing


def derived(program: str, *seeds: bytes) -> str:
    """The address that a program derives from seeds."""
    return str(Pubkey.find_program_address(seeds, Pubkey.from_string(program))[0])


def key_bytes(address: str) -> bytes:
    return bytes(Pubkey.from_string(address))


def readonly(*addresses: str) -> list[AccountMeta]:
    return [AccountMeta(Pubkey.from_string(each), is_signer=False, is_writable=False) for each in addresses]


def writable(*addresses: str) -> list[AccountMeta]:
    return [AccountMeta(Pubkey.from_string(each), is_signer=False, is_writable=True) for each in addresses]


def signer(address: str) -> list[AccountMeta]:
    return [AccountMeta(Pubkey.from_string(address), is_signer=True, is_writable=False)]


def u64_bytes(*amounts: int) -> bytes:
    """Little-endian, one after the other. What does not fit is refused: no vault holds more."""
    for amount in amounts:
        if not 0 <= amount <= U64_MAX:
            raise p.unfillable(f"{amount} atoms are more than an instruction can say")
    return b"".join(amount.to_bytes(U64_BYTES, "little") for amount in amounts)


# ---- reading


def check_shape(accounts: Sequence[Pubkey], data: bytes, *, least: int, size: int) -> None:
    """Raises POOL_REFUSED for a swap that is cut short, or says more than is known."""
    if len(accounts) < least or len(data) != size:
        raise p.refused(f"a swap of {len(accounts)} accounts and {len(data)} bytes is not understood")


def two_amounts(data: bytes, offset: int) -> tuple[Atoms, Atoms]:
    return Atoms(p.u64(data, offset)), Atoms(p.u64(data, offset + U64_BYTES))


def direction(source: str, first: Mint, second: Mint, holds: Mapping[str, Mint]) -> tuple[Mint, Mint]:
    """(what goes in, what comes out) of two mints, by what the paying account holds."""
    if holds.get(source) not in (first, second):
        raise p.refused(f"{source} is not known to hold {first} or {second}")
    return (first, second) if holds[source] == first else (second, first)
