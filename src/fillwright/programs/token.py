"""The programs beside those that swap: token accounts, wrapped SOL, the compute budget, memos.

Decides: their addresses and instructions. Must never: know a pool.
"""

from typing import Final

from solders import compute_budget, system_program
from solders.instruction import AccountMeta, Instruction
from solders.pubkey import Pubkey
from solders.token.associated import get_associated_token_address

from fillwright.pools.pool import TOKEN_PROGRAM as _TOKEN_PROGRAM
from fillwright.units import Atoms, Mint

TOKEN_PROGRAM: Final = Pubkey.from_string(_TOKEN_PROGRAM)
TOKEN_2022: Final = Pubkey.from_string("TokenzQdBNbLqP5VEhdkAS6EPFLC1PHnBqCXEpPxuEb")
ASSOCIATED: Final = Pubkey.from_string("ATokenGPvbdGVxr1b2hvZbsiqW5xWH25efTNsLJA8knL")
MEMO: Final = Pubkey.from_string("MemoSq4gqABAXKb96qnH8TysNcWxMyWCqXgDLGmfcHr")
SYSTEM: Final = system_program.ID
BUDGET: Final = compute_budget.ID

_CREATE_IDEMPOTENT: Final = b"\x01"
_CLOSE: Final = b"\x09"
_SYNC_NATIVE: Final = b"\x11"
_LIMIT_TAG: Final = b"\x02"
_PRICE_TAG: Final = b"\x03"


def associated(owner: str, mint: Mint, program: Pubkey = TOKEN_PROGRAM) -> str:
    """The address of this owner's own account for this mint, which `program` keeps."""
    return str(get_associated_token_address(Pubkey.from_string(owner), Pubkey.from_string(mint), program))


def create_associated(payer: str, owner: str, mint: Mint) -> Instruction:
    """Makes the owner's account for this mint, where it is not there already; `payer` then pays its rent."""
    accounts = [
        AccountMeta(Pubkey.from_string(payer), is_signer=True, is_writable=True),
        AccountMeta(Pubkey.from_string(associated(owner, mint)), is_signer=False, is_writable=True),
        AccountMeta(Pubkey.from_string(owner), is_signer=False, is_writable=False),
        AccountMeta(Pubkey.from_string(mint), is_signer=False, is_writable=False),
        AccountMeta(SYSTEM, is_signer=False, is_writable=False),
        AccountMeta(TOKEN_PROGRAM, is_signer=False, is_writable=False),
    ]
    return Instruction(ASSOCIATED, _CREATE_IDEMPOTENT, accounts)


def pay(source: str, destination: str, lamports: Atoms) -> Instruction:
    """Moves lamports of a wallet that signs."""
    payer, payee = Pubkey.from_string(source), Pubkey.from_string(destination)
    moved = system_program.TransferParams(from_pubkey=payer, to_pubkey=payee, lamports=lamports)
    return system_program.transfer(moved)


def sync_native(account: str) -> Instruction:
    """Makes the lamports of a wrapped-SOL account its amount."""
    return Instruction(TOKEN_PROGRAM, _SYNC_NATIVE, [_writable(account)])


def close_account(account: str, owner: str) -> Instruction:
    """Ends an account and gives its owner all its lamports: unwraps what an account of wrapped SOL holds."""
    signer = AccountMeta(Pubkey.from_string(owner), is_signer=True, is_writable=False)
    return Instruction(TOKEN_PROGRAM, _CLOSE, [_writable(account), _writable(owner), signer])


def memo(text: str) -> Instruction:
    """Words for whoever reads the chain."""
    return Instruction(MEMO, text.encode(), [])


def unit_limit(units: int) -> Instruction:
    """Compute units that the transaction may use."""
    return Instruction(BUDGET, _LIMIT_TAG + units.to_bytes(4, "little"), [])


def unit_price(micro_lamports: int) -> Instruction:
    """What is paid for each of them, in millionths of a lamport."""
    return Instruction(BUDGET, _PRICE_TAG + micro_lamports.to_bytes(8, "little"), [])


def _writable(address: str) -> AccountMeta:
    return AccountMeta(Pubkey.from_string(address), is_signer=False, is_writable=True)
