"""A simulated venue: the chain's pools of that name, seen after a delay."""

from random import Random
from typing import Final, Protocol

from fillwright.adapters.sim.presets import Preset
from fillwright.errors import Code, FillwrightError
from fillwright.order import Leg, Mode
from fillwright.ports import Clock, Instruction, Snapshot
from fillwright.units import Atoms, Mint

_MILLIS: Final = 1_000


class PoolSource(Protocol):
    """A simulated chain as venues see it, in this process or far away."""

    async def pools_of(self, venue: str, mints: frozenset[Mint]) -> Snapshot:
        """This venue's pools among these tokens, at most a slot old. Raises FillwrightError(VENUE_UNAVAILABLE)."""


class SimVenue:
    """See ports.Venue. `preset` may be replaced at any time."""

    def __init__(self, name: str, chain: PoolSource, clock: Clock, preset: Preset, seed: int) -> None:
        self.name = name
        self._chain = chain
        self._clock = clock
        self.preset = preset
        self._random = Random(f"{seed}:{name}")

    async def pools(self, mints: frozenset[Mint]) -> Snapshot:
        await self._pause(self.preset.quote_ms)
        if self._random.random() < self.preset.faults.quote_failure:
            raise FillwrightError(Code.VENUE_UNAVAILABLE, f"{self.name} answered with an error (simulated)")
        return await self._chain.pools_of(self.name, mints)

    async def build(self, leg: Leg, *, mode: Mode, limit: Atoms) -> Instruction:
        await self._pause(self.preset.build_ms)
        return Instruction.of(leg, mode=mode, limit=limit)

    async def _pause(self, bounds_ms: tuple[int, int]) -> None:
        if bounds_ms != (0, 0):
            await self._clock.sleep(self._random.uniform(*bounds_ms) / _MILLIS)
