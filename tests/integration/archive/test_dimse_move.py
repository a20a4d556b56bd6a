"""C-MOVE and its landing: who may send, and when the last instance is in."""

from __future__ import annotations

import socket
import threading
import time
from dataclasses import replace
from typing import Any

import pytest

from dicom_migration.archive import InstanceRecord
from dicom_migration.archive.dimse import DimseArchive, DimseSettings
from dicom_migration.archive.dimse_association import Association
from dicom_migration.archive.dimse_identifier import encode_identifier
from dicom_migration.archive.dimse_landing import Landing
from dicom_migration.archive.instance_receiver import InstanceReceiver
from dicom_migration.archive.records import SERIES_INSTANCE_UID, SOP_INSTANCE_UID
from dicom_migration.errors import PermanentError, ReasonCode, TransientError
from include.peers.process import free_port
from tests.integration.archive.recording_sink import RecordingSink
from tests.integration.archive.scripted_source import (
    CT,
    EXPLICIT,
    ScriptedSource,
    answer,
    echo,
    send_instances,
    take_request,
)

STUDY, SERIES = "1.2.826.0.1.1", "1.2.826.0.1.2"
EXPECTED = tuple(InstanceRecord(STUDY, SERIES, f"1.2.826.0.1.3.{number}", CT) for number in (1, 2))
UIDS = [record.sop_instance_uid for record in EXPECTED]
REFUSED = 0x0124


def send(
    port: int, *uids: str, called: str = "DICOM_MIGRATION", calling: str = "SCRIPTED"
) -> list[int]:
    """Send instances to a landing; return the statuses, [] when we are not let in."""
    landing = DimseSettings("127.0.0.1", port, called, calling_ae_title=calling)
    return send_instances(landing, *uids)


def settings(peer: ScriptedSource, **changes: Any) -> DimseSettings:
    values = {"retrieve_method": "C-MOVE", "landing_port": free_port(), **changes}
    return peer.settings(**values)


def test_instances_that_come_after_the_final_response_are_waited_for() -> None:
    landing_port = free_port()

    def answer_first(association: Association) -> None:
        answer(association, take_request(association), 0x0000)
        time.sleep(0.3)
        threading.Thread(target=send, args=(landing_port, UIDS[1])).start()
        send(landing_port, UIDS[0])

    sink = RecordingSink()
    with ScriptedSource(answer_first) as peer:
        archive = DimseArchive(settings(peer, landing_port=landing_port, move_quiet_s=3))
        began = time.monotonic()
        outcome = archive.retrieve_study(STUDY, sink, EXPECTED)
    assert sorted(outcome.delivered) == UIDS
    assert outcome.reported_completed is None
    assert time.monotonic() - began < 2.5, "it does not wait longer than it must"


def answer_queries(association: Association) -> None:
    """List the one series and its instances."""
    for rows in ([{SERIES_INSTANCE_UID: SERIES}], [{SOP_INSTANCE_UID: uid} for uid in UIDS]):
        request = take_request(association)
        for row in rows:
            dataset = encode_identifier(row, EXPLICIT)
            answer(association, request, 0xFF00, dataset=dataset)
        answer(association, request, 0x0000)


def test_a_whole_study_lets_in_what_the_source_lists_and_no_more() -> None:
    landing_port = free_port()
    statuses: list[int] = []

    def send_more(association: Association) -> None:
        request = take_request(association)
        statuses.extend(send(landing_port, "1.9.9", *UIDS))
        answer(association, request, 0x0000, completed=3, failed=0)

    sink = RecordingSink()
    with ScriptedSource(answer_queries, send_more) as peer:
        archive = DimseArchive(settings(peer, landing_port=landing_port))
        outcome = archive.retrieve_study(STUDY, sink)
    assert statuses == [REFUSED, 0x0000, 0x0000]
    assert outcome.delivered == sink.opened == UIDS


def test_without_expectation_the_counters_say_when_all_is_in() -> None:
    landing_port = free_port()

    def answer_first(association: Association) -> None:
        answer(association, take_request(association), 0x0000, completed=2, failed=0, warning=0)
        time.sleep(0.3)
        send(landing_port, *UIDS)

    with ScriptedSource(answer_queries, answer_first) as peer:
        archive = DimseArchive(settings(peer, landing_port=landing_port, move_quiet_s=3))
        began = time.monotonic()
        outcome = archive.retrieve_study(STUDY, RecordingSink())
    assert outcome.delivered == UIDS
    assert outcome.reported_completed == 2
    assert time.monotonic() - began < 2.5


