"""Calls to one node over HTTP, gathered into JSON-RPC batches.

Decides: which calls share a request, and how long one may take. Must never: let a caller wait without an end, or show
an error of the network, which may tell an address or a key, to anyone.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from typing import Final, TypeAlias

import aiohttp
import msgspec

from fillwright.adapters.jsonrpc import BATCH_MAX, Failure
from fillwright.errors import Code, FillwrightError

Call: TypeAlias = tuple[str, Sequence[object]]
"""Method and parameters."""

_REQUESTS_MAX: Final = 2
"""Requests under way; what is called meanwhile waits and shares the next one. Two, so that a slow one stops nobody."""
_REQUEST_S: Final = 2.0
_WAIT_S: Final = 2.0
"""A call that has not left by then is given up: with the request's own limit, twice this is the longest wait."""
_WAITING_MAX: Final = 16_384
_CALLS_MAX: Final = 2
"""That one `ask` may make, so that asks can be counted instead of calls."""
_ASKS_MAX: Final = BATCH_MAX // _CALLS_MAX
_ANSWER_BYTES_MAX: Final = 64 * 1024 * 1024

_encode: Final = msgspec.json.Encoder().encode


class _Answer(msgspec.Struct, frozen=True):
    id: int | None
    result: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    error: Failure | msgspec.UnsetType = msgspec.UNSET


class _Call(msgspec.Struct, frozen=True):
    id: int
    method: str
    params: Sequence[object]
    jsonrpc: str = "2.0"


class _Asked(msgspec.Struct, frozen=True, eq=False):
    calls: Callable[[], Sequence[Call]]
    results: "asyncio.Future[list[msgspec.Raw]]"
    gives_up_at: float


_answers_of: Final = msgspec.json.Decoder(list[_Answer]).decode


class Line:
    """To be made inside the running loop, and closed in it."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._loop = asyncio.get_running_loop()
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=_REQUESTS_MAX),
            timeout=aiohttp.ClientTimeout(total=_REQUEST_S),
            headers={"Content-Type": "application/json"},
            cookie_jar=aiohttp.DummyCookieJar(),
        )
        self._waiting: deque[_Asked] = deque()
        self._requests: set[asyncio.Task[None]] = set()
        self._scheduled = False
        self._closed = False

    async def close(self) -> None:
        """Whoever still waits is told that the node did not answer."""
        self._closed = True
        while self._waiting:
            _fail(self._waiting.popleft(), "the connection was closed")
        requests = list(self._requests)
        for request in requests:
            request.cancel()
        await asyncio.gather(*requests, return_exceptions=True)
        await self._session.close()

    async def call(self, method: str, *params: object) -> msgspec.Raw:
        """The result of one call; fails as `ask` does."""
        [result] = await self.ask(lambda: [(method, params)])
        return result

    async def ask(self, calls: Callable[[], Sequence[Call]]) -> list[msgspec.Raw]:
        """The results of these one or two calls, which stand side by side in one batch.

        `calls` is asked for them when the batch is closed, so they may still grow until then. Raises
        FillwrightError(CHAIN_UNAVAILABLE) for a call that failed, was refused, or was not answered in time.
        """
        if self._closed or len(self._waiting) >= _WAITING_MAX:
            raise _unavailable("closed" if self._closed else "too many calls are waiting for the node")
        asked = _Asked(calls, self._loop.create_future(), self._loop.time() + _WAIT_S)
        self._waiting.append(asked)
        self._schedule()
        return await asked.results

    def _schedule(self) -> None:
        """Send at the end of this turn of the loop, so that all its calls go together."""
        if self._waiting and not self._scheduled and len(self._requests) < _REQUESTS_MAX:
            self._scheduled = True
            self._loop.call_soon(self._send)

    def _send(self) -> None:
        self._scheduled = False
        batch = self._next_batch()
        if batch:
            request = self._loop.create_task(self._exchange(batch))
            self._requests.add(request)
            request.add_done_callback(self._sent)
        self._schedule()

    def _sent(self, request: "asyncio.Task[None]") -> None:
        self._requests.discard(request)
        self._schedule()

    def _next_batch(self) -> list[_Asked]:
        batch: list[_Asked] = []
        while self._waiting and len(batch) < _ASKS_MAX:
            asked = self._waiting.popleft()
            if self._loop.time() >= asked.gives_up_at:
                _fail(asked, "no answer in time")
            elif not asked.results.done():
                batch.append(asked)
        return batch

    async def _exchange(self, batch: Sequence[_Asked]) -> None:
        why = "the connection was closed"
        calls: list[_Call] = []
        shares: list[range] = []
        for asked in batch:
            first = len(calls)
            calls += [_Call(first + nth, *call) for nth, call in enumerate(asked.calls())]
            shares.append(range(first, len(calls)))
        answers: dict[int | None, _Answer] = {}
        try:
            answers = {answer.id: answer for answer in await self._post(_encode(calls))}
            why = "the node left it out"
        except TimeoutError:
            why = "no answer in time"
        except (aiohttp.ClientError, OSError):
            why = "no connection"
        except (ValueError, RecursionError):
            why = "the answer is not JSON-RPC"
        finally:
            for asked, share in zip(batch, shares, strict=True):
                _settle(asked, [answers.get(number) for number in share], why)

    async def _post(self, body: bytes) -> list[_Answer]:
        async with self._session.post(self._url, data=body, allow_redirects=False) as response:
            if response.status != 200:
                raise ValueError
            answer = bytearray()
            async for chunk in response.content.iter_any():
                answer += chunk
                if len(answer) > _ANSWER_BYTES_MAX:
                    raise ValueError
        return _answers_of(answer)


def _settle(asked: _Asked, answers: Sequence[_Answer | None], why: str) -> None:
    results: list[msgspec.Raw] = []
    for answer in answers:
        if answer is not None and isinstance(answer.error, Failure):
            return _fail(asked, f"the node refused with code {answer.error.code}")
        if answer is None or answer.result is msgspec.UNSET:
            return _fail(asked, why)
        results.append(answer.result)
    if not asked.results.done():
        asked.results.set_result(results)
    return None


def _fail(asked: _Asked, why: str) -> None:
    if not asked.results.done():
        asked.results.set_exception(_unavailable(why))


def _unavailable(why: str) -> FillwrightError:
    return FillwrightError(Code.CHAIN_UNAVAILABLE, f"the chain's node: {why}")
