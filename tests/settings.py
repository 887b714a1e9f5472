"""The table of docs/SETTINGS.md, written from SETTINGS in config.py.

`python -m tests.settings` writes it into the page; a test fails while the page differs from the table.
"""

from pathlib import Path
from typing import Any, Final

from fillwright.config import SETTINGS, Config, Setting

PAGE: Final = Path(__file__).parents[1] / "docs" / "SETTINGS.md"
_BEGIN, _END = "<!-- begin settings -->", "<!-- end settings -->"


def table() -> str:
    """Markdown: one line a setting."""
    lines = ["| setting | default | meaning |", "|---|---|---|"]
    lines += [f"| {_names(setting)} | {default(setting)} | {setting.meaning} |" for setting in SETTINGS]
    return "\n".join(lines)


def default(setting: Setting) -> str:
    """In words, or the value that the field has when nothing is set, as one would write it."""
    if setting.default is not None:
        return setting.default
    value: Any = Config()
    for name in setting.field.split("."):
        value = getattr(value, name, None)
    match value:
        case None:
            return "–"  # noqa: RUF001
        case bool():
            return str(value).lower()
        case float():
            return f"{value:g}"
        case _:
            return str(value)


def shown() -> str:
    """The table that the page shows."""
    return _parts()[1].strip()


def _names(setting: Setting) -> str:
    names = " or ".join(f"`{name}`" for name in setting.names)
    return f"{names} (or `…_FILE`)" if setting.is_secret else names


def _parts() -> tuple[str, str, str]:
    before, rest = PAGE.read_text().split(_BEGIN)
    block, after = rest.split(_END)
    return before, block, after


if __name__ == "__main__":
    before, _, after = _parts()
    PAGE.write_text(f"{before}{_BEGIN}\n{table()}\n{_END}{after}")
