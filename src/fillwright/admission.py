"""Whether one more order may be accepted.

Decides: when the excess is refused. Must never: refuse late: an order is turned away before it costs a transaction, and
what was accepted is never dropped.
"""

from collections.abc import Iterator
from contextlib import contextmanager, suppress

from fillwright.errors import Code, FillwrightError
from fillwright.policy import Policy
from fillwright.ports import Backlog, Clock, Store


class Gate:
    """Counts what waits: as the store last told it, and what came in since."""

    def __init__(self, store: Store, clock: Clock, policy: Policy) -> None:
        self._store = store
        self._clock = clock
        self._policy = policy
        self._backlog = Backlog(0, 0.0)
        self._since = 0
        self._accepting = 0

    @property
    def waiting(self) -> int:
        """Orders that wait for a worker, as far as known here."""
        return self._backlog.waiting + self._since

    @property
    def oldest_s(self) -> float:
        """How long the longest of them had waited when they were last counted."""
        return self._backlog.oldest_s

    @contextmanager
    def accepting(self) -> Iterator[None]:
        """One order's way into the store. Raises FillwrightError(ENGINE_OVERLOADED) instead of entering."""
        self._check()
        self._accepting += 1
        self._since += 1
        try:
            yield
        finally:
            self._accepting -= 1

    def _check(self) -> None:
        policy = self._policy
        if self._accepting >= policy.accepting_max or self.waiting >= policy.waiting_max:
            raise FillwrightError(Code.ENGINE_OVERLOADED, "too many orders are waiting; try again shortly")
        if self.oldest_s > policy.waiting_s_max:
            raise FillwrightError(Code.ENGINE_OVERLOADED, "orders wait too long already; try again shortly")

    async def run(self) -> None:
        """Keep counting. A store that does not answer is no reason to refuse: accepting will tell."""
        while True:
            if self.waiting:
                await self._count()
            await self._clock.sleep(self._policy.admit_s)

    async def _count(self) -> None:
        """What came in meanwhile may be counted twice, until the next time; never not at all."""
        counted = self._since
        with suppress(FillwrightError):
            self._backlog = await self._store.backlog(self._policy.waiting_max)
            self._since -= counted
