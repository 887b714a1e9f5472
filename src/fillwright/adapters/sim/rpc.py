"""What a simulated chain's node and its callers say to each other. Pure.

Decides: methods, shapes and bounds, once for both sides. Must never: know how either side works.

It is Solana's own protocol, JSON-RPC 2.0 over HTTP POST, single calls and batches: with its method names and its
shapes (`getHealth`, `getSlot`, `getBlockHeight`, `getLatestBlockhash`, `sendTransaction`, `getSignatureStatuses`), so
that what speaks it can speak to a real node. One thing is promised beyond it: **a batch is executed in order, on one
node.** A height that stands before statuses in a batch was therefore read before them, which the proof of a lapse needs
(ports.Sighting).

What Solana has no word for begins with `fillwright`; and a transaction here is a transactions.SimTx, no message of
Solana's. A chain with real messages, programs and signatures is the localnet. There a swap costs many times as much
(BENCHMARKS.md), so what several processes share in a simulation stays this one. Both answer by the same jsonrpc.
"""

from typing import Annotated, Any, Final, Generic, Literal, TypeVar

import msgspec

from fillwright.errors import Problem
from fillwright.units import Mint, Signature

BODY_MAX: Final = 4 * 1024 * 1024
SIGNATURES_MAX: Final = 256
"""In one getSignatureStatuses, as on Solana."""
SETTLEMENTS_MAX: Final = 1_000
_MINTS_MAX: Final = 64
_TEXT_MAX: Final = 128

UNHEALTHY: Final = -32005
"""Solana's code of a node that cannot answer just now."""

T = TypeVar("T")
ShortText = Annotated[str, msgspec.Meta(max_length=_TEXT_MAX)]


class Context(msgspec.Struct, frozen=True):
    slot: int


class Told(msgspec.Struct, Generic[T], frozen=True):
    """A value, and the slot at which the node saw it."""

    context: Context
    value: T


# --- parameters: arrays, as on Solana ---------------------------------------------------------------------


class Setting(msgspec.Struct, frozen=True):
    """What this chain knows of Solana's settings. Every commitment is the same here: nothing is ever undone."""

    commitment: Literal["processed", "confirmed", "finalized"] = "finalized"


class Plain(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    setting: Setting | None = None


class Encoding(msgspec.Struct, frozen=True):
    encoding: Literal["base64"]
    """Required: without it Solana reads base58."""


class Sent(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    raw: bytes
    """Base64 in JSON."""
    encoding: Encoding


class History(msgspec.Struct, frozen=True, rename="camel"):
    search_transaction_history: bool = False
    """The whole history is searched in any case."""


class Sought(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    signatures: Annotated[
        tuple[Annotated[Signature, msgspec.Meta(max_length=_TEXT_MAX)], ...], msgspec.Meta(max_length=SIGNATURES_MAX)
    ]
    history: History | None = None


class PoolsWanted(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    venue: ShortText
    mints: Annotated[
        frozenset[Annotated[Mint, msgspec.Meta(max_length=_TEXT_MAX)]], msgspec.Meta(max_length=_MINTS_MAX)
    ]


class Lines(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """Of the ledger: those after this one, at most so many."""

    after: Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)] = 0
    limit: Annotated[int, msgspec.Meta(ge=1, le=SETTLEMENTS_MAX)] = SETTLEMENTS_MAX


class Recent(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """New pools of the last so many seconds."""

    within_s: Annotated[int, msgspec.Meta(ge=0, le=2**31)]


class PoolNamed(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    address: ShortText


# --- results ----------------------------------------------------------------------------------------------


class Blockhash(msgspec.Struct, frozen=True, rename="camel"):
    """The last valid height is transactions.VALID_BLOCKS above the height of the answer's own slot."""

    blockhash: str
    last_valid_block_height: int


class Outcome(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True):
    """What a transaction swapped, or why it was undone."""

    amount_in: int | None = None
    amount_out: int | None = None
    problem: Problem | None = None


class Status(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """`finalized` is said and believed, and nothing less: what may yet be undone is no outcome."""

    slot: int
    confirmations: None = None
    err: Any = None
    confirmation_status: Literal["finalized"]
    fillwright: Outcome


class Pools(msgspec.Struct, frozen=True, rename="camel"):
    """Each pool is the JSON of its value, which loses nothing."""

    unix_seconds: int
    pools: list[msgspec.Raw]
