"""A node: Solana's JSON-RPC methods on one chain, answered truly, from behind, or falsely.

Decides: what each method answers. Must never: answer otherwise than a validator would where it has no fault to show,
or fail for what a caller sent.
"""

from base64 import b64decode
from collections.abc import Callable
from itertools import islice
from typing import Any, Final, Literal, TypeAlias

from solders.hash import Hash
from solders.message import Message, MessageV1, from_bytes_versioned, to_bytes_versioned
from solders.signature import Signature
from solders.transaction import VersionedTransaction

from fillwright.adapters.jsonrpc import INVALID_PARAMS, Failed, Method, with_params
from fillwright.localnet import parameters as asked
from fillwright.localnet.bank import VALID_BLOCKS, Bank, Refused, View, check_form
from fillwright.localnet.faults import Dice
from fillwright.localnet.machine import Executed, Unloadable
from fillwright.localnet.reads import VERSION, Reads, key_of, told
from fillwright.localnet.shapes import (
    Json,
    account_json,
    from_base58,
    landed_json,
    memo_of,
    returned_json,
    status_json,
    version_of,
)
from fillwright.pools.pool import SLOTS_PER_EPOCH

Personality: TypeAlias = Literal["honest", "lagging", "lying", "flaky"]

PREFLIGHT_FAILED: Final = -32002
SIGNATURE_FAILED: Final = -32003
NOT_AVAILABLE: Final = -32004
UNHEALTHY: Final = -32005
VERSION_UNSUPPORTED: Final = -32015
TOO_EARLY: Final = -32016
_RECENT_BLOCKS: Final = 150
"""Statuses of older transactions are told only if the history is to be searched."""


