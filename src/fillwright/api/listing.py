"""The query of `GET /v1/orders`.

Decides: the filters and their forms. Must never: ignore a filter it does not know; the answer would show too much.
"""

from collections.abc import Mapping, Set
from typing import Final, TypeVar

from fillwright.api.edge import order_id_of
from fillwright.errors import Code, FillwrightError
from fillwright.order import TERMINAL, Side, Status
from fillwright.ports import Page
from fillwright.tokens import Tokens
from fillwright.units import Millis, Mint, OrderId
from fillwright.wire import parse_time
from fillwright.wire.reading import Fields
from fillwright.wire.requests import pair_tokens

T = TypeVar("T")
LIMIT_DEFAULT: Final = 100
LIMIT_MAX: Final = 1_000
_KNOWN: Final = frozenset({"status", "pair", "side", "since", "until", "limit", "cursor"})
_GROUPS: Final[Mapping[str, frozenset[Status] | None]] = {status.value: frozenset({status}) for status in Status} | {
    "open": frozenset(Status) - TERMINAL,
    "resting": frozenset({Status.OPEN}),
    "closed": TERMINAL,
    "all": None,
}
"""`open` means all that has not ended, whatever a status of that name means; that one is asked for as `resting`."""


def page_asked(query: Mapping[str, str], account: str, tokens: Tokens) -> Page:
    """Raises FillwrightError(VALIDATION_...)."""
    known_only(query, _KNOWN)
    return Page(
        account=account,
        limit=limit_asked(query),
        statuses=_choice(query, "status", _GROUPS, "all"),
        mints=pair_asked(query, tokens),
        side=_choice(query, "side", {side.value: side for side in Side} | {"": None}, ""),
        since=_time(query, "since"),
        until=_time(query, "until"),
        before=_cursor(query),
    )


def known_only(query: Mapping[str, str], known: Set[str]) -> None:
    """Raises FillwrightError(VALIDATION_...) for a filter that is not known, or is given twice."""
    if query.keys() - known:
        why = f"no such filter; known: {', '.join(sorted(known)) or 'none'}"
        raise FillwrightError(Code.VALIDATION_UNKNOWN_FIELD, why)
    if len(query) != len(set(query)):
        raise FillwrightError(Code.VALIDATION_CONTRADICTION, "a filter is given twice")


def limit_asked(query: Mapping[str, str]) -> int:
    text = query.get("limit", str(LIMIT_DEFAULT))
    if not (text.isascii() and text.isdigit() and len(text) < 5 and 1 <= int(text) <= LIMIT_MAX):
        raise _refused("limit", f"a whole number from 1 to {LIMIT_MAX}")
    return int(text)


def _choice(query: Mapping[str, str], name: str, choices: Mapping[str, T], default: str) -> T:
    text = query.get(name, default)
    if text not in choices:
        raise _refused(name, f"one of {', '.join(choice for choice in choices if choice)}")
    return choices[text]


def pair_asked(query: Mapping[str, str], tokens: Tokens) -> frozenset[Mint] | None:
    """Both mints of the filter `pair`, where it is given."""
    if "pair" not in query:
        return None
    fields = Fields({"pair": query["pair"]})
    pair = pair_tokens(fields, query["pair"], tokens)
    if pair is None:
        raise FillwrightError(fields.problems[0].code, f"pair {fields.problems[0].detail}")
    return frozenset(token.mint for token in pair)


def _time(query: Mapping[str, str], name: str) -> Millis | None:
    return parse_time(query[name], name) if name in query else None


def _cursor(query: Mapping[str, str]) -> OrderId | None:
    if "cursor" not in query:
        return None
    try:
        return order_id_of(query["cursor"])
    except FillwrightError:
        raise _refused("cursor", "the nextCursor of an earlier answer") from None


def _refused(name: str, form: str) -> FillwrightError:
    return FillwrightError(Code.VALIDATION_FAILED, f"{name} must be {form}")
