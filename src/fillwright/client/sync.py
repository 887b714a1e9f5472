"""The same calls for programs without asyncio.

Decides: where the loop runs: in a thread of its own, so that streams stay alive between two events and notebooks work.
Must never: do anything that `Client` does not do.
"""

import asyncio
import threading
from collections.abc import AsyncIterator, Coroutine, Iterator
from contextlib import suppress
from types import TracebackType
from typing import Any, Literal, Self, TypeVar

from fillwright.client.calls import BUDGET_S, TIMEOUT_S, Amendment, Client, ExitRequest, OrderRequest
from fillwright.wire.explain import ExplainView
from fillwright.wire.frames import Frame
from fillwright.wire.market import PoolView, VenueView
from fillwright.wire.resources import (
    AttemptView,
    BracketView,
    CancelView,
    FillView,
    OrderView,
    PreviewView,
    RouteView,
    SwitchView,
)

T = TypeVar("T")


class SyncClient:
    """See `Client`: each method has its name, its meaning and its failures."""

    def __init__(
        self, url: str, *, api_key: str | None = None, timeout_s: float = TIMEOUT_S, budget_s: float = BUDGET_S
    ) -> None:
        self._client = Client(url, api_key=api_key, timeout_s=timeout_s, budget_s=budget_s)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="fillwright-client", daemon=True)
        self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Ends the open iterations too."""
        if not self._loop.is_closed():
            self._run(self._loop.shutdown_asyncgens())
            self._run(self._client.close())
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join()
            self._loop.close()

    def submit(self, order: OrderRequest, *, idempotency_key: str | None = None) -> OrderView:
        return self._run(self._client.submit(order, idempotency_key=idempotency_key))

    def bracket(
        self, entry: OrderRequest | None, *exits: ExitRequest | OrderRequest, idempotency_key: str | None = None
    ) -> BracketView:
        return self._run(self._client.bracket(entry, *exits, idempotency_key=idempotency_key))

    def get(self, order_id: str) -> OrderView:
        return self._run(self._client.get(order_id))

    def get_by_client_id(self, client_order_id: str) -> OrderView:
        return self._run(self._client.get_by_client_id(client_order_id))

    def orders(
        self,
        *,
        status: str = "all",
        pair: str | None = None,
        side: str | None = None,
        since: str | None = None,
        until: str | None = None,
        page_size: int = 100,
    ) -> Iterator[OrderView]:
        return self._each(
            self._client.orders(status=status, pair=pair, side=side, since=since, until=until, page_size=page_size)
        )

    def amend(self, order_id: str, seq: int, changes: Amendment) -> OrderView:
        return self._run(self._client.amend(order_id, seq, changes))

    def resolve(
        self,
        order_id: str,
        outcome: Literal["landed", "reverted", "lapsed"],
        *,
        evidence: str,
        amount_in: str | None = None,
        amount_out: str | None = None,
    ) -> OrderView:
        return self._run(
            self._client.resolve(order_id, outcome, evidence=evidence, amount_in=amount_in, amount_out=amount_out)
        )

    def cancel(self, order_id: str) -> OrderView:
        return self._run(self._client.cancel(order_id))

    def cancel_all(self, *, pair: str | None = None) -> list[CancelView]:
        return self._run(self._client.cancel_all(pair=pair))

    def cancel_after(self, seconds: int) -> SwitchView:
        return self._run(self._client.cancel_after(seconds))

    def events(self, order_id: str) -> list[Frame]:
        return self._run(self._client.events(order_id))

    def attempts(self, order_id: str) -> list[AttemptView]:
        return self._run(self._client.attempts(order_id))

    def fills(self, order_id: str) -> list[FillView]:
        return self._run(self._client.fills(order_id))

    def route(self, order_id: str) -> RouteView | None:
        return self._run(self._client.route(order_id))

    def explain(self, order_id: str) -> ExplainView:
        return self._run(self._client.explain(order_id))

    def preview(self, order: OrderRequest) -> PreviewView:
        return self._run(self._client.preview(order))

    def quote(self, order: OrderRequest) -> RouteView:
        return self._run(self._client.quote(order))

    def pools(self, *, pair: str | None = None, venue: str | None = None) -> list[PoolView]:
        return self._run(self._client.pools(pair=pair, venue=venue))

    def venues(self) -> list[VenueView]:
        return self._run(self._client.venues())

    def watch(self, order_id: str, *, after: int = 0) -> Iterator[Frame]:
        return self._each(self._client.watch(order_id, after=after))

    def watch_all(self) -> Iterator[Frame]:
        return self._each(self._client.watch_all())

    def wait(self, order_id: str, *, timeout_s: float | None = None) -> OrderView:
        return self._run(self._client.wait(order_id, timeout_s=timeout_s))

    def document(self, path: str) -> dict[str, Any]:
        return self._run(self._client.document(path))

    def _run(self, work: Coroutine[Any, Any, T]) -> T:
        running = asyncio.run_coroutine_threadsafe(work, self._loop)
        try:
            return running.result()
        except BaseException:  # an interrupt, too: the call must not go on behind the caller's back
            running.cancel()
            raise

    def _each(self, items: AsyncIterator[T]) -> Iterator[T]:
        async def following() -> T:
            return await anext(items)

        with suppress(StopAsyncIteration):
            while True:
                yield self._run(following())
