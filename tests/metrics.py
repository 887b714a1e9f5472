"""The table of docs/METRICS.md, written from what the engine registers.

`python -m tests.metrics` writes it into the page; a test fails while the page differs from what is registered.
"""

from pathlib import Path
from typing import Final

from prometheus_client import CollectorRegistry

from fillwright.api.measured import SocketMetrics, make_measured
from fillwright.observe import Observer

PAGE: Final = Path(__file__).parents[1] / "docs" / "METRICS.md"
_BEGIN, _END = "<!-- begin metrics -->", "<!-- end metrics -->"


def registered() -> CollectorRegistry:
    """Every metric of ours, as an engine with an interface has them."""
    registry = CollectorRegistry()
    Observer(registry)
    SocketMetrics(registry)
    make_measured(registry, lambda: 0.0)
    return registry


def table() -> str:
    """Markdown: one line a metric."""
    lines = ["| metric | type | labels | what it tells |", "|---|---|---|---|"]
    registry = registered()
    for collector in registry._collector_to_names:
        labels = ", ".join(f"`{label}`" for label in getattr(collector, "_labelnames", ()))
        for family in collector.collect():
            name = f"`{family.name}{'_total' if family.type == 'counter' else ''}`"
            lines.append(f"| {name} | {family.type} | {labels or '–'} | {family.documentation} |")  # noqa: RUF001
    return "\n".join(lines)


def names() -> set[str]:
    """Every name that a query may use."""
    found: set[str] = set()
    for family in registered().collect():
        match family.type:
            case "counter":
                found.add(f"{family.name}_total")
            case "histogram":
                found |= {f"{family.name}{suffix}" for suffix in ("_bucket", "_sum", "_count")}
            case _:
                found.add(family.name)
    return found


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
