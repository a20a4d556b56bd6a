"""Every way in which a source can refuse, fail or fall silent, and what the operator is told."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from dataclasses import replace

import pytest
from pynetdicom import AE, evt
from pynetdicom.sop_class import (
    StudyRootQueryRetrieveInformationModelFind,
    StudyRootQueryRetrieveInformationModelGet,
    Verification,
)

from dicom_migration.archive import InstanceRecord, StudyQuery
from dicom_migration.archive.dimse import DimseArchive, DimseSettings
from dicom_migration.archive.dimse_association import Association
from dicom_migration.archive.dimse_command import CommandField, Field, encode_command
from dicom_migration.archive.dimse_identifier import encode_identifier
from dicom_migration.archive.records import PATIENT_NAME, STUDY_INSTANCE_UID
from dicom_migration.errors import PermanentError, ReasonCode, TransientError
from include.peers.process import free_port
from tests.integration.archive.recording_sink import RecordingSink
from tests.integration.archive.scripted_source import (
    ScriptedSource,
    answer,
    store_request,
    take_request,
)

STUDY, SERIES, INSTANCE = "1.2.826.0.1.1", "1.2.826.0.1.2", "1.2.826.0.1.3"
CT = "1.2.840.10008.5.1.4.1.1.2"
EXPECTED = (InstanceRecord(STUDY, SERIES, INSTANCE, CT),)
EXPLICIT = "1.2.840.10008.1.2.1"


def plain(port: int) -> DimseSettings:
    return DimseSettings("127.0.0.1", port, "PACS", acse_timeout_s=1, dimse_timeout_s=1)


@pytest.fixture
def strict_scp() -> Iterator[int]:
    """Give the port of a pynetdicom SCP that knows one calling AE title and its own."""
    entity = AE(ae_title="PACS")
    entity.require_called_aet = True
    entity.require_calling_aet = ["DICOM_MIGRATION"]
    for context in (
        Verification,
        StudyRootQueryRetrieveInformationModelFind,
        StudyRootQueryRetrieveInformationModelGet,
    ):
        entity.add_supported_context(context)
    handlers = [(evt.EVT_C_ECHO, lambda event: 0x0000)]
    server = entity.start_server(("127.0.0.1", 0), block=False, evt_handlers=handlers)
    yield int(server.server_address[1])
    server.shutdown()


def test_a_closed_port_is_worth_another_try() -> None:
    with pytest.raises(TransientError, match="cannot be reached") as caught:
        DimseArchive(plain(free_port())).check()
    assert caught.value.reason is ReasonCode.SOURCE_UNREACHABLE
    assert "Next step" in str(caught.value)


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (socket.gaierror(socket.EAI_NONAME, "unknown"), PermanentError),
        (socket.gaierror(socket.EAI_AGAIN, "later"), TransientError),
        (TimeoutError(), TransientError),
        (OSError(113, "No route to host"), TransientError),
    ],
)
def test_a_host_that_cannot_be_reached(
    error: OSError, kind: type[Exception], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(socket, "create_connection", fail)
    with pytest.raises(kind) as caught:
        DimseArchive(plain(104)).check()
    assert caught.value.reason is ReasonCode.SOURCE_UNREACHABLE  # type: ignore[attr-defined]


def test_the_right_ae_titles_are_let_in(strict_scp: int) -> None:
    check = DimseArchive(plain(strict_scp)).check()
    assert check.facts["implementation_version_name"].startswith("PYNETDICOM")
    assert check.facts["study_root_move"] == "not accepted"
    assert check.facts["max_pdu_bytes"] == "16382"


def test_a_wrong_called_ae_title_is_for_a_person(strict_scp: int) -> None:
    with pytest.raises(PermanentError, match="called AE title not recognised") as caught:
        DimseArchive(replace(plain(strict_scp), called_ae_title="OTHER")).check()
    assert caught.value.reason is ReasonCode.SOURCE_REJECTED
    assert "called_ae_title" in caught.value.next_step


def test_an_unknown_calling_ae_title_is_for_a_person(strict_scp: int) -> None:
    with pytest.raises(PermanentError, match="calling AE title not recognised") as caught:
        DimseArchive(replace(plain(strict_scp), calling_ae_title="STRANGER")).check()
    assert "Register our calling AE title" in caught.value.next_step


def test_a_retrieval_method_that_is_not_accepted_is_for_a_person(strict_scp: int) -> None:
    with pytest.raises(PermanentError, match="study_root_move") as caught:
        DimseArchive(replace(plain(strict_scp), retrieve_method="C-MOVE")).check()
    assert caught.value.reason is ReasonCode.SOURCE_REFUSED_OPERATION


@pytest.mark.parametrize(
    ("result", "source", "diagnostic", "kind"),
    [
        (2, 1, 1, TransientError),
        (2, 3, 1, TransientError),
        (2, 3, 2, TransientError),
        (1, 3, 2, TransientError),
        (1, 1, 1, PermanentError),
        (1, 1, 2, PermanentError),
        (1, 2, 2, PermanentError),
        (1, 9, 9, PermanentError),
    ],
)
def test_rejections_are_told_apart(
    result: int, source: int, diagnostic: int, kind: type[Exception]
) -> None:
    def reject(connection: socket.socket) -> None:
        connection.recv(65536)
        connection.sendall(bytes([3, 0, 0, 0, 0, 4, 0, result, source, diagnostic]))

    with ScriptedSource(raw=reject) as peer, pytest.raises(kind, match="rejected"):
        DimseArchive(peer.settings()).check()


@pytest.mark.parametrize(
    ("said", "kind"),
    [
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", PermanentError),
        (bytes([2, 0, 0, 0, 0, 4, 1, 2, 3, 4]), PermanentError),
        (bytes([2, 0, 255, 255, 255, 255]), PermanentError),
        (bytes([4, 0, 0, 0, 0, 4, 1, 2, 3, 4]), PermanentError),
        (bytes([7, 0, 0, 0, 0, 4, 0, 0, 2, 1]), TransientError),
        (b"\x02\x00", TransientError),
        (b"", TransientError),
    ],
)
def test_what_does_not_speak_dicom_is_found_out(said: bytes, kind: type[Exception]) -> None:
    def speak(connection: socket.socket) -> None:
        connection.recv(65536)
        connection.sendall(said)
        connection.shutdown(socket.SHUT_WR)

    with ScriptedSource(raw=speak) as peer, pytest.raises(kind):
        DimseArchive(peer.settings()).check()


def test_a_peer_that_accepts_connections_and_says_nothing_times_out() -> None:
    with ScriptedSource(raw=lambda connection: time.sleep(2)) as peer:
        began = time.monotonic()
        with pytest.raises(TransientError, match="did not answer the association request"):
            DimseArchive(peer.settings(acse_timeout_s=0.3)).check()
        assert time.monotonic() - began < 1.5


@pytest.mark.parametrize(
    ("status", "kind", "reason"),
    [
        (0xA700, TransientError, ReasonCode.SOURCE_BUSY),
        (0xA900, PermanentError, ReasonCode.SOURCE_REFUSED_OPERATION),
        (0xC000, TransientError, ReasonCode.SOURCE_FAILED),
        (0xFE00, TransientError, ReasonCode.SOURCE_FAILED),
        (0x0122, PermanentError, ReasonCode.SOURCE_REFUSED_OPERATION),
        (0x0124, PermanentError, ReasonCode.SOURCE_REFUSED_OPERATION),
    ],
)
def test_a_search_that_fails_is_not_an_empty_one(
    status: int, kind: type[Exception], reason: ReasonCode
) -> None:
    def fail(association: Association) -> None:
        request = take_request(association)
        answer(association, request, 0xFF00, dataset=row(STUDY_INSTANCE_UID, STUDY))
        answer(association, request, status)

    with ScriptedSource(fail) as peer, DimseArchive(peer.settings()) as archive:
        search = archive.find_studies(StudyQuery())
        assert next(search).study_instance_uid == STUDY
        with pytest.raises(kind, match=f"0x{status:04X}") as caught:
            next(search)
        assert caught.value.reason is reason  # type: ignore[attr-defined]


def row(tag: int, value: str) -> bytes:
    return encode_identifier({tag: value}, EXPLICIT)


def test_rows_of_other_studies_and_repeated_rows_are_left_out() -> None:
    def ramble(association: Association) -> None:
        request = take_request(association)
        for uid in (STUDY, STUDY, "1.9.9", STUDY):
            answer(association, request, 0xFF01, dataset=row(STUDY_INSTANCE_UID, uid))
        answer(association, request, 0xFF00, dataset=row(PATIENT_NAME, "NO^UID"))
        answer(association, request, 0x0000)

    with ScriptedSource(ramble) as peer, DimseArchive(peer.settings()) as archive:
        found = list(archive.find_studies(StudyQuery(study_instance_uids=(STUDY,))))
        assert [record.study_instance_uid for record in found] == [STUDY]


def test_a_study_without_a_uid_is_told_so_that_it_can_be_counted() -> None:
    def answer_nameless(association: Association) -> None:
        request = take_request(association)
        answer(association, request, 0xFF00, dataset=row(PATIENT_NAME, "NO^UID"))
        answer(association, request, 0x0000)

    with ScriptedSource(answer_nameless) as peer, DimseArchive(peer.settings()) as archive:
        (found,) = archive.find_studies(StudyQuery())
    assert (found.study_instance_uid, found.patient_name) == ("", "NO^UID")


def test_a_kept_association_that_the_source_closed_is_opened_again() -> None:
    def once(association: Association) -> None:
        answer(association, take_request(association), 0x0000)
        association.abort()

    with ScriptedSource(once) as peer, DimseArchive(peer.settings()) as archive:
        assert list(archive.find_studies(StudyQuery())) == []
        time.sleep(0.1)
        assert list(archive.find_studies(StudyQuery())) == []
        assert peer.associations == 2


def test_a_search_left_early_does_not_leak_into_the_next() -> None:
    def many(association: Association) -> None:
        request = take_request(association)
        for number in range(500):
            answer(association, request, 0xFF00, dataset=row(STUDY_INSTANCE_UID, f"1.{number}"))
        answer(association, request, 0x0000)

    with ScriptedSource(many) as peer, DimseArchive(peer.settings()) as archive:
        search = archive.find_studies(StudyQuery())
        next(search)
        search.close()  # type: ignore[attr-defined]
        assert len(list(archive.find_studies(StudyQuery()))) == 500


def test_a_source_that_falls_silent_times_out() -> None:
    def stall(association: Association) -> None:
        take_request(association)
        time.sleep(1.5)

    with ScriptedSource(stall) as peer:
        archive = DimseArchive(peer.settings(dimse_timeout_s=0.3))
        with pytest.raises(TransientError, match=r"no message for 0\.3 seconds"):
            list(archive.find_studies(StudyQuery()))


def send_instance(association: Association, uid: str, dataset: bytes) -> int:
    context = association.context_for(CT)
    assert context is not None
    association.send(context.context_id, store_request(CT, uid), dataset)
    _, response = association.receive_command(5)
    return int(response[Field.STATUS])


def test_an_abort_in_the_middle_keeps_what_was_delivered() -> None:
    statuses = []

    def abort(association: Association) -> None:
        take_request(association)
        statuses.append(send_instance(association, INSTANCE, b"whole instance"))
        association.abort()

    sink = RecordingSink()
    with (
        ScriptedSource(abort) as peer,
        DimseArchive(peer.settings()) as archive,
        pytest.raises(TransientError, match="aborted the association"),
    ):
        archive.retrieve_study(STUDY, sink, EXPECTED)
    assert statuses == [0]
    assert [data for _, data in sink.committed] == [b"whole instance"]


@pytest.mark.parametrize("how", ["stall", "cut", "abort"])
def test_a_source_that_stops_inside_an_instance_delivers_nothing_of_it(how: str) -> None:
    def begin(association: Association) -> None:
        take_request(association)
        context = association.context_for(CT)
        assert context is not None
        command = {**store_request(CT, INSTANCE), Field.DATASET_TYPE: 1}
        stream = association.stream
        stream.send(association._pdus(context.context_id, encode_command(command), 1))
        fragment = bytes([context.context_id, 0]) + b"half of an instance"
        pdv = len(fragment).to_bytes(4, "big") + fragment
        stream.send(bytes([4, 0]) + len(pdv).to_bytes(4, "big") + pdv)
        if how == "stall":
            time.sleep(1.5)
        elif how == "cut":
            stream.close()
        else:
            association.abort()

    sink = RecordingSink()
    with ScriptedSource(begin) as peer:
        archive = DimseArchive(peer.settings(network_timeout_s=0.3))
        with pytest.raises(TransientError):
            archive.retrieve_study(STUDY, sink, EXPECTED)
    assert sink.opened == sink.aborted == [INSTANCE]
    assert sink.committed == []


def test_success_is_answered_only_after_the_commit_and_failure_when_there_is_none() -> None:
    statuses: list[int] = []

    def send_three(association: Association) -> None:
        request = take_request(association)
        for uid in ("1.1", "1.2", "1.3"):
            statuses.append(send_instance(association, uid, b"data"))
        answer(association, request, 0xB000, completed=2, failed=1)

    refusal = PermanentError("unreadable", reason=ReasonCode.HEADER_UNREADABLE)
    sink = RecordingSink(fail_on={"1.2": refusal}, fail_at="commit")
    with ScriptedSource(send_three) as peer, DimseArchive(peer.settings()) as archive:
        outcome = archive.retrieve_study(STUDY, sink, EXPECTED)
    assert statuses == [0x0000, 0xC000, 0x0000]
    assert outcome.delivered == ["1.1", "1.3"]
    assert [f.sop_instance_uid for f in outcome.failures] == ["1.2"]


def test_a_full_disk_is_answered_with_out_of_resources_and_ends_the_association() -> None:
    statuses: list[int] = []

    def send_two(association: Association) -> None:
        take_request(association)
        for uid in ("1.1", "1.2"):
            statuses.append(send_instance(association, uid, b"data"))

    sink = RecordingSink(fail_on={"1.1": OSError(28, "No space left")}, fail_at="write")
    with (
        ScriptedSource(send_two) as peer,
        DimseArchive(peer.settings()) as archive,
        pytest.raises(OSError, match="No space left"),
    ):
        archive.retrieve_study(STUDY, sink, EXPECTED)
    assert statuses == [0xA700]


def test_a_source_that_breaks_the_protocol_is_left() -> None:
    def break_it(association: Association) -> None:
        take_request(association)
        association.send(1, {Field.COMMAND_FIELD: int(CommandField.C_ECHO_RSP), Field.STATUS: 0})

    with (
        ScriptedSource(break_it) as peer,
        DimseArchive(peer.settings()) as archive,
        pytest.raises(PermanentError) as caught,
    ):
        archive.retrieve_study(STUDY, RecordingSink(), EXPECTED)
    assert caught.value.reason is ReasonCode.SOURCE_ANSWER_INVALID


def test_a_study_that_is_gone_is_told_apart_from_a_source_that_fails() -> None:
    def gone(association: Association) -> None:
        answer(association, take_request(association), 0xC000)

    def nothing_found(association: Association) -> None:
        answer(association, take_request(association), 0x0000)

    with (
        ScriptedSource(gone, nothing_found) as peer,
        DimseArchive(peer.settings()) as archive,
        pytest.raises(PermanentError, match="does not have the study") as caught,
    ):
        archive.retrieve_study(STUDY, RecordingSink(), EXPECTED)
    assert caught.value.reason is ReasonCode.INSTANCE_MISSING
    assert caught.value.study_instance_uid == STUDY
