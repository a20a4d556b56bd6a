"""What a DICOMweb service can do to us: Orthanc, behind a proxy that misbehaves.

How each answer is understood is tested in tests/integration/archive/test_dicomweb_errors.py; here
it is what becomes of the shard.
"""

from __future__ import annotations

from collections.abc import Iterator
from http.client import HTTPConnection

import pytest

from dicom_migration.archive.dicomweb import DicomWebArchive, DicomWebSettings
from dicom_migration.archive.dicomweb_retrieve import ACCEPT
from dicom_migration.errors import PermanentError, ReasonCode, TransientError
from include.peers import Orthanc
from tests.conftest import require
from tests.integration.cloud.fault_proxy import FaultProxy
from tests.integration.cloud.http_faults import Fault
from tests.integration.transfer.faults.conftest import Begin
from tests.integration.transfer.faults.migration import POLICY, Migration
from tests.integration.transfer.faults.sample import FIRST, LAST, VICTIM, WHOLE

pytestmark = pytest.mark.peers

STUDY = f"/studies/{VICTIM}"
INSTANCE = f"/instances/{VICTIM}.1.2"


@pytest.fixture(scope="module")
def web(orthanc: Orthanc) -> Iterator[FaultProxy]:
    require(Orthanc.dicomweb_available(), "orthanc-dicomweb")
    with FaultProxy("127.0.0.1", orthanc.http_port) as proxy:
        yield proxy


@pytest.fixture
def archive(web: FaultProxy) -> Iterator[DicomWebArchive]:
    settings = DicomWebSettings(f"{web.url}/dicom-web", read_timeout_s=0.5)
    with DicomWebArchive(settings) as opened:
        yield opened
    web.clear()


@pytest.fixture
def undisturbed(begin: Begin, archive: DicomWebArchive) -> Migration:
    migration = begin()
    migration.run(archive)
    return migration


@pytest.fixture(scope="module")
def answer(orthanc: Orthanc) -> tuple[str, bytes]:
    """Content type and body of Orthanc's answer to a retrieval of VICTIM."""
    connection = HTTPConnection("127.0.0.1", orthanc.http_port, timeout=10)
    connection.request("GET", f"/dicom-web{STUDY}", headers={"Accept": ACCEPT})
    response = connection.getresponse()
    return response.headers["Content-Type"], response.read()


def test_an_answer_cut_anywhere_costs_an_attempt_and_nothing_else(
    begin: Begin,
    web: FaultProxy,
    archive: DicomWebArchive,
    answer: tuple[str, bytes],
) -> None:
    body = answer[1]
    second = body.index(b"DICM", body.index(b"DICM") + 4)
    between = range(second - 200, second, 25)  # the first part's end and the second's headers
    places = [0, 1, 150, *range(1000, len(body), 6000), *between, len(body) - 3]
    undisturbed = begin((VICTIM,))
    undisturbed.run(archive)
    for place in places:
        web.script(Fault.cut(place), path_ends=STUDY)
        migration = begin((VICTIM,))
        migration.run(archive)
        assert migration.end() == undisturbed.end(), f"cut after {place} of {len(body)} bytes"
        assert [outcome for outcome, _ in migration.attempts(VICTIM)] == ["failed", "transferred"]


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        pytest.param(Fault.error(500, "x"), "source_failed", id="500"),
        pytest.param(Fault.error(503, "x"), "source_busy", id="503"),
        pytest.param(Fault.connection_reset(), "source_unreachable", id="reset"),
        pytest.param(Fault.silent(0.8), "source_unreachable", id="silent"),
        pytest.param(Fault.cut(50_000), "source_unreachable", id="cut in a part"),
    ],
)
@pytest.mark.parametrize("place", [STUDY, "instances"])
def test_a_lasting_fault_leaves_the_study_and_the_others_go_on(
    begin: Begin,
    web: FaultProxy,
    archive: DicomWebArchive,
    undisturbed: Migration,
    fault: Fault,
    reason: str,
    place: str,
) -> None:
    migration = begin()
    if place == STUDY:
        web.script(fault, path_ends=STUDY, times=-1)
    elif fault.cut_after is None:  # the list is shorter than that
        web.script(fault, path_contains=f"{STUDY}/instances", times=-1)
    else:
        web.script(Fault.cut(10), path_contains=f"{STUDY}/instances", times=-1)
    with pytest.raises(TransientError) as caught:
        migration.run(archive)
    migration.check_left(VICTIM, caught.value, ("failed", reason), ("failed", reason))
    migration.check_moved(FIRST, LAST)
    web.clear()
    assert migration.run(archive)["studies"] == 1
    assert migration.end() == undisturbed.end()


def test_a_wrong_content_type_is_for_a_person_and_the_others_go_on(
    begin: Begin, web: FaultProxy, archive: DicomWebArchive
) -> None:
    migration = begin()
    web.script(Fault(status=200, body=b"<html>log in</html>"), path_ends=STUDY, times=-1)
    assert migration.run(archive)["quarantined"] == 1
    migration.check_quarantined(VICTIM, "source_answer_invalid")
    assert migration.attempts(VICTIM) == [("failed", "source_answer_invalid")]
    migration.check_moved(FIRST, LAST)


def test_a_wrong_content_type_for_every_study_stops_the_task(
    begin: Begin, web: FaultProxy, archive: DicomWebArchive
) -> None:
    migration = begin()
    for study in WHOLE:
        web.script(Fault(status=200, body=b"<html>"), path_ends=f"/studies/{study}", times=-1)
    policy = POLICY.model_copy(update={"give_up_after_studies": 2})
    with pytest.raises(PermanentError, match="2 studies in a row") as caught:
        migration.run(archive, policy=policy)
    assert caught.value.reason is ReasonCode.SOURCE_ANSWER_INVALID
    assert migration.state(LAST) == "cleansed"


def test_a_part_that_is_missing_is_asked_for_alone(
    begin: Begin,
    web: FaultProxy,
    archive: DicomWebArchive,
    undisturbed: Migration,
    answer: tuple[str, bytes],
) -> None:
    migration = begin()
    web.script(_without_the_second_part(*answer), path_ends=STUDY)
    assert migration.run(archive)["transferred"] == len(WHOLE)
    assert migration.attempts(VICTIM) == [("transferred", "")]
    assert migration.end() == undisturbed.end()


def test_a_part_that_is_missing_for_good_is_never_taken_for_the_whole(
    begin: Begin, web: FaultProxy, archive: DicomWebArchive, answer: tuple[str, bytes]
) -> None:
    migration = begin()
    missing = _missing_uid(answer[1])
    web.script(_without_the_second_part(*answer), path_ends=STUDY, times=-1)
    web.script(Fault.error(404, "x"), path_ends=f"/instances/{missing}", times=-1)
    assert migration.run(archive)["quarantined"] == 1
    migration.check_quarantined(VICTIM, "instance_missing")
    migration.check_moved(FIRST, LAST)


def _without_the_second_part(content_type: str, body: bytes) -> Fault:
    boundary = body[: body.index(b"\r\n")]
    second = body.index(boundary, len(boundary))
    shorter = body[:second] + boundary + b"--"
    return Fault(status=200, body=shorter, headers=(("Content-Type", content_type),))


def _missing_uid(body: bytes) -> str:
    """Return the SOP Instance UID of the second part."""
    first = min((body.index(f"{VICTIM}.1.{n}".encode()), n) for n in (1, 2))[1]
    return f"{VICTIM}.1.{3 - first}"
