"""The five legacy request shapes, translated into the canonical one.

Decides: which dialect a body speaks (the body alone does), and what each old spelling means. Must never: guess
between two spellings that disagree, or read a fraction that could be a percentage.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Final

import msgspec

from fillwright.errors import Code, FillwrightError, Problem
from fillwright.wire.frames import Frame, QuoteFrame, encode_frame
from fillwright.wire.reading import BLAMES_MAX, Json, Members, Number, Refused, point


class Dialect(msgspec.Struct, frozen=True):
    """`keys` are the request's, `status` is the HTTP status that its clients expect of an accepted order."""

    name: str
    status: int
    keys: frozenset[str]


DIALECTS: Final = (
    Dialect("A", 201, frozenset({"pair", "side", "amount", "slippageTolerance"})),
    Dialect("B", 200, frozenset({"type", "tokenIn", "tokenOut", "amount", "slippageBps"})),
    Dialect("C", 200, frozenset({"clientId", "side", "baseAsset", "quoteAsset", "amount"})),
    Dialect("D", 201, frozenset({"orderType", "tokenIn", "tokenOut", "amount", "slippage"})),
    Dialect("E", 200, frozenset({"inputToken", "outputToken", "amount"})),
)
"""A body speaks the dialect that knows most of its keys, the first of equals. Keys of the others are welcome."""
CONDITIONS: Final = ("limitPrice", "trigger", "trail", "schedule", "sniper", "timeInForce", "expireAt")
"""What a `type` other than market needs is told as in the canonical form: the older engines had no word for it."""
_KNOWN: Final = frozenset[str](CONDITIONS).union(*(dialect.keys for dialect in DIALECTS))
_SAME: Final[Mapping[str, tuple[str, ...]]] = {
    "type": ("type", "orderType"),
    "tokenIn": ("tokenIn", "inputToken"),
    "tokenOut": ("tokenOut", "outputToken"),
    "side": ("side",),
    "amount": ("amount",),
}
"""Canonical key -> its legacy spellings."""
_WORDS: Final = frozenset({"type", "orderType", "side"})
_FRACTIONS: Final = ("slippageTolerance", "slippage")
_FRACTION: Final = re.compile(r"([0-9]{1,9})(?:\.([0-9]{1,18}))?", re.ASCII)
_BPS_DIGITS: Final = 4


class Translated(msgspec.Struct, frozen=True):
    dialect: Dialect
    members: Members
    """The canonical request."""
    spelled: Mapping[str, str]
    """Canonical key -> the key that the body used."""

    def in_their_words(self, error: FillwrightError) -> FillwrightError:
        """The error with pointers into the body as it was sent."""
        if not isinstance(error, Refused):
            return error
        return Refused(msgspec.structs.replace(each, pointer=self._theirs(each.pointer)) for each in error.problems)

    def _theirs(self, pointer: str | None) -> str | None:
        if pointer is None:
            return None
        _, name, *rest = pointer.split("/")
        return "/".join(("", self.spelled.get(name, name), *rest))


def translate(body: Members) -> Translated:
    """Raises Refused: unknown fields, spellings that disagree, a slippage that is no plain fraction."""
    told = {name: _plain(name, value) for name, value in body.items() if value is not None}
    unknown = sorted(told.keys() - _KNOWN)[:BLAMES_MAX]
    if unknown:
        raise Refused(Problem(Code.VALIDATION_UNKNOWN_FIELD, "no such field", point("", name)) for name in unknown)
    members: dict[str, Json] = {}
    spelled: dict[str, str] = {}
    for canonical, spellings in _SAME.items():
        _join(members, spelled, canonical, [(name, told[name]) for name in spellings if name in told])
    _join(members, spelled, "pair", _pairs(told))
    _join(members, spelled, "slippageBps", _slippages(told))
    for name in CONDITIONS:
        _join(members, spelled, name, [(name, told[name])] if name in told else [])
    owner = told.get("clientId")
    if owner is not None:
        members["tags"], spelled["tags"] = [f"clientId:{_owner(owner)}"], "clientId"
    if "side" in told:
        spelled["amountMode"] = "side"  # a buy is exact out, which slices cannot be
    return Translated(dialect_of(told), members, spelled)


