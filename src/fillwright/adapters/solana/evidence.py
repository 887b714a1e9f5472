"""What nodes say of transactions, as evidence.

Decides: when a status is an outcome, when its absence may be told, and how many nodes have to say so. Must never: tell
that a transaction was undone before that is final, for another attempt follows; or that there is no trace where there
is one that is not firm yet, where a node's history does not reach back far enough, or where no second node was asked.

Slot and height are of one finalized bank; the statuses are of a bank of the same node, by its own word, not older than
that one (Rpc.testify), and the whole history is searched: what landed in a finalized block cannot be missing there.
Were it missing, the price would be a second settlement; so it takes two nodes, each with a height beyond the last valid
one.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Collection, Mapping, Sequence
from typing import Final, Literal

import msgspec

from fillwright.adapters.solana import protocol
from fillwright.adapters.solana.node import Node
from fillwright.adapters.solana.protocol import SIGNATURES_MAX, Told
from fillwright.adapters.solana.rpc import Rpc
from fillwright.adapters.solana.settlement import settled
from fillwright.adapters.solana.vitals import Vitals
from fillwright.errors import Code, FillwrightError
from fillwright.order import SignedTx
from fillwright.ports import Sighting
from fillwright.units import Signature

_ROUNDS_MAX: Final = 2
"""Looks under way; who comes meanwhile shares the next one. Two, so that a slow node stops nobody."""
_SENT_MAX: Final = 65_536

_statuses_of: Final = msgspec.json.Decoder(Told[list[protocol.Status | None]]).decode
_transaction_of: Final = msgspec.json.Decoder(protocol.Transaction | None).decode
_slot_of: Final = msgspec.json.Decoder(int).decode

Found = Sighting | FillwrightError
"""Of one transaction: what is known, or why nothing is."""


class Evidence:
    """Looks for transactions of one wallet. `landed_at`: how firm a block must be for what is in it to count."""

    def __init__(self, rpc: Rpc, wallet: str, landed_at: Literal["confirmed", "finalized"]) -> None:
        self._rpc = rpc
        self._wallet = wallet
        self._landed_at: Final = landed_at
        self._sent: OrderedDict[Signature, SignedTx] = OrderedDict()
        self._waiting: dict[Signature, asyncio.Future[Sighting]] = {}
        self._rounds: set[asyncio.Task[None]] = set()

    async def close(self) -> None:
        rounds = list(self._rounds)
        for each in rounds:
            each.cancel()
        await asyncio.gather(*rounds, return_exceptions=True)

    def sent(self, tx: SignedTx) -> None:
        """To be told before a transaction is looked for: it says from when on its absence would mean something."""
        self._sent[tx.signature] = tx
        self._sent.move_to_end(tx.signature)
        if len(self._sent) > _SENT_MAX:
            self._sent.popitem(last=False)

    async def look(self, signature: Signature) -> Sighting:
        """See ports.Chain. Looks of the same moment share requests."""
        found = self._waiting.get(signature)
        if found is None:
            found = self._waiting[signature] = asyncio.get_running_loop().create_future()
            found.add_done_callback(_told)
            self._begin()
        return await asyncio.shield(found)

    # --- rounds -------------------------------------------------------------------------------------------

    def _begin(self) -> None:
        if self._waiting and len(self._rounds) < _ROUNDS_MAX:
            task = asyncio.create_task(self._round())
            self._rounds.add(task)
            task.add_done_callback(self._ended)

    def _ended(self, task: "asyncio.Task[None]") -> None:
        self._rounds.discard(task)
        self._begin()

    async def _round(self) -> None:
        """It begins with the next turn of the loop, so that all looks of this one go together."""
        await asyncio.sleep(0)
        asked = {signature: self._waiting.pop(signature) for signature in list(self._waiting)[:SIGNATURES_MAX]}
        found: Mapping[Signature, Found] = {}
        why = FillwrightError(Code.CHAIN_UNAVAILABLE, "the look at the chain was given up")
        try:
            found = await self._find(list(asked))
        except FillwrightError as error:
            why = error
        finally:
            for signature, future in asked.items():
                each = found.get(signature, why)
                if isinstance(each, FillwrightError):
                    future.set_exception(each)
                else:
                    future.set_result(each)

    # --- one look -----------------------------------------------------------------------------------------

    async def _find(self, signatures: Sequence[Signature]) -> Mapping[Signature, Found]:
        node, found = await self._ask(signatures)
        gone = [signature for signature in signatures if self._may_be_gone(signature, found[signature])]
        if not gone or self._rpc.nodes == 1:
            return found
        try:
            _, second = await self._ask(gone, besides={node})
        except FillwrightError as error:
            return {**found, **dict.fromkeys(gone, error)}
        return {**found, **{signature: _both(found[signature], second[signature]) for signature in gone}}

    def _may_be_gone(self, signature: Signature, found: Found) -> bool:
        if isinstance(found, FillwrightError) or found.outcome is not None:
            return False
        sent = self._sent.get(signature)
        return sent is None or found.height > sent.last_valid_height

    async def _ask(
        self, signatures: Sequence[Signature], besides: Collection[Node] = ()
    ) -> tuple[Node, Mapping[Signature, Found]]:
        """What one node has to say."""

        def statuses(told: msgspec.Raw) -> Told[list[protocol.Status | None]]:
            read = _statuses_of(told)
            if len(read.value) != len(signatures):
                raise ValueError(len(read.value))
            return read

        said = await self._rpc.testify(protocol.statuses([*signatures]), statuses, besides=besides)
        found: dict[Signature, Found] = {}
        firm: dict[Signature, protocol.Status] = {}
        for signature, status in zip(signatures, said.told.value, strict=True):
            if status is None:
                found[signature] = Sighting(height=said.vitals.height, slot=said.vitals.slot, outcome=None)
            elif status.confirmation_status in self._firm(status):
                firm[signature] = status
            else:
                found[signature] = _unknown("the transaction is seen, but may still be undone")
        found |= await self._settled(said.node, said.vitals, firm)
        gone = [signature for signature in found if self._may_be_gone(signature, found[signature])]
        return said.node, {**found, **await self._doubted(said.node, gone)}

    def _firm(self, status: protocol.Status) -> frozenset[str]:
        """From when on a status counts. One that was undone is signed anew: it must never come to be done after all."""
        return frozenset({"finalized"} if status.err is not None else {"finalized", self._landed_at})

    async def _doubted(self, node: Node, gone: Sequence[Signature]) -> Mapping[Signature, Found]:
        """Those of whose time this node has no history: from it, their absence says nothing."""
        signed = {signature: sent.signed_slot for signature in gone if (sent := self._sent.get(signature))}
        if not signed:
            return {}
        try:
            first = await self._rpc.many([("getFirstAvailableBlock", [])], lambda told: _slot_of(told[0]), node=node)
        except FillwrightError as error:
            return dict.fromkeys(signed, error)
        doubt = node.unavailable("its history begins after the transaction was signed")
        return {signature: doubt for signature, slot in signed.items() if first > slot}

    async def _settled(
        self, node: Node, vitals: Vitals, statuses: Mapping[Signature, protocol.Status]
    ) -> Mapping[Signature, Found]:
        """What became of those that are in a firm block, from the node that says so."""
        if not statuses:
            return {}
        calls = [protocol.transaction(signature, self._landed_at) for signature in statuses]
        try:
            told = await self._rpc.many(calls, list, node=node)
        except FillwrightError as error:
            return dict.fromkeys(statuses, error)
        found: dict[Signature, Found] = {}
        for (signature, status), each in zip(statuses.items(), told, strict=True):
            try:
                outcome = settled(_same(_transaction_of(each), status), self._wallet)
                found[signature] = Sighting(height=vitals.height, slot=vitals.slot, outcome=outcome)
            except ValueError:
                found[signature] = _unknown("the transaction is in a block, but what it did cannot be read yet")
        return found


def _same(transaction: protocol.Transaction | None, status: protocol.Status) -> protocol.Transaction:
    """The transaction as it was when its status was told: a fork may have moved it since. Raises ValueError."""
    if transaction is None or transaction.slot != status.slot or transaction.meta.err != status.err:
        raise ValueError(transaction)
    return transaction


def _both(first: Found, second: Found) -> Found:
    """Of two nodes, the first of which has no trace: what the second one adds, or the lower height of the two."""
    if isinstance(first, FillwrightError) or isinstance(second, FillwrightError) or second.outcome is not None:
        return second
    return min(first, second, key=lambda sighting: sighting.height)


def _unknown(why: str) -> FillwrightError:
    return FillwrightError(Code.CHAIN_UNAVAILABLE, why)


def _told(found: "asyncio.Future[Sighting]") -> None:
    """A failure that nobody waited for is nobody's: whoever needs the answer asks again."""
    if not found.cancelled():
        found.exception()
