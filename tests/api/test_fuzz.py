"""A slice of `make fuzz-api`: no request made up from the document gets an answer that is not in it."""

from pathlib import Path

from tests.api.fuzz import fuzz
from tests.api.running import run


def test_no_made_up_request_gets_an_unannounced_answer(tmp_path: Path) -> None:
    code, report = run(fuzz(tmp_path, 5, "examples,coverage", seed=1), within_s=90)
    assert code == 0, report
    assert " passed" in report
