"""The chain: blocks of transactions, which hash is valid how long, and what may still be undone.

Decides: in which block a transaction lands, if in any, when a block is confirmed and when finalized, and what a fork
takes back. Must never: let a transaction land twice, or in a block higher than its hash's last valid height, or read a
clock: whoever makes blocks says what time it is.

A block keeps the earlier state of every account it may have written. That serves twice: a fork restores it in reverse,
and a reader at an older block finds the accounts as they were then.
"""

import logging
from collections import OrderedDict, defaultdict, deque
from collections.abc import Iterable, Iterator
from hashlib import sha256
from itertools import islice
from typing import Final, Literal, TypeAlias

import msgspec
from solders.account import Account
from solders.compute_budget import ID as COMPUTE_BUDGET
from solders.hash import Hash
from solders.keypair import Keypair
from solders.message import MessageV0, MessageV1
from solders.pubkey import Pubkey
from solders.system_program import TransferParams, transfer
from solders.transaction import VersionedTransaction

from fillwright.localnet.balances import TokenBalance, token_balances
from fillwright.localnet.machine import Executed, Machine, Named, Unloadable

VALID_BLOCKS: Final = 150
"""A transaction lands only in a block at most so much higher than the one whose hash it names."""
TRANSACTION_BYTES_MAX: Final = 1_232
WAITING_MAX: Final = 20_000
HISTORY_MAX: Final = 50_000
"""Transactions that are remembered, about 10 kB each; of older ones there is no trace any more."""
LAG_MAX: Final = 64
"""How many blocks behind the tip a view may lie, beyond what is not final yet."""
_FAUCET_LAMPORTS: Final = 10**18
_SLOT_HASHES: Final = 512

_log: Final = logging.getLogger(__name__)

Commitment: TypeAlias = Literal["processed", "confirmed", "finalized"]


class Rules(msgspec.Struct, frozen=True, kw_only=True):
    """How deep a block must lie."""

    confirmed_after: int = 1
    finalized_after: int = 32


class Landed(msgspec.Struct, frozen=True, kw_only=True):
    """A transaction in a block."""

    signature: str
    transaction: VersionedTransaction
    slot: int
    height: int
    unix_seconds: int
    named: Named
    executed: Executed
    lamports_before: list[int]
    lamports_after: list[int]
    tokens_before: list[TokenBalance]
    tokens_after: list[TokenBalance]


class Block(msgspec.Struct, frozen=True, kw_only=True):
    slot: int
    height: int
    parent_slot: int
    hash: Hash
    unix_seconds: int
    before: dict[Pubkey, Account | None]
    """What each account that may have been written held before."""
    transactions: list[Landed]


class Refused(Exception):
    """A transaction that is not taken. The message is Solana's name for the reason, as in its transaction errors."""


