"""Solana's JSON of accounts and transactions. Pure.

Decides: how a value of the chain looks to a caller, in each encoding. Must never: look anything up but what it is
given.
"""

from base64 import b64encode
from collections.abc import Callable, Sequence
from typing import Any, Final, Literal, TypeAlias

from solders.account import Account
from solders.message import MessageV0
from solders.pubkey import Pubkey

from fillwright.localnet.balances import (
    TOKEN,
    Holding,
    TokenBalance,
    decimals_of,
    holding_of,
    is_mint,
    supply_of,
    ui_amount,
)
from fillwright.localnet.bank import Commitment, Landed

Json: TypeAlias = dict[str, Any]
AccountEncoding: TypeAlias = Literal["binary", "base58", "base64", "jsonParsed"]
TransactionEncoding: TypeAlias = Literal["json", "jsonParsed", "base58", "base64"]
Read: TypeAlias = Callable[[Pubkey], Account | None]

_BASE58_BYTES_MAX: Final = 128
"""Of an account's data: as nodes refuse more."""
_ALPHABET: Final = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
_MEMOS: Final = frozenset(
    {"MemoSq4gqABAXKb96qnH8TysNcWxMyWCqXgDLGmfcHr", "Memo1UhkJRfHyvLMcVucJwxXeuD728EqVDDwQDxFMNo"}
)


class TooLong(ValueError):
    """The data is longer than base58 is allowed for."""


def base58(data: bytes) -> str:
    number = int.from_bytes(data, "big")
    digits = []
    while number:
        number, digit = divmod(number, 58)
        digits.append(_ALPHABET[digit])
    return "1" * (len(data) - len(data.lstrip(b"\0"))) + "".join(reversed(digits))


