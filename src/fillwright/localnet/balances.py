"""Token accounts and mints, as far as a node tells of them. Pure.

Decides: which account holds tokens, whose and how many. Must never: fail for an account of any content.
"""

from collections.abc import Callable, Sequence
from typing import Final

import msgspec
from solders.account import Account
from solders.pubkey import Pubkey

from fillwright.units import NATIVE_MINT

TOKEN: Final = Pubkey.from_string("TokenkegQfeZyiNwAJbNbGKPFXCWuBvf9Ss623VQ5DA")
TOKEN_2022: Final = Pubkey.from_string("TokenzQdBNbLqP5VEhdkAS6EPFLC1PHnBqCXEpPxuEb")
NATIVE: Final = Pubkey.from_string(NATIVE_MINT)
TOKEN_PROGRAMS: Final = (TOKEN, TOKEN_2022)
MINT_BYTES: Final = 82
HOLDING_BYTES: Final = 165
_HOLDING_TYPE, _MINT_TYPE = 2, 1


class Holding(msgspec.Struct, frozen=True):
    """A token account."""

    mint: Pubkey
    owner: Pubkey
    amount: int


class TokenBalance(msgspec.Struct, frozen=True):
    """What one account of a transaction holds."""

    index: int
    holding: Holding
    decimals: int
    program: Pubkey


def holding_of(account: Account) -> Holding | None:
    """None for what is no token account that was initialised."""
    data = account.data
    if account.owner not in TOKEN_PROGRAMS or len(data) < HOLDING_BYTES or data[108] == 0:
        return None
    if len(data) > HOLDING_BYTES and (account.owner == TOKEN or data[HOLDING_BYTES] != _HOLDING_TYPE):
        return None
    return Holding(Pubkey(data[:32]), Pubkey(data[32:64]), int.from_bytes(data[64:72], "little"))


def is_mint(account: Account) -> bool:
    data = account.data
    if account.owner not in TOKEN_PROGRAMS or len(data) < MINT_BYTES or data[45] == 0:
        return False
    return len(data) == MINT_BYTES or (
        account.owner == TOKEN_2022 and len(data) > HOLDING_BYTES and data[HOLDING_BYTES] == _MINT_TYPE
    )


def supply_of(mint: Account) -> int:
    return int.from_bytes(mint.data[36:44], "little")


def decimals_of(mint: Account | None) -> int:
    return mint.data[44] if mint is not None and is_mint(mint) else 0


def token_balances(accounts: Sequence[Account | None], read: Callable[[Pubkey], Account | None]) -> list[TokenBalance]:
    """Of those accounts that hold tokens. `read` finds their mints."""
    found = []
    for index, account in enumerate(accounts):
        holding = holding_of(account) if account is not None else None
        if account is not None and holding is not None:
            found.append(TokenBalance(index, holding, decimals_of(read(holding.mint)), account.owner))
    return found


def ui_amount(amount: int, decimals: int) -> dict[str, object]:
    """As Solana tells an amount of tokens."""
    text = str(amount).rjust(decimals + 1, "0")
    whole, part = (text[:-decimals], text[-decimals:].rstrip("0")) if decimals else (text, "")
    shown = f"{whole}.{part}" if part else whole
    return {"amount": str(amount), "decimals": decimals, "uiAmount": float(shown), "uiAmountString": shown}
