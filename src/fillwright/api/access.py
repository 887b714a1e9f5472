"""Who a request comes from, and whether it may do what it asks.

Decides: which call needs which scope, where no key is needed, how fresh the known keys are, and what a call costs. Must
never: let anybody in because the store does not answer, or repeat a credential in an answer or a log.

The keys in force are few: every process holds all of them and reads them again each second. So a key works, and a
revoked one stops working, within about a second everywhere, and a guessed token costs no question to the store.
"""

import logging
from collections.abc import Callable, Mapping
from enum import StrEnum
from ipaddress import ip_address
from math import ceil
from typing import Final
from urllib.parse import urlsplit

import msgspec
from aiohttp import web

from fillwright.access import (
    ACCOUNT_DEFAULT,
    Bucket,
    Key,
    KeyId,
    Limits,
    Scope,
    check_order,
    check_worth,
    digest_of,
    genuine,
    make_ticket,
)
from fillwright.errors import Code, FillwrightError
from fillwright.order import Intent
from fillwright.ports import Clock, Entropy, Keys
from fillwright.units import Atoms, Millis, Token

REFRESH_S: Final = 1.0
STALE_S: Final = 10.0
"""Keys that could not be read again for so long are believed no more: one of them may have been revoked."""
TICKET_MS: Final = 30_000
_TOUCH_S: Final = 60.0
_LOCAL: Final = frozenset({"localhost", "127.0.0.1", "::1"})
_FORWARDED: Final = frozenset({"forwarded", "via", "x-forwarded-for", "x-forwarded-host", "x-real-ip"})
_LOG: Final = logging.getLogger("fillwright.api")


class Cost(StrEnum):
    """Which bucket of a key pays for a call. Cancels have their own, so that they never starve behind submissions."""

    REQUESTS = "requests"
    CANCELS = "cancels"


class Rule(msgspec.Struct, frozen=True):
    """What a call needs; no scope: nothing, it is open to everybody."""

    scope: Scope | None
    cost: Cost = Cost.REQUESTS


_OPEN: Final = frozenset(
    {"/", "/test", "/order-tester.html", "/console/{name}", "/problems/{code}"}
    | {"/openapi.json", "/asyncapi.json", "/docs", "/docs.js", "/docs.css"}
    | {"/livez", "/startupz", "/readyz", "/health", "/api/health"}
)
"""Probes, and pages that show nobody's orders: a browser must get the console before it can send a key."""
_SCOPES: Final[Mapping[tuple[str, str], Scope]] = {
    ("POST", "/v1/orders/preview"): Scope.READ,
    ("POST", "/v1/quotes"): Scope.READ,
    ("POST", "/v1/stream-ticket"): Scope.READ,
    ("POST", "/v1/orders/{id}/resolve"): Scope.ADMIN,
    ("GET", "/metrics"): Scope.ADMIN,
    ("GET", "/v1/sim/faults"): Scope.ADMIN,
    ("PUT", "/v1/sim/faults"): Scope.ADMIN,
    ("POST", "/v1/sim/workers/kill"): Scope.ADMIN,
    ("GET", "/v1/sim/audit"): Scope.ADMIN,
}


def rule_of(method: str, path: str) -> Rule:
    """For a route by its pattern. What is not named here needs a key: to read for GET, to trade for anything else."""
    if path in _OPEN:
        return Rule(None)
    if method == "HEAD":
        method = "GET"
    scope = _SCOPES.get((method, path), Scope.READ if method == "GET" else Scope.TRADE)
    cancels = method == "DELETE" or "/cancel" in path
    return Rule(scope, Cost.CANCELS if cancels else Cost.REQUESTS)


class TicketRefused(Exception):
    """A browser learns nothing from a refused upgrade: its socket is opened, and closed with the code that says why."""


