"""What Solana's nodes are asked and what they answer: the shapes of JSON-RPC, one place for all who call.

Decides: parameters and shapes, as the validator's public documentation has them. Must never: know how to reach a node.
"""

import base64
from typing import Any, Final, Generic, Literal, TypeAlias, TypeVar

import msgspec

from fillwright.programs.program import Account

T = TypeVar("T")
Call: TypeAlias = tuple[str, list[object]]
"""Method and parameters."""
Commitment: TypeAlias = Literal["processed", "confirmed", "finalized"]

ACCOUNTS_MAX: Final = 100
"""In one getMultipleAccounts."""
SIGNATURES_MAX: Final = 256
"""In one getSignatureStatuses."""
INVALID_PARAMS: Final = -32602
TOO_MANY_REQUESTS: Final = 429
"""Some providers say so in the body, beside the status of the same number or instead of it."""


# --- the envelope -----------------------------------------------------------------------------------------


class Request(msgspec.Struct, frozen=True):
    id: int
    method: str
    params: list[object]
    jsonrpc: str = "2.0"


class Failure(msgspec.Struct, frozen=True):
    """Of the message nothing is kept: it may quote what was asked, and with it an address or a key."""

    code: int
    data: msgspec.Raw = msgspec.Raw(b"null")


class Answer(msgspec.Struct, frozen=True):
    id: int | None = None
    result: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    error: Failure | msgspec.UnsetType = msgspec.UNSET


class Context(msgspec.Struct, frozen=True):
    slot: int


class Told(msgspec.Struct, Generic[T], frozen=True):
    """A value, and the slot of the bank in which the node saw it."""

    context: Context
    value: T


# --- the chain's position ---------------------------------------------------------------------------------


class EpochInfo(msgspec.Struct, frozen=True, rename="camel"):
    """Slot and height of one bank, in one answer."""

    absolute_slot: int
    block_height: int


class Blockhash(msgspec.Struct, frozen=True, rename="camel"):
    blockhash: str
    last_valid_block_height: int


class Status(msgspec.Struct, frozen=True, rename="camel"):
    slot: int
    err: Any = None
    confirmation_status: Commitment | None = None


class PriorityFee(msgspec.Struct, frozen=True, rename="camel"):
    slot: int
    prioritization_fee: int
    """Micro-lamports a compute unit: the least that any transaction of that slot paid for writing these accounts."""


# --- accounts ---------------------------------------------------------------------------------------------


class RawAccount(msgspec.Struct, frozen=True):
    owner: str
    data: tuple[str, str]
    """Text and its encoding: base64 is asked for."""
    lamports: int = 0

    def read(self) -> Account:
        """Raises ValueError."""
        text, encoding = self.data
        if encoding != "base64":
            raise ValueError(encoding)
        return Account(self.owner, base64.b64decode(text, validate=True))


class Keyed(msgspec.Struct, frozen=True):
    pubkey: str
    account: RawAccount


class Size(msgspec.Struct, frozen=True):
    """Accounts of this length."""

    bytes: int

    def asked(self) -> dict[str, object]:
        return {"dataSize": self.bytes}


class Holds(msgspec.Struct, frozen=True):
    """Accounts with these bytes at this offset."""

    offset: int
    bytes: bytes

    def asked(self) -> dict[str, object]:
        held = {"offset": self.offset, "bytes": base64.b64encode(self.bytes).decode(), "encoding": "base64"}
        return {"memcmp": held}


Filter: TypeAlias = Size | Holds


# --- transactions -----------------------------------------------------------------------------------------


class Amount(msgspec.Struct, frozen=True):
    amount: str


class TokenBalance(msgspec.Struct, frozen=True, rename="camel"):
    account_index: int
    mint: str
    owner: str
    ui_token_amount: Amount


class Loaded(msgspec.Struct, frozen=True):
    """Accounts out of lookup tables, in the order in which they follow the message's own."""

    writable: tuple[str, ...] = ()
    readonly: tuple[str, ...] = ()


class Meta(msgspec.Struct, frozen=True, rename="camel"):
    fee: int
    pre_balances: list[int]
    post_balances: list[int]
    err: Any = None
    pre_token_balances: list[TokenBalance] | None = None
    post_token_balances: list[TokenBalance] | None = None
    loaded_addresses: Loaded | None = None


class Transaction(msgspec.Struct, frozen=True):
    """As getTransaction tells it, with `transaction` in base64."""

    slot: int
    transaction: tuple[str, str]
    meta: Meta

    def raw(self) -> bytes:
        """Raises ValueError."""
        text, encoding = self.transaction
        if encoding != "base64":
            raise ValueError(encoding)
        return base64.b64decode(text, validate=True)


# --- simulation -------------------------------------------------------------------------------------------


class RawSimulation(msgspec.Struct, frozen=True, rename="camel"):
    err: Any = None
    logs: list[str] | None = None
    units_consumed: int | None = None
    accounts: list[RawAccount | None] | None = None


# --- questions --------------------------------------------------------------------------------------------


def epoch_info() -> Call:
    return "getEpochInfo", [{"commitment": "finalized"}]


def latest_blockhash() -> Call:
    return "getLatestBlockhash", [{"commitment": "confirmed"}]


def statuses(signatures: list[str]) -> Call:
    return "getSignatureStatuses", [signatures, {"searchTransactionHistory": True}]


def transaction(signature: str, commitment: Commitment) -> Call:
    setting = {"encoding": "base64", "commitment": commitment, "maxSupportedTransactionVersion": 0}
    return "getTransaction", [signature, setting]


def send(raw: bytes) -> Call:
    """No preflight: what became of it is looked up. No repeats by the node: they are ours."""
    setting = {"encoding": "base64", "skipPreflight": True, "maxRetries": 0}
    return "sendTransaction", [base64.b64encode(raw).decode(), setting]


def accounts(addresses: list[str], commitment: Commitment, min_slot: int) -> Call:
    return "getMultipleAccounts", [addresses, _setting(commitment, min_slot)]


def program_accounts(program: str, filters: list[Filter], commitment: Commitment, min_slot: int) -> Call:
    asked = {"filters": [each.asked() for each in filters], "withContext": True}
    return "getProgramAccounts", [program, _setting(commitment, min_slot) | asked]


def simulation(raw: bytes, addresses: list[str]) -> Call:
    """Unsigned, and on whatever blockhash the node has: only what the programs do is asked."""
    setting: dict[str, object] = {
        "encoding": "base64",
        "commitment": "processed",
        "sigVerify": False,
        "replaceRecentBlockhash": True,
    }
    if addresses:
        setting["accounts"] = {"encoding": "base64", "addresses": addresses}
    return "simulateTransaction", [base64.b64encode(raw).decode(), setting]


def _setting(commitment: Commitment, min_slot: int) -> dict[str, object]:
    setting: dict[str, object] = {"encoding": "base64", "commitment": commitment}
    return setting | {"minContextSlot": min_slot} if min_slot else setting
