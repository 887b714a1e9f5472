"""What every request passes on its way in and out.

Decides: request ids, who may call from a browser, that who calls may do it, and how a failure is answered. Must
never: let an exception's text out, or trust a header that the client's proxy did not have to set.
"""

import logging
import re
from collections.abc import Callable
from typing import Final

from aiohttp import HttpVersion10, web
from aiohttp.http_exceptions import HttpProcessingError
from aiohttp.typedefs import Handler, Middleware

from fillwright.api.access import CALLER, Access, Rule, TicketRefused, caller_of, rule_of
from fillwright.api.problems import internal, of_http, problem_response, problem_view
from fillwright.api.sockets import UNAUTHENTICATED, refuse_socket
from fillwright.errors import Code, FillwrightError
from fillwright.observe import REQUEST
from fillwright.traces import TRACEPARENT
from fillwright.units import OrderId
from fillwright.wire.reading import Json, read_object

BODY_MAX: Final = 64 * 1024
_LOG: Final = logging.getLogger("fillwright.api")
_REQUEST_ID: Final = re.compile(r"[A-Za-z0-9._:/+=-]{1,128}", re.ASCII)
_ORDER_ID: Final = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.ASCII)
_KEY: Final = re.compile(r"[\x21-\x7e]{1,255}", re.ASCII)
_READING: Final = frozenset({"GET", "HEAD", "OPTIONS"})
_ID: Final = web.RequestKey("requestId", str)


def make_edge(access: Access, request_id: Callable[[], str]) -> Middleware:
    """The one middleware. `request_id` makes an id for a request that brings none."""

    @web.middleware
    async def edge(request: web.Request, handler: Handler) -> web.StreamResponse:
        told = request.headers.get("X-Request-Id")
        name = told if told is not None and _REQUEST_ID.fullmatch(told) else request_id()
        request[_ID] = name
        REQUEST.set(name)
        TRACEPARENT.set(request.headers.get("traceparent"))
        try:
            _check_version(request)
            _check_origin(request)
            response = await _admitted(access, request, handler)
        except FillwrightError as error:
            response = refuse(request, error)
        except web.HTTPException as error:
            response = refuse(request, of_http(error))
            if "Allow" in error.headers:
                response.headers["Allow"] = error.headers["Allow"]
        except ConnectionError:
            raise  # the client is gone: nobody to answer, nothing of ours failed
        except Exception:
            told_in_log = {"requestId": name, "method": request.method, "path": request.rel_url.raw_path}
            _LOG.exception("a request failed", extra={"fields": told_in_log})
            response = refuse(request, internal())
        if not response.prepared:
            response.headers["X-Request-Id"] = name
            response.headers["Server"] = "fillwright"
            response.headers.update(_quota(request))
        return response

    return edge


def is_ours_to_tell(record: logging.LogRecord) -> bool:
    """Not that a client sent what is no HTTP, or went away: the library tells each at length, in the client's bytes."""
    error = record.exc_info[1] if record.exc_info else None
    is_clients = record.name == "aiohttp.server" and isinstance(error, HttpProcessingError | ConnectionError)
    return not is_clients or _LOG.isEnabledFor(logging.DEBUG)


def refuse(request: web.Request, error: FillwrightError, order_id: str | None = None) -> web.Response:
    """The problem as this request's answer."""
    return problem_response(
        problem_view(error, instance=request.rel_url.raw_path, request_id=request[_ID], order_id=order_id)
    )


def account_of(request: web.Request) -> str:
    """Whose orders this request may see and change."""
    return caller_of(request).account


def order_id_of(text: str) -> OrderId:
    """Raises FillwrightError(ORDER_NOT_FOUND) for what cannot be an order id."""
    if not _ORDER_ID.fullmatch(text):
        raise FillwrightError(Code.ORDER_NOT_FOUND, "no such order")
    return OrderId(text)


def order_id_in(request: web.Request) -> OrderId:
    return order_id_of(request.match_info["id"])


def idempotency_key_of(request: web.Request) -> str | None:
    """Raises FillwrightError(REQUEST_MALFORMED)."""
    key = request.headers.get("Idempotency-Key")
    if key is not None and not _KEY.fullmatch(key):
        raise FillwrightError(Code.REQUEST_MALFORMED, "Idempotency-Key must be 1 to 255 visible ASCII characters")
    return key


async def members_of(request: web.Request) -> dict[str, Json]:
    """The body's JSON object. Raises FillwrightError."""
    kind = request.headers.get("Content-Type", "")
    if kind != "application/json":
        _check_media(kind)
    if "Content-Encoding" in request.headers:
        raise FillwrightError(Code.REQUEST_UNSUPPORTED_MEDIA, "the body must not be compressed")
    if (request.content_length or 0) > BODY_MAX:
        raise web.HTTPRequestEntityTooLarge(BODY_MAX, request.content_length or 0)
    try:
        return read_object(await request.read())
    except web.RequestPayloadError:
        raise FillwrightError(Code.REQUEST_MALFORMED, "the body is not what its headers announce") from None


def json_response(body: bytes, status: int = 200) -> web.Response:
    return web.Response(body=body, status=status, content_type="application/json")


def wants_page(request: web.Request) -> bool:
    """Whether a browser asks, for a person to look at."""
    return "text/html" in request.headers.get("Accept", "")


def _rule(request: web.Request) -> Rule:
    resource = request.match_info.route.resource
    return rule_of(request.method, resource.canonical if resource else "")


async def _admitted(access: Access, request: web.Request, handler: Handler) -> web.StreamResponse:
    """The handler's answer to a caller who may ask. A call without the scope is paid for as well."""
    rule = _rule(request)
    if rule.scope is not None:
        try:
            request[CALLER] = caller = await access.admit(request)
        except TicketRefused:
            return await refuse_socket(request, UNAUTHENTICATED)
        caller.spend(rule.cost)
        caller.require(rule.scope)
    return await handler(request)


def _quota(request: web.Request) -> dict[str, str]:
    caller = request.get(CALLER)
    return {} if caller is None else caller.quota(_rule(request).cost)


def _check_media(kind: str) -> None:
    media, *parameters = (part.strip().lower() for part in kind.split(";"))
    charsets = [part for part in parameters if part.startswith("charset=")]
    if media != "application/json" or any(charset.strip('"') not in _UTF8 for charset in charsets):
        raise FillwrightError(Code.REQUEST_UNSUPPORTED_MEDIA, "Content-Type must be application/json, in UTF-8")


_UTF8: Final = frozenset({"charset=utf-8", 'charset="utf-8', "charset=utf8"})


def _check_version(request: web.Request) -> None:
    """The library reads a request line that names no version as HTTP/0.9, and would take an order from it."""
    if request.version < HttpVersion10:
        raise FillwrightError(Code.REQUEST_MALFORMED, "the request is not HTTP/1.0 or 1.1")


def _check_origin(request: web.Request) -> None:
    """Browsers name the page that sends a request: only our own pages may change something or open a socket."""
    origin = request.headers.get("Origin")
    if origin is None or (request.method in _READING and "Upgrade" not in request.headers):
        return
    if origin.partition("://")[2].lower() != request.host.lower():
        raise FillwrightError(Code.REQUEST_ORIGIN_REFUSED, "a page of another site may not do this")
