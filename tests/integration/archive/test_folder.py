"""A folder with everything that folders have in them."""

from __future__ import annotations

import os
import shutil
import time
import traceback
import zlib
from pathlib import Path
from typing import NoReturn

import pytest
from pydicom import dcmread
from pydicom.data import get_testdata_file

from dicom_migration.archive import StudyQuery
from dicom_migration.archive.folder import FolderArchive, FolderSettings
from dicom_migration.errors import PermanentError, ReasonCode, TransientError
from dicom_migration.uids import is_valid_uid
from tests.integration.archive.real_files import RealFile, read_real_file
from tests.integration.archive.recording_sink import RecordingSink


def open_folder(root: Path) -> FolderArchive:
    return FolderArchive(FolderSettings(root))


def copy(name: str, target: Path) -> RealFile:
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(str(get_testdata_file(name, download=False)), target)
    return read_real_file(target)


def test_a_missing_folder_is_for_a_person(tmp_path: Path) -> None:
    with pytest.raises(PermanentError, match="cannot be listed") as caught:
        open_folder(tmp_path / "not mounted").check()
    assert "mount" in caught.value.next_step
    (tmp_path / "file").write_text("x")
    with pytest.raises(PermanentError):
        open_folder(tmp_path / "file").check()


def test_an_empty_folder_has_no_studies(tmp_path: Path) -> None:
    (tmp_path / "2024" / "empty study").mkdir(parents=True)
    archive = open_folder(tmp_path)
    assert list(archive.find_studies(StudyQuery())) == []
    assert archive.check().observed["studies"] == "0"


def test_everything_that_is_no_instance_is_counted(tmp_path: Path) -> None:
    copy("CT_small.dcm", tmp_path / "a" / "b" / "image with spaces.DCM")
    (tmp_path / "README.txt").write_text("hello")
    (tmp_path / "empty.dcm").touch()
    (tmp_path / "a" / "DICM.bin").write_bytes(bytes(128) + b"DICM" + b"\2\0garbage")
    shutil.copyfile(
        Path(str(get_testdata_file("dicomdirtests/DICOMDIR", download=False))),
        tmp_path / "DICOMDIR",
    )
    facts = open_folder(tmp_path).check().observed
    counted = {k: v for k, v in facts.items() if k not in ("kind", "root")}
    assert counted == {
        "files": "5",
        "instances": "1",
        "non_dicom_files": "2",
        "dicomdir_files": "1",
        "unreadable_files": "1",
        "symbolic_links": "0",
        "studies": "1",
    }


def test_files_without_meta_information_are_instances(tmp_path: Path) -> None:
    for name in ("ExplVR_BigEndNoMeta.dcm", "ExplVR_LitEndNoMeta.dcm", "rtstruct.dcm"):
        shutil.copyfile(str(get_testdata_file(name, download=False)), tmp_path / name)
    archive = open_folder(tmp_path)
    for study in archive.find_studies(StudyQuery()):
        sink = RecordingSink()
        outcome = archive.retrieve_study(study.study_instance_uid, sink)
        assert outcome.failures == []
        contents = [path.read_bytes() for path in tmp_path.iterdir()]
        assert all(data in contents for _, data in sink.committed)


@pytest.mark.parametrize(
    "name", ["CT_small", "MR_small_implicit", "MR_small_bigendian", "JPEG2000", "image_dfl"]
)
def test_a_truncated_file_is_a_failure_and_not_a_short_instance(name: str, tmp_path: Path) -> None:
    file = copy(f"{name}.dcm", tmp_path / "image.dcm")
    content = file.path.read_bytes()
    file.path.write_bytes(content[:-40])
    archive = open_folder(tmp_path)
    assert [r.sop_instance_uid for r in archive.find_instances(file.study_instance_uid)] == [
        file.sop_instance_uid
    ]
    sink = RecordingSink()
    outcome = archive.retrieve_study(file.study_instance_uid, sink)
    assert sink.opened == []
    assert [(f.sop_instance_uid, f.reason) for f in outcome.failures] == [
        (file.sop_instance_uid, ReasonCode.INSTANCE_TRUNCATED.value)
    ]


def test_a_deflate_bomb_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "dicom_migration.archive.folder_delivery.MAX_INFLATED_BYTES", 16 * 1024 * 1024
    )
    file = copy("image_dfl.dcm", tmp_path / "image.dcm")
    head = zlib.decompressobj(-15).decompress(file.dataset, 400)
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    bomb = packer.compress(head + bytes(64 * 1024 * 1024)) + packer.flush()
    content = file.path.read_bytes()
    file.path.write_bytes(content[: -len(file.dataset)] + bomb)
    outcome = open_folder(tmp_path).retrieve_study(file.study_instance_uid, RecordingSink())
    assert [f.reason for f in outcome.failures] == [ReasonCode.INSTANCE_TRUNCATED.value]


