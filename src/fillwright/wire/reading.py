"""A request's JSON, taken apart without losing anything: numbers stay the text that was sent.

Decides: what JSON is acceptable at all, and how a bad field is reported. Must never: turn a number into a float,
let one of two equal keys win, or know what a field means.
"""

import json
import re
from collections.abc import Iterable, Mapping
from typing import Any, Final, TypeAlias

from fillwright.errors import Code, FillwrightError, Problem
from fillwright.tokens import Tokens
from fillwright.units import Atoms, Token, parse_atoms

BLAMES_MAX: Final = 16
"""Problems listed in one answer."""
_NAME_SHOWN: Final = 64
"""Characters of an unknown key that are repeated in the answer."""
_TOKEN_TEXT_MAX: Final = 64
_WHOLE: Final = re.compile(r"0|[1-9][0-9]{0,15}", re.ASCII)
_PRINTABLE: Final = re.compile(r"[\x21-\x7e](?:[\x20-\x7e]*[\x21-\x7e])?", re.ASCII)


class Number(str):
    """A JSON number: its literal text."""

    __slots__ = ()


Json: TypeAlias = "bool | str | list[Json] | dict[str, Json] | None"
"""A value as it was sent; numbers are `Number`."""
Members: TypeAlias = Mapping[str, Json]


