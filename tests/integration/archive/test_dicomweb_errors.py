"""Every way in which a DICOMweb service can refuse, fail or fall silent."""

from __future__ import annotations

import json
import time
import traceback
import tracemalloc
from functools import partial
from http.server import BaseHTTPRequestHandler
from typing import Any

import pytest

from dicom_migration.archive import StudyQuery
from dicom_migration.archive.dicomweb import DicomWebArchive, DicomWebSettings
from dicom_migration.archive.sinks import CountingSink
from dicom_migration.errors import PermanentError, ReasonCode, TransientError
from include.peers.process import free_port
from tests.integration.archive.real_files import RealFile
from tests.integration.archive.recording_sink import RecordingSink
from tests.integration.archive.scripted_web import Answer, reply, serving

STUDY = "1.2.826.0.1.1"
MULTIPART = {"Content-Type": 'multipart/related; type="application/dicom"; boundary=limit'}
JSON = {"Content-Type": "application/dicom+json"}


def archive(url: str, **changes: Any) -> DicomWebArchive:
    return DicomWebArchive(DicomWebSettings(url, read_timeout_s=1, **changes))


def part(content: bytes) -> bytes:
    return b"\r\n--limit\r\nContent-Type: application/dicom\r\n\r\n" + content


def row(uid: str) -> dict[str, Any]:
    return {"0020000D": {"vr": "UI", "Value": [uid]}}


def pages(uids: list[str], cap: int | None = None, ignore_offset: bool = False) -> Answer:
    """Answer searches as a service that holds `uids` and stops at `cap` rows."""

    def answer(handler: BaseHTTPRequestHandler, query: dict[str, str]) -> None:
        offset = 0 if ignore_offset else int(query.get("offset", "0"))
        limit = min(int(query["limit"]), cap or 10_000)
        rows = [row(uid) for uid in uids[offset : offset + limit]]
        if rows:
            reply(handler, 200, json.dumps(rows).encode(), JSON)
        else:
            reply(handler, 204)

    return answer


@pytest.mark.parametrize(
    ("status", "kind", "reason"),
    [
        (400, PermanentError, ReasonCode.SOURCE_REFUSED_OPERATION),
        (401, PermanentError, ReasonCode.SOURCE_REJECTED),
        (403, PermanentError, ReasonCode.SOURCE_REJECTED),
        (404, PermanentError, ReasonCode.INSTANCE_MISSING),
        (406, PermanentError, ReasonCode.SOURCE_REFUSED_OPERATION),
        (301, PermanentError, ReasonCode.SOURCE_REFUSED_OPERATION),
        (408, TransientError, ReasonCode.SOURCE_BUSY),
        (429, TransientError, ReasonCode.SOURCE_BUSY),
        (500, TransientError, ReasonCode.SOURCE_FAILED),
        (502, TransientError, ReasonCode.SOURCE_FAILED),
        (503, TransientError, ReasonCode.SOURCE_BUSY),
    ],
)
def test_a_status_decides_whether_another_try_helps(
    status: int, kind: type[Exception], reason: ReasonCode
) -> None:
    answer = partial(reply, status=status, body=b"DOE^JANE not found")
    with serving(lambda handler, query: answer(handler)) as url, archive(url) as source:
        with pytest.raises(kind, match=f"HTTP status {status}") as caught:
            source.retrieve_study(STUDY, RecordingSink())
        with pytest.raises(kind):
            list(source.find_studies(StudyQuery()))
    assert caught.value.reason is reason  # type: ignore[attr-defined]
    assert STUDY in str(caught.value)
    assert "DOE" not in str(caught.value), "a body may name patients"


def test_a_busy_service_says_when_to_come_back() -> None:
    def answer(handler: BaseHTTPRequestHandler, query: dict[str, str]) -> None:
        reply(handler, 503, headers={"Retry-After": "120"})

    with (
        serving(answer) as url,
        archive(url) as source,
        pytest.raises(TransientError, match="pause of 120"),
    ):
        source.check()


