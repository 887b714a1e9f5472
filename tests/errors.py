"""The table of docs/ERRORS.md, written from the codes in errors.py and their kinds in api/problems.py.

`python -m tests.errors` writes it into the page; a test fails while the page differs from the table.
"""

from pathlib import Path
from typing import Final

from fillwright.api.problems import KINDS
from fillwright.errors import RETRYABLE, Code

PAGE: Final = Path(__file__).parents[1] / "docs" / "ERRORS.md"
_BEGIN, _END = "<!-- begin codes -->", "<!-- end codes -->"


def table() -> str:
    """Markdown: one line a code."""
    lines = ["| code | status | meaning | again? |", "|---|---|---|---|"]
    for code in Code:
        kind = KINDS[code]
        lines.append(f"| `{code}` | {kind.status} | {kind.title} | {'later' if code in RETRYABLE else ''} |")
    return "\n".join(lines)


def shown() -> str:
    """The table that the page shows."""
    return _parts()[1].strip()


def _parts() -> tuple[str, str, str]:
    before, rest = PAGE.read_text().split(_BEGIN)
    block, after = rest.split(_END)
    return before, block, after


if __name__ == "__main__":
    before, _, after = _parts()
    PAGE.write_text(f"{before}{_BEGIN}\n{table()}\n{_END}{after}")
