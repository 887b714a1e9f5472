"""Four swaps in one transaction: SOL to USDC over two pools and on to USDT over two more, of whatever kinds.

Decides: which golden pools are joined. Must never: let another amount than asked be spent for exact in, or be received
for exact out.
"""

from collections.abc import Sequence
from random import Random
from typing import Final

from fillwright.adapters.solana.building import TooLarge
from fillwright.order import Mode
from fillwright.pools import ChainTime, Pool, PoolRefused
from fillwright.ports import Instruction
from fillwright.programs import Program
from fillwright.units import ATOMS_MAX, NATIVE_MINT, Atoms, Mint, ceil_div
from tests.programs.machine import Machine
from tests.programs.routes import TOLERANCE
from tests.programs.swaps import Stage, Tally, is_possible, wish_of
from tests.vectors.accounts import Scene, scenes

_USDC: Final = Mint("EPjFWdd5AufqSSqeM2qN1xzybapC8G4wEGGkZwyTDt1v")
_USDT: Final = Mint("Es9vMFrzaCERmJfrF4H2FYD4KCoNkY11McCe8BenwNYB")
_NOW: Final = ChainTime(slot=500_000_000, unix_seconds=1_900_000_000)
_LAMPORTS: Final = 50_000_000


def networks_of(machine: Machine, count: int) -> Tally:
    """So many, in both modes, each with the exact limit."""
    tally, stage, random = Tally(), Stage(machine), Random(0)
    firsts, seconds = (_pools(machine.programs, *mints) for mints in ((NATIVE_MINT, _USDC), (_USDC, _USDT)))
    machine.set_time(_NOW)
    for _ in range(count):
        chosen = [*random.sample(firsts, 2), *random.sample(seconds, 2)]
        for mode in Mode:
            _try(machine, stage, tally, chosen, mode)
    return tally


def _try(machine: Machine, stage: Stage, tally: Tally, chosen: Sequence[tuple[Scene, Pool]], mode: Mode) -> None:
    pools = [pool for _, pool in chosen]
    try:
        amounts, expected = _quoted(pools, mode)
    except PoolRefused:
        return  # golden prices differ by more than the pools hold
    exact_in = mode is Mode.EXACT_IN
    limits = (0, 0, 1, 1) if exact_in else (2 * _LAMPORTS, 2 * _LAMPORTS, ATOMS_MAX, ATOMS_MAX)
    wishes: list[Instruction] = [
        wish_of(pool, NATIVE_MINT if number < 2 else _USDC, mode, amount, Atoms(limit))
        for number, (pool, amount, limit) in enumerate(zip(pools, amounts, limits, strict=True))
    ]
    known = {at: account for scene, _ in chosen for at, account in scene.known.items()}
    for scene, _ in chosen:
        machine.put(scene.pool, scene.known)
    name = f"{mode} over {[pool.kind for pool in pools]}"
    try:
        done = stage.play(wishes, {NATIVE_MINT: Atoms(4 * _LAMPORTS)}, known, _NOW)
    except (PoolRefused, TooLarge) as error:
        tally.wrong.append(f"{name}: {error}")
        return
    if done.moved == expected:
        tally.count(mode, done)
    else:
        tally.wrong.append(f"{name}: {done.error or done.moved} instead of {expected}")


def _quoted(pools: Sequence[Pool], mode: Mode) -> tuple[list[Atoms], dict[Mint, int]]:
    """What is wished of the four, as a router quotes them, and what must move."""
    first, second, third, fourth = pools
    here = [pool.quote_in(Atoms(_LAMPORTS), NATIVE_MINT, _NOW).amount_out for pool in (first, second)]
    shares = Atoms(sum(here) // 2), Atoms(sum(here) - sum(here) // 2)
    got = [_in(third, shares[0]), _in(fourth, shares[1])]
    if mode is Mode.EXACT_IN:
        arrive = [Atoms(each - ceil_div(each, TOLERANCE)) for each in here]
        half = Atoms(sum(arrive) * shares[0] // sum(shares))
        received = _in(third, half) + _in(fourth, Atoms(sum(arrive) - half))
        moves = {NATIVE_MINT: -2 * _LAMPORTS, _USDC: sum(here) - sum(arrive), _USDT: received}
        return [Atoms(_LAMPORTS)] * 2 + list(shares), moves
    costs = [_out(third, got[0], _USDC), _out(fourth, got[1], _USDC)]
    needed = sum(cost + ceil_div(cost, TOLERANCE) for cost in costs)
    part = Atoms(needed * here[1] // sum(here))
    spent = _out(first, Atoms(needed - part), NATIVE_MINT) + _out(second, part, NATIVE_MINT)
    return [*here, *got], {NATIVE_MINT: -spent, _USDC: needed - sum(costs), _USDT: sum(got)}


def _in(pool: Pool, amount: Atoms) -> Atoms:
    return pool.quote_in(amount, _USDC, _NOW).amount_out


def _out(pool: Pool, amount: Atoms, mint_in: Mint) -> Atoms:
    return pool.quote_out(amount, mint_in, _NOW).amount_in


def _pools(programs: Sequence[Program], mint_in: Mint, mint_out: Mint) -> list[tuple[Scene, Pool]]:
    """Deep enough for all that comes by."""
    found: dict[str, tuple[Scene, Pool]] = {}
    for program in programs:
        for scene in scenes(program.kind):
            if {scene.mint_in, scene.mint_out} == {mint_in, mint_out} and is_possible(scene):
                try:
                    pool = program.decode(scene.pool, scene.known)
                    pool.quote_out(pool.quote_in(Atoms(4 * _LAMPORTS), mint_in, _NOW).amount_out, mint_in, _NOW)
                except PoolRefused:
                    continue
                found[scene.pool] = scene, pool
    return list(found.values())
