"""The bytes that the simulated wallet signs, for an engine in the chain's process as for one far away. Pure.

Decides: a transaction's encoding, its signature, and which bytes a network accepts as a transaction. Must never: let
bytes pass that the chain could not execute to an end: what it has accepted, it keeps until it has executed it.

A Solana message takes this encoding's place once pools are accounts: it names a blockhash where this one names the
last valid height, and needs no nonce, as a wallet's signature covers the blockhash and an order's own marker.
"""

from collections.abc import Sequence
from hashlib import sha512
from typing import Final

import msgspec
from solders.signature import Signature as SolanaSignature

from fillwright.adapters.sim.swaps import limit_of
from fillwright.errors import Code, FillwrightError
from fillwright.order import SignedTx
from fillwright.ports import Instruction
from fillwright.units import ATOMS_MAX, OrderId, Signature

VALID_BLOCKS: Final = 150
"""A transaction can land in this many blocks after the one it was signed on."""
NONCE_BITS: Final = 63
BYTES_MAX: Final = 4_096
"""More than any route takes; a bound on what a stranger may send."""
_INSTRUCTIONS_MAX: Final = 16
_TEXT_MAX: Final = 128


class SimTx(msgspec.Struct, frozen=True, kw_only=True):
    """What the simulated wallet signs. `nonce` keeps two equal wishes apart."""

    order_id: OrderId
    attempt: int
    nonce: int
    last_valid_height: int
    instructions: tuple[Instruction, ...]


class Unreadable(FillwrightError):
    """These bytes are no transaction of this chain, and never will be."""

    def __init__(self) -> None:
        super().__init__(Code.CHAIN_UNAVAILABLE, "these bytes are no transaction of this chain")


_encode: Final = msgspec.msgpack.Encoder().encode
_decode: Final = msgspec.msgpack.Decoder(SimTx).decode


def signed(
    order_id: OrderId, attempt: int, instructions: Sequence[Instruction], *, nonce: int, slot: int, height: int
) -> SignedTx:
    """`slot` and `height` are one node's at one moment; no other transaction may have this nonce."""
    tx = SimTx(
        order_id=order_id,
        attempt=attempt,
        nonce=nonce,
        last_valid_height=height + VALID_BLOCKS,
        instructions=tuple(instructions),
    )
    raw = _encode(tx)
    return SignedTx(
        signature=signature_of(raw),
        raw=raw,
        last_valid_height=tx.last_valid_height,
        signed_slot=slot,
        signed_height=height,
        limit=limit_of(instructions),
    )


def signature_of(raw: bytes) -> Signature:
    """64 bytes in base58, as on the real chain. Nobody verifies it here, so a digest stands in for the curve's work."""
    return Signature(str(SolanaSignature.from_bytes(sha512(raw).digest())))


def read(raw: bytes) -> SimTx:
    """The transaction of these bytes, whoever made them. Raises Unreadable."""
    if len(raw) > BYTES_MAX:
        raise Unreadable
    try:
        tx = _decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Unreadable from error
    if not _sound(tx):
        raise Unreadable
    return tx


def _sound(tx: SimTx) -> bool:
    """Whether its numbers fit the ledger, and its instructions all go one way."""
    wishes = tx.instructions
    numbers = (tx.attempt, tx.nonce, tx.last_valid_height, *(wish.limit for wish in wishes))
    return (
        0 < len(wishes) <= _INSTRUCTIONS_MAX
        and len(tx.order_id) <= _TEXT_MAX
        and all(0 <= number <= ATOMS_MAX for number in numbers)
        and all(0 < wish.amount <= ATOMS_MAX and wish.mode is wishes[0].mode for wish in wishes)
        and limit_of(wishes) <= ATOMS_MAX
    )
