"""A simulated chain and its venues as one world, whose faults can be turned while an engine works on it.

Decides: what each share and delay of a plan means for the chain and for each venue. Must never: touch what is on its
way.
"""

from collections.abc import Sequence

from msgspec.structs import replace

from fillwright.adapters.sim.chain import SimChain
from fillwright.adapters.sim.presets import Faults, Preset
from fillwright.adapters.sim.venue import SimVenue
from fillwright.lab import FaultPlan


class SimWorld:
    """See lab.World. It begins with the faults of its preset, whose own delays stay."""

    def __init__(self, preset: Preset, chain: SimChain, venues: Sequence[SimVenue]) -> None:
        self._preset = preset
        self._chain = chain
        self._venues = venues
        self.plan = _plan(preset.faults)

    def turn(self, plan: FaultPlan) -> None:
        self.plan = plan
        preset = replace(
            self._preset,
            faults=_faults(plan),
            quote_ms=_longer(self._preset.quote_ms, plan.quote_delay_ms),
            execute_ms=_longer(self._preset.execute_ms, plan.land_delay_ms),
        )
        down = replace(preset, faults=replace(preset.faults, quote_failure=1.0))
        self._chain.preset = preset
        for venue in self._venues:
            venue.preset = down if venue.name in plan.venues_down else preset


def _longer(bounds_ms: tuple[int, int], by_ms: int) -> tuple[int, int]:
    return bounds_ms[0] + by_ms, bounds_ms[1] + by_ms


def _faults(plan: FaultPlan) -> Faults:
    return Faults(
        drop=plan.drop_pct / 100,
        late=plan.late_pct / 100,
        revert=plan.revert_pct / 100,
        lost_answer=plan.lost_answer_pct / 100,
        lying_height=plan.lying_height_pct / 100,
        quote_failure=plan.quote_failure_pct / 100,
    )


def _plan(faults: Faults) -> FaultPlan:
    return FaultPlan(
        drop_pct=round(faults.drop * 100),
        late_pct=round(faults.late * 100),
        revert_pct=round(faults.revert * 100),
        lost_answer_pct=round(faults.lost_answer * 100),
        lying_height_pct=round(faults.lying_height * 100),
        quote_failure_pct=round(faults.quote_failure * 100),
    )
