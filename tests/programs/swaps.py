"""Swaps and routes, built as the engine builds them and executed by the programs: received must equal quoted.

Decides: which swaps are tried on a golden pool, and what must come of them. Must never: let a swap pass that moved
another amount than the pool value said, or that the program let through beyond the taker's limit.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Final, TypeAlias

from solders.keypair import Keypair
from solders.message import MessageV0
from solders.transaction_metadata import FailedTransactionMetadata

from fillwright.adapters.solana.building import Budget, Terms, build, memo_of
from fillwright.order import Mode
from fillwright.pools import ChainTime, Pool, PoolRefused, Swap
from fillwright.pools import pool as p
from fillwright.ports import Instruction
from fillwright.programs import PROGRAMS, Accounts, Program, by_id
from fillwright.units import NATIVE_MINT, Atoms, Mint, OrderId
from tests.programs.machine import HOLDING_BYTES, Machine
from tests.vectors.accounts import Scene, scenes

BUDGET: Final = Budget(units=1_400_000, micro_lamports=0)
FEE: Final = 5_000
"""Lamports for one signature."""
LAMPORTS_MAX: Final = 10**18
"""More SOL than this there never was: pools at the edge of 64 bits hold another token."""


Asked: TypeAlias = tuple[Pool, Mode, Mint, Atoms]


@dataclass
class Tally:
    """What became of the swaps on one program's pools, or of the routes over two kinds."""

    exact_in: int = 0
    exact_out: int = 0
    held: int = 0
    """Refused by the program for a limit that was one atom tighter."""
    dust: int = 0
    """Refused by a CPMM older than 2025-08, which rounds an input of one atom to none."""
    tables: int = 0
    """Did not fit without a lookup table."""
    units_max: int = 0
    wrong: list[str] = field(default_factory=list)

    def count(self, mode: Mode, done: "Done") -> None:
        self.units_max = max(self.units_max, done.units)
        self.tables += done.by_table
        if mode is Mode.EXACT_IN:
            self.exact_in += 1
        else:
            self.exact_out += 1


@dataclass(frozen=True)
class Done:
    """One transaction: what the wallet had less and more of afterwards. `error`: the program's, if it was undone."""

    moved: Mapping[Mint, int]
    units: int
    error: str
    by_table: bool = False


@dataclass(frozen=True)
class Prepared:
    """A transaction that was not sent yet."""

    keypair: Keypair
    message: MessageV0
    has: Mapping[Mint, Atoms]
    mints: frozenset[Mint]


class Stage:
    """Builds wishes with one wallet's balances, and sends them."""

    def __init__(self, machine: Machine) -> None:
        self._machine = machine
        self._prepared = 0

    def play(self, wishes: Sequence[Instruction], has: Mapping[Mint, Atoms], known: Accounts, now: ChainTime) -> Done:
        return self.send(self.prepare(wishes, has, known, now))

    def prepare(
        self, wishes: Sequence[Instruction], has: Mapping[Mint, Atoms], known: Accounts, now: ChainTime
    ) -> Prepared:
        """Of a wallet that has just this, with a lookup table of all pools in reach. Raises PoolRefused, TooLarge."""
        machine = self._machine
        self._prepared += 1
        keypair = machine.wallet(has)
        owner, memo = str(keypair.pubkey()), memo_of(OrderId(f"{self._prepared:026}"), 1, bytes(4))
        tables = (machine.table(sorted(_shared(known))),) if len(wishes) > 1 else ()
        terms, hashed = Terms(wallet=owner, tables=tables), machine.blockhash
        message = build(wishes, terms, accounts=known, now=now, memo=memo, blockhash=hashed, budget=BUDGET)
        mints = frozenset(mint for wish in wishes for mint in (wish.mint_in, wish.mint_out))
        return Prepared(keypair, message, has, mints)

    def send(self, prepared: Prepared) -> Done:
        machine, mints, owner = self._machine, prepared.mints, str(prepared.keypair.pubkey())
        before = {mint: machine.wealth(owner, mint) for mint in mints}
        result = machine.send(prepared.message, prepared.keypair)
        if isinstance(result, FailedTransactionMetadata):
            return Done({}, result.meta().compute_units_consumed(), str(result.err()))
        after = {mint: machine.wealth(owner, mint) for mint in mints}
        if NATIVE_MINT in mints:
            created = machine.rent(owner, mints - {NATIVE_MINT} - prepared.has.keys())
            after[NATIVE_MINT] += FEE + created
        moved = {mint: after[mint] - before[mint] for mint in mints}
        return Done(moved, result.compute_units_consumed(), "", bool(prepared.message.address_table_lookups))


