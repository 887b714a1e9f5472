"""`python -m tests.simulation`: run seeds, replay one, or test the checker with mutants.

Decides: what is printed, and the exit code: 0 only where every promise was kept (with `--mutants`: where every
mutant was caught), and in a big run every kind of fault has struck.
"""

import argparse
import itertools
import multiprocessing
import sys
import time
from collections import Counter
from collections.abc import Iterator
from functools import partial
from typing import Final

from tests.progress import Bar
from tests.simulation.faults import KINDS
from tests.simulation.mutants import MUTANTS, applied
from tests.simulation.runs import Outcome, run_all, run_seed, try_mutant, workshop

BIG: Final = 100
"""So many seeds must have met every kind of fault."""
_CHUNK: Final = 10


def main() -> int:
    asked = _arguments()
    if asked.mutants:
        return _try_mutants(list(MUTANTS), asked)
    if asked.seed is not None:
        return _replay(asked.seed, asked.mutant)
    if asked.mutant:
        return _try_mutants([asked.mutant], asked)
    return _run(range(asked.start, asked.start + asked.seeds), asked.jobs)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    parser.add_argument("--seeds", type=int, default=200, metavar="N", help="run so many seeds (200)")
    parser.add_argument("--start", type=int, default=0, metavar="K", help="the first of them (0)")
    parser.add_argument(
        "--jobs", type=int, default=multiprocessing.cpu_count(), metavar="J", help="processes (all cores)"
    )
    parser.add_argument("--seed", type=int, metavar="K", help="replay one seed, twice, with its full trace")
    parser.add_argument("--mutant", choices=list(MUTANTS), metavar="NAME", help="with one safeguard switched off")
    parser.add_argument("--mutants", action="store_true", help="try every mutant until it is caught")
    parser.add_argument("--mutant-seeds", type=int, default=1_000, metavar="N", help="give up on a mutant after (1000)")
    parser.add_argument(
        "--blind", action="store_true", help="mutants: judge by the ledger and the store in the end only"
    )
    return parser.parse_args()


# --- many seeds -------------------------------------------------------------------------------------------


def _run(seeds: range, jobs: int) -> int:
    began = time.monotonic()
    total, struck, broken = Counter[str](), Counter[str](), list[Outcome]()
    bar = Bar(len(seeds), "seeds")
    for done, outcome in enumerate(_outcomes(seeds, jobs), 1):
        total += outcome.counts + Counter(steps=outcome.steps)
        struck += outcome.struck
        if outcome.invariant is not None:
            broken.append(outcome)
            _tell_violation(outcome)
        bar.show(done, f"{len(broken)} violations")
    missing = [kind for kind in KINDS if not struck[kind]] if len(seeds) >= BIG else []
    _tell_summary(len(seeds), time.monotonic() - began, total, struck, broken)
    if missing:
        print(f"these faults never struck: {', '.join(missing)}")
    return 1 if broken or missing else 0


def _outcomes(seeds: range, jobs: int) -> Iterator[Outcome]:
    if jobs <= 1 or len(seeds) == 1:
        yield from run_all(seeds)
        return
    chunks = [seeds[first : first + _CHUNK] for first in range(0, len(seeds), _CHUNK)]
    with multiprocessing.get_context("spawn").Pool(jobs) as pool:
        yield from itertools.chain.from_iterable(pool.imap_unordered(run_all, chunks))


def _tell_violation(outcome: Outcome, mutant: str = "") -> None:
    print(f"\nseed {outcome.seed} breaks {outcome.invariant}: {outcome.detail}")
    print(outcome.report)
    print(
        f"replay it: python -m tests.simulation --seed {outcome.seed}{mutant and ' --mutant ' + mutant}\n", flush=True
    )


def _tell_summary(seeds: int, seconds: float, total: Counter[str], struck: Counter[str], broken: list[Outcome]) -> None:
    rate = 1_000 * seconds / max(seeds, 1)
    print(f"\n{seeds} seeds in {seconds:.1f} s ({rate:.1f} ms each), {total.pop('steps', 0)} steps")
    print("  happened: " + ", ".join(f"{name} {total[name]}" for name in sorted(total)))
    print("  faults:   " + ", ".join(f"{kind} {struck[kind]}" for kind in KINDS))
    numbers = sorted(outcome.seed for outcome in broken)
    print(f"  violations: {len(broken)}" + (f", of the seeds {numbers}" if broken else ""))


# --- one seed ---------------------------------------------------------------------------------------------


def _replay(seed: int, mutant: str | None) -> int:
    with workshop() as folder, applied(mutant):
        again = run_seed(seed, folder, trace=1)
    with workshop() as folder, applied(mutant):
        outcome = run_seed(seed, folder, trace=sys.maxsize)
    print(outcome.report)
    print(f"seed {seed}: {outcome.invariant or 'every promise kept'} {outcome.detail}".rstrip())
    if outcome.digest != again.digest:
        print(f"the two runs of it differ: {again.digest}, {outcome.digest}")
        return 2
    return 1 if outcome.invariant else 0


# --- mutants ----------------------------------------------------------------------------------------------


def _try_mutants(names: list[str], asked: argparse.Namespace) -> int:
    survivors = []
    print(f"{'mutant':<20} {'seed':>8}  {'breaks':<8} safeguard that is off")
    attempt = partial(try_mutant, start=asked.start, seeds=asked.mutant_seeds, blind=asked.blind)
    with multiprocessing.get_context("spawn").Pool(asked.jobs) as pool:
        for name, caught in zip(names, pool.imap(attempt, names), strict=True):
            seed, invariant = (caught.seed, caught.invariant) if caught else ("survived", "-")
            print(f"{name:<20} {seed:>8}  {invariant:<8} {MUTANTS[name].safeguard}", flush=True)
            if caught is None:
                survivors.append(name)
            elif len(names) == 1:
                _tell_violation(caught, name)
    print(f"{len(names) - len(survivors)} of {len(names)} mutants caught")
    return 1 if survivors else 0


if __name__ == "__main__":
    sys.exit(main())
