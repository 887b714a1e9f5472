"""What every curve has in common: the `Pool` protocol, its values, its refusal, and reading account bytes.

Decides: what can be asked of a pool, and what an amount on chain may be. Must never: know a curve's formula,
read a clock, touch a float, or check a taker's limit (minimum out, maximum in: that is the chain's business).
"""

from functools import lru_cache
from typing import Final, Literal, Protocol, Self, TypeAlias

import msgspec

from fillwright.errors import Code, FillwrightError
from fillwright.units import Atoms, Mint

U64_MAX: Final = 2**64 - 1
"""The range of a token amount on chain."""
SLOTS_PER_EPOCH: Final = 432_000
TOKEN_PROGRAM: Final = "TokenkegQfeZyiNwAJbNbGKPFXCWuBvf9Ss623VQ5DA"
"""The SPL Token program. Token-2022 may take a transfer fee of its own."""

RefusalCode: TypeAlias = Literal[Code.POOL_REFUSED, Code.POOL_LIQUIDITY]


class PoolRefused(FillwrightError):
    """The pool cannot do it. Nothing changed, and its program would refuse too (or is not known to accept).

    POOL_REFUSED: this pool, or this mint, not at this time. POOL_LIQUIDITY: not this amount.
    """

    def __init__(self, code: RefusalCode, detail: str) -> None:
        super().__init__(code, detail)


class ChainTime(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """The chain's own clock, as a program sees it while it runs."""

    slot: int
    unix_seconds: int

    @property
    def epoch(self) -> int:
        return self.slot // SLOTS_PER_EPOCH


class Swap(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What one swap moves: the taker pays all of `amount_in` and receives all of `amount_out`.

    `fee` is the trade fee in atoms of `fee_mint`; the amounts already contain it.
    """

    amount_in: Atoms
    amount_out: Atoms
    fee: Atoms
    fee_mint: Mint


class Segment(msgspec.Struct, frozen=True, gc=False):
    """A stretch of a pool's curve in one direction, for the router's search only: never for an amount that is paid.

    Of `x` atoms of gross input (fee included, 0 <= x <= capacity) it gives `rate * x / (1 + x / depth)` atoms of
    output (after fees), so its marginal price is `rate / (1 + x / depth)**2`. A constant product with reserves X, Y
    and fee g on the input has rate (1 - g) * Y / X and depth X / (1 - g); a bin of constant price has depth infinity.
    An upper bound: over any stretch it promises at least what `quote_in` gives, and hardly more.
    """

    rate: float
    depth: float
    capacity: float


class Pool(Protocol):
    """One market of two mints, at one moment. A frozen value: a swap returns the next one.

    Obligations of every implementation:
    - The same integers as the on-chain program, to the unit, or PoolRefused. Never an approximation.
    - `quote_*` and `swap_*` of the same arguments agree; both are pure and depend on time only through `now`.
    - `amount_in` is what leaves the taker, `amount_out` what arrives, fees included.
    - A mint that is not of this pool, and a pool that may not swap at `now`, raise POOL_REFUSED;
      an amount it cannot fill (zero, above u64, more than there is, output rounds to zero) POOL_LIQUIDITY.
    """

    @property
    def address(self) -> str: ...

    @property
    def venue(self) -> str:
        """Whose pool this is: "raydium", "meteora", or a simulated venue's name."""
        ...

    @property
    def kind(self) -> str:
        """The curve: "amm_v4", "cpmm", ..."""
        ...

    @property
    def mint_0(self) -> Mint: ...

    @property
    def mint_1(self) -> Mint: ...

    def quote_in(self, amount_in: Atoms, mint_in: Mint, now: ChainTime) -> Swap:
        """Exact in: all of `amount_in` of `mint_in` for as much of the other mint as the curve gives."""
        ...

    def quote_out(self, amount_out: Atoms, mint_in: Mint, now: ChainTime) -> Swap:
        """Exact out: `amount_out` of the mint that is not `mint_in`, for the `mint_in` that it takes."""
        ...

    def swap_in(self, amount_in: Atoms, mint_in: Mint, now: ChainTime) -> tuple[Swap, Self]:
        """`quote_in`, and the pool as the program leaves it."""
        ...

    def swap_out(self, amount_out: Atoms, mint_in: Mint, now: ChainTime) -> tuple[Swap, Self]:
        """`quote_out`, and the pool as the program leaves it."""
        ...

    def reserves(self) -> tuple[Atoms, Atoms]:
        """What is there to trade with, of mint 0 and of mint 1, without fees that are owed to others."""
        ...

    def spot(self, mint_in: Mint) -> tuple[int, int]:
        """Output atoms per input atom of an infinitesimal swap before fees: numerator, denominator (> 0)."""
        ...

    def segments(self, mint_in: Mint, now: ChainTime) -> tuple[Segment, ...]:
        """The curve from here on in this direction, in the order of travel, marginal prices never rising.

        Empty where the pool cannot swap now. At most a few hundred; what lies beyond is left out, though quotes
        still reach it.
        """
        ...

    def open_at(self, unix_seconds: int) -> None:
        """Returns if the pool may swap at this time, raises POOL_REFUSED if not."""
        ...


# ---- refusals that every curve shares


def refused(detail: str) -> PoolRefused:
    return PoolRefused(Code.POOL_REFUSED, detail)


def unfillable(detail: str) -> PoolRefused:
    return PoolRefused(Code.POOL_LIQUIDITY, detail)


def foreign_mint(address: str, mint: Mint) -> PoolRefused:
    return refused(f"pool {address} does not trade {mint}")


def bad_amount_in(amount_in: int) -> PoolRefused:
    return unfillable(f"an input of {amount_in} atoms is zero, or more than the vault can take")


def bad_amount_out(amount_out: int, reserve_out: int) -> PoolRefused:
    return unfillable(f"cannot pay out {amount_out} of {reserve_out} atoms")


# ---- reading account bytes: little-endian integers, base58 keys

_BASE58: Final = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
_VAULT_BYTES: Final = 165
_VAULT_INITIALIZED: Final = 1


def u64(account: bytes, offset: int) -> int:
    return int.from_bytes(account[offset : offset + 8], "little")


def u128(account: bytes, offset: int) -> int:
    return int.from_bytes(account[offset : offset + 16], "little")


def pubkey(account: bytes, offset: int) -> str:
    """The 32-byte key at `offset`, as base58: one leading "1" for each leading zero byte."""
    return _base58(account[offset : offset + 32])


@lru_cache(maxsize=65_536)  # the same few keys stand in every account
def _base58(key: bytes) -> str:
    digits, rest = "", int.from_bytes(key, "big")
    while rest:
        rest, digit = divmod(rest, 58)
        digits = _BASE58[digit] + digits
    return "1" * (len(key) - len(key.lstrip(b"\0"))) + digits


def vault_amount(account: bytes, mint: Mint) -> Atoms:
    """Balance of an SPL token account (mint 0, amount u64 64, state u8 108) that must hold `mint`.

    165 bytes exactly: a longer one is Token-2022 with extensions, which we do not implement.
    """
    if len(account) != _VAULT_BYTES:
        raise refused(f"vault of {len(account)} bytes is not a plain SPL token account")
    if pubkey(account, 0) != mint:
        raise refused(f"vault holds {pubkey(account, 0)} instead of {mint}")
    if account[108] != _VAULT_INITIALIZED:
        raise refused(f"vault of {mint} is frozen or not initialised")
    return Atoms(u64(account, 64))
