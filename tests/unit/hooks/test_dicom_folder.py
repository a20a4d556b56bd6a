"""The connection type `dicom_folder`, and the choice between the three."""

from __future__ import annotations

import importlib
import subprocess
import sys
from pathlib import Path

import pytest
from airflow.sdk import Connection
from pydicom.data import get_testdata_file

from dicom_migration.archive import ImageArchive
from dicom_migration.errors import PermanentError, ReasonCode
from dicom_migration.hooks.archive import open_archive
from dicom_migration.hooks.dicom_folder import DicomFolderHook
from dicom_migration.provider_info import get_provider_info


def test_a_path_is_all_it_takes(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    source = Path(str(get_testdata_file("CT_small.dcm", download=False)))
    (tmp_path / "1.dcm").write_bytes(source.read_bytes())
    monkeypatch.setenv("AIRFLOW_CONN_DICOM_FOLDER_SOURCE", f"dicom-folder:///?path={tmp_path}")
    works, message = DicomFolderHook().test_connection()
    assert works
    assert "instances: 1" in message


@pytest.mark.parametrize(
    ("uri", "problem"),
    [
        ("dicom-folder://", "'path'.*missing"),
        ("dicom-folder:///?path=relative/path", "'path'.*absolute"),
        ("dicom-folder:///?folder=/data", "'folder' .*is not a field"),
    ],
)
def test_a_malformed_path_is_named(uri: str, problem: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_DICOM_FOLDER_SOURCE", uri)
    with pytest.raises(PermanentError, match=problem) as caught:
        DicomFolderHook().get_conn()
    assert caught.value.reason is ReasonCode.CONFIGURATION_INVALID


@pytest.mark.parametrize(
    ("uri", "name"),
    [
        ("dicom://pacs:104/PACS", "dimse:PACS"),
        ("dicomweb://https://pacs/dicom-web", "dicomweb:https://pacs/dicom-web"),
        ("dicom-folder:///?path=/data", "folder:/data"),
    ],
)
def test_the_type_of_the_connection_chooses_the_adapter(
    uri: str, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_SOURCE", uri)
    with open_archive("source") as archive:
        assert isinstance(archive, ImageArchive)
        assert archive.name == name


def test_another_type_is_refused_and_the_trap_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_SOURCE", "generic://pacs")
    with pytest.raises(PermanentError, match="of type generic") as caught:
        open_archive("source")
    assert "silently" in caught.value.next_step
    for known in ("dicom,", "dicomweb", "dicom_folder"):
        assert known in str(caught.value)


def test_a_connection_that_is_not_there_is_refused() -> None:
    with pytest.raises(PermanentError, match="no Airflow connection nowhere"):
        open_archive("nowhere")


def test_what_the_provider_names_exists() -> None:
    info = get_provider_info()
    for entry in info["connection-types"]:
        module, name = entry["hook-class-name"].rsplit(".", 1)
        hook = getattr(importlib.import_module(module), name)
        assert hook.conn_type == entry["connection-type"]
        assert hook.hook_name == entry["hook-name"]
        assert hook().conn_name_attr in vars(hook())
    for entry in info["hooks"]:
        for module in entry["python-modules"]:
            importlib.import_module(module)


@pytest.mark.parametrize("conn_type", ["dicom", "dicomweb", "dicom_folder"])
def test_airflow_finds_the_hook_of_the_installed_package(conn_type: str) -> None:
    hook = Connection(conn_id="source", conn_type=conn_type).get_hook()
    assert hook.conn_type == conn_type
    assert getattr(hook, hook.conn_name_attr) == "source"


def test_importing_a_hook_costs_nothing_but_airflow() -> None:
    code = (
        "import sys, dicom_migration.hooks.archive, dicom_migration.hooks.dicom, "
        "dicom_migration.hooks.dicomweb, dicom_migration.hooks.dicom_folder, "
        "dicom_migration.provider_info; "
        "print([m for m in ('pydicom', 'pynetdicom') if m in sys.modules], "
        "[m for m in sys.modules if m.startswith('dicom_migration.archive')])"
    )
    printed = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert printed.stdout.strip().endswith("[] []")
