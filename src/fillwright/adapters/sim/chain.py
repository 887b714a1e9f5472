"""The simulated chain: slots, blockhash expiry, pools, and a ledger of what settled.

Decides: when a transaction lands and what it swaps, by the pools' own maths. Must never: help the engine keep its
promises: it executes every valid transaction it is given, however often an order is signed. Its file is its own
and outlives the engine: the independent witness of what happened.
"""

import heapq
import sqlite3
from collections.abc import Sequence
from hashlib import sha512
from pathlib import Path
from random import Random
from typing import Final

import msgspec
from solders.signature import Signature as SolanaSignature

from fillwright.adapters.sim.market import Market, SimPool
from fillwright.adapters.sim.presets import Preset
from fillwright.errors import Code, FillwrightError, Problem
from fillwright.order import Fill, Mode, SignedTx
from fillwright.pools import ChainTime, Swap
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

_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS genesis (at INTEGER NOT NULL, seed INTEGER NOT NULL) STRICT;
CREATE TABLE IF NOT EXISTS openings (id INTEGER PRIMARY KEY) STRICT;
CREATE TABLE IF NOT EXISTS pools (address TEXT NOT NULL PRIMARY KEY, state BLOB NOT NULL) STRICT;
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
        self._file.executescript(f"PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL; {_SCHEMA}")
        self._random = Random(f"{seed}:chain:{self._opened()}")
        self._genesis = self._found_at(seed)
        self._pools = self._load_pools()
        self._ticks: dict[str, int] = {}
        rows = self._file.execute("SELECT lands_at, signature, raw FROM in_flight").fetchall()
        self._in_flight: list[tuple[int, str, bytes]] = rows
        heapq.heapify(self._in_flight)

    def close(self) -> None:
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
            limit=instructions[-1].limit,
        )

    async def broadcast(self, tx: SignedTx) -> None:
        faults = self._preset.faults
        self._produce_blocks()
        if not self._strikes(faults.drop) and not self._knows(tx.signature):
            self._admit(tx)
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

    def pools_of(self, venue: str, mint_a: Mint, mint_b: Mint) -> Snapshot:
        """This venue's pools of the pair, in the state of the current slot."""
        self._produce_blocks()
        slot = self.slot()
        wanted = {mint_a, mint_b}
        pools = [p for p in self._pools.values() if p.venue == venue and {p.mint_0, p.mint_1} == wanted]
        return Snapshot(tuple(self._drifted(pool.address, slot) for pool in pools), self._time(slot))

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
        return not self._in_flight

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
            self._execute([(slot, tx.signature, tx.raw)])
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
        due: list[tuple[int, str, bytes]] = []
        while self._in_flight and self._in_flight[0][0] <= slot:
            due.append(heapq.heappop(self._in_flight))
        if due:
            self._execute(due, arrived=due)

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
        try:
            amount_in, amount_out, touched = self._swap(slot, tx.instructions)
        except FillwrightError as error:
            problem = msgspec.json.encode(error.problem)
        else:
            self._keep(touched)
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
                tx.instructions[-1].limit,
                problem,
            ),
        )

    def _swap(self, slot: int, instructions: Sequence[Instruction]) -> tuple[int, int, dict[str, SimPool]]:
        """Amount in of the first, amount out of the last, and the pools afterwards. Raises what reverts it."""
        if self._strikes(self._preset.faults.revert):
            raise FillwrightError(Code.CHAIN_REVERTED, "the transaction failed on chain (simulated)")
        touched: dict[str, SimPool] = {}
        swaps: list[Swap] = []
        for wish in instructions:
            pool = touched.get(wish.pool) or self._drifted(wish.pool, slot)
            swap, after = _swapped(pool, wish, self._time(slot))
            touched[wish.pool] = after
            swaps.append(swap)
        return swaps[0].amount_in, swaps[-1].amount_out, touched

    # --- pools --------------------------------------------------------------------------------------------

    def _drifted(self, address: str, slot: int) -> SimPool:
        """The pool after the market's moves up to this slot."""
        tick = self._market.tick(slot - _FIRST_SLOT)
        if self._ticks.get(address) != tick:
            self._ticks[address] = tick
            self._pools[address] = self._market.drift(self._pools[address], tick)
        return self._pools[address]

    def _keep(self, touched: dict[str, SimPool]) -> None:
        self._pools.update(touched)
        rows = [(address, msgspec.json.encode(pool)) for address, pool in touched.items()]
        self._file.executemany("INSERT OR REPLACE INTO pools VALUES (?, ?)", rows)

    def _load_pools(self) -> dict[str, SimPool]:
        pools = {pool.address: pool for pool in self._market.pools}
        for address, state in self._file.execute("SELECT address, state FROM pools"):
            if address in pools:
                pools[address] = _pool_of(state)
        return pools

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
        landed = self._file.execute("SELECT 1 FROM ledger WHERE signature = ?", (signature,)).fetchone()
        return landed is not None or any(entry[1] == signature for entry in self._in_flight)

    def _outcome(self, signature: Signature) -> Fill | Rejection | None:
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


def _swapped(pool: SimPool, wish: Instruction, time: ChainTime) -> tuple[Swap, SimPool]:
    """The program's swap with the taker's limit enforced, as the programs do."""
    if wish.mode is Mode.EXACT_IN:
        swap, after = pool.swap_in(wish.amount, wish.mint_in, time)
        if swap.amount_out < wish.limit:
            raise _slipped(f"output {swap.amount_out} is below the minimum {wish.limit}")
    else:
        swap, after = pool.swap_out(wish.amount, wish.mint_in, time)
        if swap.amount_in > wish.limit:
            raise _slipped(f"input {swap.amount_in} is above the maximum {wish.limit}")
    return swap, after


def _slipped(detail: str) -> FillwrightError:
    return FillwrightError(Code.CHAIN_SLIPPAGE, f"slippage tolerance exceeded: {detail}")
