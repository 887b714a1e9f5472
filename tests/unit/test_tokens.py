"""Which token is meant, and in which one a pair is priced."""

import pytest

from fillwright.errors import Code, FillwrightError
from fillwright.tokens import Tokens, quote_of
from fillwright.units import Mint, Token
from tests.conformance.samples import BONK, SOL, USDC

USDT = Token("USDT", Mint("Es9vMFrzaCERmJfrF4H2FYD4KCoNkY11McCe8BenwNYB"), 6)
WIF = Token("WIF", Mint("EKpQGSJtjMFqKZ9KQanSqYXRcF8fBopzLHYxdM65zcjm"), 6)
KNOWN = Tokens([SOL, USDC, USDT, BONK])


@pytest.mark.parametrize("text", ["SOL", "sol", "Sol", SOL.mint])
def test_a_symbol_in_any_case_and_a_mint_name_the_token(text: str) -> None:
    assert KNOWN.find(text) is SOL


@pytest.mark.parametrize("text", ["", "SOLANA", "S", " SOL", "SOL\n", WIF.mint, SOL.mint.lower(), SOL.mint[:-1]])
def test_anything_else_is_unknown_not_guessed(text: str) -> None:
    with pytest.raises(FillwrightError) as refused:
        KNOWN.find(text, pointer="/tokenIn")
    assert refused.value.code is Code.TOKEN_UNKNOWN
    assert refused.value.problem.pointer == "/tokenIn"
    assert "SOL, USDC, USDT, BONK" in refused.value.problem.detail


def test_a_mint_outranks_a_symbol_that_looks_like_it() -> None:
    impostor = Token(SOL.mint, Mint("impostor"), 9)
    assert Tokens([impostor, SOL]).find(SOL.mint) is SOL


def test_the_engine_s_own_mints_are_found() -> None:
    assert KNOWN.of(BONK.mint) is BONK
    assert KNOWN.all == (SOL, USDC, USDT, BONK)


@pytest.mark.parametrize(
    ("token_in", "token_out", "quote"),
    [
        (SOL, USDC, USDC),
        (USDC, SOL, USDC),
        (USDT, USDC, USDC),
        (USDC, USDT, USDC),
        (SOL, USDT, USDT),
        (BONK, SOL, SOL),
        (SOL, BONK, SOL),
        (BONK, WIF, WIF),
        (WIF, BONK, BONK),
    ],
)
def test_prices_are_told_in_dollars_then_sol_then_what_is_paid_out(
    token_in: Token, token_out: Token, quote: Token
) -> None:
    assert quote_of(token_in, token_out) is quote
