"""pynetdicom's qrscp gives back what the folder had."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from pydicom import dcmread
from pydicom.data import get_testdata_file
from pydicom.uid import UltrasoundMultiFrameImageStorage

from include.peers.load_report import LoadReport
from include.peers.process import free_port, is_listening
from include.peers.qrscp import Qrscp
from include.sample_archive import ArchiveIndex, StudyEntry
from tests.include.peers.dimse_client import find_studies, get_study, move_study, receive

# What pydicom thinks of the values that a peer returns would show them.
pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:pydicom")


@pytest.fixture(scope="module")
def landing_port() -> int:
    return free_port()


@pytest.fixture(scope="module")
def peer(tmp_path_factory: pytest.TempPathFactory, landing_port: int) -> Iterator[Qrscp]:
    # A space and a per cent sign in the path: both have broken the configuration file.
    workdir = tmp_path_factory.mktemp("qrscp") / "100 % full"
    with Qrscp(workdir, move_destinations={"LANDING": ("127.0.0.1", landing_port)}) as running:
        yield running
    assert not is_listening(running.port)


@pytest.fixture(scope="module")
def report(peer: Qrscp, archive: Path) -> LoadReport:
    return peer.load(archive)


def study_with(archive: Path, code: str) -> StudyEntry:
    return next(s for s in ArchiveIndex.read(archive).studies if code in s.defects)


def contexts_of(archive: Path, study: StudyEntry) -> set[tuple[str, str]]:
    headers = [dcmread(archive / path, stop_before_pixels=True) for path in study.files]
    return {(header.SOPClassUID, header.file_meta.TransferSyntaxUID) for header in headers}


def test_every_file_is_loaded_or_reported(archive: Path, report: LoadReport) -> None:
    index = ArchiveIndex.read(archive)
    assert report.loaded + len(report.skipped) == index.instances
    (twin,) = report.skipped
    assert "SOP Instance UID is stored already" in twin.reason
    duplicates = {p.file for p in index.planted if p.code == "duplicate_sop_instance_uid"}
    assert twin.path.relative_to(archive).as_posix() in duplicates
    # One row stands for the image of the empty study.
    assert report.instances == report.loaded + 1
    assert report.studies == len(index.studies)


def test_it_finds_every_study_the_empty_one_too(
    peer: Qrscp, archive: Path, report: LoadReport
) -> None:
    found = find_studies(peer.port, peer.ae_title)
    assert {str(answer.StudyInstanceUID) for answer in found} == {
        study.study_instance_uid for study in ArchiveIndex.read(archive).studies
    }
    # What a client must know: one answer an instance.
    assert len(found) == report.instances


def test_a_study_comes_back_as_the_folder_had_it(
    peer: Qrscp, archive: Path, report: LoadReport
) -> None:
    study = next(s for s in ArchiveIndex.read(archive).studies if s.modality == "CT")
    contexts = contexts_of(archive, study)
    status, received = get_study(peer.port, peer.ae_title, study.study_instance_uid, contexts)
    assert status == 0x0000
    assert len(received) == study.instances
    for path in study.files:
        header = dcmread(archive / path, stop_before_pixels=True)
        assert (archive / path).read_bytes().endswith(received[header.SOPInstanceUID])


def test_wrongly_encoded_values_are_sent_as_they_are(
    peer: Qrscp, archive: Path, report: LoadReport
) -> None:
    study = study_with(archive, "charset_utf8_declared_latin1")
    contexts = contexts_of(archive, study)
    _, received = get_study(peer.port, peer.ae_title, study.study_instance_uid, contexts)
    (dataset,) = received.values()
    assert "Grünwald^Jörg".encode() in dataset


def test_the_empty_study_cannot_be_retrieved(
    peer: Qrscp, archive: Path, report: LoadReport
) -> None:
    (row,) = ArchiveIndex.read(archive).database_only
    contexts = [(row["SOPClassUID"], "1.2.840.10008.1.2.1")]
    status, received = get_study(peer.port, peer.ae_title, row["StudyInstanceUID"], contexts)
    assert status == 0xC421
    assert not received


def test_a_study_is_moved_to_a_known_destination(
    peer: Qrscp, archive: Path, report: LoadReport, landing_port: int
) -> None:
    study = next(
        s for s in ArchiveIndex.read(archive).studies if s.modality == "US" and s.instances == 2
    )
    received: list[str] = []
    entity = receive("LANDING", landing_port, UltrasoundMultiFrameImageStorage, received)
    try:
        status = move_study(peer.port, peer.ae_title, study.study_instance_uid, "LANDING")
    finally:
        entity.shutdown()
    assert status == 0x0000
    assert len(received) == 2


def test_its_log_shows_no_value_of_a_header(peer: Qrscp, report: LoadReport) -> None:
    find_studies(peer.port, peer.ae_title)
    log = peer.log_path.read_text()
    assert "Doe" not in log
    assert "Invalid value" not in log


def test_a_folder_of_anything_is_loaded_before_the_start_too(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    root = Path(str(get_testdata_file("CT_small.dcm"))).parent
    shutil.copytree(root, folder / "published")
    (folder / "empty").touch()
    (folder / "letter.txt").write_text("Dear colleague,")
    (folder / "archive-index.json").write_text("[]")
    peer = Qrscp(tmp_path / "work")
    report = peer.load(folder)
    files = sum(1 for path in folder.rglob("*") if path.is_file()) - 1
    assert report.loaded + len(report.skipped) == files
    assert report.loaded > 100
    reasons = {skipped.path.name: skipped.reason for skipped in report.skipped}
    assert reasons["letter.txt"] == "not a DICOM file"
    assert "DICOMDIR" in reasons["DICOMDIR"]
    with peer:
        assert len(find_studies(peer.port, peer.ae_title)) == report.instances
    again = peer.load(folder)
    assert again.loaded == 0
    assert again.instances == report.instances
