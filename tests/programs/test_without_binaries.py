"""No binary belongs to this project: without a folder of them nothing is tried, and that is said."""

import subprocess
import sys
from pathlib import Path

from fillwright.programs import PROGRAMS


def rehearse(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "tests.programs", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def test_without_a_folder_it_is_skipped_and_says_so() -> None:
    told = rehearse()
    assert told.returncode == 0
    assert told.stdout == "skipped: no folder with program binaries was given (make test-programs DIR=…)\n"


def test_a_folder_without_programs_is_a_failure_that_names_them(tmp_path: Path) -> None:
    told = rehearse(str(tmp_path))
    assert told.returncode == 2
    assert all(f"{program.id}.so" in told.stdout for program in PROGRAMS.values())
