"""ARCHITECTURE.md tells the truth where a machine can tell."""

from pathlib import Path

from tests.diagram import PAGE, diagram, drawn


def test_the_status_diagram_is_the_table() -> None:
    assert drawn() == diagram(), "run `python -m tests.diagram`"


def test_every_module_of_the_package_has_its_place_on_the_page() -> None:
    package = Path(__file__).parents[2] / "src" / "fillwright"
    page = PAGE.read_text()
    names = [path.name for path in package.iterdir() if path.suffix == ".py" or path.is_dir()]
    missing = [name for name in names if name not in ("__init__.py", "__pycache__") and name not in page]
    assert not missing


def test_the_page_stays_short() -> None:
    assert len(PAGE.read_text().splitlines()) <= 230
