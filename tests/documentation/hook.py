"""The repository's pages as MkDocs wants them, those outside docs/ too: a hook.

Decides: which files join the site, where links between the two worlds lead, and the room that fences need. Must never:
change what a page says.
"""

import posixpath
import re
from pathlib import Path
from typing import Final

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT: Final = Path(__file__).parents[2]
_PAGES: Final = ("ARCHITECTURE.md", "BENCHMARKS.md", "CHANGELOG.md", "CONTRIBUTING.md")
_LINK: Final = re.compile(r"\]\((?P<path>[^)\s#:]+)(?P<anchor>#[^)\s]*)?\)")
_FENCED: Final = re.compile(r"^( *)(`{3,})[^\n]*\n.*?^\1\2$", re.MULTILINE | re.DOTALL)


def on_files(files: Files, config: MkDocsConfig) -> Files:
    examples = (path.relative_to(ROOT).as_posix() for path in sorted((ROOT / "examples").rglob("*")) if path.is_file())
    for uri in (*_PAGES, *(path for path in examples if "__pycache__" not in path)):
        files.append(File.generated(config, uri, abs_src_path=str(ROOT / uri)))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """In the repository a page of docs/ lies one folder deeper than on the site, and a fence may end a paragraph."""
    uri = page.file.src_uri
    joined = uri in _PAGES or uri.startswith("examples/")
    here = posixpath.dirname(uri if joined else f"docs/{uri}")

    def moved(link: re.Match[str]) -> str:
        target = posixpath.normpath(posixpath.join(here, link["path"])).removeprefix("docs/")
        return f"]({posixpath.relpath(target, posixpath.dirname(uri) or '.')}{link['anchor'] or ''})"

    return _FENCED.sub(r"\n\g<0>\n", _LINK.sub(moved, markdown))
