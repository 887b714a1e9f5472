"""Mutants of what the outside asks for: cancelling, deadlines, and streams.

Decides: how each safeguard of engine.py is switched off.
"""

from collections.abc import AsyncIterator, Set
from typing import Any, Final

from fillwright import cancels, executor, order
from fillwright.engine import Engine
from fillwright.errors import Code, Problem
from fillwright.eventlog import EventLog, Part
from fillwright.order import Canceled, CancelRequested, Event, Expired, Order, Recorded, Status
from fillwright.policy import Policy
from fillwright.ports import Conflict, News, Place
from fillwright.units import Millis, OrderId
from tests.simulation.mutants.patch import Mutant, Patches, change


def _canceled_while_submitted() -> Patches:
    honest = order.cancel

    def cancel(held: Order, at: Millis) -> Recorded | None:
        recorded = honest(held, at)
        if recorded is None or not isinstance(recorded.event, CancelRequested):
            return recorded
        ended = change(recorded.order, status=Status.CANCELED, tx=None, due_at=None, worker=None)
        return Recorded(change(ended, cancel_requested=False), Canceled())

    return [(cancels, "cancel", cancel)]


def _expired_while_submitted() -> Patches:
    honest = order.advance

    def advance(held: Order, event: Event, now: Millis, policy: Policy) -> list[Recorded]:
        recorded = honest(held, event, now, policy)
        last = recorded[-1].order
        if last.status is not Status.SUBMITTED or last.deadline_at is None:
            return recorded
        ending = Expired(problem=Problem(Code.EXECUTION_DEADLINE, "too late"))
        ended = change(last, seq=last.seq + 1, status=Status.EXPIRED, tx=None, due_at=None, worker=None)
        return [*recorded, Recorded(change(ended, problem=ending.problem), ending)]

    return [(executor, "advance", advance)]


def _cancel_presumed() -> Patches:
    """Whatever the conflict was, the order is told to be canceled."""

    async def cancel(self: Engine, account: str, order_id: OrderId) -> Order:
        before = await self.get(account, order_id)
        recorded = order.cancel(before, self.clock.now())
        if recorded is None:
            return before
        try:
            await self._store.record(before, [recorded])
        except Conflict:
            return recorded.order
        await self._executor.announce([recorded])
        return recorded.order

    return [(Engine, "cancel", cancel)]


def _cancel_not_stored() -> Patches:
    async def cancel(self: Engine, account: str, order_id: OrderId) -> Order:
        held = await self.get(account, order_id)
        recorded = order.cancel(held, self.clock.now())
        return recorded.order if recorded else held

    return [(Engine, "cancel", cancel)]


def _silence_forgiven() -> Patches:
    async def fire(self: cancels.Cancels) -> None:
        pass

    return [(cancels.Cancels, "fire", fire)]


def _switch_off_first() -> Patches:
    """A crash between the two, or an order that cannot be asked just then, and nobody comes back to it."""

    async def fire(self: cancels.Cancels) -> None:
        for switch in await self._store.fired(100):
            await self._store.disarm(switch.account, switch)
            await self.all(switch.account)

    return [(cancels.Cancels, "fire", fire)]


def _new_switch_taken_for_old() -> Patches:
    async def fire(self: cancels.Cancels) -> None:
        for switch in await self._store.fired(100):
            await self.all(switch.account)
            await self._store.disarm(switch.account)

    return [(cancels.Cancels, "fire", fire)]


def _resumed_at_the_end_of_the_log() -> Patches:
    """The place to go on is where the log ended afterwards, not that of the last entry that was read."""
    honest = EventLog.read

    async def read(self: EventLog, after: Place, accounts: Set[str], known: Any = None) -> Part:
        part = await honest(self, after, accounts, known)
        return change(part, end=await self.end())

    return [(EventLog, "read", read)]


