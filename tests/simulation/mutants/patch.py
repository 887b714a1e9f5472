"""What a mutant is: the safeguard that it lacks, and what stands in its place."""

from collections.abc import Callable, Sequence
from typing import Any, Final, TypeAlias

import msgspec

Patch: TypeAlias = tuple[Any, str, Any]
"""Where, which attribute, and what stands there instead; where is a dict: its new entries."""
Patches: TypeAlias = Sequence[Patch]

change: Final = msgspec.structs.replace


class Mutant(msgspec.Struct, frozen=True):
    safeguard: str
    """What is switched off."""
    patches: Callable[[], Patches]
