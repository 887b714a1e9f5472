"""Failures as RFC 9457 problem documents.

Decides: each code's HTTP status, title and page. Must never: show an unexpected exception's text.
"""

from collections.abc import Mapping
from typing import Final

import msgspec
from aiohttp import web

from fillwright.access import RateLimited
from fillwright.errors import RETRYABLE, Code, FillwrightError, Problem
from fillwright.wire.reading import Refused

PROBLEM_JSON: Final = "application/problem+json"
PROBLEMS_PATH: Final = "/problems/"


class Kind(msgspec.Struct, frozen=True):
    """What every problem of one code has in common."""

    status: int
    title: str


KINDS: Final[Mapping[Code, Kind]] = {
    Code.REQUEST_MALFORMED: Kind(400, "The request cannot be read"),
    Code.REQUEST_TOO_LARGE: Kind(413, "The request is too large"),
    Code.REQUEST_UNSUPPORTED_MEDIA: Kind(415, "The body's type is not supported"),
    Code.REQUEST_NOT_FOUND: Kind(404, "Nothing is at this address"),
    Code.REQUEST_METHOD_NOT_ALLOWED: Kind(405, "This address does not know the method"),
    Code.REQUEST_ORIGIN_REFUSED: Kind(403, "Another site's page may not do this"),
    Code.REQUEST_HOST_REFUSED: Kind(421, "The engine does not answer to this host name"),
    Code.REQUEST_RATE_LIMITED: Kind(429, "Too many requests"),
    Code.ACCESS_UNAUTHENTICATED: Kind(401, "A valid API key is needed"),
    Code.ACCESS_SCOPE: Kind(403, "The API key does not have the scope for this"),
    Code.ACCESS_LIMIT: Kind(403, "The order is beyond the API key's limits"),
    Code.VALIDATION_FAILED: Kind(422, "A field is not acceptable"),
    Code.VALIDATION_UNKNOWN_FIELD: Kind(422, "A field is not known"),
    Code.VALIDATION_AMOUNT: Kind(422, "The amount is not acceptable"),
    Code.VALIDATION_PRICE: Kind(422, "The price is not acceptable"),
    Code.VALIDATION_AMBIGUOUS_SLIPPAGE: Kind(422, "The slippage can be read in two ways"),
    Code.VALIDATION_CONTRADICTION: Kind(422, "Two fields contradict each other"),
    Code.TOKEN_UNKNOWN: Kind(422, "The token is not known"),
    Code.TOKEN_SAME: Kind(422, "Both tokens are the same"),
    Code.ORDER_NOT_FOUND: Kind(404, "There is no such order"),
    Code.ORDER_DUPLICATE_CLIENT_ID: Kind(409, "The client order id names another order"),
    Code.IDEMPOTENCY_KEY_REUSED: Kind(422, "The idempotency key was used for another request"),
    Code.ORDER_LIMIT_NOT_MET: Kind(409, "The limit price could not be had"),
    Code.ORDER_PARTLY_FILLED: Kind(409, "Slices of the order were skipped"),
    Code.ORDER_NOT_OPEN: Kind(409, "The order does not rest"),
    Code.ORDER_CHANGED: Kind(412, "The order is not as it was seen"),
    Code.ORDER_PARENT_UNFILLED: Kind(409, "The order that it waited for ended without a fill"),
    Code.ORDER_SIBLING_FILLED: Kind(409, "Another order of its group was filled"),
    Code.CANCEL_TOO_LATE: Kind(409, "The order has already ended"),
    Code.WEBHOOK_NOT_FOUND: Kind(404, "There is no such webhook"),
    Code.WEBHOOK_LIMIT: Kind(409, "The account has as many webhooks as it may have"),
    Code.WEBHOOK_URL_REFUSED: Kind(422, "Webhooks are not sent to such a URL"),
    Code.WEBHOOK_DISABLED: Kind(409, "The webhook is disabled"),
    Code.ROUTE_NONE: Kind(422, "No pool can serve this swap"),
    Code.ROUTE_UNAVAILABLE: Kind(503, "No venue answered with a usable quote"),
    Code.ROUTE_PRICE_IMPACT: Kind(422, "The swap would move the price too far"),
    Code.POOL_REFUSED: Kind(422, "The pool cannot be used"),
    Code.POOL_LIQUIDITY: Kind(422, "The pool cannot fill this amount"),
    Code.SNIPE_GONE: Kind(409, "The new pool is no more"),
    Code.SNIPE_AGE: Kind(409, "The new pool is too old"),
    Code.SNIPE_LIQUIDITY: Kind(409, "The new pool holds too little"),
    Code.SNIPE_UNLOCKED: Kind(409, "The new pool's liquidity can be taken back"),
    Code.SNIPE_MINTABLE: Kind(409, "More of the new token can be made"),
    Code.SNIPE_FREEZABLE: Kind(409, "Holders of the new token can be frozen"),
    Code.SNIPE_EXTENSIONS: Kind(409, "The new token has extensions"),
    Code.SNIPE_UNSELLABLE: Kind(409, "The new token cannot be sold"),
    Code.SNIPE_UNSTEADY: Kind(409, "The new pool changes again and again"),
    Code.VENUE_TIMEOUT: Kind(503, "A venue did not answer in time"),
    Code.VENUE_UNAVAILABLE: Kind(503, "A venue is not available"),
    Code.CHAIN_UNAVAILABLE: Kind(503, "The chain is not available"),
    Code.CHAIN_SLIPPAGE: Kind(409, "The price moved beyond the allowed slippage"),
    Code.CHAIN_REVERTED: Kind(409, "The chain undid the transaction"),
    Code.CHAIN_LAPSED: Kind(409, "The transaction expired unseen"),
    Code.SIGNER_UNAVAILABLE: Kind(503, "The wallet's signer is not available"),
    Code.LIMIT_EXCEEDED: Kind(409, "The wallet's limits do not allow it"),
    Code.ORDER_NOT_IN_DOUBT: Kind(409, "The chain still tells what becomes of the order"),
    Code.EXECUTION_DEADLINE: Kind(409, "The order's deadline passed"),
    Code.STORE_UNAVAILABLE: Kind(503, "The store is not available"),
    Code.STORE_CONFLICT: Kind(409, "The order moved on meanwhile"),
    Code.ENGINE_DRAINING: Kind(503, "The engine is stopping"),
    Code.ENGINE_OVERLOADED: Kind(503, "Too many orders are waiting"),
    Code.ENGINE_INTERNAL: Kind(500, "The engine failed unexpectedly"),
    Code.CONFIG_INVALID: Kind(500, "The configuration is not acceptable"),
}
_PAUSE_MS: Final = 1_000
"""Before a request that may work later is repeated."""