class Bank:
    """One chain. Times are Unix seconds as told by the caller."""

    def __init__(
        self, machine: Machine, *, rules: Rules, first_slot: int, first_height: int, unix_seconds: int, seed: bytes
    ) -> None:
        self.machine = machine
        self.rules = rules
        self.faucet = Keypair.from_seed(sha256(b"faucet" + seed).digest())
        self.genesis = Hash(sha256(b"genesis" + seed).digest())
        first = Block(
            slot=first_slot,
            height=first_height,
            parent_slot=first_slot - 1,
            hash=self.genesis,
            unix_seconds=unix_seconds,
            before={},
            transactions=[],
        )
        self._blocks: deque[Block] = deque([first])
        """As many as may be undone or be looked at from behind, the newest last."""
        self._heights: dict[Hash, int] = {first.hash: first.height}
        self._slot_hashes: deque[tuple[int, Hash]] = deque([(first.slot, first.hash)], maxlen=_SLOT_HASHES)
        self._waiting: list[tuple[int, VersionedTransaction]] = []
        self._landed: OrderedDict[str, Landed] = OrderedDict()
        self._naming: defaultdict[Pubkey, deque[Landed]] = defaultdict(deque)
        self._touched: dict[Pubkey, Account | None] = {}
        """Accounts that changed between blocks, by hand or by a fork: the next counts as having written them."""
        self.first_slot = self._slot = first_slot
        self._final_height = first_height
        self.landed_ever = 0
        self._drawn = 0
        machine.write(self.faucet.pubkey(), Account(_FAUCET_LAMPORTS, b"", Pubkey.default()))
        machine.set_time(first.slot, unix_seconds, list(self._slot_hashes))

    @property
    def tip(self) -> Block:
        return self._blocks[-1]

    # --- what comes in ------------------------------------------------------------------------------------

    def receive(self, transaction: VersionedTransaction, *, late_blocks: int = 0) -> None:
        """Take it for the next block, or for one so much later. Raises Refused.

        That it was taken means nothing yet: it may find its hash expired, or itself in a block already.
        """
        check_form(transaction)
        if len(self._waiting) >= WAITING_MAX:
            raise Refused("WouldExceedMaxBlockCostLimit")
        self._waiting.append((self.tip.slot + late_blocks, transaction))

    def waiting(self) -> int:
        return len(self._waiting)

    def airdrop(self, to: Pubkey, lamports: int) -> VersionedTransaction:
        """A transfer from the faucet, taken for the next block. Raises Refused."""
        self._drawn += 1  # unlike any other, also where the same is asked for twice
        payer = self.faucet.pubkey()
        instructions = [
            transfer(TransferParams(from_pubkey=payer, to_pubkey=to, lamports=lamports)),
            transfer(TransferParams(from_pubkey=payer, to_pubkey=payer, lamports=self._drawn)),
        ]
        message = MessageV0.try_compile(payer, instructions, [], self.tip.hash)
        transaction = VersionedTransaction(message, [self.faucet])
        self.receive(transaction)
        return transaction

    def write(self, key: Pubkey, account: Account | None) -> None:
        """Change an account without a transaction, as if the tip had done it. Subscribers hear of it with the next."""
        self.tip.before.setdefault(key, self.machine.account(key))
        self._touched[key] = account
        self.machine.write(key, account)

    # --- blocks -------------------------------------------------------------------------------------------

    def produce(self, unix_seconds: int, *, skipped_slots: int = 0) -> Block:
        """Make the next block of all that waits and is due."""
        parent = self.tip
        slot = self._slot + 1 + skipped_slots
        unix_seconds = max(unix_seconds, parent.unix_seconds)
        block = Block(
            slot=slot,
            height=parent.height + 1,
            parent_slot=parent.slot,
            hash=Hash(sha256(bytes(parent.hash) + slot.to_bytes(8, "little")).digest()),
            unix_seconds=unix_seconds,
            before=self._touched,
            transactions=[],
        )
        self._slot = slot
        self._touched = {}
        self.machine.set_time(slot, unix_seconds, list(self._slot_hashes))
        self._blocks.append(block)
        due = [transaction for due_slot, transaction in self._waiting if due_slot < slot]
        self._waiting = [entry for entry in self._waiting if entry[0] >= slot]
        for transaction in due:
            self._land(transaction, block)
        self._heights[block.hash] = block.height
        self._slot_hashes.appendleft((slot, block.hash))
        self._final_height = max(self._final_height, block.height - self.rules.finalized_after)
        self._forget()
        return block

    def _land(self, transaction: VersionedTransaction, block: Block) -> None:
        """As on Solana, what may not land leaves no trace."""
        signature = str(transaction.signatures[0])
        known = self._heights.get(transaction.message.recent_blockhash)
        if known is None or block.height > known + VALID_BLOCKS or signature in self._landed:
            return
        try:
            named = self.machine.named(transaction)
        except Unloadable:
            return
        earlier = [self.machine.account(key) for key in named.keys]
        try:
            executed = self.machine.execute(transaction, named)
        except Exception:  # a defect of ours costs one transaction, not the chain
            _log.exception("%s could not be executed", signature)
            return
        if not executed.charged:
            return
        now = [self.machine.account(key) for key in named.keys]
        before = block.before
        for key, account in zip(named.keys, earlier, strict=True):
            before.setdefault(key, account)
        landed = Landed(
            signature=signature,
            transaction=transaction,
            slot=block.slot,
            height=block.height,
            unix_seconds=block.unix_seconds,
            named=named,
            executed=executed,
            lamports_before=[account.lamports if account else 0 for account in earlier],
            lamports_after=[account.lamports if account else 0 for account in now],
            tokens_before=token_balances(earlier, self.machine.account),
            tokens_after=token_balances(now, self.machine.account),
        )
        block.transactions.append(landed)
        self.landed_ever += 1
        self._landed[signature] = landed
        for key in named.keys:
            self._naming[key].append(landed)

    def _forget(self) -> None:
        kept = self.rules.finalized_after + LAG_MAX + 1
        while len(self._blocks) > kept:
            self._blocks.popleft()
        while len(self._heights) > VALID_BLOCKS + kept:
            del self._heights[next(iter(self._heights))]
        while len(self._landed) > HISTORY_MAX:
            _, oldest = self._landed.popitem(last=False)
            for key in oldest.named.keys:
                self._naming[key].popleft()
                if not self._naming[key]:
                    del self._naming[key]

    def fork(self, depth: int, *, again: bool = False) -> list[Landed]:
        """Take the newest blocks back, as many of them as are not final; what they held is as if never sent.

        Slots go on, heights come again. `again`: the network still has the transactions, and they may land anew.
        """
        taken: list[Landed] = []
        while depth > 0 and self.tip.height > self._final_height:
            depth -= 1
            block = self._blocks.pop()
            for key, account in block.before.items():
                self._touched[key] = account
                self.machine.write(key, account)
            del self._heights[block.hash]
            self._slot_hashes.popleft()
            for landed in reversed(block.transactions):
                del self._landed[landed.signature]
                for key in landed.named.keys:
                    self._naming[key].pop()
            taken = [*block.transactions, *taken]
        if again:
            self._waiting += [(self.tip.slot, landed.transaction) for landed in taken]
        return taken

    # --- what is told -------------------------------------------------------------------------------------

    def view(self, commitment: Commitment, *, lag: int = 0) -> "View":
        """The chain as a node sees it that is so many blocks behind."""
        tip = self.tip.height - min(lag, LAG_MAX)
        heights = {
            "processed": tip,
            "confirmed": max(tip - self.rules.confirmed_after, self._final_for(tip)),
            "finalized": self._final_for(tip),
        }
        index = max(0, heights[commitment] - self._blocks[0].height)
        return View(self, self._blocks[index], len(self._blocks) - 1 - index)

    def firmness(self, landed: Landed, tip: Block) -> tuple[Commitment, int]:
        """How firm it is for a node with this tip, and how many blocks lie above it."""
        above = tip.height - landed.height
        if landed.height <= self._final_for(tip.height):
            return "finalized", above
        return ("confirmed" if above >= self.rules.confirmed_after else "processed"), above

    def _final_for(self, height: int) -> int:
        """The height of what is final for a node whose tip is that high. A fork makes nothing final less so."""
        behind = self.tip.height - height
        return max(height - self.rules.finalized_after, self._final_height - behind)

    def history(self) -> Iterable[Landed]:
        """All transactions that are remembered, the oldest first."""
        return self._landed.values()

    def time_of(self, slot: int) -> int | None:
        """When its block was made; None for a slot without one, or of long ago."""
        return next((block.unix_seconds for block in self._blocks if block.slot == slot), None)

    def priority_fees(self, writing: frozenset[Pubkey]) -> list[tuple[int, int]]:
        """By slot, in micro-lamports for a compute unit: the most of what the cheapest transaction paid, and of what
        the cheapest paid that writes one of these accounts, for each of them; 0 for an empty block."""
        fees = []
        for block in self._blocks:
            paid = sorted(
                ((price_of(each.transaction), each.named.writable) for each in block.transactions),
                key=lambda pair: pair[0],
            )
            written = (next((price for price, keys in paid if key in keys), 0) for key in writing)
            fees.append((block.slot, max([price for price, _ in paid[:1]] + list(written), default=0)))
        return fees


