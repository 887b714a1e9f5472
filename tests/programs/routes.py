"""Routes of several programs in one transaction: what is handed from one swap to the next, and SOL at each place.

Decides: which golden pools are put one behind the other, under mints that fit. Must never: take an amount from what is
tested: what must be spent and received is computed here from the pool values.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from hashlib import sha256
from itertools import islice
from typing import Final, TypeAlias

from solders.pubkey import Pubkey

from fillwright.adapters.solana.building import TooLarge
from fillwright.order import Mode
from fillwright.pools import ChainTime, Pool, PoolRefused
from fillwright.programs import PROGRAMS, Program
from fillwright.programs.layout import key_bytes
from fillwright.units import ATOMS_MAX, NATIVE_MINT, Atoms, Mint, ceil_div
from tests.programs.machine import Machine
from tests.programs.swaps import Stage, Tally, is_held, is_possible, quoted, wish_of
from tests.vectors.accounts import Scene, scenes

TOLERANCE: Final = 1_000
"""One in so many atoms: the default of 10 bps."""
_MINTS: Final = tuple(Mint(str(Pubkey.from_bytes(sha256(name).digest()))) for name in (b"first", b"middle", b"last"))
_FREE: Final = ("amm_v4", "cpmm", "damm_v2")
"""Kinds whose pools can be given other mints: the others sign with an address that is derived from theirs."""
Mints: TypeAlias = tuple[Mint, Mint, Mint]
_SCALES: Final = (1, 10, 1_000, 100_000)


def routes_of(machine: Machine, first: Program, second: Program, count: int) -> Tally:
    """So many pairs of golden pools, in both modes."""
    tally, stage = Tally(), Stage(machine)
    for pair in islice(_pairs(first, second), count):
        for mode in Mode:
            _try(machine, stage, tally, pair, mode)
    return tally


def _try(machine: Machine, stage: Stage, tally: Tally, pair: tuple[Scene, Scene], mode: Mode) -> None:
    """Without a limit, where the hop tolerance is kept; with the limit on the quote, which leaves none; one tighter."""
    known = {**pair[0].known, **pair[1].known}
    now = max((scene.now for scene in pair), key=lambda time: time.unix_seconds)
    pool_a, pool_b = (PROGRAMS[scene.kind].decode(scene.pool, known) for scene in pair)
    mints = pair[0].mint_in, pair[0].mint_out, pair[1].mint_out
    machine.set_time(now)
    for amount in _sizes(pool_a, pair[0], now):
        try:
            loose, exact = (_moves((pool_a, pool_b), amount, mints, mode, now, rest) for rest in (TOLERANCE, None))
        except PoolRefused:
            continue
        break
    else:
        return
    exact_in, quoted_limit = mode is Mode.EXACT_IN, exact.received if mode is Mode.EXACT_IN else exact.spent
    for limit, moves in (
        (1 if exact_in else 2 * loose.spent, loose),
        (quoted_limit, exact),
        (quoted_limit + (1 if exact_in else -1), None),
    ):
        for scene in pair:
            machine.put(scene.pool, scene.known)
        first = (amount, Atoms(0)) if exact_in else (exact.between, Atoms(limit))
        second = (exact.between, Atoms(limit)) if exact_in else (exact.received, ATOMS_MAX)
        wishes = [wish_of(pool_a, mints[0], mode, *first), wish_of(pool_b, mints[1], mode, *second)]
        name = f"{pair[0].id} {pair[1].id} {mode} {amount} of {mints}, limit {limit}"
        try:
            done = stage.play(wishes, {mints[0]: Atoms(2 * max(amount, loose.spent))}, known, now)
        except (PoolRefused, TooLarge) as error:
            tally.wrong.append(f"{name}: {error}")
            return
        expected = moves and {mints[0]: -moves.spent, mints[1]: moves.left, mints[2]: moves.received}
        if expected and done.moved == expected:
            tally.count(mode, done)
        elif not expected and is_held(pair[1 if exact_in else 0].kind, done.error):
            tally.held += 1
        else:
            tally.wrong.append(f"{name}: {done.error or done.moved} instead of {expected}")


@dataclass(frozen=True)
class _Moves:
    """What a route takes and gives, and what is quoted and left between its swaps."""

    spent: Atoms
    between: Atoms
    left: int
    received: Atoms


def _sizes(pool: Pool, scene: Scene, now: ChainTime) -> Iterator[Atoms]:
    """About that of the golden swap, and smaller ones: the next pool must be able to take what comes out."""
    start = quoted(pool, scene.mode, scene.mint_in, scene.amount, now)
    if start is not None:
        yield from (Atoms(start.amount_in // scale) for scale in _SCALES)


def _moves(
    pools: tuple[Pool, Pool],
    amount: Atoms,
    mints: Mints,
    mode: Mode,
    now: ChainTime,
    rest: int | None,
) -> _Moves:
    """`rest`: one in so many atoms is kept as tolerance; None: nothing is."""
    pool_a, pool_b = pools
    there = pool_a.quote_in(amount, mints[0], now).amount_out
    if mode is Mode.EXACT_IN:
        arrives = Atoms(there - (ceil_div(there, rest) if rest else 0))
        return _Moves(amount, there, there - arrives, pool_b.quote_in(arrives, mints[1], now).amount_out)
    received = pool_b.quote_in(there, mints[1], now).amount_out
    cost = pool_b.quote_out(received, mints[1], now).amount_in
    needed = Atoms(cost + (ceil_div(cost, rest) if rest else 0))
    return _Moves(pool_a.quote_out(needed, mints[0], now).amount_in, cost, needed - cost, received)


def _pairs(first: Program, second: Program) -> Iterator[tuple[Scene, Scene]]:
    """Different pools that could swap when they were recorded, with SOL at each place that it can have."""
    ones, others = ([scene for scene in scenes(program.kind) if not scene.error] for program in (first, second))
    for number, one in enumerate(ones):
        for other in others[7 * number % len(others) :] + others[: 7 * number % len(others)]:
            matched = [pair for pair in _matched(one, other) if all(map(is_possible, pair))]
            yield from matched
            if matched:
                break


def _matched(one: Scene, other: Scene) -> Iterator[tuple[Scene, Scene]]:
    """The two, one behind the other, under other mints where their programs do not mind."""
    seen = set[tuple[Mint, ...]]()
    for sol_at in (None, 0, 1, 2):
        mints = [NATIVE_MINT if place == sol_at else mint for place, mint in enumerate(_MINTS)]
        if one.kind not in _FREE:
            mints[:2] = one.mint_in, one.mint_out
        if other.kind not in _FREE:
            mints[1:] = other.mint_in, other.mint_out
        fits = one.kind in _FREE or mints[:2] == [one.mint_in, one.mint_out]
        if fits and one.pool != other.pool and len(set(mints)) == len(mints) and tuple(mints) not in seen:
            seen.add(tuple(mints))
            yield _renamed(one, *mints[:2]), _renamed(other, *mints[1:])


def _renamed(scene: Scene, mint_in: Mint, mint_out: Mint) -> Scene:
    """The same pool of other mints."""
    swapped = {scene.mint_in: mint_in, scene.mint_out: mint_out}
    keys = {key_bytes(old): key_bytes(new) for old, new in swapped.items()}
    known = {}
    for address, account in scene.known.items():
        data = account.data
        parts = {at: new for old, new in keys.items() if (at := data.find(old)) >= 0}
        for at, new in parts.items():
            data = data[:at] + new + data[at + len(new) :]
        known[address] = type(account)(account.owner, data)
    return replace(scene, known=known, mint_in=mint_in)
