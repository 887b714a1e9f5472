"""Every failure a user can meet, as a value with a stable code.

Decides: the codes, whether trying again can help, and how a failure is carried (`Problem`, stored and
shown; `FillwrightError`, raised). Must never: hold a secret, or a foreign exception's text that could.
"""

from enum import StrEnum
from typing import Final

import msgspec


class Code(StrEnum):
    """Stable identifiers, `CATEGORY_CONDITION`. A published code is never renamed or given a new meaning."""

    # the request is not readable
    REQUEST_MALFORMED = "REQUEST_MALFORMED"
    REQUEST_TOO_LARGE = "REQUEST_TOO_LARGE"
    REQUEST_UNSUPPORTED_MEDIA = "REQUEST_UNSUPPORTED_MEDIA"
    REQUEST_NOT_FOUND = "REQUEST_NOT_FOUND"
    REQUEST_METHOD_NOT_ALLOWED = "REQUEST_METHOD_NOT_ALLOWED"
    REQUEST_ORIGIN_REFUSED = "REQUEST_ORIGIN_REFUSED"
    REQUEST_HOST_REFUSED = "REQUEST_HOST_REFUSED"
    REQUEST_RATE_LIMITED = "REQUEST_RATE_LIMITED"
    # who asks
    ACCESS_UNAUTHENTICATED = "ACCESS_UNAUTHENTICATED"
    ACCESS_SCOPE = "ACCESS_SCOPE"
    ACCESS_LIMIT = "ACCESS_LIMIT"
    # the request is readable, its meaning is not acceptable
    VALIDATION_FAILED = "VALIDATION_FAILED"
    VALIDATION_UNKNOWN_FIELD = "VALIDATION_UNKNOWN_FIELD"
    VALIDATION_AMOUNT = "VALIDATION_AMOUNT"
    VALIDATION_PRICE = "VALIDATION_PRICE"
    VALIDATION_AMBIGUOUS_SLIPPAGE = "VALIDATION_AMBIGUOUS_SLIPPAGE"
    VALIDATION_CONTRADICTION = "VALIDATION_CONTRADICTION"
    TOKEN_UNKNOWN = "TOKEN_UNKNOWN"
    TOKEN_SAME = "TOKEN_SAME"
    # orders
    ORDER_NOT_FOUND = "ORDER_NOT_FOUND"
    ORDER_DUPLICATE_CLIENT_ID = "ORDER_DUPLICATE_CLIENT_ID"
    IDEMPOTENCY_KEY_REUSED = "IDEMPOTENCY_KEY_REUSED"
    ORDER_LIMIT_NOT_MET = "ORDER_LIMIT_NOT_MET"
    ORDER_NOT_OPEN = "ORDER_NOT_OPEN"
    ORDER_PARTLY_FILLED = "ORDER_PARTLY_FILLED"
    ORDER_CHANGED = "ORDER_CHANGED"
    ORDER_PARENT_UNFILLED = "ORDER_PARENT_UNFILLED"
    ORDER_SIBLING_FILLED = "ORDER_SIBLING_FILLED"
    CANCEL_TOO_LATE = "CANCEL_TOO_LATE"
    # webhooks
    WEBHOOK_NOT_FOUND = "WEBHOOK_NOT_FOUND"
    WEBHOOK_LIMIT = "WEBHOOK_LIMIT"
    WEBHOOK_URL_REFUSED = "WEBHOOK_URL_REFUSED"
    WEBHOOK_DISABLED = "WEBHOOK_DISABLED"
    # routing and pools
    ROUTE_NONE = "ROUTE_NONE"
    ROUTE_UNAVAILABLE = "ROUTE_UNAVAILABLE"
    ROUTE_PRICE_IMPACT = "ROUTE_PRICE_IMPACT"
    POOL_REFUSED = "POOL_REFUSED"
    POOL_LIQUIDITY = "POOL_LIQUIDITY"
    # a new pool that a sniper leaves alone
    SNIPE_GONE = "SNIPE_GONE"
    SNIPE_AGE = "SNIPE_AGE"
    SNIPE_LIQUIDITY = "SNIPE_LIQUIDITY"
    SNIPE_UNLOCKED = "SNIPE_UNLOCKED"
    SNIPE_MINTABLE = "SNIPE_MINTABLE"
    SNIPE_FREEZABLE = "SNIPE_FREEZABLE"
    SNIPE_EXTENSIONS = "SNIPE_EXTENSIONS"
    SNIPE_UNSELLABLE = "SNIPE_UNSELLABLE"
    SNIPE_UNSTEADY = "SNIPE_UNSTEADY"
    # venues
    VENUE_TIMEOUT = "VENUE_TIMEOUT"
    VENUE_UNAVAILABLE = "VENUE_UNAVAILABLE"
    # execution
    CHAIN_UNAVAILABLE = "CHAIN_UNAVAILABLE"
    CHAIN_SLIPPAGE = "CHAIN_SLIPPAGE"
    CHAIN_REVERTED = "CHAIN_REVERTED"
    CHAIN_LAPSED = "CHAIN_LAPSED"
    SIGNER_UNAVAILABLE = "SIGNER_UNAVAILABLE"
    LIMIT_EXCEEDED = "LIMIT_EXCEEDED"
    ORDER_NOT_IN_DOUBT = "ORDER_NOT_IN_DOUBT"
    EXECUTION_DEADLINE = "EXECUTION_DEADLINE"
    # the engine itself
    STORE_UNAVAILABLE = "STORE_UNAVAILABLE"
    STORE_CONFLICT = "STORE_CONFLICT"
    ENGINE_DRAINING = "ENGINE_DRAINING"
    ENGINE_OVERLOADED = "ENGINE_OVERLOADED"
    ENGINE_INTERNAL = "ENGINE_INTERNAL"
    CONFIG_INVALID = "CONFIG_INVALID"


