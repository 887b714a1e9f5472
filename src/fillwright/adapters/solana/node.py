"""One node over HTTP.

Decides: how long a request may take, when the node is left alone, and what one of its statements says about the others.
Must never: show its address, which may hold a key, in a log or an error; or wait without an end.
"""

import asyncio
import logging
from collections.abc import Sequence
from http import HTTPStatus
from typing import Final

import aiohttp
import msgspec

from fillwright.adapters.solana.protocol import TOO_MANY_REQUESTS, Answer, Call, Failure, Request
from fillwright.adapters.solana.vitals import Vitals, agree
from fillwright.errors import Code, FillwrightError

_CONNECTIONS_MAX: Final = 32
_ANSWER_BYTES_MAX: Final = 64 * 1024 * 1024
_REST_S: Final = 0.5
"""After a failure, doubled with each one more in a row."""
_REST_S_MAX: Final = 30.0
_PAUSE_S: Final = 1.0
"""Where a node asks to be left alone and does not say for how long."""
_PAUSE_S_MAX: Final = 60.0
_DISTRUST_S: Final = 30.0
_MEMORY_S: Final = 60.0
"""What it said longer ago binds it no more."""

log: Final = logging.getLogger(__name__)
_encode: Final = msgspec.json.Encoder().encode
_answers_of: Final = msgspec.json.Decoder(list[Answer] | Answer).decode


class Node:
    """To be made inside the running loop, and closed in it. `name` is all that may be told of it."""

    def __init__(self, name: str, url: str, socket_url: str) -> None:
        self.name = name
        self.socket_url = socket_url
        self._url = url
        self._loop = asyncio.get_running_loop()
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=_CONNECTIONS_MAX),
            headers={"Content-Type": "application/json"},
            cookie_jar=aiohttp.DummyCookieJar(),
            trust_env=False,
        )
        self._failures = 0
        self._rests_until = 0.0
        self._paused_until = 0.0
        self._distrusted_until = 0.0
        self._vitals: Vitals | None = None
        self._vitals_at = 0.0

    async def close(self) -> None:
        await self._session.close()

    # --- asking -------------------------------------------------------------------------------------------

    async def ask(self, calls: Sequence[Call], within_s: float) -> list[msgspec.Raw | Failure]:
        """One result a call, in their order, from one request. Raises FillwrightError(CHAIN_UNAVAILABLE)."""
        if self.paused:
            raise self.unavailable("it asks to be left alone")
        requests = [Request(number, *call) for number, call in enumerate(calls)]
        why = "connection failed"
        try:
            answers = await self._post(_encode(requests if len(requests) > 1 else requests[0]), within_s)
            results = [_result(answers.get(number)) for number in range(len(calls))]
            self._failures, self._rests_until = 0, 0.0
            return results
        except TimeoutError:
            why = "no answer in time"
        except (aiohttp.ClientError, OSError):
            pass
        except (ValueError, RecursionError):
            why = "its answer is not what was asked for"
        self._rest()
        raise self.unavailable(why)

    async def _post(self, body: bytes, within_s: float) -> dict[int | None, Answer]:
        limit = aiohttp.ClientTimeout(total=within_s)
        async with self._session.post(self._url, data=body, allow_redirects=False, timeout=limit) as response:
            if response.status in {HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE}:
                self._pause(response.headers.get("Retry-After", ""))
            if response.status != HTTPStatus.OK:
                raise ValueError(response.status)
            text = bytearray()
            async for chunk in response.content.iter_any():
                text += chunk
                if len(text) > _ANSWER_BYTES_MAX:
                    raise ValueError(len(text))
        told = _answers_of(text)
        answers = told if isinstance(told, list) else [told]
        if any(isinstance(each.error, Failure) and each.error.code == TOO_MANY_REQUESTS for each in answers):
            self._pause("")
            raise ValueError(TOO_MANY_REQUESTS)
        return {answer.id: answer for answer in answers}

    # --- when not to ask ----------------------------------------------------------------------------------

    @property
    def paused(self) -> bool:
        """Whether it has asked for a pause: nothing is sent to it meanwhile."""
        return self._loop.time() < self._paused_until

    @property
    def resting(self) -> bool:
        """Whether it failed a moment ago: others are asked first."""
        return self._loop.time() < self._rests_until

    def _rest(self) -> None:
        rest_s = min(_REST_S * 2 ** min(self._failures, 16), _REST_S_MAX)
        self._failures += 1
        self._rests_until = self._loop.time() + rest_s

    def _pause(self, retry_after: str) -> None:
        pause_s = float(retry_after) if retry_after.isascii() and retry_after.isdecimal() else _PAUSE_S
        self._paused_until = self._loop.time() + min(pause_s, _PAUSE_S_MAX)

    # --- what it says of the chain ------------------------------------------------------------------------

    @property
    def vitals(self) -> Vitals | None:
        """The last that it said of its finalized bank, not long ago."""
        return self._vitals if self._loop.time() < self._vitals_at + _MEMORY_S else None

    @property
    def distrusted(self) -> bool:
        """Whether it has contradicted itself."""
        return self._loop.time() < self._distrusted_until

    def hear(self, vitals: Vitals, before: Vitals | None) -> None:
        """What it says now, beside what it had said `before` it was asked.

        Raises FillwrightError(CHAIN_UNAVAILABLE) where the two cannot both be true, or the chain would have gone back.
        """
        known = self.vitals
        if before is not None and not agree(before, vitals):
            if not self.distrusted:
                log.warning("the chain's %s contradicts itself: for %.0f s it is not believed", self.name, _DISTRUST_S)
            self._distrusted_until = self._loop.time() + _DISTRUST_S
            self._vitals, self._vitals_at = vitals, self._loop.time()
            raise self.unavailable("its slots and heights contradict each other")
        if known is None or vitals.slot >= known.slot:
            self._vitals, self._vitals_at = vitals, self._loop.time()
        if before is not None and vitals.slot < before.slot:
            raise self.unavailable("it went back behind what it had said")

    def unavailable(self, why: str) -> FillwrightError:
        return FillwrightError(Code.CHAIN_UNAVAILABLE, f"the chain's {self.name}: {why}")


def _result(answer: Answer | None) -> msgspec.Raw | Failure:
    if answer is not None and isinstance(answer.error, Failure):
        return answer.error
    if answer is None or isinstance(answer.result, msgspec.UnsetType):
        raise ValueError(answer)
    return answer.result
