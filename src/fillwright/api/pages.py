"""Pages and probes: the front door, health, metrics, and a page for each kind of problem.

Decides: what a person or a prober sees. Must never: load anything from another origin.
"""

from collections.abc import Mapping
from html import escape
from importlib import resources
from typing import Final

import msgspec
from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest

from fillwright.api.edge import json_response, wants_page
from fillwright.api.problems import KINDS, PROBLEMS_PATH
from fillwright.engine import Engine
from fillwright.errors import RETRYABLE, Code, FillwrightError

_encode: Final = msgspec.json.Encoder().encode
_SERVICE: Final = _encode({"status": "ok", "service": "Order Execution Engine"})
_ALIVE: Final = _encode({"status": "ok"})
_PAGE_HEADERS: Final[Mapping[str, str]] = {
    "Content-Security-Policy": (
        "default-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'; object-src 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-cache",
}
_ASSETS: Final = {"console.js": "text/javascript", "console.css": "text/css"}


class ProblemKind(msgspec.Struct, frozen=True):
    code: str
    title: str
    status: int
    retryable: bool


class Pages:
    """Handlers of one engine. Its files are read once."""

    def __init__(self, engine: Engine, registry: CollectorRegistry) -> None:
        self._engine = engine
        self._registry = registry
        folder = resources.files("fillwright") / "web"
        self._index = (folder / "index.html").read_bytes()
        self._assets = {name: (folder / name).read_bytes() for name in _ASSETS}

    def routes(self) -> list[web.RouteDef]:
        return [
            web.get("/", self.front),
            web.get("/test", self.to_front),
            web.get("/order-tester.html", self.to_front),
            web.get("/health", self.ready),
            web.get("/api/health", self.ready),
            web.get("/readyz", self.ready),
            web.get("/livez", self.alive),
            web.get("/startupz", self.alive),
            web.get("/metrics", self.metrics),
            web.get(PROBLEMS_PATH + "{code}", self.problem),
            *(web.get(f"/{name}", self.asset) for name in _ASSETS),
        ]

    async def front(self, request: web.Request) -> web.Response:
        if not wants_page(request):
            return json_response(_SERVICE)
        return _page(self._index)

    async def to_front(self, request: web.Request) -> web.Response:
        return web.Response(status=302, headers={"Location": "/"})

    async def asset(self, request: web.Request) -> web.Response:
        name = request.path.removeprefix("/")
        return _file(self._assets[name], _ASSETS[name])

    async def alive(self, request: web.Request) -> web.Response:
        return json_response(_ALIVE)

    async def ready(self, request: web.Request) -> web.Response:
        """Whether orders can be accepted and executed; each check tells what is wrong."""
        checks = await self._engine.check()
        ok = all(verdict == "ok" for verdict in checks.values())
        body = _encode({"status": "ok" if ok else "unavailable", "checks": checks})
        return json_response(body, 200 if ok else 503)

    async def metrics(self, request: web.Request) -> web.Response:
        return web.Response(body=generate_latest(self._registry), headers={"Content-Type": CONTENT_TYPE_LATEST})

    async def problem(self, request: web.Request) -> web.Response:
        """Where the `type` of a problem document leads."""
        name = request.match_info["code"]
        if name not in Code.__members__:
            raise FillwrightError(Code.REQUEST_NOT_FOUND, "no such problem")
        code = Code(name)
        kind = KINDS[code]
        known = ProblemKind(code, kind.title, kind.status, code in RETRYABLE)
        return _page(_problem_page(known)) if wants_page(request) else json_response(_encode(known))


def _problem_page(kind: ProblemKind) -> bytes:
    again = "The same request may succeed later." if kind.retryable else "The same request will fail again."
    return (
        '<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">'
        f"<title>{escape(kind.title)}</title><link rel=stylesheet href=/console.css>"
        f"<main><h1>{escape(kind.title)}</h1><p><code>{escape(kind.code)}</code>, HTTP status {kind.status}.</p>"
        f"<p>{again}</p><p><a href=/>Console</a></p></main></html>"
    ).encode()


def _page(body: bytes) -> web.Response:
    return _file(body, "text/html")


def _file(body: bytes, kind: str) -> web.Response:
    return web.Response(body=body, content_type=kind, charset="utf-8", headers=_PAGE_HEADERS)