def test_two_files_of_one_instance_are_both_delivered(tmp_path: Path) -> None:
    file = copy("MR_small.dcm", tmp_path / "1.dcm")
    copy("MR_small_RLE.dcm", tmp_path / "2.dcm")
    archive = open_folder(tmp_path)
    (study,) = archive.find_studies(StudyQuery())
    assert study.number_of_instances == 1
    assert len(list(archive.find_instances(file.study_instance_uid))) == 1
    sink = RecordingSink()
    archive.retrieve_study(file.study_instance_uid, sink)
    assert sink.opened == [file.sop_instance_uid] * 2
    assert {identity.transfer_syntax_uid for identity, _ in sink.committed} == {
        "1.2.840.10008.1.2.1",
        "1.2.840.10008.1.2.5",
    }


def test_links_lead_nowhere(tmp_path: Path) -> None:
    outside, root = tmp_path / "outside", tmp_path / "root"
    copy("CT_small.dcm", outside / "secret.dcm")
    copy("MR_small.dcm", root / "mine.dcm")
    (root / "file").symlink_to(outside / "secret.dcm")
    (root / "folder").symlink_to(outside)
    (root / "loop").symlink_to(root)
    (root / "dangling").symlink_to(tmp_path / "gone")
    archive = open_folder(root)
    assert archive.check().observed["symbolic_links"] == "4"
    assert archive.check().observed["instances"] == "1"
    (tmp_path / "mount").symlink_to(root)
    assert open_folder(tmp_path / "mount").check().observed["instances"] == "1"


def test_a_file_that_vanished_is_a_failure(tmp_path: Path) -> None:
    file = copy("CT_small.dcm", tmp_path / "1.dcm")
    archive = open_folder(tmp_path)
    archive.check()
    file.path.unlink()
    outcome = archive.retrieve_study(file.study_instance_uid, RecordingSink())
    assert [f.reason for f in outcome.failures] == [ReasonCode.INSTANCE_MISSING.value]


def test_a_fifo_does_not_stop_the_scan(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    copy("CT_small.dcm", tmp_path / "1.dcm")
    assert open_folder(tmp_path).check().observed["instances"] == "1"


def test_dates_in_the_old_form_are_dates(tmp_path: Path) -> None:
    file = copy("ExplVR_BigEnd.dcm", tmp_path / "1.dcm")
    assert file.study_date == "1997.04.24"
    found = list(open_folder(tmp_path).find_studies(StudyQuery("19970424", "19970424")))
    assert [record.study_instance_uid for record in found] == [file.study_instance_uid]


def test_scanning_takes_less_than_a_millisecond_a_file(tmp_path: Path) -> None:
    content = Path(str(get_testdata_file("CT_small.dcm", download=False))).read_bytes()
    for number in range(500):
        (tmp_path / f"{number}.dcm").write_bytes(content)
    began = time.process_time()
    open_folder(tmp_path).check()
    assert (time.process_time() - began) / 500 < 0.001


def test_a_file_without_usable_uids_is_told_as_a_study_that_nobody_can_name(
    tmp_path: Path,
) -> None:
    dataset = dcmread(get_testdata_file("CT_small.dcm"))
    dataset.StudyInstanceUID = "05fa52f0e599f17b"
    dataset.save_as(tmp_path / "bad.dcm")
    archive = FolderArchive(FolderSettings(tmp_path))
    (found,) = archive.find_studies(StudyQuery())
    assert not is_valid_uid(found.study_instance_uid)
    assert list(archive.find_studies(StudyQuery(date_from="19000101", date_to="20991231"))) == []
    assert archive.check().observed["unreadable_files"] == "1"


@pytest.mark.parametrize("broken", ["scan", "delivery"])
def test_the_path_of_a_file_is_not_in_the_error_or_what_caused_it(
    broken: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = copy("CT_small.dcm", tmp_path / "DOE^JANE" / "1.dcm")
    archive = open_folder(tmp_path)

    def fail(*_: object, **__: object) -> NoReturn:
        raise OSError(5, "Input/output error", str(tmp_path / "DOE^JANE" / "1.dcm"))

    if broken == "delivery":
        archive.check()
        monkeypatch.setattr(Path, "open", fail)
    else:
        monkeypatch.setattr("dicom_migration.archive.folder_index.read_header", fail)
    with pytest.raises(TransientError) as caught:
        archive.retrieve_study(file.study_instance_uid, RecordingSink())
    assert "DOE^JANE" not in "".join(traceback.format_exception(caught.value))


def test_studies_are_found_by_the_beginning_of_the_patient_id(tmp_path: Path) -> None:
    file = copy("CT_small.dcm", tmp_path / "1.dcm")
    found = [
        len(list(open_folder(tmp_path).find_studies(StudyQuery(patient_id_prefix=prefix))))
        for prefix in ("1CT", "2")
    ]
    assert dcmread(file.path).PatientID == "1CT1"
    assert found == [1, 0]
