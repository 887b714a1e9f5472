"""How far a long campaign is: one line on a terminal's standard error, and nothing where that is no terminal.

Decides: what the line looks like. Must never: write into what a program may read.
"""

import sys
from typing import Final

_WIDTH: Final = 30


class Bar:
    """So much of `total` is done. Ends its line when all of it is."""

    def __init__(self, total: float, what: str) -> None:
        self._total = total
        self._what = what
        self._shown = -1

    def show(self, done: float, note: str = "") -> None:
        """A line is only written anew when a part of a thousand more is done."""
        part = 1.0 if self._total <= 0 else min(1.0, done / self._total)
        if not sys.stderr.isatty() or int(part * 1_000) == self._shown:
            return
        self._shown = int(part * 1_000)
        bar = "#" * int(part * _WIDTH)
        end = "\n" if part >= 1.0 else ""
        print(f"\r{self._what} [{bar:<{_WIDTH}}] {part:4.0%} {note} ", end=end, file=sys.stderr, flush=True)
