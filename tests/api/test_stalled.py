"""A slice of `make stalled-readers`: what readers that stand still may cost."""

from pathlib import Path

from tests.api.stalled import MEMORY_MB, campaign


def test_fifty_readers_that_stand_still_are_let_go_and_cost_nobody_an_event(tmp_path: Path) -> None:
    told = campaign(tmp_path, stalled=50, healthy=5, orders=1_500)
    assert told.let_go == 50
    assert told.missing == 0
    assert told.added_mb <= 2 * MEMORY_MB  # after so few orders the server's own memory of them still grows