class Node:
    """The methods, as one endpoint answers them."""

    def __init__(self, bank: Bank, dice: Dice, personality: Personality = "honest") -> None:
        self._bank = bank
        self._dice = dice
        self._personality = personality

    def methods(self) -> dict[str, Method]:
        return {
            "getHealth": with_params(asked.Plain, self._health),
            "getVersion": with_params(asked.Plain, lambda _: {"solana-core": VERSION, "feature-set": 0}),
            "getGenesisHash": with_params(asked.Plain, lambda _: str(self._bank.genesis)),
            "getSlot": with_params(asked.Plain, lambda plain: self.view(plain.options).block.slot),
            "getBlockHeight": with_params(asked.Plain, lambda plain: self._height(self.view(plain.options))),
            "getEpochInfo": with_params(asked.Plain, self._epoch),
            "getFirstAvailableBlock": with_params(asked.Plain, lambda _: self._bank.first_slot),
            "getBlockTime": with_params(asked.OfSlot, self._block_time),
            "getLatestBlockhash": with_params(asked.Plain, self._blockhash),
            "isBlockhashValid": with_params(asked.OfHash, self._is_valid),
            "getFeeForMessage": with_params(asked.OfMessage, self._fee),
            "getRecentPrioritizationFees": with_params(asked.OfAddresses, self._fees),
            "getSignatureStatuses": with_params(asked.OfSignatures, self._statuses),
            "getTransaction": with_params(asked.OfSignature, self._transaction),
            "getSignaturesForAddress": with_params(asked.OfNaming, self._naming),
            "sendTransaction": with_params(asked.Sent, self._send),
            "simulateTransaction": with_params(asked.Simulated, self._simulate),
            "requestAirdrop": with_params(asked.Drop, self._airdrop),
            **Reads(self.view, self._bank.machine.rent).methods(),
        }

    # --- which chain it sees ------------------------------------------------------------------------------

    def view(self, options: asked.Asked | None) -> View:
        """Raises Failed where the chain is not as far as the caller has seen it."""
        options = options or asked.Asked()
        view = self._bank.view(options.commitment, lag=self.lag())
        if options.min_context_slot is not None and view.block.slot < options.min_context_slot:
            raise Failed(TOO_EARLY, "Minimum context slot has not been reached", {"contextSlot": view.block.slot})
        return view

    def lag(self) -> int:
        """How many blocks it is behind."""
        if self._personality == "lagging":
            return self._dice.faults.lagging_blocks
        return self._dice.up_to(self._dice.faults.lagging_blocks or 1) if self._lies() else 0

    def _lies(self) -> bool:
        return self._personality == "lying" and self._dice.strikes(self._dice.faults.lies, "lies")

    def _height(self, view: View) -> int:
        return view.block.slot if self._lies() else view.block.height

    # --- the chain ----------------------------------------------------------------------------------------

    def _health(self, _: asked.Plain) -> str:
        behind = self._dice.faults.lagging_blocks if self._personality == "lagging" else 0
        if behind:
            raise Failed(UNHEALTHY, f"Node is behind by {behind} slots", {"numSlotsBehind": behind})
        return "ok"

    def _epoch(self, plain: asked.Plain) -> Json:
        view = self.view(plain.options)
        slot = view.block.slot
        return {
            "absoluteSlot": slot,
            "blockHeight": self._height(view),
            "epoch": slot // SLOTS_PER_EPOCH,
            "slotIndex": slot % SLOTS_PER_EPOCH,
            "slotsInEpoch": SLOTS_PER_EPOCH,
            "transactionCount": self._bank.landed_ever,
        }

    def _block_time(self, of: asked.OfSlot) -> int:
        found = self._bank.time_of(of.slot)
        if found is None:
            raise Failed(NOT_AVAILABLE, f"Block not available for slot {of.slot}")
        return found

    def _blockhash(self, plain: asked.Plain) -> Json:
        view = self.view(plain.options)
        last = view.block.height + VALID_BLOCKS
        return told(view, {"blockhash": str(view.block.hash), "lastValidBlockHeight": last})

    def _is_valid(self, of: asked.OfHash) -> Json:
        view = self.view(of.options)
        return told(view, self._is_current(_hash(of.blockhash), view))

    def _is_current(self, blockhash: Hash, view: View) -> bool:
        last = view.last_valid_height(blockhash)
        return last is not None and view.block.height < last

    # --- fees ---------------------------------------------------------------------------------------------

    def _fee(self, of: asked.OfMessage) -> Json:
        view = self.view(of.options)
        try:
            message = from_bytes_versioned(b64decode(of.message, validate=True))
            unsigned = [Signature.default()] * message.header.num_required_signatures
            transaction = VersionedTransaction.populate(message, unsigned)
            transaction.sanitize()
            assert not isinstance(message, MessageV1), "of no known version"
        except Exception as error:  # solders raises its own types
            raise Failed(INVALID_PARAMS, "invalid message") from error
        if not self._is_current(message.recent_blockhash, view):
            return told(view, None)
        try:
            named = self._bank.machine.named(transaction)
        except Unloadable as error:
            raise Failed(INVALID_PARAMS, f"invalid message: {error}") from error
        return told(view, self._bank.machine.simulate(transaction, named).fee)

    def _fees(self, of: asked.OfAddresses) -> list[Json]:
        wanted = frozenset(map(key_of, of.addresses))
        return [{"slot": slot, "prioritizationFee": fee} for slot, fee in self._bank.priority_fees(wanted)]

    # --- transactions -------------------------------------------------------------------------------------

    def _statuses(self, of: asked.OfSignatures) -> Json:
        view = self.view(asked.Asked(commitment="processed"))
        oldest = 0 if of.options and of.options.search_transaction_history else view.block.height - _RECENT_BLOCKS
        lies = self._lies()
        return told(view, [None if lies else self._status(each, view, oldest) for each in of.signatures])

    def _status(self, signature: str, view: View, oldest: int) -> Json | None:
        landed = view.landed(_signature(signature))
        if landed is None or landed.height < oldest:
            return None
        firm, above = self._bank.firmness(landed, view.block)
        return status_json(landed, firm, above)

    def _transaction(self, of: asked.OfSignature) -> Json | None:
        options = (
            of.options if isinstance(of.options, asked.Fetching) else asked.Fetching(encoding=of.options or "json")
        )
        if options.commitment == "processed":
            raise Failed(INVALID_PARAMS, "Method does not support commitment below `confirmed`")
        landed = self.view(options).landed(_signature(of.signature))
        if landed is None or self._lies():
            return None
        if options.max_supported_transaction_version is None and version_of(landed) == 0:
            why = (
                "Transaction version (0) is not supported by the requesting client. Please try the request again with"
                ' the following configuration parameter: "maxSupportedTransactionVersion": 0'
            )
            raise Failed(VERSION_UNSUPPORTED, why)
        return landed_json(landed, options.encoding)

    def _naming(self, of: asked.OfNaming) -> list[Json]:
        options = of.options or asked.Listing()
        if options.commitment == "processed":
            raise Failed(INVALID_PARAMS, "Method does not support commitment below `confirmed`")
        view = self.view(options)
        found = view.naming(key_of(of.address))
        if options.before is not None:
            for landed in found:
                if landed.signature == options.before:
                    break
        lines = []
        for landed in islice(found, options.limit):
            if landed.signature == options.until:
                break
            lines.append(
                {
                    "signature": landed.signature,
                    "slot": landed.slot,
                    "err": landed.executed.err,
                    "memo": memo_of(landed),
                    "blockTime": landed.unix_seconds,
                    "confirmationStatus": self._bank.firmness(landed, self._bank.tip)[0],
                }
            )
        return lines

    def _send(self, sent: asked.Sent) -> str:
        options = sent.options or asked.Sending()
        transaction = _decoded(sent.transaction, options.encoding)
        if not options.skip_preflight:
            self._preflight(transaction, options)
        fate = self._dice.fate()
        try:
            if fate is None:
                check_form(transaction)
            else:
                self._bank.receive(transaction, late_blocks=fate)
        except Refused as refused:
            raise _refusal(refused) from refused
        return str(transaction.signatures[0])

    def _preflight(self, transaction: VersionedTransaction, options: asked.Sending) -> None:
        view = self.view(
            asked.Asked(commitment=options.preflight_commitment, min_context_slot=options.min_context_slot)
        )
        try:
            check_form(transaction)
        except Refused as refused:
            raise _refusal(refused) from refused
        simulated = self._simulated(transaction, view)
        if simulated["err"] is not None:
            raise Failed(PREFLIGHT_FAILED, f"Transaction simulation failed: {_in_words(simulated['err'])}", simulated)

    def _simulated(
        self, transaction: VersionedTransaction, view: View, watched: Callable[[Executed], Any] = lambda _: None
    ) -> Json:
        executed = None
        err: Any = None
        if view.landed(str(transaction.signatures[0])) is not None:
            err = "AlreadyProcessed"
        elif not self._is_current(transaction.message.recent_blockhash, view):
            err = "BlockhashNotFound"
        else:
            try:
                executed = self._bank.machine.simulate(transaction, self._bank.machine.named(transaction))
                err = executed.err
            except Unloadable as error:
                err = str(error)
        if executed is None:
            return {"err": err, "logs": [], "accounts": None, "unitsConsumed": 0, "returnData": None}
        return {
            "err": err,
            "logs": executed.logs,
            "accounts": watched(executed),
            "unitsConsumed": executed.units,
            "returnData": None if executed.returned is None else returned_json(executed.returned),
        }

    def _simulate(self, simulated: asked.Simulated) -> Json:
        options = simulated.options or asked.Simulating()
        transaction = _decoded(simulated.transaction, options.encoding)
        view = self.view(options)
        if options.sig_verify:
            try:
                check_form(transaction)
            except Refused as refused:
                raise _refusal(refused) from refused
        replaced: Json | None = None
        if options.replace_recent_blockhash:
            transaction = _renewed(transaction, view.block.hash)
            last = view.block.height + VALID_BLOCKS
            replaced = {"blockhash": str(view.block.hash), "lastValidBlockHeight": last}
        watched = options.accounts

        def accounts(executed: Executed) -> Any:
            return None if watched is None or executed.err is not None else self._watched(watched, executed, view)

        value = self._simulated(transaction, view, accounts)
        return told(view, {**value, "replacementBlockhash": replaced} if replaced else value)

    def _watched(self, watched: asked.Watched, executed: Executed, view: View) -> list[Json | None]:
        written = dict(executed.written)
        found = [written.get(key) or view.account(key) for key in map(key_of, watched.addresses)]
        return [
            account_json(account, watched.encoding, view.account) if account is not None and account.lamports else None
            for account in found
        ]

    def _airdrop(self, drop: asked.Drop) -> str:
        try:
            return str(self._bank.airdrop(key_of(drop.address), drop.lamports).signatures[0])
        except Refused as refused:
            raise _refusal(refused) from refused


