"""Which faults strike, and how often; and the one chain on which all hosts settle.

Decides: the fault rates of one seed: each kind is off in half of the seeds, so that rare combinations occur. Must
never: draw from anything but the seed.
"""

from collections import Counter
from random import Random
from typing import Final

import msgspec

from fillwright.adapters.sim import Faults, Preset, SimChain
from fillwright.adapters.sim.chain import _FIRST_SLOT, height_at
from fillwright.adapters.sim.newcomers import Newcomer
from fillwright.order import SignedTx
from fillwright.units import Signature
from tests.simulation.loop import SimLoop

RATES: Final = {
    "store.error": 0.10,
    "store.lost_answer": 0.10,
    "store.slow": 0.15,
    "queue.drop": 0.6,
    "queue.repeat": 0.4,
    "queue.delay": 0.4,
    "bus.drop": 0.6,
    "bus.repeat": 0.4,
    "bus.reorder": 0.4,
    "venue.error": 0.4,
    "venue.hang": 0.15,
    "chain.hang": 0.15,
    "chain.lag": 0.95,
    "chain.drop": 0.6,
    "chain.late": 0.8,
    "chain.revert": 0.4,
    "chain.lost_answer": 0.4,
    "chain.lying_height": 0.4,
}
"""Every kind that strikes by chance -> its highest rate."""
STRIKES: Final = ("host.kill", "host.pause", "host.stop", "host.jump", "watch.cut")
"""What happens to a whole host, or to a connection of one, at any step."""
KINDS: Final = (*RATES, *STRIKES)
_SCENARIOS: Final[tuple[dict[str, tuple[float, float]], ...]] = (
    {},
    {},
    {},
    {"chain.drop": (0.95, 1.0)},  # hardly a broadcast is received: transactions lapse
    {"chain.late": (0.8, 1.0), "chain.lag": (0.8, 0.95), "chain.drop": (0.0, 0.1)},  # landed in the last moment
)
"""Combinations that chance alone would rarely bring, each as likely as the others."""


class Dice:
    """The seed's chance: which fault strikes when, and how often each has."""

    def __init__(self, loop: SimLoop, seed: int) -> None:
        self.random = Random(f"{seed}:faults")
        self.struck: Counter[str] = Counter()
        self.rates = {kind: self.random.choice((0.0, self.random.uniform(0.01, most))) for kind, most in RATES.items()}
        for kind, (low, high) in self.random.choice(_SCENARIOS).items():
            self.rates[kind] = self.random.uniform(low, high)
        self.lag_slots = self.random.choice((10, 100, 100))
        """How far a node is behind that is not up to date."""
        self._loop = loop

    def strikes(self, kind: str) -> bool:
        rate = self.rates[kind]
        if rate and self.random.random() < rate:
            self.count(kind)
            return True
        return False

    def count(self, kind: str) -> None:
        self.struck[kind] += 1
        self._loop.note(f"fault {kind}")

    def heal(self) -> None:
        self.rates = dict.fromkeys(self.rates, 0.0)

    def preset(self) -> Preset:
        """What the simulated chain itself does wrong."""
        rate = self.rates
        return Preset(
            quote_ms=(5, 150),
            build_ms=(5, 50),
            execute_ms=(0, self.random.choice((0, 400, 3_000))),
            faults=Faults(
                drop=rate["chain.drop"],
                late=rate["chain.late"],
                revert=rate["chain.revert"],
                lost_answer=rate["chain.lost_answer"],
                lying_height=rate["chain.lying_height"],
            ),
        )


class WorldChain(SimChain):
    """The simulated chain, counting its own faults. Their rates differ, so a rate tells its kind."""

    dice: Dice

    def _strikes(self, rate: float) -> bool:
        struck = super()._strikes(rate)
        if struck:
            kind = next(kind for kind, known in self.dice.rates.items() if known == rate)
            self.dice.count(kind)
        return struck

    def heal(self) -> None:
        self.preset = msgspec.structs.replace(self.preset, faults=Faults())

    def height(self) -> int:
        return height_at(self.slot())

    def may_land(self, tx: SignedTx) -> bool:
        """The truth that no node tells: whether these bytes can still change the ledger."""
        self.produce_blocks()
        return self.outcome(tx.signature) is None and self.height() <= tx.last_valid_height

    def newcomer(self, address: str, slot: int) -> tuple[Newcomer, int]:
        """The new pool, and the slot as the newcomer counts it."""
        return self._newcomers[address], slot - _FIRST_SLOT

    def reserve(self, address: str) -> int:
        """What the pool holds now of the token that is paid."""
        pool, newcomer = self._pools[address], self._newcomers[address]
        return pool.reserves()[pool.mint_1 == newcomer.against.mint]

    def truth(self, signature: Signature) -> object:
        """The fill, the rejection, or None."""
        self.produce_blocks()
        return self.outcome(signature)