class Refused(FillwrightError):
    """A request with one or more fields to blame; the first one is the problem of the whole."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(problems)
        first = self.problems[0]
        super().__init__(first.code, first.detail, pointer=first.pointer)


def read_object(body: bytes) -> dict[str, Json]:
    """The members of the JSON object that `body` is.

    Raises FillwrightError(REQUEST_MALFORMED) for anything else: bad UTF-8, NaN, two equal keys in one object, NUL
    or half a surrogate pair in a text, nesting too deep to read.
    """
    try:
        text = body.decode()
        value = _DECODER.decode(text)
        if "\\u" in text:
            _check_texts(value)
    except UnicodeDecodeError:
        raise _malformed("the body is not UTF-8") from None
    except RecursionError:
        raise _malformed("the body is nested too deeply") from None
    except json.JSONDecodeError as error:
        raise _malformed(f"the body is not JSON: {error.msg} at character {error.pos}") from None
    if not isinstance(value, dict):
        raise _malformed("the body must be a JSON object")
    return value


def _object(pairs: list[tuple[str, Json]]) -> dict[str, Json]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise _malformed("an object of the body has the same key twice")
    return members


def _no_constant(name: str) -> Json:
    raise _malformed(f"{name} is not JSON")


_DECODER: Final = json.JSONDecoder(
    object_pairs_hook=_object, parse_int=Number, parse_float=Number, parse_constant=_no_constant
)


def _check_texts(value: Any) -> None:
    """Escapes can spell what UTF-8 cannot carry, or what databases and logs choke on."""
    match value:
        case str():
            if "\x00" in value or any("\ud800" <= character <= "\udfff" for character in value):
                raise _malformed("a text of the body holds NUL or half a surrogate pair")
        case list():
            for item in value:
                _check_texts(item)
        case dict():
            for key, item in value.items():
                _check_texts(key)
                _check_texts(item)
        case _:
            pass


def _malformed(detail: str) -> FillwrightError:
    return FillwrightError(Code.REQUEST_MALFORMED, detail)


def point(at: str, name: str) -> str:
    """RFC 6901: the pointer of a member of the object at `at`."""
    return f"{at}/{name[:_NAME_SHOWN].replace('~', '~0').replace('/', '~1')}"


class Fields:
    """The members of one object, each asked for by name; what is wrong is collected for `finish`.

    A getter answers None for a member that is absent or null, and for one that it blamed.
    """

    def __init__(self, members: Members, at: str = "") -> None:
        self._members = members
        self._at = at
        self._asked: set[str] = set()
        self.problems: list[Problem] = []

    def blame(self, name: str, detail: str, code: Code = Code.VALIDATION_FAILED) -> None:
        self.problems.append(Problem(code, detail, point(self._at, name)))

    def has(self, name: str) -> bool:
        return self._members.get(name) is not None

    def finish(self) -> None:
        """Raises Refused if a member was blamed, or was never asked for."""
        for name in self._members.keys() - self._asked:
            self.blame(name, "no such field", Code.VALIDATION_UNKNOWN_FIELD)
        if self.problems:
            raise Refused(sorted(self.problems, key=_unknown_last)[:BLAMES_MAX])

    def text(self, name: str, longest: int) -> str | None:
        """Visible ASCII with inner blanks: safe in a log, a header and a terminal."""
        value = self._take(name)
        if value is None:
            return None
        if type(value) is not str:
            self.blame(name, "must be a text")
        elif len(value) > longest or not _PRINTABLE.fullmatch(value):
            self.blame(name, f"must be 1 to {longest} visible ASCII characters")
        else:
            return value
        return None

    def whole(self, name: str, *, least: int, most: int) -> int | None:
        """A whole number, as a JSON number or as decimal text."""
        value = self._take(name)
        if value is None:
            return None
        if isinstance(value, str) and _WHOLE.fullmatch(value) and least <= int(value) <= most:
            return int(value)
        self.blame(name, f"must be a whole number from {least} to {most}")
        return None

    def flag(self, name: str) -> bool | None:
        value = self._take(name)
        if value is None or isinstance(value, bool):
            return value
        self.blame(name, "must be true or false")
        return None

    def is_number(self, name: str) -> bool:
        return isinstance(self._members.get(name), Number)

    def number(self, name: str) -> str | None:
        """The text of a number, or of a text that may hold one: for whoever knows its form."""
        value = self._take(name)
        if value is None or isinstance(value, str):
            return value
        self.blame(name, "must be a decimal text or a number")
        return None

    def amount(self, name: str, decimals: int) -> Atoms | None:
        value = self._take(name)
        if value is None:
            self.blame(name, "is required", Code.VALIDATION_AMOUNT)
            return None
        if not isinstance(value, str):
            self.blame(name, "amount must be a decimal text or a number", Code.VALIDATION_AMOUNT)
            return None
        try:
            return parse_atoms(value, decimals=decimals, pointer=point(self._at, name))
        except FillwrightError as error:
            self.problems.append(error.problem)
            return None

    def token(self, name: str, tokens: Tokens) -> Token | None:
        value = self.text(name, _TOKEN_TEXT_MAX)
        return None if value is None else self.find(name, value, tokens)

    def find(self, name: str, text: str, tokens: Tokens) -> Token | None:
        """The token of this text, which came from the member `name`."""
        try:
            return tokens.find(text, pointer=point(self._at, name))
        except FillwrightError as error:
            self.problems.append(error.problem)
            return None

    def texts(self, name: str, *, most: int, longest: int) -> tuple[str, ...] | None:
        """A list of different texts."""
        value = self._take(name)
        if value is None:
            return None
        if not isinstance(value, list) or len(value) > most:
            self.blame(name, f"must be a list of at most {most} texts")
            return None
        items = Fields({str(index): item for index, item in enumerate(value)}, point(self._at, name))
        found = [items.text(str(index), longest) for index in range(len(value))]
        for index, item in enumerate(value):
            if item is None:
                items.blame(str(index), "must be a text")
        if not items.problems and len(set(found)) != len(found):
            self.blame(name, "names the same thing twice")
        self.problems += items.problems
        return tuple(text for text in found if text is not None)

    def inner(self, name: str) -> "Fields | None":
        """The fields of a member that is an object. Its problems join these with `absorb`."""
        value = self._take(name)
        if value is None:
            return None
        if isinstance(value, dict):
            return Fields(value, point(self._at, name))
        self.blame(name, "must be an object")
        return None

    def objects(self, name: str, *, least: int, most: int) -> list[Members]:
        """A required list of objects, for someone else to read."""
        value = self._take(name)
        if isinstance(value, list) and least <= len(value) <= most:
            found = [item for item in value if isinstance(item, dict)]
            if len(found) == len(value):
                return list(found)
        self.blame(name, f"must be a list of {least} to {most} objects" if least < most else f"must be {most} objects")
        return []

    def members(self, name: str) -> Members:
        """A required member that is an object, for someone else to read."""
        value = self._take(name)
        if isinstance(value, dict):
            return value
        self.blame(name, "must be an object")
        return {}

    def absorb(self, inner: "Fields") -> None:
        try:
            inner.finish()
        except Refused as refused:
            self.problems += refused.problems

    def skip(self, name: str) -> None:
        """The member is known, but cannot be judged."""
        self._asked.add(name)

    def _take(self, name: str) -> Json:
        self._asked.add(name)
        return self._members.get(name)


def _unknown_last(problem: Problem) -> tuple[bool, str]:
    """What is known to be wrong is told first; unknown fields may be a consequence."""
    unknown = problem.code is Code.VALIDATION_UNKNOWN_FIELD
    return unknown, (problem.pointer or "") if unknown else ""