def test_instances_that_never_come_are_waited_for_only_so_long() -> None:
    def lie(association: Association) -> None:
        answer(association, take_request(association), 0x0000, completed=2, failed=0)

    with ScriptedSource(lie) as peer:
        archive = DimseArchive(settings(peer, move_quiet_s=0.4))
        outcome = archive.retrieve_study(STUDY, RecordingSink(), EXPECTED)
    assert outcome.delivered == []
    assert outcome.reported_completed == 2, "the caller sees the difference"


def test_what_was_not_asked_for_is_refused_and_told() -> None:
    landing_port = free_port()
    statuses: list[int] = []

    def send_another_study_too(association: Association) -> None:
        request = take_request(association)
        statuses.extend(send(landing_port, UIDS[0], "1.9.9", UIDS[1]))
        answer(association, request, 0x0000, completed=2, failed=0)

    sink = RecordingSink()
    with ScriptedSource(send_another_study_too) as peer:
        archive = DimseArchive(settings(peer, landing_port=landing_port))
        outcome = archive.retrieve_study(STUDY, sink, EXPECTED)
    assert statuses == [0x0000, REFUSED, 0x0000]
    assert outcome.delivered == UIDS
    assert sink.opened == UIDS
    assert [(f.sop_instance_uid, f.reason) for f in outcome.failures] == [
        ("1.9.9", ReasonCode.INSTANCE_UNEXPECTED.value)
    ]


def test_the_landing_lets_in_only_the_source_that_was_asked() -> None:
    receiver = InstanceReceiver(RecordingSink())
    source = DimseSettings("127.0.0.1", 104, "SCRIPTED", landing_host="127.0.0.1", landing_port=0)
    with Landing(source, receiver) as landing:
        assert send(landing.port, UIDS[0], calling="STRANGER") == []
        assert send(landing.port, UIDS[0], called="SOMEBODY_ELSE") == []
        assert send(landing.port, UIDS[0]) == [0x0000]
    assert receiver.outcome.delivered == [UIDS[0]]
    assert len(landing.errors) == 2
    with Landing(replace(source, landing_check_calling_ae=False), receiver) as landing:
        assert send(landing.port, UIDS[1], calling="STRANGER") == [0x0000]


def test_a_source_that_sends_under_another_ae_title_is_told_so() -> None:
    landing_port = free_port()

    def send_as_another(association: Association) -> None:
        request = take_request(association)
        assert send(landing_port, *UIDS, calling="ARCHIVE_SENDER") == []
        answer(association, request, 0xA702)

    with ScriptedSource(send_as_another) as peer:
        archive = DimseArchive(settings(peer, landing_port=landing_port))
        with pytest.raises(PermanentError, match="another AE title") as caught:
            archive.retrieve_study(STUDY, RecordingSink(), EXPECTED)
    assert "landing_check_calling_ae" in caught.value.next_step


def test_an_administrator_can_echo_the_landing() -> None:
    source = DimseSettings("127.0.0.1", 104, "SCRIPTED", landing_host="127.0.0.1", landing_port=0)
    with Landing(source, InstanceReceiver(RecordingSink())) as landing:
        us = DimseSettings(
            "127.0.0.1", landing.port, "DICOM_MIGRATION", calling_ae_title="SCRIPTED"
        )
        assert echo(us) == 0x0000


def test_parallel_associations_reach_the_sink_one_instance_at_a_time() -> None:
    sink = RecordingSink()  # asserts that no two instances overlap
    source = DimseSettings("127.0.0.1", 104, "SCRIPTED", landing_host="127.0.0.1", landing_port=0)
    with Landing(source, InstanceReceiver(sink)) as landing:
        uids = [[f"1.{sender}.{number}" for number in range(20)] for sender in range(4)]
        senders = [threading.Thread(target=send, args=(landing.port, *mine)) for mine in uids]
        for sender in senders:
            sender.start()
        for sender in senders:
            sender.join()
    assert sorted(sink.opened) == sorted(uid for mine in uids for uid in mine)


def test_a_retrieval_waits_until_another_one_leaves_the_landing() -> None:
    landing_port = free_port()

    def send_both(association: Association) -> None:
        request = take_request(association)
        send(landing_port, *UIDS)
        answer(association, request, 0x0000, completed=2, failed=0)

    sinks = [RecordingSink(), RecordingSink()]
    with ScriptedSource(send_both) as peer:
        ours = settings(peer, landing_port=landing_port)

        def retrieve(sink: RecordingSink) -> None:
            with DimseArchive(ours) as archive:
                archive.retrieve_study(STUDY, sink, EXPECTED)

        with socket.create_server(("127.0.0.1", landing_port)):
            tasks = [threading.Thread(target=retrieve, args=(sink,)) for sink in sinks]
            for task in tasks:
                task.start()
            time.sleep(0.5)
            assert peer.associations == 0, "the source is not asked before we listen"
        for task in tasks:
            task.join(30)
    assert [sorted(sink.opened) for sink in sinks] == [UIDS, UIDS]


