"""Solana as the chain on which orders settle.

Decides: on which blockhash a transaction is signed, how many compute units it may use and what it pays for them. Must
never: sign what was not judged, sign what already fails, or have an effect before the signed bytes are handed back.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Final, Literal, Protocol

import msgspec
from solders.message import MessageV0, to_bytes_versioned
from solders.signature import Signature as Signed
from solders.transaction import VersionedTransaction

from fillwright.adapters.kept import Kept
from fillwright.adapters.solana import protocol
from fillwright.adapters.solana.building import Budget, Terms, build, looked_up, memo_of
from fillwright.adapters.solana.evidence import Evidence
from fillwright.adapters.solana.legs import limit_of
from fillwright.adapters.solana.limits import Draft
from fillwright.adapters.solana.protocol import Told
from fillwright.adapters.solana.rpc import Rpc
from fillwright.adapters.solana.settlement import rejection
from fillwright.adapters.solana.vitals import Vitals, agree
from fillwright.errors import FillwrightError
from fillwright.order import SignedTx
from fillwright.pools import ChainTime
from fillwright.ports import Clock, Entropy, Instruction, Sighting, Signer
from fillwright.programs import Accounts
from fillwright.units import BPS_ONE, Bps, OrderId, Signature, ceil_div

VALID_BLOCKS: Final = 150
"""A transaction lands only in a block at most so much higher than the one whose hash it names."""
UNITS_MAX: Final = 1_400_000
"""Compute units that one transaction may use at most."""
_FRESH_S: Final = 0.4
_SIGNABLE_S: Final = 2.0
"""A transaction is signed on a blockhash asked for at most so long ago: a few of its blocks are gone then."""
_FEE_SLOTS: Final = 20
_FEE_ADDRESSES_MAX: Final = 128

_blockhash_of: Final = msgspec.json.Decoder(Told[protocol.Blockhash]).decode
_fees_of: Final = msgspec.json.Decoder(list[protocol.PriorityFee]).decode
_slot_of: Final = msgspec.json.Decoder(int).decode


class AccountSource(Protocol):
    """Who knows the pools' accounts."""

    async def accounts_of(self, pool: str) -> Accounts:
        """All that a swap on this pool needs, of one moment. Raises FillwrightError(VENUE_UNAVAILABLE)."""


class SolanaSettings(msgspec.Struct, frozen=True, kw_only=True):
    landed_at: Literal["confirmed", "finalized"] = "confirmed"
    priority_fee_max: int = 1_000_000
    """Micro-lamports a compute unit; what others pay is paid up to that."""
    unit_margin_bps: Bps = Bps(2_000)
    """Compute units beyond those that the simulation used: a swap that meets other ticks or bins uses more."""


class _Tip(msgspec.Struct, frozen=True):
    blockhash: str
    last_valid_height: int
    vitals: Vitals
    """Of the blockhash's own block."""