@pytest.mark.parametrize(
    ("settings", "header"),
    [
        ({"username": "u", "password": "p"}, "Basic dTpw"),
        ({"token": "t0k3n"}, "Bearer t0k3n"),
        ({}, None),
    ],
)
def test_credentials_are_sent_as_configured(settings: dict[str, str], header: str | None) -> None:
    seen = []

    def answer(handler: BaseHTTPRequestHandler, query: dict[str, str]) -> None:
        seen.append(handler.headers.get("Authorization"))
        reply(handler, 204)

    with serving(answer) as url, archive(url, **settings) as source:
        source.check()
    assert seen == [header]


def test_a_closed_port_is_worth_another_try() -> None:
    url = f"http://127.0.0.1:{free_port()}"
    with archive(url) as source, pytest.raises(TransientError, match="NewConnectionError"):
        source.check()


def test_a_patient_in_a_malformed_header_is_not_in_the_error_or_what_caused_it() -> None:
    def answer(handler: BaseHTTPRequestHandler, query: dict[str, str]) -> None:
        handler.wfile.write(b"HTTP/1.1 200 OK\r\nDOE^JANE\r\n\r\n")

    with (
        serving(answer) as url,
        archive(url) as source,
        pytest.raises(TransientError) as caught,
    ):
        list(source.find_studies(StudyQuery()))
    assert "DOE^JANE" not in "".join(traceback.format_exception(caught.value))


def test_a_service_that_falls_silent_times_out() -> None:
    with (
        serving(lambda handler, query: time.sleep(1.5)) as url,
        archive(url) as source,
        pytest.raises(TransientError, match="ReadTimeout"),
    ):
        source.check()


@pytest.mark.parametrize("body", [b"<html>login</html>", b'{"error": 1}', b"[1]", b"\xff\xfe"])
def test_an_answer_that_is_no_dicom_json_is_for_a_person(body: bytes) -> None:
    with (
        serving(lambda handler, query: reply(handler, 200, body)) as url,
        archive(url) as source,
        pytest.raises(PermanentError) as caught,
    ):
        list(source.find_studies(StudyQuery()))
    assert caught.value.reason is ReasonCode.SOURCE_ANSWER_INVALID


@pytest.mark.parametrize("held", [0, 7, 20, 23])
@pytest.mark.parametrize("cap", [None, 4])
def test_paging_finds_everything_once(held: int, cap: int | None) -> None:
    uids = [f"1.{number}" for number in range(held)]
    with serving(pages(uids, cap)) as url, archive(url, page_size=10) as source:
        found = list(source.find_studies(StudyQuery()))
    assert [record.study_instance_uid for record in found] == uids


def test_a_service_that_ignores_offset_and_limit_has_told_everything() -> None:
    uids = [f"1.{number}" for number in range(9)]

    def answer(handler: BaseHTTPRequestHandler, query: dict[str, str]) -> None:
        reply(handler, 200, json.dumps([row(uid) for uid in uids]).encode(), JSON)

    with serving(answer) as url, archive(url, page_size=3) as source:
        found = list(source.find_studies(StudyQuery()))
    assert [record.study_instance_uid for record in found] == uids


def test_a_service_that_may_be_hiding_rows_is_an_error_and_not_a_short_answer() -> None:
    uids = [f"1.{number}" for number in range(9)]
    with (
        serving(pages(uids, ignore_offset=True)) as url,
        archive(url, page_size=3) as source,
        pytest.raises(PermanentError, match="stops at 3 rows"),
    ):
        list(source.find_studies(StudyQuery()))


def test_malformed_rows_are_read_as_far_as_they_go() -> None:
    rows = [
        {**row("1.1"), "00100010": {"vr": "PN", "Value": [{"Alphabetic": "A^B", "Phonetic": "C"}]}},
        {**row("1.2"), "00201208": {"vr": "IS", "Value": ["12"]}, "bad": 3, "0010": {}},
        {**row("1.3"), "00201208": {"vr": "IS", "Value": [7.0]}, "00100020": {"Value": [None]}},
        {"00100020": {"vr": "LO", "Value": ["no uid"]}},
    ]

    def answer(handler: BaseHTTPRequestHandler, query: dict[str, str]) -> None:
        reply(handler, 200, json.dumps([] if "offset" in query else rows).encode(), JSON)

    with serving(answer) as url, archive(url) as source:
        found = {r.study_instance_uid: r for r in source.find_studies(StudyQuery())}
    assert sorted(found) == ["", "1.1", "1.2", "1.3"]
    assert found[""].patient_id == "no uid", "a study without a UID is counted, too"
    assert found["1.1"].patient_name == "A^B==C"
    assert found["1.2"].number_of_instances == 12
    assert found["1.3"].number_of_instances == 7


