"""`python -m tests.api.fuzz [examples]`: requests made up from openapi.json, against a server of its own.

Decides: what counts as a finding: a 5xx, an answer that the document does not announce, or a
request against the schema that is accepted. Must never: judge by more than the document.
"""

import asyncio
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from tests.api.running import run, serving

CHECKS: Final = (
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_schema_conformance",
    "response_headers_conformance",
    "negative_data_rejection",
    "unsupported_method",
)


async def fuzz(folder: Path, examples: int, phases: str, seed: int | None = None) -> tuple[int, str]:
    """Schemathesis' exit code (0: no finding) and report."""
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
            report, _ = await process.communicate()
        finally:
            if process.returncode is None:
                process.kill()
        return await process.wait(), report.decode()


def _main() -> int:
    examples = int(sys.argv[1]) if len(sys.argv) > 1 else 500
    with TemporaryDirectory() as folder:
        code, report = run(fuzz(Path(folder), examples, "examples,coverage,fuzzing,stateful"), within_s=3_600)
    print(report)
    return code


if __name__ == "__main__":
    sys.exit(_main())
