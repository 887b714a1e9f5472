"""The simulated chain: slots, blockhash expiry, pools, and a ledger of what settled.

Decides: when a transaction lands and what it swaps, by the pools' own maths. Must never: help the engine keep its
promises: it executes every valid transaction it is given, however often an order is signed. Its file is its own
and outlives the engine: the independent witness of what happened.

What anybody was told is in the file first: lines of the ledger, transactions on their way, and the slot, so that a
network that starts again never goes back behind a height by which somebody has given up a transaction. Pool states are
large: those that orders moved are written at most once a slot, by the first call of a later slot, and all of them on
`close`. So after a sudden death the market may be older than the ledger by the slot that was last worked in; the ledger
itself never lacks a swap.
"""

import asyncio
import heapq
import sqlite3
from collections.abc import Iterable, Sequence
from pathlib import Path
from random import Random
from typing import Final, TypeAlias

import msgspec

from fillwright.adapters.sim.market import Market, SimPool
from fillwright.adapters.sim.newcomers import Newcomer, Trap, pulled
from fillwright.adapters.sim.presets import Preset
from fillwright.adapters.sim.swaps import Outcome, execute, limit_of
from fillwright.adapters.sim.transactions import NONCE_BITS, VALID_BLOCKS, SimTx, read, signature_of, signed
from fillwright.errors import Code, FillwrightError, Problem
from fillwright.order import Fill, SignedTx
from fillwright.pools import ChainTime
from fillwright.ports import Clock, Instruction, Rejection, Sighting, Snapshot
from fillwright.sniping import Facts, Listing
from fillwright.units import ATOMS_MAX, Atoms, Millis, Mint, OrderId, Signature

SLOT_MS: Final = 400
_FIRST_SLOT: Final = 415_822_000
_FIRST_HEIGHT: Final = 393_900_000
_SKIPPED_EVERY: Final = 20
"""One slot in so many has no block: height and slot are different things."""
_LATE_SPAN: Final = 1.4
_WHOLE: Final = -1
_PULLED: Final = 0
"""The tick of a newcomer: before and after its liquidity was pulled."""
_NEWCOMERS_MAX: Final = 200
"""New pools that are kept: older ones are gone, with whatever was swapped on them."""
_LATEST_MAX: Final = 4_096
"""Outcomes kept in memory; older ones are read from the ledger."""

_PRAGMAS: Final = "PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL; PRAGMA wal_autocheckpoint = 8000;"
_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS genesis (at INTEGER NOT NULL, seed INTEGER NOT NULL) STRICT;
CREATE TABLE IF NOT EXISTS reached (id INTEGER PRIMARY KEY CHECK (id = 1), slot INTEGER NOT NULL) STRICT;
CREATE TABLE IF NOT EXISTS openings (id INTEGER PRIMARY KEY) STRICT;
CREATE TABLE IF NOT EXISTS pool_states (
    address TEXT NOT NULL PRIMARY KEY, tick INTEGER NOT NULL, state BLOB NOT NULL) STRICT;
CREATE TABLE IF NOT EXISTS in_flight (
    signature TEXT NOT NULL PRIMARY KEY, raw BLOB NOT NULL, lands_at INTEGER NOT NULL) STRICT;
CREATE TABLE IF NOT EXISTS ledger (
    id INTEGER PRIMARY KEY, signature TEXT NOT NULL UNIQUE, order_id TEXT NOT NULL, attempt INTEGER NOT NULL,
    slot INTEGER NOT NULL, amount_in INTEGER, amount_out INTEGER, limit_atoms INTEGER NOT NULL,
    problem BLOB) STRICT;
