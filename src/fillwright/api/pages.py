"""Pages: the front door, and one for each kind of problem.

Decides: what a person sees. Must never: load anything from another origin.
"""

from collections.abc import Mapping
from html import escape
from importlib import resources
from typing import Final

import msgspec
from aiohttp import web

from fillwright.api.edge import json_response, wants_page
from fillwright.api.problems import KINDS, PROBLEMS_PATH
from fillwright.errors import RETRYABLE, Code, FillwrightError

_encode: Final = msgspec.json.Encoder().encode
_SERVICE: Final = _encode({"status": "ok", "service": "Order Execution Engine"})
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
    """Its files are read once."""

    def __init__(self) -> None:
        folder = resources.files("fillwright") / "web"
        self._index = (folder / "index.html").read_bytes()
        self._assets = {name: (folder / name).read_bytes() for name in _ASSETS}

    def routes(self) -> list[web.RouteDef]:
        return [
            web.get("/", self.front),
            web.get("/test", self.to_front),
            web.get("/order-tester.html", self.to_front),
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