# --- texts ------------------------------------------------------------------------------------------------


def _in_words(err: Any) -> str:
    """A transaction error as nodes word it."""
    match err:
        case str():
            return _WORDS.get(err, err)
        case {"InstructionError": [index, {"Custom": code}]}:
            return f"Error processing Instruction {index}: custom program error: {code:#x}"
        case {"InstructionError": [index, reason]}:
            return f"Error processing Instruction {index}: {reason}"
        case _:
            return str(err)


_WORDS: Final = {
    "AccountNotFound": "Attempt to debit an account but found no record of a prior credit.",
    "AlreadyProcessed": "This transaction has already been processed",
    "BlockhashNotFound": "Blockhash not found",
    "InsufficientFundsForFee": "Insufficient funds for fee",
}


def _hash(text: str) -> Hash:
    try:
        return Hash.from_string(text)
    except Exception as error:
        raise Failed(INVALID_PARAMS, "Invalid param: not a blockhash") from error


def _signature(text: str) -> str:
    try:
        return str(Signature.from_string(text))
    except Exception as error:
        raise Failed(INVALID_PARAMS, "Invalid param: not a signature") from error


def _decoded(text: str, encoding: str) -> VersionedTransaction:
    if encoding not in ("base58", "base64"):
        raise Failed(INVALID_PARAMS, f"unsupported encoding: {encoding}. Supported encodings: base58, base64")
    try:
        raw = b64decode(text, validate=True) if encoding == "base64" else from_base58(text)
        transaction = VersionedTransaction.from_bytes(raw)
        transaction.sanitize()
    except Exception as error:  # solders raises its own types
        raise Failed(INVALID_PARAMS, "failed to deserialize the transaction") from error
    if isinstance(transaction.message, MessageV1):
        raise Failed(INVALID_PARAMS, "transactions of version 1 are not known here")
    if bytes(transaction) != raw:
        raise Failed(INVALID_PARAMS, "failed to deserialize the transaction: bytes are left over")
    return transaction


def _renewed(transaction: VersionedTransaction, blockhash: Hash) -> VersionedTransaction:
    """The same with another hash; its signatures fit no more."""
    raw = bytearray(to_bytes_versioned(transaction.message))
    old = bytes(transaction.message.recent_blockhash)
    place = _hash_place(transaction)
    assert bytes(raw[place : place + 32]) == old
    raw[place : place + 32] = bytes(blockhash)
    return VersionedTransaction.populate(from_bytes_versioned(bytes(raw)), transaction.signatures)


def _hash_place(transaction: VersionedTransaction) -> int:
    """Where the hash stands in the message: behind the version, the header, and the keys."""
    count = len(transaction.message.account_keys)
    version = 0 if isinstance(transaction.message, Message) else 1
    return version + 3 + (1 if count < 0x80 else 2) + 32 * count


def _refusal(refused: Refused) -> Failed:
    if str(refused) == "SignatureFailure":
        return Failed(SIGNATURE_FAILED, "Transaction signature verification failure")
    return Failed(INVALID_PARAMS, f"invalid transaction: {refused}")
