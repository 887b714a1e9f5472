"""Event frames as bytes, each encoded once however many sockets watch it.

Decides: how many frames are kept. Must never: keep one beyond that, or one that another event could be taken for.
"""

from typing import Final

import msgspec

from fillwright.order import Recorded, Routed
from fillwright.units import OrderId
from fillwright.wire.frames import Frame, encode_frame, frame_of

_KEPT: Final = 4_096


class EncodedFrames:
    """The latest frames, by order and seq: an event never changes once it is recorded."""

    def __init__(self) -> None:
        self._kept: dict[tuple[OrderId, int], list[bytes]] = {}

    def of(self, recorded: Recorded) -> list[bytes]:
        key = (recorded.order.id, recorded.order.seq)
        frames = self._kept.get(key)
        if frames is None:
            frames = self._kept[key] = [encode_frame(frame_of(recorded))]
            if len(self._kept) > _KEPT:
                del self._kept[next(iter(self._kept))]
        return frames


class SpokenFrame(Frame, frozen=True, kw_only=True, tag="event"):
    """The frame of dialect C: `event` says what the others call `status`."""

    event: str


class QuotesFrame(msgspec.Struct, frozen=True, kw_only=True, rename="camel", tag="event"):
    """Dialect C's own step between `routing` and `building`; it is part of the latter's event, so it has no seq."""

    event: str = "routing:quotes"
    order_id: str
    status: str = "routing"
    timestamp: int
    quotes: object


def spoken(recorded: Recorded) -> list[bytes]:
    """The frames of dialect C."""
    frame = frame_of(recorded)
    fields = {name: getattr(frame, name) for name in frame.__struct_fields__}
    frames = [encode_frame(SpokenFrame(event=frame.status, **fields))]
    if isinstance(recorded.event, Routed):
        quotes = QuotesFrame(order_id=frame.order_id, timestamp=frame.timestamp, quotes=frame.quotes)
        frames.insert(0, encode_frame(quotes))
    return frames
