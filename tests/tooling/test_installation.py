"""Airflow finds the project's connection types because the project is installed, and only then."""

import tomllib
from importlib.metadata import distribution, entry_points
from pathlib import Path

import dicom_migration

ROOT = Path(__file__).resolve().parents[2]


def test_the_package_that_is_imported_is_the_one_in_plugins() -> None:
    assert Path(dicom_migration.__file__).parent == ROOT / "plugins" / "dicom_migration"


def test_the_installation_is_one_path_and_no_import_hook() -> None:
    files = distribution("airflow-dicom-migration").files or []
    [path_file] = [file for file in files if file.suffix == ".pth"]
    assert path_file.read_text().strip() == str(ROOT / "plugins")


def test_the_provider_entry_point_leads_to_its_description() -> None:
    [found] = [
        entry_point
        for entry_point in entry_points(group="apache_airflow_provider")
        if entry_point.value.startswith("dicom_migration.")
    ]
    assert found.load()()["package-name"] == "airflow-dicom-migration"


def test_no_plugin_is_registered_twice() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert "airflow.plugins" not in project["entry-points"]
