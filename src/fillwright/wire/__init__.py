"""The public JSON: `reading` takes a body apart, `requests` gives it meaning, `frames` and `resources` answer.

Decides, here: how times are written. Must never: let a float near an amount, or show what is not committed.
"""

from datetime import UTC, datetime, timedelta
from typing import Final

from fillwright.errors import Code, FillwrightError
from fillwright.units import Millis

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND: Final = timedelta(milliseconds=1)
_MILLIS_DIGITS: Final = 16


def rfc3339(at: Millis) -> str:
    """Epoch milliseconds as `2024-01-10T16:00:00.000Z`."""
    return (_EPOCH + at * _MILLISECOND).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def parse_time(text: str, name: str) -> Millis:
    """RFC 3339 with a zone, or epoch milliseconds. Raises FillwrightError(VALIDATION_FAILED)."""
    if text.isascii() and text.isdigit() and len(text) < _MILLIS_DIGITS:
        return Millis(int(text))
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        moment = None
    if moment is None or moment.tzinfo is None:
        why = f"{name} must be a time such as 2024-01-10T16:00:00Z, or epoch milliseconds"
        raise FillwrightError(Code.VALIDATION_FAILED, why)
    return Millis((moment - _EPOCH) // _MILLISECOND)
