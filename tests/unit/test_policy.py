"""The numbers: bounds that hold to the atom, and pauses that grow."""

from fractions import Fraction

from hypothesis import example, given
from hypothesis import strategies as st

from fillwright.policy import Policy, max_in, min_out
from fillwright.units import ATOMS_MAX, Atoms, Bps, Millis

AMOUNTS = st.integers(0, ATOMS_MAX)
SLIPPAGES = st.integers(0, 10_000)


@given(AMOUNTS, SLIPPAGES)
@example(1, 9_999)
def test_min_out_is_the_least_that_keeps_the_tolerance(amount: int, slippage: int) -> None:
    bound = min_out(Atoms(amount), Bps(slippage))
    tolerated = Fraction(amount) * (10_000 - slippage) / 10_000
    assert tolerated <= bound < tolerated + 1
    assert bound <= amount


@given(AMOUNTS, SLIPPAGES)
def test_max_in_is_the_most_that_keeps_the_tolerance(amount: int, slippage: int) -> None:
    bound = max_in(Atoms(amount), Bps(slippage))
    tolerated = Fraction(amount) * (10_000 + slippage) / 10_000
    assert tolerated - 1 < bound <= tolerated
    assert bound >= amount


@given(AMOUNTS)
def test_without_slippage_the_quote_is_the_bound(amount: int) -> None:
    assert min_out(Atoms(amount), Bps(0)) == amount == max_in(Atoms(amount), Bps(0))


@given(AMOUNTS, SLIPPAGES, SLIPPAGES)
def test_more_tolerance_never_tightens_a_bound(amount: int, one: int, other: int) -> None:
    tight, loose = Bps(min(one, other)), Bps(max(one, other))
    assert min_out(Atoms(amount), loose) <= min_out(Atoms(amount), tight)
    assert max_in(Atoms(amount), loose) >= max_in(Atoms(amount), tight)


def test_the_nth_pause_follows_the_nth_attempt_and_the_last_repeats() -> None:
    policy = Policy(backoff_ms=(Millis(1), Millis(20), Millis(300)))
    assert [policy.backoff(attempt) for attempt in range(1, 7)] == [1, 20, 300, 300, 300, 300]


def test_by_default_three_attempts_pause_one_two_and_four_seconds() -> None:
    assert Policy().attempts_max == 3
    assert [Policy().backoff(attempt) for attempt in (1, 2, 3)] == [1_000, 2_000, 4_000]


def test_a_worker_beats_several_times_within_a_lease() -> None:
    """Else a healthy worker loses its orders to a single late heartbeat."""
    assert Policy().heartbeat_s * 3 < Policy().lease_s
