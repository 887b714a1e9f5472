"""The simulated chain: slots, blockhash expiry, pools, and a ledger of what settled.

Decides: when a transaction lands and what it swaps, by the pools' own maths. Must never: help the engine keep its
promises: it executes every valid transaction it is given, however often an order is signed. Its file is its own
and outlives the engine: the independent witness of what happened.

A line of the ledger is in the file as soon as its block is. Pool states are large: those that orders moved are written
at most once a slot, by the first call of a later slot, and all of them on `close`. So after a sudden death the market
may be older than the ledger by the slot that was last worked in; the ledger itself never lacks a swap.
"""

import asyncio
import heapq
import sqlite3
from collections.abc import Iterable, Sequence
from hashlib import sha512
from pathlib import Path
from random import Random
from typing import Final

import msgspec
from solders.signature import Signature as SolanaSignature

from fillwright.adapters.sim.market import Market, SimPool
from fillwright.adapters.sim.presets import Preset
from fillwright.adapters.sim.swaps import Outcome, execute, limit_of
from fillwright.errors import Code, FillwrightError, Problem
from fillwright.order import Fill, SignedTx
from fillwright.pools import ChainTime
from fillwright.ports import Clock, Instruction, Rejection, Sighting, Snapshot
from fillwright.units import Atoms, Millis, Mint, OrderId, Signature

SLOT_MS: Final = 400
VALID_BLOCKS: Final = 150
"""A transaction can land in this many blocks after the one it was signed on."""
_FIRST_SLOT: Final = 415_822_000
_FIRST_HEIGHT: Final = 393_900_000
_SKIPPED_EVERY: Final = 20
"""One slot in so many has no block: height and slot are different things."""
_LATE_SPAN: Final = 1.4
_LATEST_MAX: Final = 4_096
"""Outcomes kept in memory; older ones are read from the ledger."""

_PRAGMAS: Final = "PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL; PRAGMA wal_autocheckpoint = 8000;"
_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS genesis (at INTEGER NOT NULL, seed INTEGER NOT NULL) STRICT;
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


class SimTx(msgspec.Struct, frozen=True, kw_only=True):
    """What the simulated wallet signs. `nonce` keeps two equal wishes apart."""

    order_id: OrderId
    attempt: int
    nonce: int
    last_valid_height: int
    instructions: tuple[Instruction, ...]


class Settlement(msgspec.Struct, frozen=True, kw_only=True):
    """A line of the ledger of swaps that happened."""

    signature: Signature
    order_id: OrderId
    slot: int
    amount_in: Atoms
    amount_out: Atoms
    limit: Atoms


_encode: Final = msgspec.msgpack.Encoder().encode
_decode: Final = msgspec.msgpack.Decoder(SimTx).decode
_pool_of: Final = msgspec.json.Decoder(SimPool).decode
_problem_of: Final = msgspec.json.Decoder(Problem).decode


