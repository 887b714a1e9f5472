"""The numbers an operator may turn: attempts, pauses, limits of patience, and the slippage bound.

Decides: how often, how long, how much. Must never: look at an order's state; that is the `order` package's.
"""

from typing import Final

import msgspec

from fillwright.units import BPS_ONE, Atoms, Bps, Millis, ceil_div


class Policy(msgspec.Struct, frozen=True, kw_only=True):
    """Defaults suit a single embedded engine; every field can be set."""

    attempts_max: int = 3
    backoff_ms: tuple[Millis, ...] = (Millis(1_000), Millis(2_000), Millis(4_000))
    """Pause after the first, second, ... attempt; the last one repeats."""
    patience_ms: Millis = Millis(15_000)
    """An outage of venues, chain or signer costs an order no attempt until it has been tried for so long."""
    quote_timeout_s: float = 2.0
    """A venue that has not answered by then is left out of the comparison."""
    legs_max: int = 4
    """Swaps in one transaction: the accounts of more do not fit its 1,232 bytes."""
    hops_max: int = 2
    leg_cost_lamports: int = 1_000
    """What one more swap costs: its compute units at the priority fee paid. A leg must bring more."""
    quote_ttl_ms: Millis = Millis(5_000)
    """A route older than this is looked for again before anything is signed."""
    venue_calls_max: int = 64
    """Calls to one venue at once; more wait, within their time."""
    venue_failures_max: int = 5
    """After so many failures in a row a venue is left alone for a while."""
    venue_rest_s: float = 5.0
    """Then one call tries it again."""
    sign_timeout_s: float = 5.0
    sign_soon_s: float = 0.005
    """Signing that takes no longer than this shares a commit with the route it follows from."""
    poll_s: float = 0.4
    """Between two looks at the chain for one transaction (about a slot)."""
    rebroadcast_s: float = 2.0
    """Between two broadcasts of the same bytes."""
    chain_timeout_s: float = 5.0
    """One call to the chain; no answer by then says nothing about the transaction."""
    land_s: float = 30.0
    """One landing call looks for this long before the executor takes stock again."""
    unknown_s: float = 300.0
    """A transaction without proof for this long raises an alarm, and may be resolved by hand."""
    final_s: float = 5.0
    """Between two looks at swaps that the chain may still take back."""
    taken_back_s: int = 600
    """A worker that starts looks again at the swaps of so long before."""
    concurrency: int = 10
    """Orders that one worker drives at once."""
    heartbeat_s: float = 2.0
    lease_s: float = 10.0
    """A worker not heard of for this long, by the store's clock, is taken for dead."""
    sweep_s: float = 0.25
    """Between two looks for due orders that no hint has named."""
    look_s: float = 0.4
    """Between two looks at the market for resting orders (about a slot)."""
    switch_s: float = 1.0
    """Between two looks for dead-man's switches whose time has come."""
    market_s: float = 1.0
    """How old the pools shown to those who look may be before the venues are asked again."""
    watch_s: float = 5.0
    """A silent watcher reads the store again after this long."""
    stumble_s: float = 1.0
    """Pause after an unexpected failure of one order, so that it cannot spin."""
    admit_s: float = 0.1
    """Between two counts of the orders that wait, while there are any."""
    waiting_max: int = 10_000
    """Orders that wait for a worker; beyond it new ones are refused."""
    waiting_s_max: float = 30.0
    """How long the longest may have waited before new ones are refused."""
    accepting_max: int = 1_000
    """Orders on their way into the store at once, in one process."""
    drain_notice_s: float = 0.0
    """From reporting "not ready" to refusing new orders: time for a load balancer to look away."""
    drain_s: float = 20.0
    """How long running orders may then take to finish."""

    def backoff(self, attempt: int) -> Millis:
        """Pause after attempt number `attempt` (1-based)."""
        return self.backoff_ms[min(attempt, len(self.backoff_ms)) - 1]


DAY_MS: Final = 86_400_000
"""What a cap of a day reaches back: 24 hours, not a calendar's day."""
FAST_BACKOFF_MS: Final = (Millis(500), Millis(1_000), Millis(2_000))


def min_out(amount_out: Atoms, slippage_bps: Bps) -> Atoms:
    """The least a taker accepts of a quoted output: rounded up, so the tolerance is never exceeded."""
    return Atoms(ceil_div(amount_out * (BPS_ONE - slippage_bps), BPS_ONE))


def max_in(amount_in: Atoms, slippage_bps: Bps) -> Atoms:
    """The most a taker pays for a fixed output: rounded down, so the tolerance is never exceeded."""
    return Atoms(amount_in * (BPS_ONE + slippage_bps) // BPS_ONE)
