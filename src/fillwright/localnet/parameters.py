"""What the methods of a node are asked with: arrays, as on Solana.

Decides: which parameters exist, their types and bounds. Must never: know what is done with them. As nodes do, it
overlooks options that it does not know.
"""

from typing import Annotated, Final, Literal, TypeAlias

import msgspec

from fillwright.localnet.bank import Commitment
from fillwright.localnet.faults import Faults
from fillwright.localnet.shapes import AccountEncoding, TransactionEncoding

ADDRESSES_MAX: Final = 100
SIGNATURES_MAX: Final = 256
BYTES_MAX: Final = 10 * 1024 * 1024
"""Of an account's data."""
_FILTERS_MAX: Final = 4
_MEMCMP_MAX: Final = 128

_Count: TypeAlias = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]
Text: TypeAlias = Annotated[str, msgspec.Meta(max_length=128)]
Payload: TypeAlias = Annotated[str, msgspec.Meta(max_length=4_096)]


class Asked(msgspec.Struct, frozen=True, rename="camel", kw_only=True):
    """Options that most methods know."""

    commitment: Commitment = "finalized"
    min_context_slot: _Count | None = None


class Slice(msgspec.Struct, frozen=True):
    offset: _Count
    length: _Count


class Reading(Asked, frozen=True, rename="camel", kw_only=True):
    encoding: AccountEncoding = "binary"
    data_slice: Slice | None = None


class Memcmp(msgspec.Struct, frozen=True):
    offset: _Count
    bytes: Annotated[str, msgspec.Meta(max_length=_MEMCMP_MAX * 2)]
    encoding: str = "base58"


class Filter(msgspec.Struct, frozen=True, rename="camel"):
    memcmp: Memcmp | None = None
    data_size: _Count | None = None


class Searching(Reading, frozen=True, rename="camel", kw_only=True):
    filters: Annotated[tuple[Filter, ...], msgspec.Meta(max_length=_FILTERS_MAX)] | None = None
    with_context: bool = False


class Fetching(Asked, frozen=True, rename="camel", kw_only=True):
    encoding: TransactionEncoding = "json"
    max_supported_transaction_version: int | None = None


class Listing(Asked, frozen=True, kw_only=True):
    limit: Annotated[int, msgspec.Meta(ge=1, le=1_000)] = 1_000
    before: Text | None = None
    until: Text | None = None


class Sending(msgspec.Struct, frozen=True, rename="camel", kw_only=True):
    encoding: TransactionEncoding = "base58"
    skip_preflight: bool = False
    preflight_commitment: Commitment = "finalized"
    min_context_slot: _Count | None = None


class Watched(msgspec.Struct, frozen=True):
    addresses: Annotated[tuple[Text, ...], msgspec.Meta(max_length=ADDRESSES_MAX)]
    encoding: AccountEncoding = "base64"


class Simulating(Asked, frozen=True, rename="camel", kw_only=True):
    encoding: TransactionEncoding = "base58"
    sig_verify: bool = False
    replace_recent_blockhash: bool = False
    accounts: Watched | None = None


class Searched(msgspec.Struct, frozen=True, rename="camel"):
    search_transaction_history: bool = False


class Wallet(msgspec.Struct, frozen=True, rename="camel"):
    """Which token accounts of an owner."""

    mint: Text | None = None
    program_id: Text | None = None


class Plain(msgspec.Struct, frozen=True, array_like=True):
    options: Asked | None = None


class OfAddress(msgspec.Struct, frozen=True, array_like=True):
    address: Text
    options: Asked | None = None


class OfAccount(msgspec.Struct, frozen=True, array_like=True):
    address: Text
    options: Reading | None = None


class OfAccounts(msgspec.Struct, frozen=True, array_like=True):
    addresses: Annotated[tuple[Text, ...], msgspec.Meta(max_length=ADDRESSES_MAX)]
    options: Reading | None = None


class OfProgram(msgspec.Struct, frozen=True, array_like=True):
    program: Text
    options: Searching | None = None


class OfOwner(msgspec.Struct, frozen=True, array_like=True):
    owner: Text
    which: Wallet
    options: Reading | None = None


class OfSlot(msgspec.Struct, frozen=True, array_like=True):
    slot: _Count


class OfSize(msgspec.Struct, frozen=True, array_like=True):
    size: Annotated[int, msgspec.Meta(ge=0, le=BYTES_MAX)]


class OfHash(msgspec.Struct, frozen=True, array_like=True):
    blockhash: Text
    options: Asked | None = None


class OfMessage(msgspec.Struct, frozen=True, array_like=True):
    message: Payload
    options: Asked | None = None


class OfAddresses(msgspec.Struct, frozen=True, array_like=True):
    addresses: Annotated[tuple[Text, ...], msgspec.Meta(max_length=128)] = ()


class OfSignatures(msgspec.Struct, frozen=True, array_like=True):
    signatures: Annotated[tuple[Text, ...], msgspec.Meta(max_length=SIGNATURES_MAX)]
    options: Searched | None = None


class OfSignature(msgspec.Struct, frozen=True, array_like=True):
    signature: Text
    options: Fetching | TransactionEncoding | None = None


class OfNaming(msgspec.Struct, frozen=True, array_like=True):
    address: Text
    options: Listing | None = None


class Sent(msgspec.Struct, frozen=True, array_like=True):
    transaction: Payload
    options: Sending | None = None


class Simulated(msgspec.Struct, frozen=True, array_like=True):
    transaction: Payload
    options: Simulating | None = None


class Drop(msgspec.Struct, frozen=True, array_like=True):
    address: Text
    lamports: Annotated[int, msgspec.Meta(ge=1, le=10**15)]
    options: Asked | None = None


class Mentions(msgspec.Struct, frozen=True):
    mentions: Annotated[tuple[Text, ...], msgspec.Meta(min_length=1, max_length=1)]


class OfLogs(msgspec.Struct, frozen=True, array_like=True):
    which: Mentions | Literal["all", "allWithVotes"]
    options: Asked | None = None


class OfEnd(msgspec.Struct, frozen=True, array_like=True):
    """Of a transaction."""

    signature: Text
    options: Asked | None = None


class Unsubscribing(msgspec.Struct, frozen=True, array_like=True):
    subscription: int


# --- localnet's own ---------------------------------------------------------------------------------------


class Producing(msgspec.Struct, frozen=True, array_like=True):
    blocks: Annotated[int, msgspec.Meta(ge=1, le=1_000)] = 1


class Again(msgspec.Struct, frozen=True):
    again: bool = False


class Forking(msgspec.Struct, frozen=True, array_like=True):
    depth: Annotated[int, msgspec.Meta(ge=1, le=1_000)] = 1
    options: Again = Again()


class Changing(msgspec.Struct, frozen=True, array_like=True):
    faults: Faults


class Funding(msgspec.Struct, frozen=True, array_like=True):
    """`amount`: atoms of the mint."""

    owner: Text
    mint: Text
    amount: Annotated[int, msgspec.Meta(ge=1, le=2**63 - 1)]


class Contents(msgspec.Struct, frozen=True):
    """`data`: base64."""

    lamports: _Count
    owner: Text
    data: Annotated[bytes, msgspec.Meta(max_length=BYTES_MAX)] = b""
    executable: bool = False


class Setting(msgspec.Struct, frozen=True, array_like=True):
    """None: the account is gone."""

    address: Text
    contents: Contents | None
