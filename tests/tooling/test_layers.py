"""`make lint-imports` has to refuse what the architecture refuses."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

REFUSED = {
    "a phase imports airflow": ("transfer/move.py", "import airflow.sdk"),
    "a port imports airflow": ("ledger/database.py", "from airflow.sdk import Connection"),
    "airflow is imported for types only": (
        "cloud/s3.py",
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import airflow.sdk",
    ),
    "a phase reaches airflow through a hook": (
        "transfer/move.py",
        "from dicom_migration.hooks import ledger",
    ),
    "a phase imports another phase": ("transfer/move.py", "import dicom_migration.discovery"),
    "a port imports a phase": ("manifest/rows.py", "import dicom_migration.transfer"),
    "a basic module imports a port": ("errors.py", "import dicom_migration.ledger"),
    "a module has no place in the layers": ("helpers.py", ""),
}
ALLOWED = {
    "an operator imports airflow and a phase": (
        "operators/transfer.py",
        "import airflow.sdk\nimport dicom_migration.transfer",
    ),
    "a phase imports ports and errors": (
        "transfer/move.py",
        "import dicom_migration.cloud, dicom_migration.ledger, dicom_migration.errors",
    ),
}


def lint_imports(folder: Path, module: str, code: str) -> subprocess.CompletedProcess[str]:
    """Lint a package that has our layers, is otherwise empty, and contains `module`."""
    shutil.copy(ROOT / "pyproject.toml", folder)
    package = folder / "dicom_migration"
    for name in ("hooks", "operators", "discovery", "transfer", "cloud", "ledger", "manifest"):
        (package / name).mkdir(parents=True)
        (package / name / "__init__.py").touch()
    (package / "__init__.py").touch()
    (package / "errors.py").touch()
    (package / "hooks" / "ledger.py").write_text("import airflow.sdk\n")
    (package / module).write_text(code + "\n")
    return subprocess.run(
        [Path(sys.executable).parent / "lint-imports", "--no-cache"],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(folder)},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize(("module", "code"), REFUSED.values(), ids=REFUSED)
def test_refused(tmp_path: Path, module: str, code: str) -> None:
    done = lint_imports(tmp_path, module, code)
    assert done.returncode == 1, done.stdout
    assert "1 broken" in done.stdout or "2 broken" in done.stdout


@pytest.mark.parametrize(("module", "code"), ALLOWED.values(), ids=ALLOWED)
def test_allowed(tmp_path: Path, module: str, code: str) -> None:
    done = lint_imports(tmp_path, module, code)
    assert done.returncode == 0, done.stdout
