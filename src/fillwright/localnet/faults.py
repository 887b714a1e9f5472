"""What goes wrong on purpose, drawn from a seed, and how often it has.

Decides: which send is dropped or late, which answer is lost, when the newest block is taken back. Must never: strike
where its share is zero, or draw from anything but its own seed.
"""

from random import Random
from typing import Annotated, Final, TypeAlias

import msgspec

Share: TypeAlias = Annotated[float, msgspec.Meta(ge=0, le=1)]
_BLOCKS_MAX: Final = 1_000
_NAMES: Final = ("dropped", "late", "lost", "forked", "resent", "skipped", "flaky", "lies")


class Faults(msgspec.Struct, frozen=True, rename="camel", forbid_unknown_fields=True, kw_only=True):
    """Shares are of all sends, answers, blocks or calls. Zero everywhere: a faultless network."""

    dropped_sends: Share = 0.0
    """Taken with a signature as the answer, and then lost."""
    late_sends: Share = 0.0
    late_blocks_max: Annotated[int, msgspec.Meta(ge=1, le=_BLOCKS_MAX)] = 20
    lost_answers: Share = 0.0
    """Done, and the connection cut instead of an answer."""
    forks: Share = 0.0
    """Of blocks: how often the newest are taken back."""
    fork_depth_max: Annotated[int, msgspec.Meta(ge=1, le=64)] = 1
    """Greater than what makes a block confirmed: confirmed transactions may vanish."""
    resent: Share = 0.5
    """Of forks: how often the network still has the transactions that were taken back."""
    skipped_slots: Share = 0.06
    """Of slots: those without a block, so that a height is never a slot."""
    flaky: Share = 0.4
    """Of calls at the flaky node."""
    lies: Share = 0.7
    """Of calls at the lying node."""
    lagging_blocks: Annotated[int, msgspec.Meta(ge=0, le=64)] = 30


class Dice:
    """Draws whether a fault strikes, and counts."""

    def __init__(self, seed: int, faults: Faults) -> None:
        self._random = Random(seed)
        self.faults = faults
        self.struck = dict.fromkeys(_NAMES, 0)

    def strikes(self, share: float, name: str) -> bool:
        if share <= 0 or self._random.random() >= share:
            return False
        self.struck[name] += 1
        return True

    def up_to(self, most: int) -> int:
        return self._random.randint(1, most)

    def fate(self) -> int | None:
        """Of one send: how many blocks late it is; None if it never arrives."""
        if self.strikes(self.faults.dropped_sends, "dropped"):
            return None
        if self.strikes(self.faults.late_sends, "late"):
            return self.up_to(self.faults.late_blocks_max)
        return 0
