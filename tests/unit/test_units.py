"""Decimal text and atoms: the strict form, exact both ways, and prices that never flatter."""

from fractions import Fraction

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from fillwright.errors import Code, FillwrightError
from fillwright.units import (
    ATOMS_MAX,
    PRICE_DIGITS,
    ceil_div,
    format_atoms,
    format_price,
    format_ratio,
    parse_atoms,
)

DECIMALS = st.integers(0, 18)
AMOUNTS = st.integers(1, ATOMS_MAX)
U128 = st.integers(1, 2**128 - 1)


@given(AMOUNTS, DECIMALS)
@example(ATOMS_MAX, 0)
@example(ATOMS_MAX, 18)
@example(1, 18)
def test_every_amount_survives_being_written_and_read(atoms: int, decimals: int) -> None:
    assert parse_atoms(format_atoms(atoms, decimals), decimals=decimals) == atoms


@given(st.integers(0, 10**18), st.text("0123456789", max_size=18), DECIMALS)
def test_what_is_read_is_exactly_what_was_written(whole: int, fraction: str, decimals: int) -> None:
    text = f"{whole}.{fraction}" if fraction else str(whole)
    exact = Fraction(text) * 10**decimals
    acceptable = len(fraction) <= decimals and 0 < exact <= ATOMS_MAX
    if acceptable:
        assert parse_atoms(text, decimals=decimals) == exact
    else:
        with pytest.raises(FillwrightError):
            parse_atoms(text, decimals=decimals)


@given(AMOUNTS | st.just(0), DECIMALS)
def test_formatted_atoms_are_plain_and_without_padding(atoms: int, decimals: int) -> None:
    text = format_atoms(atoms, decimals)
    assert Fraction(text) * 10**decimals == atoms
    assert text == "0" or not text.startswith("00")
    assert "." not in text or text[-1] not in "0."


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "0",
        "0.0",
        "0.000000",
        "-1",
        "+1",
        "-0",
        "1e5",
        "1E5",
        "NaN",
        "nan",
        "Infinity",
        "inf",
        "0x10",
        "１２",  # noqa: RUF001  # full-width digits
        "١٢",  # Arabic-Indic digits
        "²",
        "1_000",
        "1,000",
        "1'000",
        "1 000",
        " 1",
        "1 ",
        "1\n",
        "\n1",
        "1\0",
        "1.",
        ".5",
        ".",
        "1.2.3",
        "01",
        "00.5",
        "1.1234567",  # a token of 6 places
        "12345678901234567890",  # 20 digits
        "9223372036854.775808",  # ATOMS_MAX + 1
        "9999999999999999999",
        "1.0000000000000000000",
        "1/2",
        "½",
        "one",
        "1" * 5_000,  # longer than Python converts
    ],
)
def test_anything_but_the_strict_form_is_refused(text: str) -> None:
    with pytest.raises(FillwrightError) as refused:
        parse_atoms(text, decimals=6, pointer="/amount")
    assert refused.value.code is Code.VALIDATION_AMOUNT
    assert refused.value.problem.pointer == "/amount"


@pytest.mark.parametrize(
    ("text", "decimals", "atoms"),
    [
        ("1", 0, 1),
        ("10", 9, 10_000_000_000),
        ("0.25", 2, 25),
        ("1.500000", 6, 1_500_000),
        ("0.000001", 6, 1),
        ("9223372036854.775807", 6, ATOMS_MAX),
        ("9.223372036854775807", 18, ATOMS_MAX),
    ],
)
def test_the_strict_form_is_read(text: str, decimals: int, atoms: int) -> None:
    assert parse_atoms(text, decimals=decimals) == atoms


def test_a_token_without_places_takes_no_fraction() -> None:
    with pytest.raises(FillwrightError):
        parse_atoms("1.0", decimals=0)


def test_the_largest_amount_is_named_in_the_token_s_own_units() -> None:
    with pytest.raises(FillwrightError, match=r"9223372036854\.775807"):
        parse_atoms("9223372036855", decimals=6)


@given(U128, U128)
@example(1, 2**128 - 1)
@example(2**128 - 1, 1)
@example(10**12 - 1, 10**12)
@example(10**12, 10**12 - 1)
@example(999_999_999_999_9, 1)
def test_a_ratio_is_cut_never_raised_and_close(numerator: int, denominator: int) -> None:
    text = format_ratio(numerator, denominator)
    assert set(text) <= set("0123456789."), "no exponent, no sign"
    shown, true = Fraction(text), Fraction(numerator, denominator)
    assert shown <= true
    assert (true - shown) / true < Fraction(1, 10**11)
    assert len(text.replace(".", "").strip("0")) <= PRICE_DIGITS


@given(AMOUNTS, AMOUNTS, DECIMALS, DECIMALS)
def test_a_price_is_quote_per_base_in_whole_tokens(quote: int, base: int, quote_places: int, base_places: int) -> None:
    text = format_price(quote, base, quote_decimals=quote_places, base_decimals=base_places)
    true = Fraction(quote, 10**quote_places) / Fraction(base, 10**base_places)
    assert Fraction(text) <= true
    assert (true - Fraction(text)) / true < Fraction(1, 10**11)


def test_prices_read_as_people_write_them() -> None:
    assert format_price(86_530_000, 1_000_000_000, quote_decimals=6, base_decimals=9) == "86.53"
    assert format_price(1, 3_000_000, quote_decimals=6, base_decimals=6) == "0.000000333333333333"
    assert format_price(5, 0, quote_decimals=6, base_decimals=6) == "0"
    assert format_ratio(0, 7) == "0"
    assert format_ratio(123_456_789_012_345, 1) == "123456789012000"


@given(st.integers(0, 2**130), st.integers(1, 2**130))
def test_ceil_div_is_the_smallest_that_covers(numerator: int, denominator: int) -> None:
    result = ceil_div(numerator, denominator)
    assert result * denominator >= numerator
    assert result == 0 or (result - 1) * denominator < numerator
