"""One request and its answer, however many tries that takes.

Decides: when a request is repeated, how long that goes on, and what is known of its outcome in the end. Must never:
repeat what is not safe to repeat, or wait beyond its budget.
"""

import asyncio
import random
from collections.abc import Mapping
from typing import Any, Final, TypeVar
from urllib.parse import urlsplit

import aiohttp
import msgspec

from fillwright.client.failures import (
    ApiError,
    ClientError,
    NotUnderstood,
    OutcomeUnknown,
    ProblemDocument,
    Unauthorized,
    Unreachable,
    api_error,
)

T = TypeVar("T")
_REFUSED_UNSEEN: Final = frozenset({"ENGINE_OVERLOADED", "ENGINE_DRAINING", "REQUEST_RATE_LIMITED"})
"""With these the engine says that it has not begun; after any other 5xx the request may have been carried out."""
_FIRST_PAUSE_S: Final = 0.2
_PAUSE_S_MAX: Final = 5.0
_encode: Final = msgspec.json.Encoder().encode


class Budget:
    """Time for one request and its repetitions, or for a stream to come back."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self.renew()

    def renew(self) -> None:
        self._ends_at = asyncio.get_running_loop().time() + self._seconds
        self._pause_s = _FIRST_PAUSE_S

    @property
    def left_s(self) -> float:
        return self._ends_at - asyncio.get_running_loop().time()

    async def pause(self, told_s: float | None = None) -> bool:
        """Wait: as long as the server says, else longer each time, and never as long as everybody else.

        False, at once, where that is beyond the budget.
        """
        wait_s = max(told_s or 0.0, self._pause_s * random.uniform(0.5, 1.0))  # noqa: S311 - no secret
        self._pause_s = min(self._pause_s * 2, _PAUSE_S_MAX)
        if wait_s >= self.left_s:
            return False
        await asyncio.sleep(wait_s)
        return True


class Exchange:
    """The way to one engine."""

    def __init__(self, url: str, api_key: str | None, timeout_s: float, budget_s: float) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError("the engine's address must be like http://host:port")
        self._url = url.rstrip("/")
        self._headers = {} if api_key is None else {"Authorization": f"Bearer {api_key}"}
        self._timeout_s = timeout_s
        self._budget_s = budget_s
        self._session: aiohttp.ClientSession | None = None

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()

    @property
    def session(self) -> aiohttp.ClientSession:
        if self._session is None:
            self._session = aiohttp.ClientSession(headers=self._headers)
        return self._session

    def budget(self) -> Budget:
        return Budget(self._budget_s)

    def at(self, path: str) -> str:
        return self._url + path

    async def get(self, path: str, kind: type[T], query: Mapping[str, str] | None = None) -> T:
        return decoded(await self._send("GET", path, query=query), kind)

    async def post(self, path: str, kind: type[T], body: object = None, key: str | None = None) -> T:
        """A question, such as for a quote; or with `key` a change that is made once however often it is sent."""
        return decoded(await self._send("POST", path, body=body, key=key), kind)

    async def change(self, path: str, kind: type[T], body: object = None) -> T:
        """A change that is the same made twice, such as a cancel."""
        return decoded(await self._send("POST", path, body=body, changes=True), kind)

    async def amend(self, path: str, kind: type[T], body: object, tag: str) -> T:
        """A change of what `tag` names, and of nothing later: made twice, the second one is refused."""
        return decoded(await self._send("PATCH", path, body=body, changes=True, tag=tag), kind)

    async def _send(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        body: object = None,
        key: str | None = None,
        changes: bool = False,
        tag: str | None = None,
    ) -> bytes:
        """The body of the answer. Raises ClientError; OutcomeUnknown only for what changes something."""
        told_by = {"Idempotency-Key": key, "If-Match": tag}
        headers = {name: text for name, text in told_by.items() if text is not None}
        request: dict[str, Any] = {"headers": headers, "params": query}
        if body is not None:
            request["data"] = _encode(body)
            request["headers"]["Content-Type"] = "application/json"
        budget, in_doubt = self.budget(), False
        while True:
            outcome, begun = await self._try(method, path, request, budget)
            if isinstance(outcome, bytes):
                return outcome
            in_doubt = in_doubt or begun
            told = outcome if isinstance(outcome, ApiError) else None
            may_pass = told is None or is_passing(told.status)
            if may_pass and await budget.pause(told.retry_after if told else None):
                continue
            # A key that was revoked meanwhile says nothing about an earlier try; nor does a thing that has changed,
            # perhaps by that very try.
            says_nothing = may_pass or isinstance(outcome, Unauthorized) or (told is not None and told.status == 412)
            if in_doubt and (changes or key is not None) and says_nothing:
                raise OutcomeUnknown(f"it may have been carried out: {outcome}", key) from outcome
            raise outcome

    async def _try(
        self, method: str, path: str, request: Mapping[str, Any], budget: Budget
    ) -> tuple[bytes | ClientError, bool]:
        """The answer's body or the failure, and whether the engine may have begun to carry the request out."""
        limit = aiohttp.ClientTimeout(total=max(0.001, min(self._timeout_s, budget.left_s)))
        try:
            asked = self.session.request(method, self.at(path), timeout=limit, allow_redirects=False, **request)
            async with asked as answer:
                body = await answer.read()
        except aiohttp.ClientConnectorError as error:
            return Unreachable(f"no engine answers at {self._url}: {error.strerror or error}"), False
        except (TimeoutError, aiohttp.ClientError) as error:
            return Unreachable(f"{self._url}: {str(error) or 'no answer in time'}"), True
        if answer.status < 300:
            return body, True
        failure = api_error(problem_of(answer.status, answer.headers, body))
        return failure, answer.status >= 500 and failure.code not in _REFUSED_UNSEEN


def is_passing(status: int) -> bool:
    """Whether the same request may be answered otherwise in a while."""
    return status == 429 or status >= 500


def problem_of(status: int, headers: Mapping[str, str], body: bytes) -> ProblemDocument:
    """The problem that was told; or one about whatever stands before the engine and answered in its place."""
    try:
        return msgspec.json.decode(body, type=ProblemDocument)
    except msgspec.DecodeError:
        wait = headers.get("Retry-After", "")
        after_ms = int(wait) * 1_000 if wait.isdecimal() else None
        return foreign_problem(status, f"answered with status {status}, and not by the engine", after_ms)


def foreign_problem(status: int, detail: str, retry_after_ms: int | None = None) -> ProblemDocument:
    """A refusal that came without a problem document."""
    return ProblemDocument(
        status=status,
        code=f"HTTP_{status}",
        detail=detail,
        retryable=is_passing(status),
        retry_after_ms=retry_after_ms,
    )


def decoded(body: bytes, kind: type[T]) -> T:
    try:
        return msgspec.json.decode(body, type=kind)
    except msgspec.DecodeError as error:
        raise NotUnderstood(f"the answer cannot be read: {error}") from error
