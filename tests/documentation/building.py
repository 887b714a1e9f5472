"""The documentation site, built as `make docs` builds it, into a folder of a test's."""

from pathlib import Path

from mkdocs.commands.build import build
from mkdocs.config import load_config

from tests.documentation.pages import ROOT


def built(folder: Path) -> Path:
    """Raises at a warning, such as a broken link, a missing anchor or a page that the navigation leaves out."""
    config = load_config(str(ROOT / "mkdocs.yml"), site_dir=str(folder), strict=True)
    config.plugins.on_startup(command="build", dirty=False)
    build(config)
    return folder
