"""The checker's checker: the engine with one safeguard switched off at a time.

Decides: which safeguards there are. Each mutant must be caught by the simulation, or the simulation proves nothing
about that safeguard. Must never: be active outside `applied`.
"""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Final
from unittest import mock

from tests.simulation.mutants import asking, executing, resting, slicing, storing, tying
from tests.simulation.mutants.patch import Mutant

MUTANTS: Final[dict[str, Mutant]] = (
    executing.MUTANTS | storing.MUTANTS | asking.MUTANTS | resting.MUTANTS | slicing.MUTANTS | tying.MUTANTS
)


@contextmanager
def applied(name: str | None) -> Iterator[None]:
    """The engine without that safeguard; None: the engine as it is."""
    with ExitStack() as stack:
        for target, attribute, value in MUTANTS[name].patches() if name else ():
            if isinstance(target, dict):
                stack.enter_context(mock.patch.dict(target, value))
            else:
                stack.enter_context(mock.patch.object(target, attribute, value))
        yield
