"""What the accounts of a new pool and of its token tell about the danger of buying. Pure.

Decides: how much of the liquidity can be taken back, and what a mint can do to those who hold it. Must never: take what
it does not know for good.

Shares that are tokens (AMM v4, CPMM): burned is what the program has issued and no longer exists, or lies with the
incinerator; locked is that, and what lies with Raydium's lock program, which gives back fees but never the shares (its
authority is the program address of "lock_cp_authority_seed" under LockrWmn6K5twhz3y9w1dQERbmgSaRkfnTeTKbpofwE, as
Raydium's published clients name it). Shares that lie with other lockers count as free. Positions: DAMM v2 keeps count
of what is locked for ever; a vesting that ends some day counts as free. CLMM and DLMM keep no such count, and their
pools count as free altogether. None of this has been verified on a live cluster.
"""

from typing import Final

import msgspec

from fillwright.pools import amm_v4, cpmm, damm_v2
from fillwright.pools.pool import pubkey
from fillwright.programs import Account, Accounts
from fillwright.programs.token import associated
from fillwright.units import BPS_ONE, Mint

INCINERATOR: Final = "1nc1nerator11111111111111111111111111111111"
LOCK_AUTHORITY: Final = "3f7GcQFG397GAaEnv51zR6tsTVihYRydnydDD1cXekxH"
_ACCOUNT_BYTES: Final = 72
_MINT_BYTES: Final = 82
_TYPED_BYTES: Final = 166
"""Token-2022: a mint with extensions is as long as a token account, then its type (1), then the extensions."""
_HARMLESS: Final = frozenset({18, 19, 20, 21, 22, 23})
"""Pointers to metadata and groups, and these themselves: they describe a token, and have no say in a transfer."""
_EXTENSIONS: Final = {
    1: "transferFeeConfig",
    3: "mintCloseAuthority",
    4: "confidentialTransferMint",
    6: "defaultAccountState",
    9: "nonTransferable",
    10: "interestBearingConfig",
    12: "permanentDelegate",
    14: "transferHook",
    16: "confidentialTransferFee",
    25: "scaledUiAmount",
    26: "pausable",
}


class MintFacts(msgspec.Struct, frozen=True):
    """What a mint account tells. `extensions`: those with a say in transfers or balances."""

    decimals: int
    supply: int
    mint_authority: bool
    freeze_authority: bool
    extensions: tuple[str, ...]


def mint_facts(data: bytes) -> MintFacts | None:
    """Of a mint of SPL Token or Token-2022; None for anything else. An unknown extension is told by its number."""
    if len(data) < _MINT_BYTES or not data[45]:
        return None
    if len(data) != _MINT_BYTES and (len(data) < _TYPED_BYTES or data[165] != 1):
        return None
    return MintFacts(
        decimals=data[44],
        supply=int.from_bytes(data[36:44], "little"),
        mint_authority=any(data[0:4]),
        freeze_authority=any(data[46:50]),
        extensions=_extensions(data[_TYPED_BYTES:]),
    )


def _extensions(rest: bytes) -> tuple[str, ...]:
    """Type u16, length u16, value; a type of 0 ends them."""
    found: list[str] = []
    while len(rest) >= 4:
        kind, length = int.from_bytes(rest[:2], "little"), int.from_bytes(rest[2:4], "little")
        if not kind:
            break
        if kind not in _HARMLESS:
            found.append(_EXTENSIONS.get(kind, f"extension {kind}"))
        rest = rest[4 + length :]
    return tuple(found)


class Locked(msgspec.Struct, frozen=True):
    """Shares of a pool's liquidity, rounded down. `locked_bps` contains `burned_bps`."""

    locked_bps: int
    burned_bps: int


def besides(pool: Account) -> tuple[str, ...]:
    """The accounts that `locked` needs beside the pool's own."""
    shares = _shares(pool)
    if shares is None:
        return ()
    mint = Mint(shares[0])
    return mint, associated(INCINERATOR, mint), associated(LOCK_AUTHORITY, mint)


def locked(pool: Account, known: Accounts) -> Locked:
    """From accounts of one moment."""
    shares = _shares(pool)
    if shares is None:
        return _locked_positions(pool)
    address, issued = shares
    account = known.get(address)
    mint = None if account is None else mint_facts(account.data)
    if mint is None or mint.supply > issued or not issued:
        return Locked(0, 0)
    burned = issued - mint.supply + _balance(INCINERATOR, Mint(address), known)
    kept = burned + _balance(LOCK_AUTHORITY, Mint(address), known)
    return Locked(min(BPS_ONE, kept * BPS_ONE // issued), min(BPS_ONE, burned * BPS_ONE // issued))


def _shares(pool: Account) -> tuple[str, int] | None:
    """The mint of a pool's shares, and how many the program has issued and not taken back, by its own books: AmmInfo
    lp_mint and lp_amount, PoolState lp_mint and lp_supply."""
    match pool.owner:
        case amm_v4.PROGRAM:
            return pubkey(pool.data, 464), int.from_bytes(pool.data[720:728], "little")
        case cpmm.PROGRAM:
            return pubkey(pool.data, 136), int.from_bytes(pool.data[333:341], "little")
        case _:
            return None


def _locked_positions(pool: Account) -> Locked:
    """DAMM v2's permanent_lock_liquidity of its liquidity. Locked, not burned: fees are still paid on it."""
    if pool.owner != damm_v2.PROGRAM:
        return Locked(0, 0)
    kept, whole = (int.from_bytes(pool.data[offset : offset + 16], "little") for offset in (552, 360))
    return Locked(min(BPS_ONE, kept * BPS_ONE // whole) if whole else 0, 0)


def _balance(owner: str, mint: Mint, known: Accounts) -> int:
    """What the owner's own account for the mint holds."""
    account = known.get(associated(owner, mint))
    if account is None or len(account.data) < _ACCOUNT_BYTES or pubkey(account.data, 0) != mint:
        return 0
    return int.from_bytes(account.data[64:72], "little")