class FieldProblem(msgspec.Struct, frozen=True, omit_defaults=True):
    code: str
    detail: str
    pointer: str | None = None


class ProblemView(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, rename="camel"):
    type: str
    title: str
    status: int
    detail: str
    instance: str | None = None
    code: str
    retryable: bool
    retry_after_ms: int | None = None
    request_id: str | None = None
    order_id: str | None = None
    errors: tuple[FieldProblem, ...] = ()
    error: str
    """The detail again: what clients of the older engines show."""


encode_problem: Final = msgspec.json.Encoder().encode


def problem_view(
    error: FillwrightError,
    *,
    instance: str | None = None,
    request_id: str | None = None,
    order_id: str | None = None,
) -> ProblemView:
    problem = error.problem
    kind = KINDS[problem.code]
    told: tuple[Problem, ...] = error.problems if isinstance(error, Refused) else (problem,)
    detail = f"{problem.pointer}: {problem.detail}" if problem.pointer else problem.detail
    return ProblemView(
        type=PROBLEMS_PATH + problem.code,
        title=kind.title,
        status=kind.status,
        detail=detail,
        instance=instance,
        code=problem.code,
        retryable=problem.retryable,
        retry_after_ms=_pause_ms(error),
        request_id=request_id,
        order_id=order_id,
        errors=tuple(FieldProblem(each.code, each.detail, each.pointer) for each in told if each.pointer),
        error=detail,
    )


def problem_response(view: ProblemView) -> web.Response:
    response = web.Response(status=view.status, body=encode_problem(view), content_type=PROBLEM_JSON)
    response.headers["Cache-Control"] = "no-store"
    if view.status == 401:
        response.headers["WWW-Authenticate"] = 'Bearer realm="fillwright"'
    if view.retry_after_ms is not None:
        response.headers["Retry-After"] = str(-(-view.retry_after_ms // 1_000))
    return response


def of_http(error: web.HTTPException) -> FillwrightError:
    """The framework's own refusals, by the codes of ours."""
    match error.status:
        case 404:
            return FillwrightError(Code.REQUEST_NOT_FOUND, "nothing is at this address")
        case 405:
            allowed = error.headers.get("Allow", "none")
            return FillwrightError(Code.REQUEST_METHOD_NOT_ALLOWED, f"allowed here: {allowed}")
        case 413:
            return FillwrightError(Code.REQUEST_TOO_LARGE, "the body is larger than 64 KiB")
        case status if status < 500:
            return FillwrightError(Code.REQUEST_MALFORMED, "the request cannot be read")
        case _:
            return internal()


def internal() -> FillwrightError:
    return FillwrightError(Code.ENGINE_INTERNAL, "the engine failed unexpectedly; the request id names the log entry")


def _pause_ms(error: FillwrightError) -> int | None:
    if isinstance(error, RateLimited):
        return error.retry_after_ms
    return _PAUSE_MS if error.code in RETRYABLE and KINDS[error.code].status in {429, 500, 503} else None