def from_base58(text: str) -> bytes:
    """Raises ValueError."""
    number = 0
    for digit in text:
        number = number * 58 + _ALPHABET.index(digit)
    zeros = len(text) - len(text.lstrip("1"))
    return bytes(zeros) + number.to_bytes((number.bit_length() + 7) // 8, "big")


# --- accounts ---------------------------------------------------------------------------------------------


def account_json(account: Account, encoding: AccountEncoding, read: Read, piece: tuple[int, int] | None = None) -> Json:
    """`piece`: offset and length, where only that of the data is wanted. Raises TooLong."""
    return {
        "lamports": account.lamports,
        "owner": str(account.owner),
        "data": _data(account, encoding, read, piece),
        "executable": account.executable,
        "rentEpoch": account.rent_epoch,
        "space": len(account.data),
    }


def _data(account: Account, encoding: AccountEncoding, read: Read, piece: tuple[int, int] | None) -> Any:
    if encoding == "jsonParsed":
        parsed = parsed_json(account, read)
        if parsed is not None:
            return parsed
    data = account.data
    if piece is not None:
        data = data[piece[0] : piece[0] + piece[1]]
    if encoding in ("binary", "base58"):
        if len(data) > _BASE58_BYTES_MAX:
            raise TooLong
        return base58(data) if encoding == "binary" else [base58(data), "base58"]
    return [b64encode(data).decode(), "base64"]


def parsed_json(account: Account, read: Read) -> Json | None:
    """A token account or a mint in words; None for all else."""
    holding = holding_of(account)
    if holding is not None:
        kind, told = "account", _holding_json(account, holding, decimals_of(read(holding.mint)))
    elif is_mint(account):
        kind, told = "mint", _mint_json(account)
    else:
        return None
    program = "spl-token" if account.owner == TOKEN else "spl-token-2022"
    return {"program": program, "parsed": {"info": told, "type": kind}, "space": len(account.data)}


def _holding_json(account: Account, holding: Holding, decimals: int) -> Json:
    data = account.data
    told: Json = {
        "isNative": data[109] == 1,
        "mint": str(holding.mint),
        "owner": str(holding.owner),
        "state": "frozen" if data[108] == 2 else "initialized",
        "tokenAmount": ui_amount(holding.amount, decimals),
    }
    if data[72] == 1:
        told["delegate"] = str(Pubkey(data[76:108]))
        told["delegatedAmount"] = ui_amount(int.from_bytes(data[121:129], "little"), decimals)
    if data[109] == 1:
        told["rentExemptReserve"] = ui_amount(int.from_bytes(data[113:121], "little"), decimals)
    return told


def _mint_json(mint: Account) -> Json:
    data = mint.data
    return {
        "decimals": data[44],
        "freezeAuthority": str(Pubkey(data[50:82])) if data[46] == 1 else None,
        "isInitialized": True,
        "mintAuthority": str(Pubkey(data[4:36])) if data[0] == 1 else None,
        "supply": str(supply_of(mint)),
    }


# --- transactions -----------------------------------------------------------------------------------------


def status_json(landed: Landed, firm: Commitment, above: int) -> Json:
    return {
        "slot": landed.slot,
        "confirmations": None if firm == "finalized" else above,
        "err": landed.executed.err,
        "status": _status(landed.executed.err),
        "confirmationStatus": firm,
    }


def _status(err: Any) -> Json:
    return {"Ok": None} if err is None else {"Err": err}


def version_of(landed: Landed) -> int | Literal["legacy"]:
    return 0 if isinstance(landed.transaction.message, MessageV0) else "legacy"


def landed_json(landed: Landed, encoding: TransactionEncoding) -> Json:
    """As getTransaction tells it."""
    return {
        "slot": landed.slot,
        "transaction": _transaction_json(landed, encoding),
        "meta": _meta_json(landed, encoding),
        "blockTime": landed.unix_seconds,
        "version": version_of(landed),
    }


def memo_of(landed: Landed) -> str | None:
    """As getSignaturesForAddress tells it: each memo with its length."""
    keys = landed.transaction.message.account_keys
    memos = [
        f"[{len(instruction.data)}] {instruction.data.decode('utf-8', 'replace')}"
        for instruction in landed.transaction.message.instructions
        if instruction.program_id_index < len(keys) and str(keys[instruction.program_id_index]) in _MEMOS
    ]
    return "; ".join(memos) or None


def _transaction_json(landed: Landed, encoding: TransactionEncoding) -> Any:
    if encoding in ("base58", "base64"):
        raw = bytes(landed.transaction)
        return [base58(raw) if encoding == "base58" else b64encode(raw).decode(), encoding]
    message = landed.transaction.message
    told: Json = {"recentBlockhash": str(message.recent_blockhash)}
    if encoding == "jsonParsed":
        told["accountKeys"] = _keys_json(landed)
        told["instructions"] = [
            _instruction_json(landed, each.program_id_index, each.accounts, each.data, None, parsed=True)
            for each in message.instructions
        ]
    else:
        header = message.header
        told["header"] = {
            "numRequiredSignatures": header.num_required_signatures,
            "numReadonlySignedAccounts": header.num_readonly_signed_accounts,
            "numReadonlyUnsignedAccounts": header.num_readonly_unsigned_accounts,
        }
        told["accountKeys"] = [str(key) for key in message.account_keys]
        told["instructions"] = [
            _instruction_json(landed, each.program_id_index, each.accounts, each.data, None)
            for each in message.instructions
        ]
    if isinstance(message, MessageV0):
        told["addressTableLookups"] = [
            {
                "accountKey": str(lookup.account_key),
                "writableIndexes": list(lookup.writable_indexes),
                "readonlyIndexes": list(lookup.readonly_indexes),
            }
            for lookup in message.address_table_lookups
        ]
    return {"signatures": [str(signature) for signature in landed.transaction.signatures], "message": told}


def _keys_json(landed: Landed) -> list[Json]:
    message = landed.transaction.message
    writable = frozenset(landed.named.writable)
    return [
        {
            "pubkey": str(key),
            "signer": index < message.header.num_required_signatures,
            "writable": key in writable,
            "source": "transaction" if index < len(message.account_keys) else "lookupTable",
        }
        for index, key in enumerate(landed.named.keys)
    ]


def _instruction_json(
    landed: Landed, program: int, accounts: Sequence[int], data: bytes, depth: int | None, *, parsed: bool = False
) -> Json:
    told: Json = {"data": base58(bytes(data)), "stackHeight": depth}
    if parsed:
        keys = landed.named.keys
        return {"programId": str(keys[program]), "accounts": [str(keys[index]) for index in accounts], **told}
    return {"programIdIndex": program, "accounts": list(accounts), **told}


def _meta_json(landed: Landed, encoding: TransactionEncoding) -> Json:
    executed = landed.executed
    parsed = encoding == "jsonParsed"
    meta: Json = {
        "err": executed.err,
        "status": _status(executed.err),
        "fee": executed.fee,
        "preBalances": landed.lamports_before,
        "postBalances": landed.lamports_after,
        "innerInstructions": [
            {"index": index, "instructions": [_instruction_json(landed, *each, parsed=parsed) for each in called]}
            for index, called in enumerate(executed.inner)
            if called
        ],
        "logMessages": executed.logs,
        "preTokenBalances": [_token_json(balance) for balance in landed.tokens_before],
        "postTokenBalances": [_token_json(balance) for balance in landed.tokens_after],
        "rewards": [],
        "computeUnitsConsumed": executed.units,
    }
    if not parsed:
        loaded = landed.named.keys[len(landed.transaction.message.account_keys) :]
        middle = landed.named.loaded_writable
        meta["loadedAddresses"] = {
            "writable": [str(key) for key in loaded[:middle]],
            "readonly": [str(key) for key in loaded[middle:]],
        }
    if executed.returned is not None:
        meta["returnData"] = returned_json(executed.returned)
    return meta


def returned_json(returned: tuple[str, bytes]) -> Json:
    program, data = returned
    return {"programId": program, "data": [b64encode(data).decode(), "base64"]}


def _token_json(balance: TokenBalance) -> Json:
    return {
        "accountIndex": balance.index,
        "mint": str(balance.holding.mint),
        "owner": str(balance.holding.owner),
        "programId": str(balance.program),
        "uiTokenAmount": ui_amount(balance.holding.amount, balance.decimals),
    }
