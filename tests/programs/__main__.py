"""`make test-programs DIR=…`: the programs' own binaries execute what the engine builds.

DIR holds `<program id>.so` for any of the five, as `solana program dump` writes them. Without it nothing is tried, and
that is said. Nothing here is part of `make test`: no binary belongs to this project.
"""

import argparse
import sys
from collections.abc import Iterator, Sequence
from itertools import chain, product
from pathlib import Path

from fillwright.programs import PROGRAMS
from tests.programs.arrivals import arrivals_of
from tests.programs.drift import WITH_ARRAYS, drifts_of
from tests.programs.emulated import compare, compare_creations
from tests.programs.machine import Machine
from tests.programs.networks import networks_of
from tests.programs.routes import routes_of
from tests.programs.swaps import Tally, swaps_of

_NETWORKS = 50
_PAIRS = 12
"""Golden pools of each two programs that are put one behind the other."""
_SHOWN = 3
_LEAST = 100
"""Swaps of each program that must have been executed."""


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.programs", description=__doc__)
    parser.add_argument("folder", nargs="?", default="", help="where the programs lie")
    parser.add_argument("--pools", type=int, help="only so many golden pools of each program, and no least number")
    given = parser.parse_args()
    if not given.folder:
        print("skipped: no folder with program binaries was given (make test-programs DIR=…)")
        return 0
    machine = Machine(Path(given.folder))
    if not machine.programs:
        print(f"no program lies in {given.folder}: {', '.join(f'{each.id}.so' for each in PROGRAMS.values())}")
        return 2
    failed = False
    for line, good in chain(
        _built(machine, given.pools), _emulated(Path(given.folder), given.pools), _discovered(Path(given.folder))
    ):
        print(line, flush=True)
        failed |= not good
    return 1 if failed else 0


def _built(machine: Machine, pools: int | None) -> Iterator[tuple[str, bool]]:
    """What the programs did with what is built: a line, and whether it is as promised."""
    for program in machine.programs:
        tally = swaps_of(machine, program, pools)
        enough = tally.exact_in + tally.exact_out >= (1 if pools else _LEAST)
        yield _line(program.kind, tally), enough and tally.held > 0 and not tally.wrong
    for program in machine.programs:
        if program.kind in WITH_ARRAYS:
            tally = drifts_of(machine, program, pools)
            yield _line(f"{program.kind}, moved", tally), bool(tally.exact_in or pools) and not tally.wrong
    for first, second in product(machine.programs, repeat=2):
        tally = routes_of(machine, first, second, min(pools or _PAIRS, _PAIRS))
        tried = tally.exact_in and tally.exact_out and tally.held
        yield _line(f"{first.kind} > {second.kind}", tally), bool(tried or pools) and not tally.wrong
    if len(machine.programs) == len(PROGRAMS):
        tally = networks_of(machine, pools or _NETWORKS)
        yield _line("four swaps", tally), bool(tally.exact_in or pools) and not tally.wrong


def _emulated(folder: Path, pools: int | None) -> Iterator[tuple[str, bool]]:
    """How what localnet emulates differs from what the programs do."""
    for kind, compared in compare(folder, pools or 2 * _LEAST).items():
        told = f"{kind:18} {compared.alike:4} swaps and {compared.refused:4} refusals emulated to the byte"
        yield told + _wrong(compared.wrong), bool(compared.alike and not compared.wrong)
    creations = compare_creations(folder, 4 * _PAIRS)
    if creations is not None:
        told = f"{'cpmm':18} {creations.alike:4} new pools, as the program itself creates them"
        yield told + _wrong(creations.wrong), bool(creations.alike and not creations.wrong)


def _discovered(folder: Path) -> Iterator[tuple[str, bool]]:
    """What discovery sees of new pools that the programs themselves make."""
    for kind, arrived in arrivals_of(folder).items():
        told = f"{kind:18} {arrived.listed:4} new pools found, {arrived.sold:4} sales simulated"
        yield told + _wrong(arrived.wrong), bool(arrived.sold) and not arrived.wrong


def _line(name: str, tally: Tally) -> str:
    notes = [
        f"{tally.exact_in:4} exact in and {tally.exact_out:4} exact out, received == quoted",
        *([f"{tally.held:4} refused one atom beyond their limit"] if tally.held else []),
        f"at most {tally.units_max:,} compute units",
        *([f"{tally.tables} by a lookup table"] if tally.tables else []),
        *([f"{tally.dust} of dust refused by an older rounding"] if tally.dust else []),
    ]
    return f"{name:18} {'; '.join(notes)}{_wrong(tally.wrong)}"


def _wrong(lines: Sequence[str]) -> str:
    return "".join(f"\n  WRONG {line}" for line in lines[:_SHOWN])


if __name__ == "__main__":
    sys.exit(main())