class SolanaChain:
    """See ports.Chain. To be made inside the running loop, and closed in it, before its Rpc.

    `allow` judges what is about to be signed, and raises FillwrightError for what must not be.
    """

    def __init__(
        self,
        rpc: Rpc,
        signer: Signer,
        accounts: AccountSource,
        clock: Clock,
        entropy: Entropy,
        terms: Terms,
        settings: SolanaSettings,
        allow: Callable[[Draft], Awaitable[None]],
    ) -> None:
        self._rpc = rpc
        self._signer = signer
        self._accounts = accounts
        self._clock = clock
        self._entropy = entropy
        self._terms = terms
        self._settings = settings
        self._allow = allow
        self.landed_is_final = settings.landed_at == "finalized"
        self._tip = Kept(self._ask_tip, clock, fresh_s=_FRESH_S, usable_s=_SIGNABLE_S)
        self._evidence = Evidence(rpc, signer.address, settings.landed_at)

    async def close(self) -> None:
        await self._evidence.close()
        await self._tip.ended()

    # --- port ---------------------------------------------------------------------------------------------

    async def sign(self, order_id: OrderId, attempt: int, instructions: Sequence[Instruction]) -> SignedTx:
        """Slot and height are of the block whose hash is named, so no later honest sighting contradicts them.

        What would fail now is not signed. Raises FillwrightError: CHAIN_SLIPPAGE, CHAIN_REVERTED, and what its parts
        raise.
        """
        known = await asyncio.gather(*(self._accounts.accounts_of(each.pool) for each in instructions))
        tip = await self._tip.get()
        accounts = {address: account for each in known for address, account in each.items()}
        memo = memo_of(order_id, attempt, self._entropy(4))
        now = ChainTime(slot=tip.vitals.slot, unix_seconds=self._clock.now() // 1_000)

        def built(budget: Budget) -> MessageV0:
            return build(
                instructions,
                self._terms,
                accounts=accounts,
                now=now,
                memo=memo,
                blockhash=tip.blockhash,
                budget=budget,
            )

        message = built(await self._budget(built(Budget(units=UNITS_MAX, micro_lamports=0))))
        mints = frozenset(mint for each in instructions for mint in (each.mint_in, each.mint_out))
        taken = looked_up(message, self._terms.tables)
        await self._allow(Draft(order_id=order_id, message=message, looked_up=taken, mints=mints))
        signature = Signed.from_bytes(await self._signer.sign(to_bytes_versioned(message)))
        signed = SignedTx(
            signature=Signature(str(signature)),
            raw=bytes(VersionedTransaction.populate(message, [signature])),
            last_valid_height=tip.last_valid_height,
            signed_slot=tip.vitals.slot,
            signed_height=tip.vitals.height,
            limit=limit_of(instructions),
        )
        self._evidence.sent(signed)
        return signed

    async def broadcast(self, tx: SignedTx) -> None:
        self._evidence.sent(tx)
        await self._rpc.broadcast(tx.raw)

    async def look(self, signature: Signature) -> Sighting:
        return await self._evidence.look(signature)

    async def ping(self) -> None:
        await self._rpc.call("getSlot", [], _slot_of)

    # --- what a transaction may use and pays -----------------------------------------------------------------

    async def _budget(self, message: MessageV0) -> Budget:
        """By what it uses now, and by what others pay lately. Raises what the chain would reject it with."""
        raw = bytes(VersionedTransaction.populate(message, [Signed.default()]))
        simulation, fee = await asyncio.gather(self._rpc.simulate(raw), self._recent_fee(message))
        if simulation.error is not None:
            problem = rejection(simulation.error, message)
            raise FillwrightError(problem.code, f"not signed, for it would fail now: {problem.detail}")
        units = ceil_div(simulation.units * (BPS_ONE + self._settings.unit_margin_bps), BPS_ONE)
        return Budget(units=min(units, UNITS_MAX), micro_lamports=min(fee, self._settings.priority_fee_max))

    async def _recent_fee(self, message: MessageV0) -> int:
        """What three of four recent blocks let transactions in for that write the same accounts; 0: nobody tells."""
        taken = looked_up(message, self._terms.tables)[: _writable_lookups(message)]
        written = [str(key) for at, key in enumerate(message.account_keys) if at and message.is_maybe_writable(at)]
        written += map(str, taken)
        try:
            told = await self._rpc.call("getRecentPrioritizationFees", [written[:_FEE_ADDRESSES_MAX]], _fees_of)
        except FillwrightError:
            return 0
        recent = sorted(told, key=lambda each: each.slot)[-_FEE_SLOTS:]
        fees = sorted(each.prioritization_fee for each in recent)
        return fees[len(fees) * 3 // 4] if fees else 0

    async def _ask_tip(self) -> _Tip:
        said = await self._rpc.testify(protocol.latest_blockhash(), _blockhash_of)
        told = said.told.value
        vitals = Vitals(said.told.context.slot, told.last_valid_block_height - VALID_BLOCKS)
        if not agree(said.vitals, vitals):
            raise said.node.unavailable("its blockhash and its heights contradict each other")
        return _Tip(told.blockhash, told.last_valid_block_height, vitals)


def _writable_lookups(message: MessageV0) -> int:
    """How many of the accounts out of lookup tables it may write: they stand first."""
    return sum(len(lookup.writable_indexes) for lookup in message.address_table_lookups)