def _plain(name: str, value: Json) -> Json:
    """Older clients write MARKET and BUY as well."""
    return value.lower() if name in _WORDS and type(value) is str else value


def dialect_of(body: Members) -> Dialect:
    return max(DIALECTS, key=lambda dialect: len(dialect.keys & body.keys()))


def _join(members: dict[str, Json], spelled: dict[str, str], canonical: str, told: list[tuple[str, Json]]) -> None:
    """Every way in which one thing was told, as the one thing."""
    if not told:
        return
    name, value = told[0]
    for other, another in told[1:]:
        if another != value:
            why = f"says something else than {name}"
            raise Refused([Problem(Code.VALIDATION_CONTRADICTION, why, point("", other))])
    members[canonical], spelled[canonical] = value, name


def _pairs(told: Members) -> list[tuple[str, Json]]:
    pairs: list[tuple[str, Json]] = []
    if "pair" in told:
        pair = told["pair"]
        pairs.append(("pair", pair.replace("-", "/") if type(pair) is str else pair))
    if "baseAsset" in told or "quoteAsset" in told:
        base, quote = (_asset(told, name) for name in ("baseAsset", "quoteAsset"))
        pairs.append(("baseAsset", f"{base}/{quote}"))
    return pairs


def _asset(told: Members, name: str) -> str:
    value = told.get(name)
    if type(value) is not str or "/" in value:
        raise Refused([Problem(Code.VALIDATION_FAILED, "must be the symbol or mint of a token", point("", name))])
    return value


def _owner(value: Json) -> str:
    """A client's own name for itself: text or number."""
    if not isinstance(value, str) or not value:
        raise Refused([Problem(Code.VALIDATION_FAILED, "must be a text", "/clientId")])
    return value


def _slippages(told: Members) -> list[tuple[str, Json]]:
    told_bps = [("slippageBps", told["slippageBps"])] if "slippageBps" in told else []
    return told_bps + [(name, _bps(name, told[name])) for name in _FRACTIONS if name in told]


def _bps(name: str, value: Json) -> Json:
    """A fraction's literal text -> whole basis points: 0.01 -> 100."""
    match = _FRACTION.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        why = "must be a plain decimal fraction such as 0.01"
        raise Refused([Problem(Code.VALIDATION_FAILED, why, point("", name))])
    whole, places = int(match.group(1)), (match.group(2) or "").rstrip("0")
    if whole:
        why = "is a fraction of 1 (0.01 is one percent); 1 or more cannot be told from a percentage"
        raise Refused([Problem(Code.VALIDATION_AMBIGUOUS_SLIPPAGE, why, point("", name))])
    if len(places) > _BPS_DIGITS:
        why = "must be a whole number of basis points, that is at most 4 decimal places"
        raise Refused([Problem(Code.VALIDATION_FAILED, why, point("", name))])
    return Number(int(places.ljust(_BPS_DIGITS, "0")))


# --- frames of dialect C ----------------------------------------------------------------------------------


class SpokenFrame(Frame, frozen=True, kw_only=True, tag="event"):
    """`event` says what the others call `status`."""

    event: str


class QuotesFrame(msgspec.Struct, frozen=True, kw_only=True, rename="camel", tag="event"):
    """Its own step between `routing` and `building`; it is part of the latter's event, so it has no seq."""

    event: str = "routing:quotes"
    order_id: str
    status: str = "routing"
    timestamp: int
    quotes: Sequence[QuoteFrame]


def spoken(frame: bytes) -> list[bytes]:
    """An event's frame as dialect C tells it."""
    plain = _frame_of(frame)
    fields = {name: getattr(plain, name) for name in plain.__struct_fields__}
    frames = [encode_frame(SpokenFrame(event=plain.status, **fields))]
    if plain.quotes is not None:
        quotes = QuotesFrame(order_id=plain.order_id, timestamp=plain.timestamp, quotes=plain.quotes)
        frames.insert(0, encode_frame(quotes))
    return frames


_frame_of: Final = msgspec.json.Decoder(Frame).decode