def _resumed_one_entry_back() -> Patches:
    honest = EventLog.read

    async def read(self: EventLog, after: Place, accounts: Set[str], known: Any = None) -> Part:
        part = await honest(self, after, accounts, known)
        return change(part, end=change(part.end, id=max(0, part.end.id - 1)))

    return [(EventLog, "read", read)]


def _bus_trusted(*, gaps_mended: bool, repetitions_dropped: bool) -> Patches:
    async def watch(self: Engine, account: str, order_id: OrderId, after: int = 0) -> AsyncIterator[News]:
        async with self._bus.subscribe(order_id) as inbox:
            last = after
            while True:
                for recorded in await self.history(account, order_id):
                    if recorded.order.seq > last:
                        last = recorded.order.seq
                        yield self._executor.news_of(recorded)
                    if recorded.order.is_terminal:
                        return
                whole = True
                while whole and (arrived := await inbox.take(self.policy.watch_s)):
                    for news in arrived:
                        if gaps_mended and news.seq > last + 1:
                            whole = False
                            break
                        if news.seq > last or not repetitions_dropped:
                            last = news.seq
                            yield news
                            if news.ended:
                                return

    return [(Engine, "watch", watch)]


def _watch_from_start() -> Patches:
    honest = Engine.watch

    def watch(self: Engine, account: str, order_id: OrderId, after: int = 0) -> AsyncIterator[News]:
        return honest(self, account, order_id)

    return [(Engine, "watch", watch)]


def _silence_trusted() -> Patches:
    honest = Engine.__init__

    def init(self: Engine, **parts: Any) -> None:
        honest(self, **parts)
        self.policy = change(self.policy, watch_s=1e9)

    return [(Engine, "__init__", init)]


def _all_gaps_kept() -> Patches:
    async def since(self: Engine, seen: dict[OrderId, int], news: News) -> list[News]:
        if news.seq <= seen.get(news.order_id, news.seq - 1):
            return []
        seen[news.order_id] = news.seq
        return [news]

    return [(Engine, "_since", since)]


def _all_ends_forgotten() -> Patches:
    honest = Engine._since

    async def since(self: Engine, seen: dict[OrderId, int], news: News) -> list[News]:
        found = await honest(self, seen, news)
        if news.ended:
            seen[news.order_id] = news.seq - 1
        return found

    return [(Engine, "_since", since)]


MUTANTS: Final = {
    "silence-forgiven": Mutant("a switch whose time is over is carried out", _silence_forgiven),
    "switch-off-first": Mutant("a switch goes when its orders are canceled, not before", _switch_off_first),
    "new-switch-taken-for-old": Mutant("a switch that was armed again stays", _new_switch_taken_for_old),
    "resumed-at-the-log-s-end": Mutant(
        "a reader of the log goes on where it stopped reading", _resumed_at_the_end_of_the_log
    ),
    "resumed-one-entry-back": Mutant("a reader of the log gets nothing twice", _resumed_one_entry_back),
    "cancel-submitted": Mutant("a cancel waits for the live transaction's end", _canceled_while_submitted),
    "expire-submitted": Mutant("a deadline waits for the live transaction's end", _expired_while_submitted),
    "cancel-presumed": Mutant("a cancel that met a conflict looks again", _cancel_presumed),
    "cancel-not-stored": Mutant("a cancel is committed before it is answered", _cancel_not_stored),
    "gaps-kept": Mutant(
        "a watcher mends gaps from the history", lambda: _bus_trusted(gaps_mended=False, repetitions_dropped=True)
    ),
    "repeats-kept": Mutant(
        "a watcher drops repetitions", lambda: _bus_trusted(gaps_mended=True, repetitions_dropped=False)
    ),
    "watch-from-start": Mutant("a watcher continues after its last event", _watch_from_start),
    "silence-trusted": Mutant("a silent watcher reads the history again", _silence_trusted),
    "all-gaps-kept": Mutant("a watcher of all mends gaps", _all_gaps_kept),
    "all-ends-forgotten": Mutant("a watcher of all drops repetitions of an order's end", _all_ends_forgotten),
}
