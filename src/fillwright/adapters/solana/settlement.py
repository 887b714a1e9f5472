"""What a confirmed transaction did to the wallet: the fill, or why it was undone. Pure.

Decides: which balances count. Must never: believe a quote, a limit or a log, or guess where an answer lacks a fact.

The tokens are told by the swap instructions: what is paid by one and to none goes in, what is paid to one and by none
comes out. How much is told by balances alone. Of an ordinary token they are those of the wallet's own accounts. Of SOL
they are lamports, over the wallet and all its token accounts that the transaction names, so that wrapping, unwrapping
and the rent of an account that is made or closed cancel out; the fee and what is paid to others by a plain transfer
(the tip) are no part of the swap.
"""

from collections.abc import Iterator, Sequence
from typing import Any, Final

from solders.message import MessageV0
from solders.pubkey import Pubkey
from solders.system_program import ID as SYSTEM
from solders.transaction import VersionedTransaction

from fillwright.adapters.solana.protocol import Loaded, Meta, TokenBalance, Transaction
from fillwright.errors import Code, FillwrightError, Problem
from fillwright.order import Fill
from fillwright.ports import Rejection
from fillwright.programs import SwapCall, by_id
from fillwright.programs.token import associated
from fillwright.units import NATIVE_MINT, Atoms, Mint, Signature

_TRANSFER: Final = (2).to_bytes(4, "little")
_TRANSFER_BYTES: Final = 12


def settled(told: Transaction, wallet: str) -> Fill | Rejection:
    """Raises ValueError where the answer does not tell, or tells what no swap of this wallet does."""
    try:
        return _settled(told, wallet)
    except (FillwrightError, IndexError) as error:
        raise ValueError("the transaction is none of the wallet's swaps") from error


def _settled(told: Transaction, wallet: str) -> Fill | Rejection:
    tx = VersionedTransaction.from_bytes(told.raw())
    if not isinstance(tx.message, MessageV0):
        raise ValueError("the wallet signs no such messages")
    if told.meta.err is not None:
        return Rejection(told.slot, rejection(told.meta.err, tx.message))
    moves = _Moves(tx.message, told.meta, wallet)
    mint_in, mint_out = moves.mints()
    amount_in, amount_out = -moves.change(mint_in), moves.change(mint_out)
    if amount_in <= 0 or amount_out <= 0:
        raise ValueError("the balances did not move as a swap moves them")
    return Fill(
        signature=Signature(str(tx.signatures[0])),
        slot=told.slot,
        amount_in=Atoms(amount_in),
        amount_out=Atoms(amount_out),
    )


def rejection(error: Any, message: MessageV0) -> Problem:
    """A failure as nodes tell it, for instance {"InstructionError": [3, {"Custom": 6005}]}, in our words."""
    match error:
        case {"InstructionError": [int(index), {"Custom": int(code)}]} if index < len(message.instructions):
            # A program stands among the message's own accounts: lookup tables cannot tell one.
            address = str(message.account_keys[message.instructions[index].program_id_index])
            program = by_id(address)
            if program is not None and code in program.limit_codes:
                return Problem(Code.CHAIN_SLIPPAGE, "the market moved beyond the slippage bound")
            return Problem(Code.CHAIN_REVERTED, f"instruction {index + 1}, program {address}: error {code}")
        case {"InstructionError": [int(index), str(name)]}:
            return Problem(Code.CHAIN_REVERTED, f"instruction {index + 1}: {name}")
        case dict() if error:
            return Problem(Code.CHAIN_REVERTED, str(next(iter(error))))
        case _:
            return Problem(Code.CHAIN_REVERTED, str(error))


class _Moves:
    """One transaction's effect on one wallet."""

    def __init__(self, message: MessageV0, meta: Meta, wallet: str) -> None:
        loaded = meta.loaded_addresses or Loaded()
        self._keys = [*message.account_keys, *map(Pubkey.from_string, (*loaded.writable, *loaded.readonly))]
        if not len(self._keys) == len(meta.pre_balances) == len(meta.post_balances):
            raise ValueError("not every account has its balances")
        self._message = message
        self._meta = meta
        self._wallet = wallet
        self._before = meta.pre_token_balances or []
        self._after = meta.post_token_balances or []
        self._holds = {associated(wallet, NATIVE_MINT): NATIVE_MINT} | {
            self._address(each): Mint(each.mint) for each in (*self._before, *self._after)
        }
        """Of token accounts, whosever they are. One that is made and closed within the transaction has no balance to
        tell its token: only wrapped SOL is held so."""
        self._own = {wallet, associated(wallet, NATIVE_MINT)} | {
            self._address(each) for each in (*self._before, *self._after) if each.owner == wallet
        }

    def mints(self) -> tuple[Mint, Mint]:
        """What went in and what came out."""
        calls = [call for call in self._calls() if call.owner == self._wallet]
        paid, received = {call.mint_in for call in calls}, {call.mint_out for call in calls}
        if len(paid - received) != 1 or len(received - paid) != 1:
            raise ValueError("the instructions do not tell one token in and one out")
        [mint_in], [mint_out] = paid - received, received - paid
        return mint_in, mint_out

    def change(self, mint: Mint) -> int:
        """In atoms; more than nothing: the wallet has more of it than before."""
        if mint == NATIVE_MINT:
            return self._lamports()
        return self._held(self._after, mint) - self._held(self._before, mint)

    def _held(self, balances: Sequence[TokenBalance], mint: Mint) -> int:
        own = (each for each in balances if each.mint == mint and each.owner == self._wallet)
        return sum(int(each.ui_token_amount.amount) for each in own)

    def _lamports(self) -> int:
        before, after = self._meta.pre_balances, self._meta.post_balances
        moved = sum(after[at] - before[at] for at, key in enumerate(self._keys) if str(key) in self._own)
        fee = self._meta.fee if str(self._keys[0]) == self._wallet else 0
        return moved + fee + sum(self._given())

    def _given(self) -> Iterator[int]:
        """Lamports that the wallet transferred to others."""
        for program, accounts, data in self._instructions():
            if program == SYSTEM and data.startswith(_TRANSFER) and len(data) == _TRANSFER_BYTES:
                source, destination = (str(account) for account in accounts[:2])
                if source == self._wallet and destination not in self._own:
                    yield int.from_bytes(data[4:], "little")

    def _calls(self) -> Iterator[SwapCall]:
        for address, accounts, data in self._instructions():
            program = by_id(str(address))
            call = program.read(accounts, data, self._holds) if program else None
            if call is not None:
                yield call

    def _instructions(self) -> Iterator[tuple[Pubkey, list[Pubkey], bytes]]:
        for each in self._message.instructions:
            yield self._keys[each.program_id_index], [self._keys[at] for at in each.accounts], bytes(each.data)

    def _address(self, balance: TokenBalance) -> str:
        return str(self._keys[balance.account_index])
