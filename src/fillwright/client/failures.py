"""What can go wrong for a caller, as types to catch.

Decides: which failure a problem document becomes. Must never: call a request failed that may have been carried out.
"""

from typing import Final

import msgspec


class Blame(msgspec.Struct, frozen=True):
    """One field of a refused request."""

    code: str = ""
    detail: str = ""
    pointer: str | None = None
    """RFC 6901, into the request."""


class ProblemDocument(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """RFC 9457, as the engine tells it; its codes are text, because the engine may be newer than this client."""

    status: int
    code: str
    detail: str = ""
    retryable: bool = False
    retry_after_ms: int | None = None
    request_id: str | None = None
    order_id: str | None = None
    errors: tuple[Blame, ...] = ()


class ClientError(Exception):
    """Every failure that the client raises on purpose is one of these; `code` is stable, `CATEGORY_CONDITION`."""

    code = "CLIENT_FAILED"


class Unreachable(ClientError):
    """No answer within the budget; nothing was changed."""

    code = "CLIENT_UNREACHABLE"


class OutcomeUnknown(ClientError):
    """No clear answer within the budget, and the request may have been carried out.

    `idempotency_key`: an order was sent under it. Submit the same order under it again, whenever, to learn the outcome.
    """

    code = "CLIENT_OUTCOME_UNKNOWN"

    def __init__(self, detail: str, idempotency_key: str | None = None) -> None:
        super().__init__(detail)
        self.idempotency_key = idempotency_key


class NotUnderstood(ClientError):
    """The answer is not one that this version of the client can read."""

    code = "CLIENT_NOT_UNDERSTOOD"


class ApiError(ClientError):
    """The engine's refusal, by its problem document. `code`: `HTTP_<status>` where something else answered for it."""

    def __init__(self, problem: ProblemDocument) -> None:
        super().__init__(problem.detail or problem.code)
        self.problem = problem
        self.code = problem.code

    @property
    def status(self) -> int:
        return self.problem.status

    @property
    def retryable(self) -> bool:
        """Whether the same request may succeed later."""
        return self.problem.retryable

    @property
    def retry_after(self) -> float | None:
        """Seconds after which the engine asks to be tried again."""
        wait_ms = self.problem.retry_after_ms
        return None if wait_ms is None else wait_ms / 1_000


class Refused(ApiError):
    """400, 413, 415, 422: the request itself is not acceptable; `problem.errors` names the fields."""


class Unauthorized(ApiError):
    """401, 403: the API key is missing, not valid, or not allowed to do this."""


class NotFound(ApiError):
    """404."""


class Conflict(ApiError):
    """409, 412: the order's state, or another order under the same client order id (`problem.order_id`)."""


class RateLimited(ApiError):
    """429."""


class Unavailable(ApiError):
    """5xx: the engine, or what it stands on, cannot do it now."""


_KINDS: Final[dict[int, type[ApiError]]] = {
    401: Unauthorized,
    403: Unauthorized,
    404: NotFound,
    409: Conflict,
    412: Conflict,
    429: RateLimited,
}


def api_error(problem: ProblemDocument) -> ApiError:
    kind = _KINDS.get(problem.status) or (Unavailable if problem.status >= 500 else Refused)
    return kind(problem)