class View:
    """The chain up to one of its blocks."""

    def __init__(self, bank: Bank, block: Block, above: int) -> None:
        self._bank = bank
        self.block = block
        self._above = above

    def account(self, key: Pubkey) -> Account | None:
        for block in islice(self._bank._blocks, len(self._bank._blocks) - self._above, None):
            if key in block.before:
                return block.before[key]
        return self._bank.machine.account(key)

    def owned(self, program: Pubkey) -> list[tuple[Pubkey, Account]]:
        earlier: dict[Pubkey, Account | None] = {}
        for block in islice(self._bank._blocks, len(self._bank._blocks) - self._above, None):
            earlier = {**block.before, **earlier}
        found = [(key, account) for key, account in self._bank.machine.owned(program) if key not in earlier]
        return found + [(key, account) for key, account in earlier.items() if account and account.owner == program]

    def landed(self, signature: str) -> Landed | None:
        landed = self._bank._landed.get(signature)
        return landed if landed is not None and landed.height <= self.block.height else None

    def naming(self, key: Pubkey) -> Iterator[Landed]:
        """Transactions that name this account, the newest first."""
        return (landed for landed in reversed(self._bank._naming.get(key, ())) if landed.height <= self.block.height)

    def last_valid_height(self, blockhash: Hash) -> int | None:
        """None for a hash that is unknown here."""
        height = self._bank._heights.get(blockhash)
        return None if height is None or height > self.block.height else height + VALID_BLOCKS


def check_form(transaction: VersionedTransaction) -> None:
    """Raises Refused for what no validator takes, whatever the chain's state."""
    try:
        transaction.sanitize()
        verified = transaction.verify_with_results()
    except Exception as error:  # solders raises its own types
        raise Refused("SanitizeFailure") from error
    if not verified or not all(verified):
        raise Refused("SignatureFailure")
    if isinstance(transaction.message, MessageV1) or len(bytes(transaction)) > TRANSACTION_BYTES_MAX:
        raise Refused("SanitizeFailure")


def price_of(transaction: VersionedTransaction) -> int:
    """Micro-lamports that it pays for a compute unit."""
    keys = transaction.message.account_keys
    for instruction in transaction.message.instructions:
        data = bytes(instruction.data)
        if data[:1] == _SET_PRICE and len(data) == 9 and keys[instruction.program_id_index] == COMPUTE_BUDGET:
            return int.from_bytes(data[1:], "little")
    return 0


_SET_PRICE: Final = b"\x03"