def test_a_port_that_stays_in_use_is_given_up_after_the_wait() -> None:
    with socket.create_server(("127.0.0.1", 0)) as other, ScriptedSource(lambda _: None) as peer:
        port = other.getsockname()[1]
        archive = DimseArchive(settings(peer, landing_port=port, landing_wait_s=0.3))
        with pytest.raises(TransientError, match=r"in use for 0\.3 seconds") as caught:
            archive.retrieve_study(STUDY, RecordingSink(), EXPECTED)
    assert "destination of its own" in caught.value.next_step
    assert peer.associations == 0, "the source is not asked for what nobody would receive"


def test_an_address_that_is_not_ours_is_for_a_person() -> None:
    with ScriptedSource(lambda _: None) as peer:
        archive = DimseArchive(settings(peer, landing_host="192.0.2.1"))
        with pytest.raises(PermanentError, match="cannot listen") as caught:
            archive.retrieve_study(STUDY, RecordingSink(), EXPECTED)
    assert caught.value.reason is ReasonCode.CONFIGURATION_INVALID


def test_a_destination_that_the_source_does_not_know_is_for_a_person() -> None:
    def refuse(association: Association) -> None:
        answer(association, take_request(association), 0xA801)

    with ScriptedSource(refuse) as peer:
        archive = DimseArchive(settings(peer))
        with pytest.raises(PermanentError, match="move destination unknown") as caught:
            archive.retrieve_study(STUDY, RecordingSink(), EXPECTED)
    assert caught.value.study_instance_uid == STUDY


def test_a_source_that_neither_answers_nor_sends_times_out() -> None:
    def stall(association: Association) -> None:
        take_request(association)
        time.sleep(1.5)

    with ScriptedSource(stall) as peer:
        archive = DimseArchive(settings(peer, dimse_timeout_s=0.3))
        with pytest.raises(TransientError, match="neither answered a C-MOVE nor sent"):
            archive.retrieve_study(STUDY, RecordingSink(), EXPECTED)


def test_a_slow_source_is_alive_as_long_as_instances_come() -> None:
    landing_port = free_port()

    def trickle(association: Association) -> None:
        request = take_request(association)
        for uid in UIDS:
            time.sleep(0.4)
            send(landing_port, uid)
        answer(association, request, 0x0000, completed=2)

    with ScriptedSource(trickle) as peer:
        archive = DimseArchive(settings(peer, landing_port=landing_port, dimse_timeout_s=0.7))
        assert archive.retrieve_study(STUDY, RecordingSink(), EXPECTED).delivered == UIDS


def test_a_full_disk_ends_the_move_at_once() -> None:
    landing_port = free_port()
    statuses: list[int] = []

    def send_all(association: Association) -> None:
        take_request(association)
        statuses.extend(send(landing_port, *UIDS))
        time.sleep(0.5)

    sink = RecordingSink(fail_on={UIDS[0]: OSError(28, "No space left")}, fail_at="write")
    with ScriptedSource(send_all) as peer:
        archive = DimseArchive(settings(peer, landing_port=landing_port, dimse_timeout_s=20))
        began = time.monotonic()
        with pytest.raises(OSError, match="No space left"):
            archive.retrieve_study(STUDY, sink, EXPECTED)
        assert time.monotonic() - began < 1.5
    assert statuses[0] == 0xA700
    assert sink.opened == [UIDS[0]]


def test_no_thread_and_no_port_outlives_a_retrieval() -> None:
    landing_port = free_port()

    def leave_open(association: Association) -> None:
        request = take_request(association)
        send(landing_port, *UIDS)
        socket.create_connection(("127.0.0.1", landing_port))  # and never says a word
        answer(association, request, 0x0000, completed=2, failed=0)

    with ScriptedSource(leave_open) as peer:
        archive = DimseArchive(settings(peer, landing_port=landing_port, acse_timeout_s=30))
        assert archive.retrieve_study(STUDY, RecordingSink(), EXPECTED).delivered == UIDS
    assert not [t for t in threading.enumerate() if t.name == "dicom-landing"]
    socket.create_server(("127.0.0.1", landing_port)).close()
