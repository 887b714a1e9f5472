"""The status diagram of ARCHITECTURE.md, drawn from the table in order/state.py.

`python -m tests.diagram` writes it into the page; a test fails while the page differs from the table.
"""

from collections import defaultdict
from pathlib import Path
from typing import Final

from fillwright.order import TERMINAL, TRANSITIONS

PAGE: Final = Path(__file__).parents[1] / "ARCHITECTURE.md"
_BEGIN, _END = "<!-- begin status diagram -->", "<!-- end status diagram -->"


def diagram() -> str:
    """Mermaid text: one arrow for each pair of statuses, labelled with the events that make it."""
    arrows: dict[tuple[str, str], list[str]] = defaultdict(list)
    for (before, event), after in TRANSITIONS.items():
        arrows[before, after].append(event.__name__)
    lines = ["stateDiagram-v2", "    [*] --> pending: Accepted"]
    lines += [f"    {before} --> {after}: {', '.join(events)}" for (before, after), events in arrows.items()]
    lines += [f"    {status} --> [*]" for status in sorted(TERMINAL)]
    return "\n".join(["```mermaid", *lines, "```"])


def drawn() -> str:
    """The diagram that the page shows."""
    return _parts()[1].strip()


def _parts() -> tuple[str, str, str]:
    before, rest = PAGE.read_text().split(_BEGIN)
    block, after = rest.split(_END)
    return before, block, after


if __name__ == "__main__":
    before, _, after = _parts()
    PAGE.write_text(f"{before}{_BEGIN}\n{diagram()}\n{_END}{after}")
