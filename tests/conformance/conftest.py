"""The adapters under test: each suite here runs over every adapter of its port. A new adapter is one more line.

Decides: how an adapter is opened for a test. Must never: know what is tested.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, TypeAlias

import pytest

from fillwright.adapters.local import LocalBus, LocalQueue, SystemClock
from fillwright.ports import Bus, Clock, Queue
from tests.conformance.rigs import ChainRig, SqliteRig, StoreRig

QueueOf: TypeAlias = Callable[[int], Queue]
"""A queue that keeps so many hints."""
BusOf: TypeAlias = Callable[[int], Bus]
"""A bus whose inboxes keep so many events."""

_STORES: Final[dict[str, Callable[[Path], StoreRig]]] = {"sqlite": SqliteRig}
_QUEUES: Final[dict[str, QueueOf]] = {"local": LocalQueue}
_BUSES: Final[dict[str, BusOf]] = {"local": LocalBus}
_CHAINS: Final[dict[str, Callable[[Path], ChainRig]]] = {"sim": ChainRig}
_CLOCKS: Final[dict[str, Callable[[], Clock]]] = {"system": SystemClock}


@pytest.fixture(params=_STORES)
def stores(request: Any, tmp_path: Path) -> StoreRig:
    return _STORES[request.param](tmp_path)


@pytest.fixture(params=_QUEUES)
def queue_of(request: Any) -> QueueOf:
    return _QUEUES[request.param]


@pytest.fixture(params=_BUSES)
def bus_of(request: Any) -> BusOf:
    return _BUSES[request.param]


@pytest.fixture(params=_CHAINS)
def chains(request: Any, tmp_path: Path) -> ChainRig:
    return _CHAINS[request.param](tmp_path)


@pytest.fixture(params=_CLOCKS)
def clock(request: Any) -> Clock:
    return _CLOCKS[request.param]()
