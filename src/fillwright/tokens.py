"""Which tokens the engine knows, by symbol or mint, and which of two is the quote currency.

Decides: what a token's text means, which side of a pair prices are told in, and what is taken for a dollar. Must never:
guess a mint.
"""

from collections.abc import Iterable, Mapping
from typing import Final

from fillwright.errors import Code, FillwrightError
from fillwright.units import Mint, Token

USDC: Final = "USDC"
"""The symbol of the token in which an order's worth is told."""
_DOLLARS: Final = frozenset({USDC, "USDT"})
_QUOTE_ORDER: Final = ("USDC", "USDT", "SOL")
"""The first of these that is in a pair is its quote currency; otherwise the token paid out is."""


class Tokens:
    """The known tokens. Symbols are matched without regard to case, mints exactly."""

    def __init__(self, tokens: Iterable[Token]) -> None:
        self.all = tuple(tokens)
        self._by_symbol: Mapping[str, Token] = {token.symbol.upper(): token for token in self.all}
        self._by_mint: Mapping[str, Token] = {token.mint: token for token in self.all}

    def find(self, text: str, *, pointer: str | None = None) -> Token:
        """The token of this symbol or mint. Raises FillwrightError(TOKEN_UNKNOWN)."""
        token = self._by_mint.get(text) or self._by_symbol.get(text.upper())
        if token is None:
            known = ", ".join(token.symbol for token in self.all)
            raise FillwrightError(Code.TOKEN_UNKNOWN, f"unknown token; known: {known}", pointer=pointer)
        return token

    def of(self, mint: Mint) -> Token:
        """The token of a mint that the engine itself named."""
        return self._by_mint[mint]


def is_dollar(token: Token) -> bool:
    """Whether the token is a stable coin that stands for one US dollar."""
    return token.symbol in _DOLLARS


def quote_of(token_in: Token, token_out: Token) -> Token:
    """The token in which this pair's price is told (API.md: price is always quote per base)."""
    for symbol in _QUOTE_ORDER:
        for token in (token_in, token_out):
            if token.symbol == symbol:
                return token
    return token_out
