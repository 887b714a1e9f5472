"""Doing the same for many, side by side.

Decides: what happens to the others when one fails. Must never: leave anything running behind its caller's back.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

A = TypeVar("A")
R = TypeVar("R")


async def side_by_side(act: Callable[[A], Awaitable[R]], of: Sequence[A], *, at_once: int) -> list[R]:
    """Act on each, so many at once, in the order of `of`. Raises the first failure, once those under way ended."""
    results: list[R] = []
    for first in range(0, len(of), at_once):
        ended = await asyncio.gather(*map(act, of[first : first + at_once]), return_exceptions=True)
        for each in ended:
            if isinstance(each, BaseException):
                raise each
            results.append(each)
    return results