def swaps_of(machine: Machine, program: Program, at_most: int | None = None) -> Tally:
    """Every golden pool of this program: the golden swap, its counterpart in the other mode, and the way back."""
    tally, stage = Tally(), Stage(machine)
    for scene in islice(filter(is_possible, scenes(program.kind)), at_most):
        try:
            pool = program.decode(scene.pool, scene.known)
        except PoolRefused:
            continue
        machine.set_time(scene.now)
        for asked in _asked(pool, scene):
            _try(machine, stage, tally, scene, asked)
    return tally


def _try(machine: Machine, stage: Stage, tally: Tally, scene: Scene, asked: Asked) -> None:
    """Once with the limit one atom too tight, once with the exact one."""
    pool, mode, mint_in, amount = asked
    quote = quoted(pool, mode, mint_in, amount, scene.now)
    if quote is None:
        return
    exact, tighter = (quote.amount_out, 1) if mode is Mode.EXACT_IN else (quote.amount_in, -1)
    expected = {mint_in: -quote.amount_in, other(pool, mint_in): quote.amount_out}
    for limit in filter(None, (exact + tighter, exact)):
        machine.put(scene.pool, scene.known)
        wish = wish_of(pool, mint_in, mode, amount, Atoms(limit))
        done = stage.play([wish], {mint_in: quote.amount_in}, scene.known, scene.now)
        name = f"{scene.id} {mode} {amount} of {mint_in}, limit {limit}"
        if limit == exact and done.moved == expected:
            tally.count(mode, done)
        elif done.error and _is_dust(pool, mode, quote):
            tally.dust += limit == exact
        elif limit != exact and is_held(pool.kind, done.error):
            tally.held += 1
        else:
            tally.wrong.append(f"{name}: {done.error or done.moved} instead of {expected}")


def _shared(known: Accounts) -> set[str]:
    """What a lookup table can hold of swaps on these pools: all but the wallet's own."""
    pools = {address: by_id(account.owner) for address, account in known.items()}
    shared = set(known)
    for address, program in pools.items():
        if program is not None and program.is_pool(known[address]):
            shared |= {*program.linked(address, known), *program.mints(known[address])}
    return shared


def is_held(kind: str, error: str) -> bool:
    return any(f"Custom({code})" in error for code in PROGRAMS[kind].limit_codes)


def _is_dust(pool: Pool, mode: Mode, quote: Swap) -> bool:
    return pool.kind == "cpmm" and mode is Mode.EXACT_OUT and quote.amount_in - quote.fee == 1


def is_possible(scene: Scene) -> bool:
    """Whether the chain could hold the pool."""
    vaults = [each.data for each in scene.known.values() if len(each.data) == HOLDING_BYTES]
    return not any(p.pubkey(vault, 0) == NATIVE_MINT and p.u64(vault, 64) > LAMPORTS_MAX for vault in vaults)


def _asked(pool: Pool, scene: Scene) -> Iterator[Asked]:
    """As it was tried, the same in the other mode, and back again in both."""
    first = quoted(pool, scene.mode, scene.mint_in, scene.amount, scene.now)
    if first is None:
        return
    yield pool, Mode.EXACT_IN, scene.mint_in, first.amount_in
    yield pool, Mode.EXACT_OUT, scene.mint_in, first.amount_out
    yield pool, Mode.EXACT_IN, scene.mint_out, first.amount_out
    yield pool, Mode.EXACT_OUT, scene.mint_out, first.amount_in


def quoted(pool: Pool, mode: Mode, mint_in: Mint, amount: Atoms, now: ChainTime) -> Swap | None:
    """What the pool value says; None where it refuses, and so would its program."""
    try:
        return pool.quote_in(amount, mint_in, now) if mode is Mode.EXACT_IN else pool.quote_out(amount, mint_in, now)
    except PoolRefused:
        return None


def other(pool: Pool, mint: Mint) -> Mint:
    return pool.mint_1 if mint == pool.mint_0 else pool.mint_0


def wish_of(pool: Pool, mint_in: Mint, mode: Mode, amount: Atoms, limit: Atoms) -> Instruction:
    return Instruction(
        venue=pool.venue,
        pool=pool.address,
        mint_in=mint_in,
        mint_out=other(pool, mint_in),
        mode=mode,
        amount=amount,
        limit=limit,
    )