@pytest.fixture
def two(archive_files: tuple[RealFile, ...]) -> tuple[RealFile, RealFile]:
    by_label = {file.label: file for file in archive_files}
    return by_label["CT_small"], by_label["MR_small_RLE"]


@pytest.mark.parametrize("how", ["connection", "closing delimiter"])
def test_an_answer_cut_short_keeps_what_was_whole(two: tuple[RealFile, RealFile], how: str) -> None:
    first, second = two
    whole = part(first.path.read_bytes()) + part(second.path.read_bytes()[:5000])

    def answer(handler: BaseHTTPRequestHandler, query: dict[str, str]) -> None:
        promised = len(whole) + 10_000 if how == "connection" else None
        reply(handler, 200, whole, MULTIPART, promised)

    sink = RecordingSink()
    with serving(answer) as url, archive(url) as source, pytest.raises(TransientError):
        source.retrieve_study(STUDY, sink)
    assert [i.sop_instance_uid for i, _ in sink.committed] == [first.sop_instance_uid]
    assert sink.committed[0][1] == first.dataset
    assert sink.aborted == [second.sop_instance_uid]


def test_a_part_that_is_no_dicom_fails_alone(two: tuple[RealFile, RealFile]) -> None:
    first, second = two
    body = part(first.path.read_bytes()) + part(b"Internal error") + part(second.path.read_bytes())
    body += b"\r\n--limit--"
    sink = RecordingSink()
    with (
        serving(lambda handler, query: reply(handler, 200, body, MULTIPART)) as url,
        archive(url) as source,
    ):
        outcome = source.retrieve_study(STUDY, sink)
    assert outcome.delivered == [first.sop_instance_uid, second.sop_instance_uid]
    assert [f.reason for f in outcome.failures] == [ReasonCode.HEADER_UNREADABLE.value]


@pytest.mark.parametrize("content_type", ["text/html", "application/dicom", "multipart/related"])
def test_an_answer_that_is_not_multipart_is_for_a_person(content_type: str) -> None:
    def answer(handler: BaseHTTPRequestHandler, query: dict[str, str]) -> None:
        reply(handler, 200, b"<html>", {"Content-Type": content_type})

    with serving(answer) as url, archive(url) as source, pytest.raises(PermanentError) as caught:
        source.retrieve_study(STUDY, RecordingSink())
    assert caught.value.reason is ReasonCode.SOURCE_ANSWER_INVALID


def test_it_asks_for_instances_as_they_are_stored() -> None:
    seen = []

    def answer(handler: BaseHTTPRequestHandler, query: dict[str, str]) -> None:
        seen.append((handler.path, handler.headers["Accept"]))
        reply(handler, 200, b"--limit--", MULTIPART)

    with serving(answer) as url, archive(url) as source:
        source.retrieve_study(STUDY, RecordingSink())
    assert seen == [
        (
            f"/dicom-web/studies/{STUDY}",
            'multipart/related; type="application/dicom"; transfer-syntax=*',
        )
    ]


def test_a_study_is_streamed_in_bounded_memory(archive_files: tuple[RealFile, ...]) -> None:
    overlay = next(f for f in archive_files if f.label == "examples_overlay")
    repeated = 200  # of 0.3 MB: far more than may be held
    content = part(overlay.path.read_bytes())

    def answer(handler: BaseHTTPRequestHandler, query: dict[str, str]) -> None:
        handler.send_response(200)
        handler.send_header("Content-Type", MULTIPART["Content-Type"])
        handler.send_header("Content-Length", str(len(content) * repeated + 11))
        handler.end_headers()
        for _ in range(repeated):
            handler.wfile.write(content)
        handler.wfile.write(b"\r\n--limit--")

    sink = CountingSink()
    with serving(answer) as url, archive(url) as source:
        tracemalloc.start()
        source.retrieve_study(STUDY, sink)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert sink.instances == repeated
    assert sink.bytes == len(overlay.dataset) * repeated
    assert peak < 8 * 1024 * 1024