"""


class Settlement(msgspec.Struct, frozen=True, kw_only=True):
    """A line of the ledger of swaps that happened."""

    number: int
    signature: Signature
    order_id: OrderId
    slot: int
    amount_in: Atoms
    amount_out: Atoms
    limit: Atoms


_Coming: TypeAlias = tuple[int, Signature, SimTx]
"""A transaction, and the slot to which it comes."""

_pool_of: Final = msgspec.json.Decoder(SimPool).decode
_problem_of: Final = msgspec.json.Decoder(Problem).decode


class SimChain:
    """See ports.Chain and ports.Discovery. One instance is the whole network; `clock` is the network's own.

    `preset` may be replaced at any time: what comes next happens by the new one.
    """

    landed_is_final = True

    def __init__(self, path: Path | str, clock: Clock, market: Market, preset: Preset, seed: int) -> None:
        self._clock = clock
        self._market = market
        self.preset = preset
        self._file = sqlite3.connect(path, isolation_level=None)
        self._file.executescript(_PRAGMAS + _SCHEMA)
        self._random = Random(f"{seed}:chain:{self._opened()}")
        self._load()
        self._genesis = self._found_at(seed)

    def close(self) -> None:
        with self._file:
            self._file.execute("BEGIN")
            self._write_pools(self._pools)
        self._file.close()

    def _load(self) -> None:
        """Everything in memory as the file has it: what is not written never was."""
        self._pools = {pool.address: pool for pool in self._market.pools}
        self._unwritten: set[str] = set()
        self._ticks = dict.fromkeys(self._pools, -1)
        row = self._file.execute("SELECT slot FROM reached").fetchone()
        self._reached: int = row[0] if row else _FIRST_SLOT - 1
        self._newcomers: dict[str, Newcomer] = {}
        self._listed = -1
        self._list_newcomers(self._reached)
        for address, tick, state in self._file.execute("SELECT address, tick, state FROM pool_states"):
            if address in self._pools:
                self._ticks[address], self._pools[address] = tick, _pool_of(state)
        self._seen: dict[tuple[str, frozenset[Mint]], Snapshot] = {}
        self._seen_at = 0
        self._latest: dict[Signature, Fill | Rejection] = {}
        self._block: list[_Coming] = []
        self._unsaved: list[tuple[Signature, bytes, int]] = []
        rows = self._file.execute("SELECT lands_at, signature, raw FROM in_flight")
        self._in_flight: list[_Coming] = [(lands_at, Signature(text), read(raw)) for lands_at, text, raw in rows]
        heapq.heapify(self._in_flight)
        self._coming = {signature for _, signature, _ in self._in_flight}
        self._intact = True

    # --- port ---------------------------------------------------------------------------------------------

    async def sign(self, order_id: OrderId, attempt: int, instructions: Sequence[Instruction]) -> SignedTx:
        slot = self.slot()
        nonce = self._random.getrandbits(NONCE_BITS)
        return signed(order_id, attempt, instructions, nonce=nonce, slot=slot, height=height_at(slot))

    async def broadcast(self, tx: SignedTx) -> None:
        self.receive(tx.raw)
        await asyncio.sleep(0)  # what else is broadcast in this turn of the loop shares the block
        self.produce_blocks()
        self.lose_answer()

    async def look(self, signature: Signature) -> Sighting:
        self.produce_blocks()
        self.lose_answer()
        return Sighting(height=self.told_height(), slot=self.slot(), outcome=self.outcome(signature))

    async def ping(self) -> None:
        self._file.execute("SELECT 1")

    # --- what its node is asked, one call at a time ---------------------------------------------------------

    def receive(self, raw: bytes) -> Signature:
        """Take these bytes on their way, unless they are known. They are safe once `produce_blocks` has returned.

        Raises FillwrightError: Unreadable, or CHAIN_UNAVAILABLE for bytes signed on a block that is not there yet.
        """
        tx, signature = read(raw), signature_of(raw)
        if tx.last_valid_height > height_at(self.slot()) + VALID_BLOCKS:
            raise FillwrightError(Code.CHAIN_UNAVAILABLE, "the transaction names a block that this chain does not have")
        if not self._strikes(self.preset.faults.drop) and not self._knows(signature):
            self._admit(signature, tx, raw)
        return signature

    def told_height(self) -> int:
        """The height, from a node that may be lying."""
        slot = self.slot()
        return slot if self._strikes(self.preset.faults.lying_height) else height_at(slot)

    def outcome(self, signature: Signature) -> Fill | Rejection | None:
        """As of the last block that was produced."""
        if signature in self._latest:
            return self._latest[signature]
        if signature in self._coming:
            return None
        row = self._file.execute(
            "SELECT slot, amount_in, amount_out, problem FROM ledger WHERE signature = ?", (signature,)
        ).fetchone()
        if row is None:
            return None
        slot, amount_in, amount_out, problem = row
        if problem is not None:
            return Rejection(slot, _problem_of(problem))
        return Fill(signature=signature, slot=slot, amount_in=amount_in, amount_out=amount_out)

    def lose_answer(self) -> None:
        """Raises, at the rate of that fault, what the caller of a node sees whose answer got lost."""
        if self._strikes(self.preset.faults.lost_answer):
            raise FillwrightError(Code.CHAIN_UNAVAILABLE, "the node did not answer (simulated)")

    # --- what venues see ----------------------------------------------------------------------------------

    async def pools_of(self, venue: str, mints: frozenset[Mint]) -> Snapshot:
        return self.view(venue, mints)

    def view(self, venue: str, mints: frozenset[Mint]) -> Snapshot:
        """This venue's pools among these tokens, as the current slot was first seen: like a node, one view a slot."""
        self.produce_blocks()
        slot = self.slot()
        self._list_newcomers(slot)
        if slot != self._seen_at:
            self._seen, self._seen_at = {}, slot
        if (venue, mints) not in self._seen:
            pools = [p for p in self._pools.values() if p.venue == venue and p.mint_0 in mints and p.mint_1 in mints]
            drifted = tuple(self._drifted(pool.address, slot) for pool in pools)
            self._seen[venue, mints] = Snapshot(drifted, self._time(slot))
        return self._seen[venue, mints]

    def all_pools(self) -> list[SimPool]:
        slot = self.slot()
        self._list_newcomers(slot)
        return [self._drifted(address, slot) for address in list(self._pools)]

    # --- what is new --------------------------------------------------------------------------------------

    async def new_pools(self, within_s: int) -> Sequence[Listing]:
        return self.listings(within_s)

    async def facts(self, listing: Listing) -> Facts | None:
        return self.facts_of(listing.address)

    def listings(self, within_s: int) -> list[Listing]:
        """See ports.Discovery."""
        self.produce_blocks()
        slot = self.slot()
        self._list_newcomers(slot)
        since = self._time(slot).unix_seconds - within_s
        listings = (each.listing(self._time(_FIRST_SLOT + each.offset)) for each in self._newcomers.values())
        return [each for each in listings if each.unix_seconds >= since][::-1]

    def facts_of(self, address: str) -> Facts | None:
        """See ports.Discovery: as of now, what was swapped in this very slot included."""
        self.produce_blocks()
        slot = self.slot()
        self._list_newcomers(slot)
        newcomer = self._newcomers.get(address)
        if newcomer is None:
            return None
        return newcomer.facts(self._drifted(address, slot), slot - _FIRST_SLOT, self._time(slot))

    # --- the witness --------------------------------------------------------------------------------------

    def settlements(self, after: int = 0, limit: int = -1) -> list[Settlement]:
        """Every swap that happened, in order; or those beyond line `after`, at most `limit`."""
        rows = self._file.execute(
            "SELECT id, signature, order_id, slot, amount_in, amount_out, limit_atoms FROM ledger"
            " WHERE problem IS NULL AND id > ? ORDER BY id LIMIT ?",
            (after, limit),
        ).fetchall()
        return [
            Settlement(
                number=number, signature=sig, order_id=order, slot=slot, amount_in=a_in, amount_out=a_out, limit=limit
            )
            for number, sig, order, slot, a_in, a_out, limit in rows
        ]

    def quiet(self) -> bool:
        """Whether nothing that was ever broadcast can still land."""
        return self.in_flight() == 0

    def in_flight(self) -> int:
        """Transactions that were received and have not come to their slot."""
        self.produce_blocks()
        return len(self._coming)

    # --- slots and blocks ---------------------------------------------------------------------------------

    def slot(self) -> int:
        return _FIRST_SLOT + (self._clock.now() - self._genesis) // SLOT_MS

    def _time(self, slot: int) -> ChainTime:
        return ChainTime(slot=slot, unix_seconds=(self._genesis + (slot - _FIRST_SLOT) * SLOT_MS) // 1_000)

    def _admit(self, signature: Signature, tx: SimTx, raw: bytes) -> None:
        """Into the block of now, or on the way to a later one."""
        slot = self.slot()
        lands_at = slot + self._delay_slots()
        self._coming.add(signature)
        if lands_at == slot:
            self._block.append((slot, signature, tx))
            return
        heapq.heappush(self._in_flight, (lands_at, signature, tx))
        self._unsaved.append((signature, raw, lands_at))

    def _delay_slots(self) -> int:
        if self._strikes(self.preset.faults.late):
            return 1 + self._random.randrange(int(VALID_BLOCKS * _LATE_SPAN))
        low, high = self.preset.execute_ms
        return -(-self._random.randint(low, high) // SLOT_MS)

    def produce_blocks(self) -> None:
        """Execute what has come to its slot since the last call, and write all that is new: one commit, or nothing.

        Raises FillwrightError(CHAIN_UNAVAILABLE) where the file cannot be written. The next call then starts from what
        the file has, as after a sudden death: nobody is told what might yet be forgotten.
        """
        slot = self.slot()
        if slot <= self._reached and not self._block and not self._unsaved and self._intact:
            return
        try:
            if not self._intact:
                self._load()
            self._intact = False
            with self._file:
                self._file.execute("BEGIN")
                ended = self._advance(slot)
        except sqlite3.Error as error:
            raise FillwrightError(Code.CHAIN_UNAVAILABLE, "the chain's file cannot be written") from error
        self._intact = True
        for signature, result in ended.items():
            if result is not None:
                self._latest[signature] = result
        while len(self._latest) > _LATEST_MAX:
            del self._latest[next(iter(self._latest))]
        self._coming -= ended.keys()
        self._reached = slot

    def _advance(self, slot: int) -> dict[Signature, Fill | Rejection | None]:
        """The transactions that have come to their slot, and what became of each; None: it came too late."""
        if slot > self._reached:
            self._file.execute("INSERT OR REPLACE INTO reached VALUES (1, ?)", (slot,))
            self._write_pools(self._unwritten)
            self._unwritten = set()
        self._file.executemany("INSERT INTO in_flight VALUES (?, ?, ?)", self._unsaved)
        due: list[_Coming] = []
        while self._in_flight and self._in_flight[0][0] <= slot:
            due.append(heapq.heappop(self._in_flight))
        self._file.executemany("DELETE FROM in_flight WHERE signature = ?", [(signature,) for _, signature, _ in due])
        block, self._block, self._unsaved = self._block, [], []
        return {
            signature: self._settle(at, signature, tx) if height_at(at) <= tx.last_valid_height else None
            for at, signature, tx in (*due, *block)
        }

    def _settle(self, slot: int, signature: Signature, tx: SimTx) -> Fill | Rejection:
        """All instructions or none, like a transaction; either way the ledger tells it."""
        amount_in = amount_out = problem = None
        result: Fill | Rejection
        try:
            outcome = self._swap(slot, tx.instructions)
        except FillwrightError as error:
            problem = msgspec.json.encode(error.problem)
            result = Rejection(slot, error.problem)
        else:
            amount_in, amount_out = Atoms(outcome.amount_in), Atoms(outcome.amount_out)
            self._pools.update(outcome.touched)
            self._unwritten |= outcome.touched.keys()
            result = Fill(signature=signature, slot=slot, amount_in=amount_in, amount_out=amount_out)
        self._file.execute(
            "INSERT INTO ledger (signature, order_id, attempt, slot, amount_in, amount_out, limit_atoms, problem)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            (
                signature,
                tx.order_id,
                tx.attempt,
                slot,
                amount_in,
                amount_out,
                limit_of(tx.instructions),
                problem,
            ),
        )
        return result

    def _swap(self, slot: int, instructions: Sequence[Instruction]) -> Outcome:
        """Raises what reverts it."""
        if self._strikes(self.preset.faults.revert):
            raise FillwrightError(Code.CHAIN_REVERTED, "the transaction failed on chain (simulated)")
        self._list_newcomers(slot)
        if any(self._is_caught(wish) for wish in instructions):
            raise FillwrightError(Code.CHAIN_REVERTED, "the token's program does not allow its sale (simulated)")
        outcome = execute(instructions, lambda address: self._existing(address, slot), self._time(slot))
        if max(outcome.amount_in, outcome.amount_out) > ATOMS_MAX:
            raise FillwrightError(Code.POOL_LIQUIDITY, "more than the ledger can tell")
        return outcome

    def _is_caught(self, wish: Instruction) -> bool:
        """Whether this sells what cannot be sold."""
        newcomer = self._newcomers.get(wish.pool)
        return newcomer is not None and newcomer.trap is Trap.UNSELLABLE and wish.mint_in == newcomer.token.mint

    # --- pools --------------------------------------------------------------------------------------------

    def _list_newcomers(self, slot: int) -> None:
        """Those that are listed up to this slot; the oldest go."""
        newcomers = self._market.newcomers
        if newcomers is None:
            return
        latest = newcomers.latest(slot - _FIRST_SLOT)
        for number in range(max(self._listed + 1, latest - _NEWCOMERS_MAX + 1, 0), latest + 1):
            newcomer = newcomers.number(number)
            address = newcomer.pool.address
            self._newcomers[address], self._pools[address], self._ticks[address] = newcomer, newcomer.pool, _WHOLE
        self._listed = max(self._listed, latest)
        while len(self._newcomers) > _NEWCOMERS_MAX:
            address = next(iter(self._newcomers))
            del self._newcomers[address], self._pools[address], self._ticks[address]
            self._unwritten.discard(address)

    def _existing(self, address: str, slot: int) -> SimPool:
        """A transaction may outlive a market: what an earlier version signed may name pools that are no more."""
        if address not in self._pools:
            raise FillwrightError(Code.POOL_REFUSED, f"there is no pool {address}")
        return self._drifted(address, slot)

    def _drifted(self, address: str, slot: int) -> SimPool:
        """The pool after the market's trades up to this slot; only those of the latest tick, however long it was.

        Nobody trades in a newcomer but orders; its liquidity may be pulled, and then its tick tells so.
        """
        newcomer = self._newcomers.get(address)
        if newcomer is not None:
            if self._ticks[address] == _WHOLE and newcomer.is_pulled(slot - _FIRST_SLOT):
                self._ticks[address], self._pools[address] = _PULLED, pulled(self._pools[address])
                self._unwritten.add(address)
            return self._pools[address]
        tick = self._market.tick(slot - _FIRST_SLOT)
        if self._ticks[address] < tick:
            self._ticks[address] = tick
            now = self._time(_FIRST_SLOT + self._market.starts(tick))
            self._pools[address] = self._market.drift(self._pools[address], tick, now)
        return self._pools[address]

    def _write_pools(self, addresses: Iterable[str]) -> None:
        rows = [(each, self._ticks[each], msgspec.json.encode(self._pools[each])) for each in addresses]
        self._file.executemany("INSERT OR REPLACE INTO pool_states VALUES (?, ?, ?)", rows)

    # --- bookkeeping --------------------------------------------------------------------------------------

    def _found_at(self, seed: int) -> Millis:
        """When the first slot was. A clock that was set back meanwhile does not take the chain back with it."""
        now = self._clock.now()
        row = self._file.execute("SELECT at FROM genesis").fetchone()
        if row is not None:
            return Millis(min(row[0], now - (self._reached - _FIRST_SLOT) * SLOT_MS))
        self._file.execute("INSERT INTO genesis VALUES (?, ?)", (now, seed))
        return now

    def _opened(self) -> int:
        """Which opening of this file this is: each draws its own chances, so no nonce is used twice."""
        return int(self._file.execute("INSERT INTO openings DEFAULT VALUES RETURNING id").fetchone()[0])

    def _knows(self, signature: Signature) -> bool:
        return signature in self._coming or self.outcome(signature) is not None

    def _strikes(self, rate: float) -> bool:
        return rate > 0 and self._random.random() < rate


def height_at(slot: int) -> int:
    """Blocks so far: some slots have none."""
    passed = slot - _FIRST_SLOT
    return _FIRST_HEIGHT + passed - passed // _SKIPPED_EVERY
