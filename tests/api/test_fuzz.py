"""A slice of `make fuzz-api`: no request made up from the document gets an answer that is not in it."""

from pathlib import Path

import pytest

from tests.api.fuzz import campaign, fuzz
from tests.api.running import run


def test_no_made_up_request_gets_an_unannounced_answer(tmp_path: Path) -> None:
    outcome = run(fuzz(tmp_path, 5, "examples,coverage", seed=1), within_s=90)
    assert outcome.found_nothing, outcome.report
    assert outcome.cases > 500


def test_a_campaign_goes_on_until_it_has_asked_enough(capsys: pytest.CaptureFixture[str]) -> None:
    assert campaign(1, 8, "examples")
    assert "round 2:" in capsys.readouterr().out
