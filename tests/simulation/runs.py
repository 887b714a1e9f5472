"""Run one seed to its verdict.

Decides: what a run reports. Must never: let one run influence another; each has its own loop and files.
"""

import asyncio
import shutil
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import msgspec

from tests.simulation.invariants import Violation
from tests.simulation.loop import SimDeadlock, SimLoop, SimOverrun
from tests.simulation.mutants import applied
from tests.simulation.world import World

STEP_LIMIT: Final = 100_000
"""A hundred times what a run usually takes."""
_FAST_DISK: Final = Path("/dev/shm")


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """What one seed came to. `invariant` is None where every promise was kept."""

    seed: int
    digest: str
    steps: int
    counts: Counter[str]
    struck: Counter[str]
    invariant: str | None = None
    detail: str = ""
    report: str = ""


@contextmanager
def workshop() -> Iterator[Path]:
    """A folder for the runs' databases, in memory where the system has such a place."""
    folder = Path(tempfile.mkdtemp(prefix="fillwright-sim-", dir=_FAST_DISK if _FAST_DISK.is_dir() else None))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def run_seed(seed: int, folder: Path, *, trace: int = 60, blind: bool = False) -> Outcome:
    """The world of this seed, from beginning to end.

    `trace`: how many notes the report shows. `blind`: nothing is checked on the way, only what is left in the end.
    """
    loop = SimLoop(seed, step_limit=STEP_LIMIT, trace_length=min(max(trace, 1), 1_000_000))
    world = World(loop, seed, folder)
    world.witness.blind = blind
    found: Violation | None = None
    try:
        loop.run_until_complete(world.run())
    except Violation as violation:
        found = violation
    except (SimDeadlock, SimOverrun) as error:
        found = Violation("I1", f"stuck: {str(error).splitlines()[0]}")
    except (Exception, asyncio.CancelledError) as error:
        found = Violation("defect", _told(error))
    report = loop.report(notes=trace)
    digest = loop.digest()
    world.close()
    loop.close()
    if found is None and loop.errors:
        found = Violation("defect", "; ".join(f"{e.host}: {e.message}: {e.exception!r}" for e in loop.errors))
    return Outcome(
        seed=seed,
        digest=digest,
        steps=loop.steps,
        counts=world.counts(),
        struck=world.dice.struck,
        invariant=found.invariant if found else None,
        detail=found.detail if found else "",
        report=report,
    )


def run_all(seeds: Iterable[int]) -> list[Outcome]:
    with workshop() as folder:
        return [run_seed(seed, folder) for seed in seeds]


def try_mutant(
    name: str, *, start: int = 0, seeds: int = 1_000, blind: bool = False, invariant: str | None = None
) -> Outcome | None:
    """The first run that catches it, by this invariant where one is named; None: it survived."""
    with workshop() as folder:
        for seed in range(start, start + seeds):
            with applied(name):  # anew for each seed, so that each can be replayed alone
                outcome = run_seed(seed, folder, blind=blind)
            if outcome.invariant is not None and invariant in (None, outcome.invariant):
                return outcome
    return None


def _told(error: BaseException) -> str:
    if isinstance(error, BaseExceptionGroup):
        return "; ".join(_told(inner) for inner in error.exceptions)
    return repr(error)