class SimChain:
    """See ports.Chain. One instance is the whole network; `clock` is the network's own."""

    def __init__(self, path: Path | str, clock: Clock, market: Market, preset: Preset, seed: int) -> None:
        self._clock = clock
        self._market = market
        self._preset = preset
        self._file = sqlite3.connect(path, isolation_level=None)
        self._file.executescript(_PRAGMAS + _SCHEMA)
        self._random = Random(f"{seed}:chain:{self._opened()}")
        self._genesis = self._found_at(seed)
        self._pools = {pool.address: pool for pool in market.pools}
        self._ticks = dict.fromkeys(self._pools, -1)
        self._load_pools()
        self._unwritten: set[str] = set()
        self._written_at = 0
        self._block: list[tuple[int, str, bytes]] = []
        self._seen: dict[tuple[str, frozenset[Mint]], Snapshot] = {}
        self._seen_at = 0
        self._latest: dict[Signature, Fill | Rejection] = {}
        rows = self._file.execute("SELECT lands_at, signature, raw FROM in_flight").fetchall()
        self._in_flight: list[tuple[int, str, bytes]] = rows
        heapq.heapify(self._in_flight)

    def close(self) -> None:
        self._write_pools(self._pools)
        self._file.close()

    # --- port ---------------------------------------------------------------------------------------------

    async def sign(self, order_id: OrderId, attempt: int, instructions: Sequence[Instruction]) -> SignedTx:
        slot = self.slot()
        height = height_at(slot)
        tx = SimTx(
            order_id=order_id,
            attempt=attempt,
            nonce=self._random.getrandbits(63),
            last_valid_height=height + VALID_BLOCKS,
            instructions=tuple(instructions),
        )
        raw = _encode(tx)
        return SignedTx(
            signature=_signature(raw),
            raw=raw,
            last_valid_height=tx.last_valid_height,
            signed_slot=slot,
            signed_height=height,
            limit=limit_of(instructions),
        )

    async def broadcast(self, tx: SignedTx) -> None:
        faults = self._preset.faults
        if not self._strikes(faults.drop) and not self._knows(tx.signature):
            self._admit(tx)
            await asyncio.sleep(0)  # what else is broadcast in this turn of the loop shares the block
            self._produce_blocks()
        if self._strikes(faults.lost_answer):
            raise FillwrightError(Code.CHAIN_UNAVAILABLE, "the node did not answer (simulated)")

    async def look(self, signature: Signature) -> Sighting:
        faults = self._preset.faults
        self._produce_blocks()
        if self._strikes(faults.lost_answer):
            raise FillwrightError(Code.CHAIN_UNAVAILABLE, "the node did not answer (simulated)")
        slot = self.slot()
        height = slot if self._strikes(faults.lying_height) else height_at(slot)
        return Sighting(height=height, slot=slot, outcome=self._outcome(signature))

    async def ping(self) -> None:
        self._file.execute("SELECT 1")

    # --- what venues see ----------------------------------------------------------------------------------

    def pools_of(self, venue: str, mints: frozenset[Mint]) -> Snapshot:
        """This venue's pools among these tokens, as the current slot was first seen: like a node, one view a slot."""
        self._produce_blocks()
        slot = self.slot()
        if slot != self._seen_at:
            self._seen, self._seen_at = {}, slot
        if (venue, mints) not in self._seen:
            pools = [p for p in self._pools.values() if p.venue == venue and p.mint_0 in mints and p.mint_1 in mints]
            drifted = tuple(self._drifted(pool.address, slot) for pool in pools)
            self._seen[venue, mints] = Snapshot(drifted, self._time(slot))
        return self._seen[venue, mints]

    def all_pools(self) -> list[SimPool]:
        slot = self.slot()
        return [self._drifted(address, slot) for address in list(self._pools)]

    # --- the witness --------------------------------------------------------------------------------------

    def settlements(self) -> list[Settlement]:
        """Every swap that happened, in order."""
        rows = self._file.execute(
            "SELECT signature, order_id, slot, amount_in, amount_out, limit_atoms FROM ledger"
            " WHERE problem IS NULL ORDER BY id"
        ).fetchall()
        return [
            Settlement(signature=sig, order_id=order, slot=slot, amount_in=a_in, amount_out=a_out, limit=limit)
            for sig, order, slot, a_in, a_out, limit in rows
        ]

    def quiet(self) -> bool:
        """Whether nothing that was ever broadcast can still land."""
        self._produce_blocks()
        return not self._in_flight and not self._block

    # --- slots and blocks ---------------------------------------------------------------------------------

    def slot(self) -> int:
        return _FIRST_SLOT + (self._clock.now() - self._genesis) // SLOT_MS

    def _time(self, slot: int) -> ChainTime:
        return ChainTime(slot=slot, unix_seconds=(self._genesis + (slot - _FIRST_SLOT) * SLOT_MS) // 1_000)

    def _admit(self, tx: SignedTx) -> None:
        """Into the block of now, or on the way to a later one."""
        slot = self.slot()
        lands_at = slot + self._delay_slots()
        if lands_at == slot:
            self._block.append((slot, tx.signature, tx.raw))
            return
        heapq.heappush(self._in_flight, (lands_at, tx.signature, tx.raw))
        self._file.execute("INSERT INTO in_flight VALUES (?, ?, ?)", (tx.signature, tx.raw, lands_at))

    def _delay_slots(self) -> int:
        if self._strikes(self._preset.faults.late):
            return 1 + self._random.randrange(int(VALID_BLOCKS * _LATE_SPAN))
        low, high = self._preset.execute_ms
        return -(-self._random.randint(low, high) // SLOT_MS)

    def _produce_blocks(self) -> None:
        """Execute what has come to its slot since the last call."""
        slot = self.slot()
        if self._unwritten and slot > self._written_at:
            self._write_pools(self._unwritten)
            self._unwritten, self._written_at = set(), slot
        block, self._block = self._block, []
        due: list[tuple[int, str, bytes]] = []
        while self._in_flight and self._in_flight[0][0] <= slot:
            due.append(heapq.heappop(self._in_flight))
        if due or block:
            self._execute([*due, *block], arrived=due)

    def _execute(
        self, transactions: Sequence[tuple[int, str, bytes]], arrived: Sequence[tuple[int, str, bytes]] = ()
    ) -> None:
        """One commit for all; `arrived` are those that were on the way and now are not."""
        self._file.execute("BEGIN")
        for slot, signature, raw in transactions:
            tx = _decode(raw)
            if height_at(slot) <= tx.last_valid_height:
                self._settle(slot, Signature(signature), tx)
        if arrived:
            self._file.executemany("DELETE FROM in_flight WHERE signature = ?", [(entry[1],) for entry in arrived])
        self._file.execute("COMMIT")

    def _settle(self, slot: int, signature: Signature, tx: SimTx) -> None:
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
        self._latest[signature] = result
        if len(self._latest) > _LATEST_MAX:
            del self._latest[next(iter(self._latest))]

    def _swap(self, slot: int, instructions: Sequence[Instruction]) -> Outcome:
        """Raises what reverts it."""
        if self._strikes(self._preset.faults.revert):
            raise FillwrightError(Code.CHAIN_REVERTED, "the transaction failed on chain (simulated)")
        return execute(instructions, lambda address: self._existing(address, slot), self._time(slot))

    # --- pools --------------------------------------------------------------------------------------------

    def _existing(self, address: str, slot: int) -> SimPool:
        """A transaction may outlive a market: what an earlier version signed may name pools that are no more."""
        if address not in self._pools:
            raise FillwrightError(Code.POOL_REFUSED, f"there is no pool {address}")
        return self._drifted(address, slot)

    def _drifted(self, address: str, slot: int) -> SimPool:
        """The pool after the market's trades up to this slot; only those of the latest tick, however long it was."""
        tick = self._market.tick(slot - _FIRST_SLOT)
        if self._ticks[address] < tick:
            self._ticks[address] = tick
            now = self._time(_FIRST_SLOT + self._market.starts(tick))
            self._pools[address] = self._market.drift(self._pools[address], tick, now)
        return self._pools[address]

    def _write_pools(self, addresses: Iterable[str]) -> None:
        rows = [(each, self._ticks[each], msgspec.json.encode(self._pools[each])) for each in addresses]
        self._file.execute("BEGIN")
        self._file.executemany("INSERT OR REPLACE INTO pool_states VALUES (?, ?, ?)", rows)
        self._file.execute("COMMIT")

    def _load_pools(self) -> None:
        for address, tick, state in self._file.execute("SELECT address, tick, state FROM pool_states"):
            if address in self._pools:
                self._ticks[address], self._pools[address] = tick, _pool_of(state)

    # --- bookkeeping --------------------------------------------------------------------------------------

    def _found_at(self, seed: int) -> Millis:
        row = self._file.execute("SELECT at FROM genesis").fetchone()
        if row is not None:
            return Millis(row[0])
        now = self._clock.now()
        self._file.execute("INSERT INTO genesis VALUES (?, ?)", (now, seed))
        return now

    def _opened(self) -> int:
        """Which opening of this file this is: each draws its own chances, so no nonce is used twice."""
        return int(self._file.execute("INSERT INTO openings DEFAULT VALUES RETURNING id").fetchone()[0])

    def _knows(self, signature: Signature) -> bool:
        coming = any(entry[1] == signature for entry in (*self._in_flight, *self._block))
        return coming or self._outcome(signature) is not None

    def _outcome(self, signature: Signature) -> Fill | Rejection | None:
        if signature in self._latest:
            return self._latest[signature]
        row = self._file.execute(
            "SELECT slot, amount_in, amount_out, problem FROM ledger WHERE signature = ?", (signature,)
        ).fetchone()
        if row is None:
            return None
        slot, amount_in, amount_out, problem = row
        if problem is not None:
            return Rejection(slot, _problem_of(problem))
        return Fill(signature=signature, slot=slot, amount_in=amount_in, amount_out=amount_out)

    def _strikes(self, rate: float) -> bool:
        return rate > 0 and self._random.random() < rate


def _signature(raw: bytes) -> Signature:
    """64 bytes in base58, as on the real chain. Nobody verifies it here, so a digest stands in for the curve's work."""
    return Signature(str(SolanaSignature.from_bytes(sha512(raw).digest())))


def height_at(slot: int) -> int:
    """Blocks so far: some slots have none."""
    passed = slot - _FIRST_SLOT
    return _FIRST_HEIGHT + passed - passed // _SKIPPED_EVERY
