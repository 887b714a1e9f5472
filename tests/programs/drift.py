"""The price moves into the next array, either way, between signing and landing: the swap must still go through.

Decides: which strangers' swaps come in between. Must never: build anew after they did.
"""

from itertools import islice
from typing import Final

from fillwright.order import Mode
from fillwright.pools import Pool, PoolRefused
from fillwright.pools.clmm import ClmmPool
from fillwright.pools.clmm_ticks import TICKS_PER_ARRAY
from fillwright.pools.dlmm import DlmmPool
from fillwright.pools.dlmm_accounts import BINS_PER_ARRAY
from fillwright.programs import Program
from fillwright.units import Atoms, Mint
from tests.programs.machine import Machine
from tests.programs.swaps import Stage, Tally, is_possible, other, quoted, wish_of
from tests.vectors.accounts import Scene, scenes

WITH_ARRAYS: Final = ("clmm", "dlmm")
_SMALL: Final = 1_000
"""The swap that was signed is so many times smaller than the golden one: it ends in the array of the price."""
_BITS_MAX: Final = 62
_BITS_FINE: Final = 12


def drifts_of(machine: Machine, program: Program, at_most: int | None = None) -> Tally:
    tally, stage, seen = Tally(), Stage(machine), set[tuple[str, Mint]]()
    for scene in islice(filter(is_possible, scenes(program.kind)), at_most):
        if (scene.pool, scene.mint_in) not in seen and not scene.error:
            seen.add((scene.pool, scene.mint_in))
            for strangers in (scene.mint_in, scene.mint_out):
                _try(machine, stage, tally, scene, strangers)
    return tally


def _try(machine: Machine, stage: Stage, tally: Tally, scene: Scene, strangers: Mint) -> None:
    """One swap is signed, a stranger's swap is executed, then the signed one."""
    program = next(each for each in machine.programs if each.kind == scene.kind)
    pool = program.decode(scene.pool, scene.known)
    amount = Atoms(scene.amount // _SMALL)
    moving = _moving(pool, scene, strangers)
    if moving is None or quoted(pool, Mode.EXACT_IN, scene.mint_in, amount, scene.now) is None:
        return
    moved = pool.swap_in(moving, strangers, scene.now)[1]
    expected = quoted(moved, Mode.EXACT_IN, scene.mint_in, amount, scene.now)
    if expected is None:
        return
    machine.set_time(scene.now)
    machine.put(scene.pool, scene.known)
    ours = wish_of(pool, scene.mint_in, Mode.EXACT_IN, amount, Atoms(1))
    theirs = wish_of(pool, strangers, Mode.EXACT_IN, moving, Atoms(1))
    signed = stage.prepare([ours], {scene.mint_in: amount}, scene.known, scene.now)
    came_between = stage.play([theirs], {strangers: moving}, scene.known, scene.now)
    done = stage.send(signed)
    if came_between.error or done.moved != {scene.mint_in: -amount, other(pool, scene.mint_in): expected.amount_out}:
        tally.wrong.append(f"{scene.id} after {moving} of {strangers}: {came_between.error} {done.error or done.moved}")
    else:
        tally.count(Mode.EXACT_IN, done)


def _moving(pool: Pool, scene: Scene, mint_in: Mint) -> Atoms | None:
    """About the smallest amount that moves the price into another array; None where that is not the next one."""

    def arrays_moved(amount: int) -> int:
        try:
            return abs(_array(pool.swap_in(Atoms(amount), mint_in, scene.now)[1]) - _array(pool))
        except PoolRefused:
            return 0

    enough = next((2**bits for bits in range(_BITS_MAX) if arrays_moved(2**bits)), None)
    if enough is None:
        return None
    least = enough // 2
    while enough - least > max(1, enough >> _BITS_FINE):
        middle = (least + enough) // 2
        least, enough = (least, middle) if arrays_moved(middle) else (middle, enough)
    return Atoms(enough) if arrays_moved(enough) == 1 else None


def _array(pool: Pool) -> int:
    if isinstance(pool, ClmmPool):
        return pool.tick_current // (TICKS_PER_ARRAY * pool.tick_spacing)
    assert isinstance(pool, DlmmPool)
    return pool.active_id // BINS_PER_ARRAY