RETRYABLE: Final = frozenset(
    {
        Code.REQUEST_RATE_LIMITED,
        Code.ROUTE_UNAVAILABLE,
        Code.VENUE_TIMEOUT,
        Code.VENUE_UNAVAILABLE,
        Code.CHAIN_UNAVAILABLE,
        Code.CHAIN_SLIPPAGE,
        Code.CHAIN_REVERTED,
        Code.CHAIN_LAPSED,
        Code.SIGNER_UNAVAILABLE,
        Code.STORE_UNAVAILABLE,
        Code.STORE_CONFLICT,
        Code.ENGINE_DRAINING,
        Code.ENGINE_OVERLOADED,
        Code.ENGINE_INTERNAL,
    }
)
"""Codes for which the same request, or another attempt of the same order, may succeed later."""

OUTAGES: Final = frozenset(
    {
        Code.ROUTE_UNAVAILABLE,
        Code.VENUE_TIMEOUT,
        Code.VENUE_UNAVAILABLE,
        Code.CHAIN_UNAVAILABLE,
        Code.SIGNER_UNAVAILABLE,
    }
)
"""Codes that say that somebody is away, not that the order is a bad one."""


class Problem(msgspec.Struct, frozen=True, omit_defaults=True, rename="camel"):
    """Why something did not work, in words for a person and a code for a program.

    `pointer` is an RFC 6901 JSON pointer into the request, where one field is to blame.
    """

    code: Code
    detail: str
    pointer: str | None = None

    @property
    def retryable(self) -> bool:
        return self.code in RETRYABLE


class FillwrightError(Exception):
    """An expected failure. Everything the package raises on purpose is one of these."""

    def __init__(self, code: Code, detail: str, *, pointer: str | None = None) -> None:
        super().__init__(detail)
        self.problem = Problem(code, detail, pointer)

    @property
    def code(self) -> Code:
        return self.problem.code
