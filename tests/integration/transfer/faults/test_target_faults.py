"""What a bucket can do to us: a real one, behind a proxy that misbehaves."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterator

import pytest

from dicom_migration.archive.folder import FolderArchive, FolderSettings
from dicom_migration.errors import PermanentError, ReasonCode, TransientError
from tests.integration.cloud.conftest import StoreFactory
from tests.integration.cloud.fault_proxy import FaultProxy
from tests.integration.cloud.http_faults import Fault
from tests.integration.transfer.faults.conftest import Begin
from tests.integration.transfer.faults.migration import Migration
from tests.integration.transfer.faults.sample import FIRST, LAST, VICTIM, WHOLE, Sample

#: The large instance of LAST goes up in parts, the others in one request.
IN_PARTS = {"multipart_threshold_bytes": 1 << 20}
COMPLETION = {"method": "POST", "path_contains": f"{LAST}.1.2.dcm?uploadId="}
BUSY = ("failed", "target_busy")
AWAY = ("failed", "target_unreachable")
MOVED = ("transferred", "")


@pytest.fixture
def archive(sample: Sample) -> Iterator[FolderArchive]:
    with FolderArchive(FolderSettings(sample.folder)) as opened:
        yield opened


@pytest.fixture
def undisturbed(begin: Begin, archive: FolderArchive) -> Migration:
    migration = begin()
    migration.run(archive)
    return migration


@pytest.mark.parametrize(
    "fault",
    [
        pytest.param(Fault.error(500, "InternalError"), id="500"),
        pytest.param(Fault.error(503, "SlowDown"), id="SlowDown"),
        pytest.param(Fault.connection_reset(), id="reset"),
        pytest.param(Fault.reset_in_body(20_000), id="reset in the body"),
        pytest.param(Fault.lost_answer(), id="answer lost after the commit"),
        pytest.param(Fault.silent(1.5), id="silent after the commit"),
        pytest.param(Fault.error(500, "InternalError", forward=True), id="500 after the commit"),
    ],
)
def test_one_fault_of_the_bucket_is_survived_within_the_attempt(
    begin: Begin,
    proxy: FaultProxy,
    archive: FolderArchive,
    undisturbed: Migration,
    fault: Fault,
) -> None:
    migration = begin(url=proxy.url, read_timeout=0.5)
    proxy.script(fault, method="PUT", path_contains=f"{VICTIM}.1.2")
    assert migration.run(archive)["transferred"] == len(WHOLE)
    assert migration.attempts(VICTIM) == [MOVED]
    assert migration.end() == undisturbed.end()


@pytest.mark.parametrize(
    ("fault", "attempt"),
    [
        pytest.param(Fault.error(500, "InternalError"), BUSY, id="500"),
        pytest.param(Fault.error(503, "SlowDown"), BUSY, id="SlowDown"),
        pytest.param(Fault.error(409, "ConditionalRequestConflict"), BUSY, id="409"),
        pytest.param(Fault.error(400, "BadDigest"), BUSY, id="damaged on the way"),
        pytest.param(Fault.connection_reset(), AWAY, id="reset"),
        pytest.param(Fault.reset_in_body(20_000), AWAY, id="reset in the body"),
        pytest.param(Fault.silent(1), AWAY, id="silent after the commit"),
    ],
)
@pytest.mark.parametrize("place", [f"{VICTIM}.1.2.dcm", f"{VICTIM}/manifest"])
def test_a_lasting_fault_leaves_the_study_and_the_others_go_on(
    begin: Begin,
    proxy: FaultProxy,
    archive: FolderArchive,
    undisturbed: Migration,
    place: str,
    fault: Fault,
    attempt: tuple[str, str],
) -> None:
    migration = begin(url=proxy.url, max_attempts=1, read_timeout=0.5)
    proxy.script(fault, method="PUT", path_contains=place, times=-1)
    with pytest.raises(TransientError) as caught:
        migration.run(archive)
    if fault.forward and "manifest" in place:
        migration.check_waiting(VICTIM, caught.value, attempt, attempt)
    else:
        migration.check_left(VICTIM, caught.value, attempt, attempt)
    migration.check_moved(FIRST, LAST)
    proxy.clear()
    assert migration.run(archive)["studies"] == 1
    assert migration.end() == undisturbed.end()


def test_on_the_last_try_a_bucket_that_will_not_take_one_study_sets_it_aside(
    begin: Begin, proxy: FaultProxy, archive: FolderArchive
) -> None:
    migration = begin(url=proxy.url, max_attempts=1)
    proxy.script(Fault.error(503, "SlowDown"), path_contains=f"{VICTIM}.1.2", times=-1)
    assert migration.run(archive, last_try=True)["quarantined"] == 1
    migration.check_quarantined(VICTIM, "target_busy")
    migration.check_moved(FIRST, LAST)


def test_a_timeout_after_the_commit_is_recognised_as_our_own_object(
    begin: Begin, proxy: FaultProxy, archive: FolderArchive, undisturbed: Migration
) -> None:
    migration = begin(url=proxy.url, max_attempts=1, read_timeout=0.5)
    proxy.script(Fault.silent(1), method="PUT", path_contains=f"{VICTIM}.1.2")
    assert migration.run(archive)["transferred"] == len(WHOLE)
    # Whether the client sends it again itself is its own affair.
    assert migration.attempts(VICTIM) in ([AWAY, MOVED], [MOVED])
    assert migration.end() == undisturbed.end()


@pytest.mark.parametrize(
    "fault",
    [
        pytest.param(Fault.error(200, "InternalError"), id="error inside a 200"),
        pytest.param(Fault.error(500, "InternalError"), id="500"),
        pytest.param(Fault.error(409, "ConditionalRequestConflict"), id="409"),
        pytest.param(Fault.lost_answer(), id="answer lost after the commit"),
    ],
)
def test_a_completion_that_fails_once_ends_in_one_whole_object(
    begin: Begin,
    proxy: FaultProxy,
    archive: FolderArchive,
    undisturbed: Migration,
    fault: Fault,
) -> None:
    migration = begin(url=proxy.url, max_attempts=1, **IN_PARTS)
    proxy.script(fault, **COMPLETION)
    assert migration.run(archive)["transferred"] == len(WHOLE)
    reason = "target_unreachable" if fault.reset else "target_busy"
    assert migration.attempts(LAST) == [("failed", reason), MOVED]
    assert migration.end() == undisturbed.end()


def test_an_error_inside_every_200_is_never_taken_for_success(
    begin: Begin, proxy: FaultProxy, archive: FolderArchive
) -> None:
    migration = begin(url=proxy.url, **IN_PARTS)
    proxy.script(Fault.error(200, "InternalError"), times=-1, **COMPLETION)
    with pytest.raises(TransientError) as caught:
        migration.run(archive)
    migration.check_left(LAST, caught.value, BUSY, BUSY)
    assert not any(f"{LAST}.1.2" in key for key in migration.objects())
    migration.check_moved(FIRST, VICTIM)


def test_other_bytes_under_our_key_are_left_alone_and_ours_get_a_key_of_their_own(
    begin: Begin, archive: FolderArchive
) -> None:
    migration = begin()
    key = f"studies/{VICTIM}/{VICTIM}.1/{VICTIM}.1.1.dcm"
    theirs = b"somebody else's bytes"
    migration.bucket.put(key, theirs, size=len(theirs), sha256=hashlib.sha256(theirs).hexdigest())
    assert migration.run(archive)["transferred"] == len(WHOLE)
    migration.check_moved(*WHOLE)
    assert migration.bucket.read(key) == theirs
    keys = {row.object_key for row in migration.manifest(VICTIM)}
    assert key not in keys
    assert all(stored in migration.objects() for stored in keys)


def test_a_precondition_that_fails_for_an_object_that_is_gone_is_tried_again(
    begin: Begin, proxy: FaultProxy, archive: FolderArchive
) -> None:
    migration = begin(url=proxy.url)
    proxy.script(
        Fault.error(412, "PreconditionFailed"), method="PUT", path_contains=f"{VICTIM}.1.1"
    )
    assert migration.run(archive)["transferred"] == len(WHOLE)
    assert migration.attempts(VICTIM) == [BUSY, MOVED]
    migration.check_moved(*WHOLE)


@pytest.mark.parametrize(
    ("status", "code", "step"),
    [
        (400, "ExpiredToken", "Renew the session token"),
        (403, "AccessDenied", "docs/connect-s3.md"),
    ],
)
def test_credentials_that_expire_stop_the_task_and_blame_no_study(
    begin: Begin, proxy: FaultProxy, archive: FolderArchive, status: int, code: str, step: str
) -> None:
    migration = begin(url=proxy.url)
    proxy.script(Fault.error(status, code), method="PUT", path_contains=VICTIM, times=-1)
    with pytest.raises(PermanentError, match=step) as caught:
        migration.run(archive, last_try=True)
    assert caught.value.reason is ReasonCode.TARGET_REJECTED
    migration.check_left(VICTIM, caught.value, ("failed", "target_rejected"))
    migration.check_moved(FIRST)
    migration.check_unblamed(LAST)
    proxy.clear()
    assert migration.run(archive)["transferred"] == 2
    migration.check_moved(*WHOLE)


def test_a_bucket_that_names_another_checksum_than_ours_is_not_believed(
    begin: Begin, proxy: FaultProxy, archive: FolderArchive, undisturbed: Migration
) -> None:
    other = base64.b64encode(hashlib.sha256(b"damaged").digest()).decode()
    migration = begin(url=proxy.url)
    proxy.script(
        Fault.other_headers(x_amz_checksum_sha256=other),
        method="PUT",
        path_contains=f"{VICTIM}.1.1",
    )
    assert migration.run(archive)["transferred"] == len(WHOLE)
    assert migration.attempts(VICTIM) == [BUSY, MOVED]
    assert migration.end() == undisturbed.end()


def test_a_bucket_that_is_gone_stops_the_task_at_once(
    begin: Begin, open_store: StoreFactory, archive: FolderArchive
) -> None:
    migration = begin()
    migration.store = open_store(bucket="no-such-bucket")
    with pytest.raises(PermanentError, match="Create bucket") as caught:
        migration.run(archive)
    assert caught.value.reason is ReasonCode.TARGET_MISSING
    migration.check_left(FIRST, caught.value, ("failed", "target_missing"))
    assert migration.state(LAST) == "cleansed"
    assert migration.reasons(VICTIM) == migration.reasons(LAST) == []
