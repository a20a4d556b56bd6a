import io
from dataclasses import replace
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from sqlalchemy import select, update

from dicom_migration.cleansing.identity import note_identity_conflicts
from dicom_migration.errors import ReasonCode
from dicom_migration.ledger import Ledger, schema
from dicom_migration.manifest import ManifestRow, encode_manifest
from dicom_migration.manifest.parquet import compact, decode_table
from dicom_migration.operations.duplicates import Duplicates, note_duplicates
from dicom_migration.operations.resolutions import Action, Resolution
from dicom_migration.operations.resolving import resolve
from dicom_migration.operations.selecting import Selection
from tests.unit.cleansing.conftest import WAVE, AddStudy
from tests.unit.operations.conftest import statuses


def row(study: int, instance: int, pixels: str, source_pixels: str = "") -> ManifestRow:
    return ManifestRow(
        study_instance_uid=f"1.2.{study}",
        series_instance_uid=f"1.2.{study}.1",
        sop_instance_uid=f"1.2.{study}.1.{instance}",
        sop_class_uid="1.2.840.10008.5.1.4.1.1.2",
        transfer_syntax_uid="1.2.840.10008.1.2.1",
        dataset_bytes=10,
        dataset_sha256=f"{study}-{instance}",
        object_bytes=10,
        object_sha256=f"{study}-{instance}",
        pixel_bytes=4 if pixels else None,
        pixel_sha256=pixels,
        object_key=f"k/{study}/{instance}",
        source="test",
        source_pixel_sha256=source_pixels,
    )


class Folder:
    """The compacted manifests of a wave, in files."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def write(self, key: str, *rows: ManifestRow) -> str:
        body = io.BytesIO()
        pq.write_table(compact([decode_table(encode_manifest(rows)[0])]), body)
        (self._folder / key).write_bytes(body.getvalue())
        return key

    def read(self, key: str) -> bytes:
        return (self._folder / key).read_bytes()


@pytest.fixture
def parts(tmp_path: Path) -> Folder:
    return Folder(tmp_path)


def test_one_image_under_several_uids_is_reported_once(
    ledger: Ledger, add_study: AddStudy, parts: Folder
) -> None:
    for number in (1, 2, 3):
        add_study(number)
    keys = [
        parts.write("a", row(1, 1, "same"), row(1, 2, "other"), row(1, 3, ""), row(1, 4, "")),
        parts.write("b", row(2, 1, "same"), row(3, 1, "jls", "raw"), row(3, 2, "raw")),
    ]
    assert note_duplicates(parts, ledger, WAVE, keys) == Duplicates(2, 0)
    assert note_duplicates(parts, ledger, WAVE, keys) == Duplicates(2, 0)
    with ledger.read() as connection:
        notes = connection.execute(select(schema.exception)).all()
    assert {(n.sop_instance_uid, n.reason) for n in notes} == {
        ("1.2.1.1.1", "instance_duplicated"),
        ("1.2.3.1.1", "instance_duplicated"),
    }
    (first,) = (n for n in notes if n.study_instance_uid == "1.2.1")
    assert "2 SOP Instance UIDs in 2 studies" in first.detail
    assert "1.2.2.1.1" in first.detail


def test_the_same_instance_listed_twice_is_no_duplicate(ledger: Ledger, parts: Folder) -> None:
    key = parts.write("a", row(1, 1, "same"))
    assert note_duplicates(parts, ledger, WAVE, [key, key]) == Duplicates(0, 0)
    assert note_duplicates(parts, ledger, WAVE, []) == Duplicates(0, 0)


def test_one_uid_in_two_studies_is_one_exception_with_what_cleansing_noted(
    ledger: Ledger, add_study: AddStudy, parts: Folder
) -> None:
    for number in (1, 2):
        add_study(number, {})
    twin = replace(row(2, 1, "b"), sop_instance_uid="1.2.1.1.1")
    with ledger.write() as connection:
        connection.execute(update(schema.header_fact).values(sop_instance_uid="1.2.1.1.1"))
    note_identity_conflicts(ledger, WAVE)
    key = parts.write("a", row(1, 1, "a"), twin, row(1, 2, ""), row(2, 2, ""))
    assert note_duplicates(parts, ledger, WAVE, [key]) == Duplicates(0, 2)
    with ledger.read() as connection:
        notes = connection.execute(select(schema.exception)).all()
    found = {(n.study_instance_uid, n.sop_instance_uid) for n in notes if "instance" in n.reason}
    assert found == {("1.2.1", "1.2.1.1.1"), ("1.2.2", "1.2.1.1.1")}
    assert len([n for n in notes if n.reason == "instance_conflict"]) == 2


def test_accepted_duplicates_are_not_reported_again(
    ledger: Ledger, add_study: AddStudy, parts: Folder
) -> None:
    add_study(1)
    key = parts.write("a", row(1, 1, "blank"), row(1, 2, "blank"))
    note_duplicates(parts, ledger, WAVE, [key])
    chosen = Selection(reasons=(ReasonCode.INSTANCE_DUPLICATED.value,))
    resolve(ledger, chosen, Resolution(Action.ACCEPT, by="ada", run_id="r"), 10)
    note_duplicates(parts, ledger, WAVE, [key])
    assert statuses(ledger) == ["accepted"]
