"""C-GET over as many associations as the SOP classes of a study need, and no more."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from dataclasses import replace
from io import BytesIO
from pathlib import Path

import pytest
from pydicom.filereader import read_dataset

from dicom_migration.archive import InstanceRecord, StudyQuery
from dicom_migration.archive.dicomweb import DicomWebArchive, DicomWebSettings
from dicom_migration.archive.dimse import DimseArchive, DimseSettings
from dicom_migration.archive.dimse_association import Association
from dicom_migration.archive.dimse_command import CommandField, Field
from dicom_migration.archive.dimse_settings import RetrieveMethod
from dicom_migration.errors import TransientError
from include.peers import Orthanc
from include.peers.process import free_port
from tests.conftest import require
from tests.integration.archive.real_files import SECONDARY_CAPTURE, RealFile, read_real_file
from tests.integration.archive.recording_sink import RecordingSink
from tests.integration.archive.scripted_source import (
    ScriptedSource,
    answer,
    store_request,
    take_request,
)

STUDY = "1.2.826.0.1.1"
STORAGE = "1.2.840.10008.5.1.4.1.1."
DEFLATED = "1.2.840.10008.1.2.1.99"
# Twenty-two transfer syntaxes each: an association has room for five of them.
CLASSES = [STORAGE + number for number in ("2", "4", "1", "1.1", "20", "128", "7.1", "481.1")]
EXPECTED = tuple(
    InstanceRecord(STUDY, "1.2", f"1.3.{number}", uid) for number, uid in enumerate(CLASSES)
)


def holding(instances: tuple[InstanceRecord, ...]) -> Callable[[Association], None]:
    """Behave as a source that ends an operation at the first instance that it cannot send."""

    def script(association: Association) -> None:
        while True:
            request_id, command = association.receive_command(5)
            wanted = asked_for(association.receive_dataset(command))
            completed = 0
            for record in instances:
                if wanted and record.sop_instance_uid not in wanted:
                    continue
                context = association.context_for(record.sop_class_uid)
                if context is None:
                    break
                stored = store_request(record.sop_class_uid, record.sop_instance_uid)
                association.send(context.context_id, stored, b"data")
                association.receive_command(5)
                completed += 1
            else:
                answer(association, (request_id, command), 0x0000, completed=completed, failed=0)
                continue
            answer(association, (request_id, command), 0xC000, completed=completed, failed=1)

    return script


def asked_for(identifier: bytes) -> set[str]:
    read = read_dataset(BytesIO(identifier), is_implicit_VR=False, is_little_endian=True)
    uids = read.get("SOPInstanceUID") or []
    return {uids} if isinstance(uids, str) else set(uids)


def test_a_study_of_many_classes_is_fetched_over_several_associations() -> None:
    sink = RecordingSink()
    with ScriptedSource(holding(EXPECTED)) as peer, DimseArchive(peer.settings()) as archive:
        outcome = archive.retrieve_study(STUDY, sink, EXPECTED)
    assert peer.associations == 2
    assert sorted(outcome.delivered) == sorted(r.sop_instance_uid for r in EXPECTED)
    assert outcome.failures == []
    assert (outcome.reported_completed, outcome.reported_failed) == (8, 0)


def test_nothing_more_is_asked_once_everything_came() -> None:
    few = EXPECTED[:2]
    with ScriptedSource(holding(few)) as peer, DimseArchive(peer.settings()) as archive:
        assert len(archive.retrieve_study(STUDY, RecordingSink(), few).delivered) == 2
    assert peer.associations == 1


def test_a_source_that_fails_outright_is_not_asked_again_for_every_class() -> None:
    unknown = (replace(EXPECTED[0], sop_class_uid=""),)
    asked: list[int] = []

    def fail(association: Association) -> None:
        request = take_request(association)
        searching = request[1][Field.COMMAND_FIELD] == CommandField.C_FIND_RQ
        asked.append(not searching)
        answer(association, request, 0x0000 if searching else 0xA701)

    with (
        ScriptedSource(fail) as peer,
        DimseArchive(peer.settings()) as archive,
        pytest.raises(TransientError, match="0xA701"),
    ):
        archive.retrieve_study(STUDY, RecordingSink(), unknown)
    assert sum(asked) == 1


@pytest.mark.parametrize("interrupt", [KeyboardInterrupt, SystemExit])
def test_an_interrupted_retrieval_aborts_the_association(
    interrupt: type[BaseException],
) -> None:
    class Interrupting(RecordingSink):
        def trip(self, at: str, identity: object) -> None:
            if at == "write":
                raise interrupt

    sink = Interrupting()
    ended: list[str] = []

    def send_one(association: Association) -> None:
        try:
            holding(EXPECTED[:1])(association)
        except TransientError as error:
            ended.append(error.message)
            raise

    with ScriptedSource(send_one) as peer, pytest.raises(interrupt):
        DimseArchive(peer.settings()).retrieve_study(STUDY, sink, EXPECTED[:1])
    assert len(ended) == 1
    assert "aborted" in ended[0]
    assert sink.aborted == ["1.3.0"]


def test_a_source_that_tells_no_classes_is_asked_with_guesses_until_all_came() -> None:
    held = tuple(
        InstanceRecord(STUDY, "1.2", f"1.4.{number}", STORAGE + family)
        for number, family in enumerate(("2", "66.4", "88.11"))
    )

    def send_what_it_can(association: Association) -> None:
        request = take_request(association)
        if request[1][Field.COMMAND_FIELD] == CommandField.C_FIND_RQ:
            answer(association, request, 0x0000)
            return
        sendable = [r for r in held if association.context_for(r.sop_class_uid)]
        for record in sendable:
            context = association.context_for(record.sop_class_uid)
            assert context is not None
            stored = store_request(record.sop_class_uid, record.sop_instance_uid)
            association.send(context.context_id, stored, b"data")
            association.receive_command(5)
        failed = len(held) - len(sendable)
        counters = {"completed": len(sendable), "failed": failed}
        answer(association, request, 0xB000 if failed else 0, **counters)

    unknown = tuple(replace(record, sop_class_uid="") for record in held)
    with ScriptedSource(send_what_it_can) as peer, DimseArchive(peer.settings()) as archive:
        outcome = archive.retrieve_study(STUDY, RecordingSink(), unknown)
    assert sorted(outcome.delivered) == [record.sop_instance_uid for record in held]
    assert outcome.failures == []
    assert (outcome.reported_completed, outcome.reported_failed) == (3, 0)


@pytest.mark.peers
def test_without_being_told_the_instances_everything_comes(
    orthanc: Orthanc, archive_files: tuple[RealFile, ...]
) -> None:
    settings = DimseSettings("127.0.0.1", orthanc.port, orthanc.ae_title)
    delivered = []
    with DimseArchive(settings) as archive:
        for study in archive.find_studies(StudyQuery()):
            outcome = archive.retrieve_study(study.study_instance_uid, RecordingSink())
            assert outcome.failures == []
            delivered += outcome.delivered
    assert sorted(delivered) == sorted(f.sop_instance_uid for f in archive_files)


@pytest.mark.peers
def test_a_real_study_of_many_classes_comes_whole(
    session_tmp: Path, archive_files: tuple[RealFile, ...]
) -> None:
    require(Orthanc.available(), "orthanc")
    folder = session_tmp / "many classes"
    folder.mkdir()
    image = next(f for f in archive_files if f.label == "SC_rgb_small_odd")
    uid = image.sop_instance_uid.encode()
    for number, last in enumerate(("1", "2", "4", "5", "6", "7", "20")):
        # In place, within the padding: not a byte is moved.
        sop_class = (STORAGE + last).encode().ljust(len(SECONDARY_CAPTURE) + 1, b"\0")
        content = image.path.read_bytes().replace(SECONDARY_CAPTURE + b"\0", sop_class)
        other = content.replace(uid, uid[:-2] + b"%02d" % (number + 10))
        (folder / f"{number}.dcm").write_bytes(other)
    files = {f.sop_instance_uid: f for f in map(read_real_file, folder.glob("*.dcm"))}
    assert len({f.sop_class_uid for f in files.values()}) == 7
    sink = RecordingSink()
    with Orthanc(session_tmp / "orthanc of many classes") as peer:
        peer.load(folder)
        with DimseArchive(DimseSettings("127.0.0.1", peer.port, peer.ae_title)) as archive:
            outcome = archive.retrieve_study(image.study_instance_uid, sink)
    assert sorted(outcome.delivered) == sorted(files)
    assert outcome.reported_completed == 7
    assert all(files[i.sop_instance_uid].dataset == data for i, data in sink.committed)


@pytest.mark.peers
@pytest.mark.parametrize("method", ["C-GET", "C-MOVE"])
def test_what_the_source_has_written_itself_arrives_byte_for_byte(
    method: RetrieveMethod, session_tmp: Path, archive_files: tuple[RealFile, ...]
) -> None:
    """DCMTK writes once more when it sends; what it wrote already, it writes the same."""
    require(Orthanc.available(), "orthanc")
    require(shutil.which("dcmconv"), "dcmtk")
    folder = session_tmp / f"written by DCMTK for {method}"
    folder.mkdir()
    for file in archive_files:
        command = ["dcmconv", "--padding-off", str(file.path), str(folder / file.path.name)]
        subprocess.run(command, check=True, capture_output=True)
    files = {f.sop_instance_uid: f for f in map(read_real_file, folder.glob("*.dcm"))}
    assert len({f.transfer_syntax_uid for f in files.values()}) == 10
    landing_port = free_port()
    destinations = {"DICOM_MIGRATION": ("127.0.0.1", landing_port)}
    sink = RecordingSink()
    with Orthanc(session_tmp / f"orthanc {method}", move_destinations=destinations) as peer:
        peer.load(folder)
        settings = DimseSettings("127.0.0.1", peer.port, peer.ae_title, landing_port=landing_port)
        with DimseArchive(replace(settings, retrieve_method=method)) as archive:
            for study in sorted({f.study_instance_uid for f in files.values()}):
                archive.retrieve_study(study, sink, tuple(archive.find_instances(study)))
    assert len(sink.committed) == len(files)
    for identity, data in sink.committed:
        held = files[identity.sop_instance_uid]
        assert identity.transfer_syntax_uid == held.transfer_syntax_uid
        # A deflated dataset is sent with even length (PS3.5 section A.5).
        padded = held.transfer_syntax_uid == DEFLATED and len(held.dataset) % 2 == 1
        assert data == held.dataset + (b"\0" if padded else b""), held.label


@pytest.mark.peers
def test_the_metadata_of_a_study_can_be_had_over_the_web(
    orthanc: Orthanc, archive_files: tuple[RealFile, ...]
) -> None:
    require(Orthanc.dicomweb_available(), "orthanc-dicomweb")
    study = archive_files[0].study_instance_uid
    with DicomWebArchive(DicomWebSettings(orthanc.dicomweb_url)) as archive:
        (metadata,) = archive.study_metadata(study)
    assert metadata["00080018"]["Value"] == [archive_files[0].sop_instance_uid]
