"""The methods of a node that read accounts: any, a program's, an owner's tokens.

Decides: what each answers. Must never: change anything.
"""

from base64 import b64decode
from collections.abc import Callable, Sequence
from typing import Any, Final

from solders.account import Account
from solders.pubkey import Pubkey

from fillwright.adapters.jsonrpc import INVALID_PARAMS, Failed, Method, with_params
from fillwright.localnet import parameters as asked
from fillwright.localnet.balances import (
    TOKEN_PROGRAMS,
    decimals_of,
    holding_of,
    is_mint,
    supply_of,
    ui_amount,
)
from fillwright.localnet.bank import View
from fillwright.localnet.shapes import Json, TooLong, account_json, from_base58

VERSION: Final = "2.3.0"
"""Of the validator whose answers these are like."""


def told(view: View, value: Any) -> Json:
    """A value, and the slot at which it was so."""
    return {"context": {"slot": view.block.slot, "apiVersion": VERSION}, "value": value}


def key_of(text: str) -> Pubkey:
    """Raises Failed."""
    try:
        return Pubkey.from_string(text)
    except Exception as error:  # solders raises its own types
        raise Failed(INVALID_PARAMS, "Invalid param: not an address") from error


class Reads:
    """`look` finds the chain that the caller wants to see."""

    def __init__(self, look: Callable[[asked.Asked | None], View], rent: Callable[[int], int]) -> None:
        self._look = look
        self._rent = rent

    def methods(self) -> dict[str, Method]:
        return {
            "getAccountInfo": with_params(asked.OfAccount, self._account),
            "getMultipleAccounts": with_params(asked.OfAccounts, self._accounts),
            "getProgramAccounts": with_params(asked.OfProgram, self._program),
            "getBalance": with_params(asked.OfAddress, self._balance),
            "getTokenAccountBalance": with_params(asked.OfAddress, self._token_balance),
            "getTokenAccountsByOwner": with_params(asked.OfOwner, self._tokens),
            "getTokenSupply": with_params(asked.OfAddress, self._supply),
            "getMinimumBalanceForRentExemption": with_params(asked.OfSize, lambda of: self._rent(of.size)),
        }

    def _account(self, of: asked.OfAccount) -> Json:
        options = of.options or asked.Reading()
        view = self._look(options)
        return told(view, _shown(view.account(key_of(of.address)), options, view))

    def _accounts(self, of: asked.OfAccounts) -> Json:
        options = of.options or asked.Reading(encoding="base64")
        view = self._look(options)
        return told(view, [_shown(view.account(key_of(address)), options, view) for address in of.addresses])

    def _program(self, of: asked.OfProgram) -> Any:
        options = of.options or asked.Searching()
        view = self._look(options)
        fits = filters_of(options.filters or ())
        found = [(key, account) for key, account in view.owned(key_of(of.program)) if fits(account)]
        lines = _lines(found, options, view)
        return told(view, lines) if options.with_context else lines

    def _balance(self, of: asked.OfAddress) -> Json:
        view = self._look(of.options)
        account = view.account(key_of(of.address))
        return told(view, account.lamports if account else 0)

    def _token_balance(self, of: asked.OfAddress) -> Json:
        view = self._look(of.options)
        account = view.account(key_of(of.address))
        holding = holding_of(account) if account else None
        if holding is None:
            raise Failed(INVALID_PARAMS, "Invalid param: could not find account" if account is None else _NO_HOLDING)
        return told(view, ui_amount(holding.amount, decimals_of(view.account(holding.mint))))

    def _tokens(self, of: asked.OfOwner) -> Json:
        options = of.options or asked.Reading()
        view = self._look(options)
        if (of.which.mint is None) == (of.which.program_id is None):
            raise Failed(INVALID_PARAMS, "Invalid param: either a mint or a program")
        mint = None if of.which.mint is None else key_of(of.which.mint)
        programs = TOKEN_PROGRAMS if of.which.program_id is None else (key_of(of.which.program_id),)
        owner = key_of(of.owner)
        found = []
        for program in programs:
            for key, account in view.owned(program):
                holding = holding_of(account)
                if holding is not None and holding.owner == owner and mint in (None, holding.mint):
                    found.append((key, account))
        return told(view, _lines(found, options, view))

    def _supply(self, of: asked.OfAddress) -> Json:
        view = self._look(of.options)
        mint = view.account(key_of(of.address))
        if mint is None or not is_mint(mint):
            raise Failed(INVALID_PARAMS, "Invalid param: not a Token mint")
        return told(view, ui_amount(supply_of(mint), decimals_of(mint)))


_NO_HOLDING = "Invalid param: not a Token account"


def filters_of(filters: Sequence[asked.Filter]) -> Callable[[Account], bool]:
    """Whether an account passes all of them. Raises Failed."""
    sizes = [each.data_size for each in filters if each.data_size is not None]
    pieces = [_piece(each.memcmp) for each in filters if each.memcmp is not None]

    def fits(account: Account) -> bool:
        data = account.data
        return all(len(data) == size for size in sizes) and all(
            data[offset : offset + len(piece)] == piece for offset, piece in pieces
        )

    return fits


def _piece(memcmp: asked.Memcmp) -> tuple[int, bytes]:
    try:
        return memcmp.offset, b64decode(memcmp.bytes) if memcmp.encoding == "base64" else from_base58(memcmp.bytes)
    except ValueError as error:
        raise Failed(INVALID_PARAMS, "Invalid param: memcmp's bytes cannot be read") from error


def _lines(found: Sequence[tuple[Pubkey, Account]], options: asked.Reading, view: View) -> list[Json]:
    return [{"pubkey": str(key), "account": _shown(account, options, view)} for key, account in found]


def _shown(account: Account | None, options: asked.Reading, view: View) -> Json | None:
    if account is None:
        return None
    piece = options.data_slice
    try:
        return account_json(
            account, options.encoding, view.account, None if piece is None else (piece.offset, piece.length)
        )
    except TooLong as error:
        why = "Encoded binary (base 58) data should be less than 128 bytes, please use Base64 encoding."
        raise Failed(INVALID_PARAMS, why) from error
