"""Quantities and their text: the only place where decimal text becomes integers and back.

Decides: the strict text form of an amount, the range of atoms, how prices are shown. Must never: touch a
float, or round in the taker's favour.
"""

import re
from functools import lru_cache
from math import gcd
from typing import Final, NewType, Self

import msgspec

from fillwright.errors import Code, FillwrightError

Atoms = NewType("Atoms", int)
"""Smallest integer units of a token (lamports for SOL)."""
Bps = NewType("Bps", int)
"""Hundredths of a percent; 10,000 is the whole."""
Millis = NewType("Millis", int)
"""Milliseconds: since the Unix epoch for a time, plain for a duration."""
Mint = NewType("Mint", str)
"""A token's address, base58."""
OrderId = NewType("OrderId", str)
Signature = NewType("Signature", str)
"""A transaction's id, base58; known as soon as it is signed."""

BPS_ONE: Final = 10_000
"""The whole, in basis points."""
ATOMS_MAX: Final = Atoms(2**63 - 1)
"""Largest amount an order may carry: half the chain's u64, the range of a signed SQL integer."""
PRICE_DIGITS: Final = 12
"""Significant digits of a price shown to a person."""

_TEXTS_MAX: Final = 8_192

_AMOUNT: Final = re.compile(r"(0|[1-9][0-9]{0,18})(?:\.([0-9]{1,18}))?", re.ASCII)


NATIVE_MINT: Final = Mint("So11111111111111111111111111111111111111112")
"""SOL, wrapped: fees are paid in it."""


class Token(msgspec.Struct, frozen=True):
    """A mint and how people write it."""

    symbol: str
    mint: Mint
    decimals: int


class Price(msgspec.Struct, frozen=True):
    """An exact price: so many atoms of the quote token for so many of the base token, in lowest terms."""

    quote: int
    base: int

    @classmethod
    def of(cls, quote_atoms: int, base_atoms: int) -> Self:
        """Both are at least 1."""
        shared = gcd(quote_atoms, base_atoms)
        return cls(quote_atoms // shared, base_atoms // shared)


def parse_price(text: str, *, quote_decimals: int, base_decimals: int, pointer: str | None = None) -> Price:
    """Positive decimal text, quote per base.

    Raises FillwrightError(VALIDATION_PRICE) for anything but the strict form of an amount, for zero, and for more than
    PRICE_DIGITS significant digits.
    """
    match = _AMOUNT.fullmatch(text)
    if match is None:
        raise _bad_price("must be a plain positive decimal such as 98.5", pointer)
    whole, fraction = match.group(1), match.group(2) or ""
    digits = int(whole + fraction)
    if digits == 0:
        raise _bad_price("must be greater than zero", pointer)
    if len(str(digits).rstrip("0")) > PRICE_DIGITS:
        raise _bad_price(f"has more than {PRICE_DIGITS} significant digits", pointer)
    price = Price.of(digits * 10**quote_decimals, 10 ** (len(fraction) + base_decimals))
    if max(price.quote, price.base) > ATOMS_MAX:
        raise _bad_price("is too large or too small to be told exactly", pointer)
    return price


def parse_atoms(text: str, *, decimals: int, pointer: str | None = None) -> Atoms:
    """Positive decimal text of a token with `decimals` places -> atoms.

    Raises FillwrightError(VALIDATION_AMOUNT) for anything but the strict form of API.md, for more places
    than the token has, for zero, and above ATOMS_MAX.
    """
    match = _AMOUNT.fullmatch(text)
    if match is None:
        raise _bad_amount("must be a plain positive decimal such as 10 or 0.25", pointer)
    whole, fraction = match.group(1), match.group(2) or ""
    if len(fraction) > decimals:
        raise _bad_amount(f"has {len(fraction)} decimal places, the token has {decimals}", pointer)
    atoms = int(whole) * 10**decimals + int(fraction.ljust(decimals, "0") or "0")
    if atoms == 0:
        raise _bad_amount("must be greater than zero", pointer)
    if atoms > ATOMS_MAX:
        raise _bad_amount(f"is above the largest amount of {format_atoms(ATOMS_MAX, decimals)}", pointer)
    return Atoms(atoms)


@lru_cache(_TEXTS_MAX)  # an order's frames tell the same amounts again and again
def format_atoms(atoms: int, decimals: int) -> str:
    """Atoms -> exact decimal text without trailing zeros: (1500000000, 9) -> "1.5"."""
    whole, fraction = divmod(atoms, 10**decimals)
    if not fraction:
        return str(whole)
    return f"{whole}.{str(fraction).rjust(decimals, '0').rstrip('0')}"


def format_price(quote_atoms: int, base_atoms: int, *, quote_decimals: int, base_decimals: int) -> str:
    """Quote per base, cut (never rounded up) to PRICE_DIGITS significant digits; "0" where base is 0."""
    numerator = quote_atoms * 10**base_decimals
    denominator = base_atoms * 10**quote_decimals
    return format_ratio(numerator, denominator)


@lru_cache(_TEXTS_MAX)
def format_ratio(numerator: int, denominator: int) -> str:
    """A non-negative ratio as decimal text, cut to PRICE_DIGITS significant digits."""
    if denominator == 0 or numerator == 0:
        return "0"
    magnitude = len(str(numerator)) - len(str(denominator))
    places = max(0, PRICE_DIGITS - magnitude)
    scaled = numerator * 10**places // denominator
    excess = len(str(scaled)) - PRICE_DIGITS
    if excess > 0:
        scaled = scaled // 10**excess * 10**excess
    return format_atoms(scaled, places)


def ceil_div(numerator: int, denominator: int) -> int:
    """Integer division rounded up, for non-negative numerators."""
    return -(-numerator // denominator)


def _bad_price(why: str, pointer: str | None) -> FillwrightError:
    return FillwrightError(Code.VALIDATION_PRICE, f"price {why}", pointer=pointer)


def _bad_amount(why: str, pointer: str | None) -> FillwrightError:
    return FillwrightError(Code.VALIDATION_AMOUNT, f"amount {why}", pointer=pointer)
