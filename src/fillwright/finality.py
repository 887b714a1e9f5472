"""Swaps that the chain has told of, but might still take back: look again until it cannot.

Decides: when a swap is final, and what follows where it was taken back. Must never: take a node that lags behind for a
chain that took back, or doubt what an operator vouches for.

Only for chains whose word is not final (`Chain.landed_is_final`). A node for which the slot of the swap is final, and
which still has the same swap there, ends the matter.
"""

from typing import Final

import msgspec

from fillwright.executor import Alarm, Executor
from fillwright.landing import look
from fillwright.order import (
    Attested,
    Fill,
    Landed,
    Order,
    Recorded,
    Reopened,
    Signed,
    SignedTx,
    SliceLanded,
    Status,
    transition,
)
from fillwright.ports import Conflict, Logged, Place, Sighting
from fillwright.together import side_by_side
from fillwright.units import Millis, OrderId

_PAGE: Final = 500
_PENDING_MAX: Final = 10_000
_AT_ONCE: Final = 50
_NAMES: Final = frozenset({str(kind.__struct_config__.tag) for kind in (Landed, SliceLanded)})


class _Swap(msgspec.Struct, frozen=True):
    """One that is not known to be final: `seq` is of the event that recorded it."""

    account: str
    order_id: OrderId
    seq: int


class _Facts(msgspec.Struct, frozen=True):
    tx: SignedTx
    fill: Fill


class Finality:
    """One a worker process. Call `check` every few seconds; after a failure, just call it again."""

    def __init__(self, executor: Executor) -> None:
        self._executor = executor
        self._store = executor.store
        self._clock = executor.clock
        self._place: Place | None = None
        self._pending: dict[tuple[OrderId, int], _Swap] = {}

    async def check(self) -> None:
        """Learn of new swaps and look again at those that are not final. Raises FillwrightError(STORE_UNAVAILABLE)."""
        await self._learn()
        await side_by_side(self._judge, list(self._pending.values()), at_once=_AT_ONCE)

    async def _learn(self) -> None:
        """From some time before this worker began: another one may have died with what it knew."""
        if self._place is None:
            since = self._clock.now() - self._executor.policy.taken_back_s * 1_000
            self._place = await self._store.log_since(Millis(since))
        while len(self._pending) < _PENDING_MAX:
            entries = await self._store.log(self._place, _PAGE)
            for entry in entries:
                self._note(entry)
            if entries:
                self._place = entries[-1].place
            if len(entries) < _PAGE:
                return

    def _note(self, entry: Logged) -> None:
        if entry.event in _NAMES:
            self._pending[entry.order_id, entry.seq] = _Swap(entry.account, entry.order_id, entry.seq)

    async def _judge(self, swap: _Swap) -> None:
        facts = await self._facts(swap)
        if facts is not None:
            sighting = await look(self._executor.chain, facts.tx, self._executor.policy)
            if sighting is None or not _is_past(sighting, facts.fill):
                return
            if sighting.outcome != facts.fill:
                await self._taken_back(swap, facts)
        self._pending.pop((swap.order_id, swap.seq), None)

    async def _facts(self, swap: _Swap) -> _Facts | None:
        """From the history: the transaction that was signed last before the swap was recorded.

        None where somebody vouches for the swap, because the chain could not tell: it cannot take back what it does not
        remember, and the order, opened again, would be taken for lapsed and swapped twice.
        """
        history = await self._store.history(swap.account, swap.order_id)
        before, event = (each.event for each in history[swap.seq - 2 : swap.seq])
        if isinstance(before, Attested):
            return None
        assert isinstance(event, Landed | SliceLanded)
        signed = [each.event.tx for each in history[: swap.seq] if isinstance(each.event, Signed)]
        return _Facts(signed[-1], event.fill)

    async def _taken_back(self, swap: _Swap, facts: _Facts) -> None:
        """An order that ended with this swap is submitted again, and its bytes are landed as ever.

        One that has gone on to other slices cannot go back: its operator has to look into it.
        """
        order = await self._store.get(swap.account, swap.order_id)
        assert order is not None
        reopens = order.status is Status.CONFIRMED and order.intent.schedule is None and order.seq == swap.seq
        why = f"the block that held {facts.tx.signature} is gone, and the recorded swap with it"
        self._executor.alarm(Alarm(swap.order_id, "taken_back", why))
        if reopens:
            await self._reopen(order, facts.tx)

    async def _reopen(self, order: Order, tx: SignedTx) -> None:
        event = Reopened(tx=tx)
        recorded = Recorded(transition(order, event, self._clock.now()), event)
        try:
            await self._store.record(order, [recorded])
        except Conflict:  # another worker saw it too
            return
        await self._executor.announce([recorded])


def _is_past(sighting: Sighting, fill: Fill) -> bool:
    """Whether this node has seen final blocks beyond the swap's own, wherever the swap is now."""
    now_in = sighting.outcome.slot if sighting.outcome is not None else fill.slot
    return sighting.slot > max(now_in, fill.slot)