class Caller:
    """Who asks: an account, what it may do, and how much of its quota is left."""

    def __init__(self, key: Key | None, clock: Clock) -> None:
        """`key` None: somebody who needs none, who may do everything in the default account."""
        self.key_id = key.id if key else None
        self.account = key.account if key else ACCOUNT_DEFAULT
        self._scopes = key.scopes if key else frozenset(Scope)
        self._limits = key.limits if key else Limits()
        self._clock = clock
        rate = self._limits.rate
        burst = self._limits.burst or rate
        self._buckets: dict[Cost, Bucket] = {}
        if rate and burst:
            self._buckets = {cost: Bucket(rate=rate, burst=burst, now=clock.monotonic()) for cost in Cost}

    def require(self, scope: Scope) -> None:
        """Raises FillwrightError(ACCESS_SCOPE)."""
        if scope not in self._scopes:
            raise FillwrightError(Code.ACCESS_SCOPE, f"this needs a key with the scope {scope}")

    def spend(self, cost: Cost) -> None:
        """Raises RateLimited."""
        if cost in self._buckets:
            self._buckets[cost].spend(self._clock.monotonic())

    def trade(self, cost: Cost) -> None:
        """For a message on a socket, which no route's rule covers. Raises FillwrightError."""
        self.require(Scope.TRADE)
        self.spend(cost)

    def check(self, intent: Intent) -> None:
        """Raises FillwrightError(ACCESS_LIMIT)."""
        check_order(self._limits, intent)

    @property
    def has_worth_cap(self) -> bool:
        return self._limits.worth_max is not None

    def check_worth(self, worth: Atoms, usdc: Token) -> None:
        """Raises FillwrightError(ACCESS_LIMIT)."""
        check_worth(self._limits, worth, usdc)

    def quota(self, cost: Cost) -> dict[str, str]:
        """What is left, as headers of draft-ietf-httpapi-ratelimit-headers; none where nothing is limited."""
        bucket = self._buckets.get(cost)
        if bucket is None:
            return {}
        now = self._clock.monotonic()
        return {
            "RateLimit-Policy": f'"{cost}";q={bucket.burst};w={ceil(bucket.burst / bucket.rate)}',
            "RateLimit": f'"{cost}";r={bucket.left(now)};t={ceil(bucket.full_in_s(now))}',
        }


CALLER: Final = web.RequestKey("caller", Caller)


def caller_of(request: web.Request) -> Caller:
    """Of a request to a route that is not open to everybody."""
    return request[CALLER]


