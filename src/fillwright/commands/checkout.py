"""Campaigns and benchmarks, which live beside the package and not in it.

Decides: whether this is a checkout. Must never: know what they do.
"""

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import fillwright
from fillwright.errors import Code, FillwrightError


def run(module: str, arguments: Sequence[str]) -> int:
    """Its exit code. Raises FillwrightError(CONFIG_INVALID) where the package is installed without its sources."""
    root = Path(fillwright.__file__).parents[2]
    path = root.joinpath(*module.split("."))
    if not (path.is_dir() or path.with_suffix(".py").is_file()):
        why = f"{module} is not part of the installed package; run this in a checkout of the sources"
        raise FillwrightError(Code.CONFIG_INVALID, why)
    return subprocess.run([sys.executable, "-m", module, *arguments], cwd=root, check=False).returncode  # noqa: S603
