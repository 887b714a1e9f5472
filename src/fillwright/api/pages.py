"""Pages: the console at `/`, and one page for each kind of problem.

Decides: what a person sees. Must never: load anything from another origin.
"""

from collections.abc import Mapping
from hashlib import sha256
from html import escape
from importlib import resources
from pathlib import PurePosixPath
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
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self'; "
        "base-uri 'none'; form-action 'self'; frame-ancestors 'none'; object-src 'none'; "
        "require-trusted-types-for 'script'"
    ),
    "Cross-Origin-Opener-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-cache",
}
_KINDS: Final = {".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml"}
ASSETS_PATH: Final = "/console/"


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
        self._assets = {file.name: file.read_bytes() for file in (folder / "console").iterdir()}

    def routes(self) -> list[web.RouteDef]:
        return [
            web.get("/", self.front),
            web.get("/test", self.to_front),
            web.get("/order-tester.html", self.to_front),
            web.get(PROBLEMS_PATH + "{code}", self.problem),
            web.get(ASSETS_PATH + "{name}", self.asset),
        ]

    async def front(self, request: web.Request) -> web.Response:
        if not wants_page(request):
            return json_response(_SERVICE)
        return _unless_known(request, as_file(self._index, "text/html"))

    async def to_front(self, request: web.Request) -> web.Response:
        return web.Response(status=302, headers={"Location": "/"})

    async def asset(self, request: web.Request) -> web.Response:
        name = request.match_info["name"]
        if name not in self._assets:
            raise FillwrightError(Code.REQUEST_NOT_FOUND, "the console has no such file")
        return _unless_known(request, as_file(self._assets[name], _KINDS[PurePosixPath(name).suffix]))

    async def problem(self, request: web.Request) -> web.Response:
        """Where the `type` of a problem document leads."""
        name = request.match_info["code"]
        if name not in Code.__members__:
            raise FillwrightError(Code.REQUEST_NOT_FOUND, "no such problem")
        code = Code(name)
        kind = KINDS[code]
        known = ProblemKind(code, kind.title, kind.status, code in RETRYABLE)
        if not wants_page(request):
            return json_response(_encode(known))
        return as_file(_problem_page(known), "text/html")


def _problem_page(kind: ProblemKind) -> bytes:
    again = "The same request may succeed later." if kind.retryable else "The same request will fail again."
    return (
        '<!doctype html><html lang="en"><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(kind.title)} · Fillwright</title>"
        f'<link rel="icon" href="{ASSETS_PATH}icon.svg"><script src="{ASSETS_PATH}theme.js"></script>'
        f'<link rel="stylesheet" href="{ASSETS_PATH}console.css">'
        f'<main class="problem"><p class="eyebrow">HTTP {kind.status}</p><h1>{escape(kind.title)}</h1>'
        f"<p><code>{escape(kind.code)}</code></p>"
        f'<p>{again}</p><p><a href="/">Open the console</a></p></main></html>'
    ).encode()


def as_file(body: bytes, kind: str) -> web.Response:
    """A page or what it loads, under a policy that lets it load nothing from elsewhere."""
    response = web.Response(body=body, content_type=kind, charset="utf-8", headers=_PAGE_HEADERS)
    response.etag = sha256(body).hexdigest()[:24]
    return response


def _unless_known(request: web.Request, response: web.Response) -> web.Response:
    """Without its body where the browser says that it has it."""
    if response.etag is not None and response.etag in (request.if_none_match or ()):
        response.set_status(304)
        response.body = None
    return response