class Access:
    """The keys in force as this process knows them. `run` keeps them fresh."""

    def __init__(self, keys: Keys, clock: Clock, entropy: Entropy, *, host: str, open_to: frozenset[str]) -> None:
        """`host`: where the process listens. `open_to`: see the setting FILLWRIGHT_OPEN."""
        self._keys = keys
        self._clock = clock
        self._entropy = entropy
        self._is_local = is_loopback(host)
        self._open_to = open_to
        self._known: dict[KeyId, Key] | None = None
        """None: no key was ever made."""
        self._callers: dict[KeyId, Caller] = {}
        self._anyone = Caller(None, clock)
        self._fresh_at = -STALE_S
        self._used: dict[KeyId, Millis] = {}
        self._touched_at = clock.monotonic()
        self._listeners: list[Callable[[], None]] = []

    # --- keys in force ------------------------------------------------------------------------------------

    async def refresh(self) -> None:
        """Read the keys again. Raises FillwrightError(STORE_UNAVAILABLE)."""
        began = self._clock.monotonic()
        keys = await self._keys.active()
        self._known = None if keys is None else {key.id: key for key in keys}
        known = self._known or {}
        self._callers = {name: self._callers.get(name) or Caller(key, self._clock) for name, key in known.items()}
        self._fresh_at = began
        for listen in self._listeners:
            listen()

    async def run(self) -> None:
        """Refresh for ever. While the store is away the keys grow stale, and then nobody comes in."""
        while True:
            await self._clock.sleep(REFRESH_S)
            try:
                await self.refresh()
                if self._used and self._clock.monotonic() - self._touched_at >= _TOUCH_S:
                    await self.note_use()
            except FillwrightError:
                _LOG.warning("the API keys could not be read again")

    async def note_use(self) -> None:
        """Store when keys were last used."""
        used, self._used = self._used, {}
        self._touched_at = self._clock.monotonic()
        await self._keys.touch(used)

    def at_refresh(self, listen: Callable[[], None]) -> None:
        self._listeners.append(listen)

    def holds(self, caller: Caller) -> bool:
        """Whether this caller would still be let in: to be asked again for whatever lasts."""
        if self._clock.monotonic() - self._fresh_at > STALE_S:
            return False
        return self._known is None if caller.key_id is None else caller.key_id in self._callers

    # --- the door -----------------------------------------------------------------------------------------

    async def admit(self, request: web.Request) -> Caller:
        """Who this is. Raises FillwrightError: ACCESS_UNAUTHENTICATED, REQUEST_HOST_REFUSED, STORE_UNAVAILABLE; and
        TicketRefused."""
        if self._clock.monotonic() - self._fresh_at > STALE_S:
            raise FillwrightError(Code.STORE_UNAVAILABLE, "the store did not answer who may come in")
        ticket = request.query.get("ticket")
        if ticket is not None and request.method == "GET" and "Upgrade" in request.headers:
            return await self._by_ticket(request, ticket)
        token = _token(request)
        return self._anyone_from(request) if token is None else self._by_token(token)

    async def ticket(self, caller: Caller) -> tuple[str, Millis]:
        """A new ticket's text, and until when it is good."""
        now = self._clock.now()
        ticket, text = make_ticket(caller.key_id, expires_at=Millis(now + TICKET_MS), entropy=self._entropy)
        await self._keys.add_ticket(ticket, now)
        return text, ticket.expires_at

    def _by_token(self, token: str) -> Caller:
        key = genuine(token, self._known or {})
        if key is None:
            raise FillwrightError(Code.ACCESS_UNAUTHENTICATED, "this API key is not valid, or was revoked")
        self._used[key.id] = self._clock.now()
        return self._callers[key.id]

    def _anyone_from(self, request: web.Request) -> Caller:
        """A page that makes its name mean this machine (DNS rebinding) still sends its own name as the host."""
        if self._known is not None or not (self._is_local or self._open_to):
            why = "send an API key as `Authorization: Bearer` or `X-API-Key`; `fillwright keys create` makes one"
            raise FillwrightError(Code.ACCESS_UNAUTHENTICATED, why)
        if not self._open_to and not _FORWARDED.isdisjoint(name.lower() for name in request.headers):
            why = "this came through a proxy, perhaps from another machine: send an API key, or set FILLWRIGHT_OPEN"
            raise FillwrightError(Code.ACCESS_UNAUTHENTICATED, why)
        if not self._answers_to(_host_name(request.host)):
            raise FillwrightError(Code.REQUEST_HOST_REFUSED, "without an API key only known host names are answered")
        return self._anyone

    def _answers_to(self, name: str) -> bool:
        if name in _LOCAL or name in self._open_to or "*" in self._open_to:
            return True
        return bool(self._open_to) and _is_address(name)

    async def _by_ticket(self, request: web.Request, text: str) -> Caller:
        ticket = await self._keys.take_ticket(digest_of(text), self._clock.now())
        if ticket is None:
            raise TicketRefused
        if ticket.key_id is None:
            return self._anyone_from(request)
        caller = self._callers.get(ticket.key_id)
        if caller is None:
            raise TicketRefused
        return caller


def is_loopback(host: str) -> bool:
    """Whether who listens there is reached from this machine only."""
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False


def _token(request: web.Request) -> str | None:
    """Other schemes than Bearer are for a proxy before us."""
    scheme, _, bearer = request.headers.get("Authorization", "").partition(" ")
    told = {bearer.strip()} if scheme.lower() == "bearer" else set()
    told.update(request.headers.getall("X-API-Key", ()))
    if len(told) > 1:
        raise FillwrightError(Code.ACCESS_UNAUTHENTICATED, "two different API keys are given")
    return next(iter(told), None)


def _host_name(host: str) -> str:
    try:
        return urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return ""


def _is_address(name: str) -> bool:
    """An address cannot be rebound: a page from there came from us."""
    try:
        ip_address(name)
    except ValueError:
        return False
    return True
