"""What resting orders wait for: look at the market, and at the orders they are tied to, again and again, and record
what it means for whom.

Decides: how this process knows the resting orders, and when it looks. Must never: rely on being the only one that
looks: the store holds the orders, and the compare-and-set decides whose event it is.
"""

from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Final

from fillwright.errors import FillwrightError
from fillwright.executor import Executor
from fillwright.links import consequence, ties
from fillwright.order import (
    TERMINAL,
    Event,
    Order,
    Recorded,
    Status,
    Trailed,
    Triggered,
    is_at_least,
    transition,
)
from fillwright.ports import Conflict, Logged, Place, Queue
from fillwright.routing import NoRoute, Prices
from fillwright.scout import Find, Scout
from fillwright.sniping import Hunter
from fillwright.together import side_by_side
from fillwright.triggers import Index, Swap, Wanted, Watch, meaning, probe
from fillwright.units import OrderId

_PAGE: Final = 1_000
_AT_ONCE: Final = 200
"""Orders judged side by side; the store writes their events together."""


class Watcher:
    """One a worker process. Call `look` and `hunt` about once a slot each; after a failure, just call again."""

    def __init__(self, executor: Executor, queue: Queue, report: Callable[[OrderId, Exception], None]) -> None:
        """`report`: told of an order that could not be judged, for a reason that nobody expected."""
        self._executor = executor
        self._store = executor.store
        self._queue = queue
        self._report = report
        self._index = Index()
        self._scout = Scout(executor)
        self._tied: defaultdict[OrderId, dict[OrderId, str]] = defaultdict(dict)
        """By an order whose end concerns others: those that are open, and their account."""
        self._ties: dict[OrderId, tuple[OrderId, ...]] = {}
        """The same from the other side."""
        self._place: Place | None = None
        """Up to where the log of resting orders is known; None before the first reading."""

    @property
    def watching(self) -> int:
        """Orders that this process waits for."""
        return len(self._index) + len(self._scout)

    async def look(self) -> None:
        """Learn what has changed, ask the venues, and record whose condition is met.

        Raises FillwrightError(STORE_UNAVAILABLE).
        """
        await self._learn()
        told = await side_by_side(self._look_at, list(self._index.shelves), at_once=_AT_ONCE)
        await self._judge([each for concerned in told for each in concerned])

    async def hunt(self) -> None:
        """Look for new pools, for the snipers that `look` has learned of. Beside `look`: a chain that does not tell
        what is new holds up nobody else. Raises FillwrightError(STORE_UNAVAILABLE).
        """
        await side_by_side(self._hit, await self._scout.look(), at_once=_AT_ONCE)

    async def _look_at(self, swap: Swap) -> list[tuple[Watch, Prices]]:
        """Whom what the venues offer for this swap concerns."""
        asked = probe(swap, self._index.shelves[swap].largest)
        offers = await self._executor.offers_for(asked)
        prices = self._executor.prices(asked, offers)
        whole = all(offer.problem is None for offer in offers)
        return [(watch, prices) for watch in self._index.shelves[swap].concerned(prices, whole=whole)]

    # --- knowing ------------------------------------------------------------------------------------------

    async def _learn(self) -> None:
        """All open orders at first, then what the log says of them."""
        if self._place is None:
            place = await self._store.log_end()
            after: OrderId | None = None
            while page := await self._store.resting(after, _PAGE):
                await self._know(page)
                after = page[-1].id
            self._place = place
        while entries := await self._store.log(self._place, _PAGE, resting=True):
            await self._follow(entries)
            self._place = entries[-1].place
            if len(entries) < _PAGE:
                return

    async def _follow(self, entries: Sequence[Logged]) -> None:
        latest = {entry.order_id: entry for entry in entries}
        reopened = [entry for entry in latest.values() if entry.status == Status.OPEN]
        for entry in latest.values():
            if entry.status != Status.OPEN:
                self._forget(entry.order_id)
        await self._know(await self._read((each.account, each.order_id) for each in reopened))
        ended = [each.order_id for each in latest.values() if each.status in TERMINAL]
        concerned = {order_id: account for each in ended for order_id, account in self._tied.get(each, {}).items()}
        await self._know(await self._read((account, order_id) for order_id, account in concerned.items()))

    async def _know(self, orders: Sequence[Order]) -> None:
        """Watch for those that are open, unless what they are tied to has decided about them already."""
        for order in orders:
            with self._alone(order.id):
                self._keep(order)
        await side_by_side(self._untie, [order for order in orders if order.id in self._ties], at_once=_AT_ONCE)

    @contextmanager
    def _alone(self, order_id: OrderId) -> Iterator[None]:
        """One order's defect is not the others': it is left alone until its next event, or the next start."""
        try:
            yield
        except FillwrightError:
            raise
        except Exception as error:
            self._forget(order_id)
            self._report(order_id, error)

    def _keep(self, order: Order) -> None:
        if order.status is not Status.OPEN:
            self._forget(order.id)
            return
        if order.intent.rests and not order.is_waiting:  # what has a schedule is woken by its time
            (self._index if order.intent.snipe is None else self._scout).put(order)
        if others := ties(order):
            self._ties[order.id] = others
            for other in others:
                self._tied[other][order.id] = order.account

    def _forget(self, order_id: OrderId) -> None:
        self._index.remove(order_id)
        self._scout.remove(order_id)
        for other in self._ties.pop(order_id, ()):
            self._tied[other].pop(order_id, None)
            if not self._tied[other]:
                del self._tied[other]

    async def _untie(self, order: Order) -> None:
        """Record what the orders that this open one is tied to mean for it, if they mean anything yet."""
        with self._alone(order.id):
            others = await self._read((order.account, each) for each in ties(order))
            event = consequence(order, {each.id: each for each in others})
            if event is not None:
                await self._record(order, event)

    async def _read(self, names: Iterable[tuple[str, OrderId]]) -> list[Order]:
        found = await side_by_side(lambda name: self._store.get(*name), list(names), at_once=_AT_ONCE)
        return [order for order in found if order is not None]

    # --- judging ------------------------------------------------------------------------------------------

    async def _judge(self, concerned: list[tuple[Watch, Prices]]) -> None:
        """First come, first served."""
        await side_by_side(self._act, sorted(concerned, key=lambda each: each[0].order_id), at_once=_AT_ONCE)

    async def _act(self, told: tuple[Watch, Prices]) -> None:
        watch, prices = told
        await self._move(watch, lambda order: self._event(order, prices))

    async def _hit(self, find: Find) -> None:
        await self._move(find.hunter, lambda order: self._scout.event(order, find))

    async def _move(self, watch: Watch | Hunter, judge: Callable[[Order], Awaitable[Event | None]]) -> None:
        """Record what is judged of the order, if it still is as it was watched."""
        with self._alone(watch.order_id):
            order = await self._store.get(watch.account, watch.order_id)
            if order is None:
                return
            if order.status is not Status.OPEN or order.seq != watch.seq:
                self._keep(order)
                return
            event = await judge(order)
            if event is not None:
                await self._record(order, event)

    async def _record(self, order: Order, event: Event) -> None:
        after = Recorded(transition(order, event, self._executor.clock.now()), event)
        try:
            await self._store.record(order, [after])
        except Conflict:  # another watcher, or the owner, was faster, or its group is held: the log will tell
            return
        self._keep(after.order)
        await self._executor.announce([after])
        if after.order.status is Status.PENDING:
            await self._queue.put([order.id])

    async def _event(self, order: Order, prices: Prices) -> Triggered | Trailed | None:
        found = meaning(order, prices)
        if not isinstance(found, Wanted):
            return found
        intent = order.intent
        route = await self._executor.route(intent)
        if isinstance(route, NoRoute):
            return None
        if not is_at_least(intent.rate(found.price), route.amount_in, route.amount_out):
            return None
        return Triggered(price=intent.price(route.amount_in, route.amount_out))
