"""`python -m tests.api.fuzz [examples]`: requests made up from openapi.json, against a server of its own.

Decides: what counts as a finding: a 5xx, an answer that the document does not announce, or a request against the
schema that is accepted. Must never: judge by more than the document, or pass for having asked little.
"""

import asyncio
import re
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

import msgspec

from tests.api.running import run, serving

CASES_MIN: Final = 5_000
"""A campaign goes on, with other requests, until it has judged so many."""
ROUNDS_MAX: Final = 20
CHECKS: Final = (
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_schema_conformance",
    "response_headers_conformance",
    "negative_data_rejection",
    "unsupported_method",
)
_CASES: Final = re.compile(r"^ +([0-9]+) generated", re.MULTILINE)


class Outcome(msgspec.Struct, frozen=True):
    found_nothing: bool
    cases: int
    """Requests that were made up, sent and judged."""
    report: str


async def fuzz(folder: Path, examples: int, phases: str, seed: int | None = None) -> Outcome:
    """One run of Schemathesis, with up to so many examples an operation and phase."""
    async with serving(folder) as server:
        words = [
            *("run", f"http://127.0.0.1:{server.port}/openapi.json"),
            *("--exclude-path", "/v1/events"),  # its answer has no end
            *("--checks", ",".join(CHECKS), "--phases", phases, "--max-examples", str(examples), "--no-color"),
            *(("--seed", str(seed), "--generation-deterministic") if seed is not None else ()),
        ]
        command = (sys.executable, "-m", "schemathesis.cli", *words)
        process = await asyncio.create_subprocess_exec(
            *command, cwd=folder, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
        )
        try:
            told, _ = await process.communicate()
        finally:
            if process.returncode is None:
                process.kill()
        report, code = told.decode(), await process.wait()
    counted = _CASES.search(report)
    return Outcome(code == 0, int(counted[1]) if counted else 0, report)


def campaign(examples: int, cases_min: int, phases: str = "examples,coverage,fuzzing,stateful") -> bool:
    """Whether at least so many cases were judged, and none was a finding."""
    cases = 0
    for round_ in range(1, ROUNDS_MAX + 1):
        with TemporaryDirectory() as folder:
            outcome = run(fuzz(Path(folder), examples, phases), within_s=3_600)
        cases += outcome.cases
        print(outcome.report)
        print(f"round {round_}: {cases:,} cases so far, at least {cases_min:,} wanted", flush=True)
        if not outcome.found_nothing or not outcome.cases:
            return False
        if cases >= cases_min:
            print(f"{cases:,} cases: no 5xx, no answer that the document does not announce")
            return True
    return False


if __name__ == "__main__":
    sys.exit(0 if campaign(int(sys.argv[1]) if len(sys.argv) > 1 else 500, CASES_MIN) else 1)
