"""docs/faults.md and the tests that it names are kept in step."""

import ast
import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
FAULTS = ROOT / "tests" / "integration" / "transfer" / "faults"


def named() -> set[tuple[Path, str]]:
    """Return file and name of every test that the page names."""
    page = (ROOT / "docs" / "faults.md").read_text(encoding="utf-8")
    return {
        ((ROOT if file.startswith("tests/") else FAULTS) / file, name)
        for file, name in re.findall(r"`([\w/]+\.py)::(\w+)`", page)
    }


def names_in(file: Path) -> set[str]:
    """Return the names of a file's tests, none when there is no such file."""
    if not file.exists():
        return set()
    tree = ast.parse(file.read_text(encoding="utf-8"))
    functions = (node for node in tree.body if isinstance(node, ast.FunctionDef))
    return {node.name for node in functions if node.name.startswith("test_")}


def test_every_test_that_the_page_names_exists() -> None:
    assert named()
    assert {(file, name) for file, name in named() if name not in names_in(file)} == set()


def test_every_fault_that_is_tested_is_on_the_page() -> None:
    tested = {(file, name) for file in FAULTS.glob("test_*.py") for name in names_in(file)}
    assert tested
    assert tested - named() == set()
