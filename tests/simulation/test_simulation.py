"""A slice of the simulation at every `make test`: all promises kept, every fault met, every mutant caught.

Must never: depend on one seed's course, only on what every seed, or some seed of many, has to show.
"""

import os
import subprocess
import sys
from functools import partial

import pytest

from tests.simulation.faults import KINDS
from tests.simulation.mutants import MUTANTS
from tests.simulation.replay import fates
from tests.simulation.runs import run_all, run_seed, try_mutant, workshop

SEEDS = range(150)
MUTANT_SEEDS = 1_000
DOUBLE_SETTLERS = ("timeout-is-lapse", "error-is-failure", "height-alone", "any-height")


def test_every_promise_is_kept_under_every_fault() -> None:
    outcomes = run_all(SEEDS)
    broken = [f"{o.seed} {o.invariant}: {o.detail}\n{o.report}" for o in outcomes if o.invariant]
    assert not broken, "\n".join(broken[:3])
    assert not [kind for kind in KINDS if not any(outcome.struck[kind] for outcome in outcomes)]
    happenings = (
        *("settled", "slices", "skipped", "take-overs", "lapses", "conflicts", "watches"),
        *("snipes", "declines", "brackets", "released"),
    )
    for happening in happenings:
        assert any(outcome.counts[happening] for outcome in outcomes), happening


@pytest.mark.parametrize("seed", [3, 14])
def test_a_seed_replays_exactly(seed: int) -> None:
    with workshop() as folder:
        digests = {run_seed(seed, folder).digest, run_seed(seed, folder).digest}
    code = (
        "from tests.simulation.runs import run_seed, workshop\n"
        f"with workshop() as folder: print(run_seed({seed}, folder).digest)"
    )
    for hash_seed in ("1", "2"):
        env = os.environ | {"PYTHONHASHSEED": hash_seed}
        run = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, check=True)
        digests.add(run.stdout.strip())
    assert len(digests) == 1


@pytest.mark.parametrize("name", MUTANTS)
def test_a_missing_safeguard_is_noticed(name: str) -> None:
    assert try_mutant(name, seeds=MUTANT_SEEDS) is not None


@pytest.mark.parametrize("name", DOUBLE_SETTLERS)
def test_the_ledger_alone_betrays_a_double_settlement(name: str) -> None:
    caught = try_mutant(name, seeds=MUTANT_SEEDS, blind=True)
    assert caught is not None
    assert caught.invariant in {"I2", "I8"}


@pytest.mark.parametrize(("name", "invariant"), [("group-not-enforced", "OCO"), ("armed-without-waiting", "OTO")])
def test_the_ledger_alone_betrays_a_broken_tie(name: str, invariant: str) -> None:
    assert try_mutant(name, seeds=MUTANT_SEEDS, blind=True, invariant=invariant) is not None


@pytest.mark.parametrize("seed", range(1, 4))
def test_resting_orders_meet_the_same_fate_twice_and_as_if_every_one_were_asked_at_every_look(seed: int) -> None:
    with workshop() as one, workshop() as two, workshop() as three:
        course = partial(fates, seed, orders=40, seconds=45)
        told = course(one, ask_everyone=False)
        assert told == course(two, ask_everyone=False)
        assert told == course(three, ask_everyone=True)
    assert sum(len(fate.prices) for fate in told) >= 5
    assert sum(fate.fill is not None for fate in told) >= 5
