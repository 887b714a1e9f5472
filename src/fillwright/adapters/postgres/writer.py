"""Group commit: the calls of this process that wait together are written by one transaction.

Decides: which calls share a transaction, what is tried again, and when the connection is given up for a new one. Must
never: tell an outcome that it does not know. Where an answer is lost, perhaps that of the COMMIT, nothing is repeated:
every call of the batch is told STORE_UNAVAILABLE, and what the server makes of it later meets the fence of seq.
"""

import asyncio
from collections import deque
from collections.abc import Hashable, Sequence
from typing import Any, Final

import asyncpg

from fillwright.adapters.postgres.batch import Call, Overtaken, commit
from fillwright.adapters.postgres.link import FOREIGN, REFUSED, Connection, connect, translated
from fillwright.errors import Code, FillwrightError

_BATCH_MAX: Final = 512
_AGAIN: Final = (Overtaken, asyncpg.DeadlockDetectedError)
"""Nothing was changed, and the same batch may succeed."""
_AGAIN_MAX: Final = 5
_PAUSE_S: Final = (0.05, 1.0)
"""After a failure to connect, calls fail at once for so long: at first, doubling up to."""
_CLOSE_S: Final = 5.0


class Writer:
    """One connection for writes, opened when it is needed and after it was lost."""

    def __init__(self, url: str, lease_s: float) -> None:
        self._url = url
        self._lease_s = lease_s
        self._connection: Connection | None = None
        self._pause_s = 0.0
        self._retry_at = 0.0
        self._waiting: deque[tuple[Call, asyncio.Future[Any]]] = deque()
        self._flushing: asyncio.Task[None] | None = None

    def write(self, call: Call) -> asyncio.Future[Any]:
        """Make the call part of the next transaction; its answer comes once that is durable."""
        done: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._waiting.append((call, done))
        if self._flushing is None:
            self._flushing = asyncio.create_task(self._flush())
        return done

    async def close(self) -> None:
        if self._flushing is not None:
            await asyncio.wait([self._flushing], timeout=_CLOSE_S)
        self._drop()

    # --- batches ------------------------------------------------------------------------------------------

    async def _flush(self) -> None:
        try:
            while self._waiting:
                batch = self._next_batch()
                outcomes = await self._outcomes([call for call, _ in batch])
                for (_, done), outcome in zip(batch, outcomes, strict=True):
                    _deliver(done, outcome)
        finally:
            self._flushing = None

    def _next_batch(self) -> list[tuple[Call, asyncio.Future[Any]]]:
        """Those that wait longest, but of calls about the same thing only the first: the others follow in order."""
        batch: list[tuple[Call, asyncio.Future[Any]]] = []
        later: list[tuple[Call, asyncio.Future[Any]]] = []
        touched: set[Hashable] = set()
        for _ in range(min(len(self._waiting), _BATCH_MAX)):
            waiting = self._waiting.popleft()
            touches = set(waiting[0].touches())
            (batch if touched.isdisjoint(touches) else later).append(waiting)
            touched |= touches
        self._waiting.extendleft(reversed(later))
        return batch

    async def _outcomes(self, calls: Sequence[Call]) -> list[Any]:
        """Each call's answer or failure. Where the data is refused, each half goes alone: in the end the bad call."""
        try:
            return await self._commit(calls)
        except Exception as error:  # whatever it is, nobody may be left waiting
            if len(calls) == 1 or not _is_about_data(error):
                return [translated(error) for _ in calls]
        middle = len(calls) // 2
        return [*await self._outcomes(calls[:middle]), *await self._outcomes(calls[middle:])]

    async def _commit(self, calls: Sequence[Call]) -> list[Any]:
        for _ in range(_AGAIN_MAX):
            connection = await self._connected()
            try:
                return await commit(connection, calls, self._lease_s)
            except _AGAIN:
                await self._roll_back(connection)
            except Exception as error:
                if not _is_about_data(error):
                    self._drop()
                    raise
                await self._roll_back(connection)
                raise
        raise FillwrightError(Code.STORE_UNAVAILABLE, "other processes were faster each time")

    # --- the connection -----------------------------------------------------------------------------------

    async def _connected(self) -> Connection:
        if self._connection is not None and not self._connection.is_closed():
            return self._connection
        clock = asyncio.get_running_loop().time
        if clock() < self._retry_at:
            raise ConnectionError("connecting failed a moment ago")
        try:
            self._connection = await connect(self._url)
        except FOREIGN:
            shortest, longest = _PAUSE_S
            self._pause_s = min(max(2 * self._pause_s, shortest), longest)
            self._retry_at = clock() + self._pause_s
            raise
        self._pause_s = 0.0
        return self._connection

    async def _roll_back(self, connection: Connection) -> None:
        try:
            if connection.is_in_transaction():
                await connection.execute("ROLLBACK")
        except FOREIGN:  # whatever was open ends with the connection
            self._drop()

    def _drop(self) -> None:
        """Without a word to the server, which may not be listening."""
        if self._connection is not None:
            self._connection.terminate()
            self._connection = None


def _is_about_data(error: Exception) -> bool:
    """Whether it is the fault of a call, a refusal or a defect, and not of the connection."""
    return isinstance(error, REFUSED) or not isinstance(error, (*FOREIGN, FillwrightError))


def _deliver(done: asyncio.Future[Any], outcome: Any) -> None:
    if done.cancelled():
        return
    if isinstance(outcome, Exception):
        done.set_exception(outcome)
    else:
        done.set_result(outcome)
