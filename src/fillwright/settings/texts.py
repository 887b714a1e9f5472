"""How a setting is told and read.

Decides: what a setting is, and the forms of text that several have. Must never: repeat a text in an error, or show a
secret.
"""

import re
from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

import msgspec

from fillwright.errors import Code, FillwrightError


class Secret:
    """A text that no log line, error or `repr` shows; only who calls `reveal` sees it."""

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text

    def reveal(self) -> str:
        return self._text

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and self._text == other._text

    def __hash__(self) -> int:
        return hash(self._text)

    def __repr__(self) -> str:
        return "Secret(...)"


Parse: TypeAlias = Callable[[str], Any]
"""Text to value. Raises ValueError("must be ...") in words that do not repeat the text: it may be a secret."""


class Setting(msgspec.Struct, frozen=True):
    """One thing that an operator may decide."""

    names: tuple[str, ...]
    """Its spellings: where several are set, they must agree."""
    field: str
    """Where it goes: a field of Config; or one of its policy; or a part of a server's address."""
    parse: Parse
    meaning: str
    default: str | None = None
    """In words, where it is not simply the field's default."""
    is_secret: bool = False
    """Then NAME_FILE may name a file that holds the text."""


def integer(low: int, high: int) -> Parse:
    def parse(text: str) -> int:
        readable = text.isascii() and text.isdigit() and len(text) <= len(str(high))
        if not (readable and low <= int(text) <= high):
            raise ValueError(f"must be a whole number from {low} to {high}")
        return int(text)

    return parse


def seconds(low: int, high: int) -> Parse:
    whole = integer(low, high)
    return lambda text: float(whole(text))


def choice(values: Mapping[str, Any]) -> Parse:
    def parse(text: str) -> Any:
        if text not in values:
            raise ValueError(f"must be one of {', '.join(values)}")
        return values[text]

    return parse


def one_of(*names: str) -> Parse:
    return choice({name: name for name in names})


def of_form(pattern: str, why: str) -> Parse:
    def parse(text: str) -> str:
        if re.fullmatch(pattern, text) is None:
            raise ValueError(why)
        return text

    return parse


def invalid(name: str, why: str) -> FillwrightError:
    """`why`: in words that follow the setting's name."""
    return FillwrightError(Code.CONFIG_INVALID, f"{name} {why}")
