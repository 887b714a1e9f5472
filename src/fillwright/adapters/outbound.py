"""Messages to webhooks, over HTTP.

Decides: which addresses a host name may have, how long a receiver may take, and what a failure is called. Must never:
connect to an address that was not judged, follow a redirect, go through a proxy that the environment names, keep an
answer, or raise.

A name is resolved here, every address it has is judged, and the connection goes to one of those very addresses: a name
that means another address a moment later gains nothing.
"""

import asyncio
import socket
import ssl
from collections.abc import Mapping
from typing import Final

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult

from fillwright.errors import FillwrightError
from fillwright.ports import Reply
from fillwright.webhooks import check_url, is_open

POST_S: Final = 15.0
ANSWER_MAX: Final = 64 * 1024
"""How much of an answer is read, so that the receiver sees its answer taken; all of it is thrown away."""
_CONNECTIONS_MAX: Final = 256


class NotOpen(OSError):
    """The name has an address that is not of the open internet."""


class GuardedResolver(AbstractResolver):
    """Another resolver's answers, unless one address among them must not be called."""

    def __init__(self, inner: AbstractResolver) -> None:
        self._inner = inner

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        """Raises OSError, and NotOpen."""
        found = await self._inner.resolve(host, port, family)
        if not all(is_open(each["host"]) for each in found):
            raise NotOpen("the name leads to a private address")
        return found

    async def close(self) -> None:
        await self._inner.close()


class HttpMessenger:
    """See ports.Messenger. One a process; `close` it after its last call."""

    def __init__(
        self,
        *,
        allow_private: bool,
        resolver: AbstractResolver | None = None,
        trust: ssl.SSLContext | None = None,
        post_s: float = POST_S,
    ) -> None:
        """`resolver` and `trust`: where names and certificates are asked for, if not where the system does."""
        self._allow_private = allow_private
        self._resolver = resolver
        self._trust = trust
        self._timeout = aiohttp.ClientTimeout(total=post_s)
        self._session: aiohttp.ClientSession | None = None

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()

    async def post(self, url: str, headers: Mapping[str, str], body: bytes) -> Reply:
        try:
            check_url(url, allow_private=self._allow_private)  # a literal address is never resolved
            async with self._opened().post(url, headers=headers, data=body, allow_redirects=False) as response:
                await _swallow(response)
                return Reply(response.status)
        except FillwrightError as error:
            return Reply(None, f"not sent: the URL {error}")
        except (aiohttp.ClientError, OSError, ValueError) as error:
            return Reply(None, _told(error))

    def _opened(self) -> aiohttp.ClientSession:
        if self._session is None:  # it belongs to a running loop
            inner = self._resolver or aiohttp.ThreadedResolver()
            connector = aiohttp.TCPConnector(
                resolver=inner if self._allow_private else GuardedResolver(inner),
                use_dns_cache=False,
                limit=_CONNECTIONS_MAX,
                ssl=self._trust or True,
            )
            self._session = aiohttp.ClientSession(
                connector=connector,
                timeout=self._timeout,
                cookie_jar=aiohttp.DummyCookieJar(),
                auto_decompress=False,
                trust_env=False,
            )
        return self._session


async def _swallow(response: aiohttp.ClientResponse) -> None:
    """Read a little of the answer; a longer one costs the receiver its connection."""
    left = ANSWER_MAX
    while left > 0 and (part := await response.content.read(left)):
        left -= len(part)
    if left <= 0:
        response.close()


def _told(error: Exception) -> str:
    """In our words: those of the error may hold what the URL holds."""
    cause: BaseException | None = error
    while cause is not None:
        match cause:
            case NotOpen():
                return "not sent: the name leads to a private address"
            case TimeoutError() | asyncio.TimeoutError():
                return "no answer in time"
            case ssl.SSLError() | ssl.CertificateError():
                return "TLS failed"
            case socket.gaierror():
                return "the name is not known"
            case ConnectionRefusedError():
                return "connection refused"
            case _:
                cause = cause.__cause__
    return "connection failed"
