"""What a healthy endpoint never does: each fault ends in the right error, or in no error."""

from __future__ import annotations

import hashlib
import socket

import pytest

from dicom_migration.cloud.s3 import S3Store
from dicom_migration.cloud.s3_settings import MIN_PART_BYTES, S3Client
from dicom_migration.errors import PermanentError, ReasonCode, TransientError
from tests.integration.cloud.conftest import StoreFactory
from tests.integration.cloud.fault_proxy import Fault, FaultProxy

KEY = "1.2.3"
BODY = b"DICM" * 1000
LARGE = b"x" * (2 * MIN_PART_BYTES + 1)


def put(store: S3Store, body: bytes = BODY) -> bool:
    sha256 = hashlib.sha256(body).hexdigest()
    return store.put(KEY, body, size=len(body), sha256=sha256).created


@pytest.mark.parametrize(
    "fault",
    [
        Fault.error(500, "InternalError"),
        Fault.error(503, "SlowDown"),
        Fault.connection_reset(),
        Fault.slow(0.2),
    ],
)
def test_one_fault_is_survived_without_notice(
    faulty_store: S3Store, proxy: FaultProxy, fault: Fault
) -> None:
    proxy.script(fault, method="PUT")
    assert put(faulty_store) is True
    assert faulty_store.read(KEY) == BODY


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        (Fault.error(500, "InternalError"), ReasonCode.TARGET_BUSY),
        (Fault.error(503, "SlowDown"), ReasonCode.TARGET_BUSY),
        (Fault.error(409, "ConditionalRequestConflict"), ReasonCode.TARGET_BUSY),
        (Fault.error(400, "RequestTimeout"), ReasonCode.TARGET_BUSY),
        (Fault.error(400, "BadDigest"), ReasonCode.TARGET_BUSY),
        (Fault.connection_reset(), ReasonCode.TARGET_UNREACHABLE),
    ],
)
def test_a_lasting_fault_is_worth_a_later_retry(
    faulty_store: S3Store, proxy: FaultProxy, fault: Fault, reason: ReasonCode
) -> None:
    proxy.script(fault, method="PUT", times=-1)
    with pytest.raises(TransientError) as caught:
        put(faulty_store)
    assert caught.value.reason is reason
    assert f"/site-a/{KEY}" in str(caught.value)
    proxy.clear()
    assert put(faulty_store) is True


@pytest.mark.parametrize(
    "fault", [Fault.lost_answer(), Fault.error(500, "InternalError", forward=True), Fault.silent(3)]
)
def test_an_attempt_whose_answer_got_lost_finds_its_own_object(
    faulty_store: S3Store, proxy: FaultProxy, fault: Fault
) -> None:
    proxy.script(fault, method="PUT")
    assert put(faulty_store) is False
    assert faulty_store.read(KEY) == BODY


def test_a_timeout_after_the_commit_is_repaired_by_the_next_call(
    open_store: StoreFactory, proxy: FaultProxy
) -> None:
    store = open_store(url=proxy.url, max_attempts=1, read_timeout=0.5)
    proxy.script(Fault.silent(1.5), method="PUT", times=2)  # the short way, and boto3
    with pytest.raises(TransientError, match="ReadTimeoutError") as caught:
        put(store)
    assert caught.value.reason is ReasonCode.TARGET_UNREACHABLE
    assert put(store) is False


def test_an_answer_that_got_lost_is_asked_for_again_at_once(
    open_store: StoreFactory, proxy: FaultProxy
) -> None:
    store = open_store(url=proxy.url, read_timeout=0.5)
    proxy.script(Fault.silent(1.5), method="PUT")
    assert put(store) is False  # the first request had created it
    assert store.read(KEY) == BODY


@pytest.mark.parametrize(
    ("status", "code", "step"),
    [
        (403, "AccessDenied", "docs/connect-s3.md"),
        (403, "InvalidAccessKeyId", "access key id"),
        (403, "SignatureDoesNotMatch", "secret access key"),
        (400, "ExpiredToken", "Renew"),
        (404, "NoSuchBucket", "Create bucket"),
        (400, "KMS.DisabledException", "KMS key"),
    ],
)
def test_what_only_a_person_can_mend_is_not_retried(
    faulty_store: S3Store, proxy: FaultProxy, status: int, code: str, step: str
) -> None:
    proxy.script(Fault.error(status, code), method="PUT", times=-1)
    with pytest.raises(PermanentError, match=step):
        put(faulty_store)
    assert [seen.method for seen in proxy.requests].count("PUT") == 1


def test_a_digest_refused_because_the_body_changed_is_not_retried(
    faulty_store: S3Store, proxy: FaultProxy
) -> None:
    proxy.script(Fault.error(400, "BadDigest"), method="PUT", times=-1)
    with pytest.raises(PermanentError, match="declared SHA-256") as caught:
        faulty_store.put(KEY, BODY, size=len(BODY), sha256="0" * 64)
    assert caught.value.reason is ReasonCode.INSTANCE_TRUNCATED


def test_an_object_that_vanishes_during_its_creation_is_worth_a_retry(
    faulty_store: S3Store, proxy: FaultProxy
) -> None:
    proxy.script(Fault.error(412, "PreconditionFailed"), method="PUT")
    with pytest.raises(TransientError, match="appeared and vanished"):
        put(faulty_store)


@pytest.mark.parametrize(
    ("fault", "method", "path"),
    [
        (Fault.error(503, "SlowDown"), "PUT", "partNumber=2"),
        (Fault.connection_reset(), "PUT", "partNumber=3"),
        (Fault.error(500, "InternalError"), "POST", "uploadId="),
        (Fault.error(200, "InternalError"), "POST", "uploadId="),
        (Fault.error(409, "ConditionalRequestConflict"), "POST", "uploadId="),
    ],
)
def test_a_failed_multipart_upload_leaves_no_parts(
    faulty_store: S3Store,
    proxy: FaultProxy,
    s3: S3Client,
    bucket: str,
    fault: Fault,
    method: str,
    path: str,
) -> None:
    proxy.script(fault, method=method, path_contains=path, times=-1)
    with pytest.raises(TransientError):
        put(faulty_store, LARGE)
    assert "Uploads" not in s3.list_multipart_uploads(Bucket=bucket)
    proxy.clear()
    assert put(faulty_store, LARGE) is True


def test_an_error_inside_a_200_is_survived_when_it_happens_once(
    faulty_store: S3Store, proxy: FaultProxy
) -> None:
    proxy.script(Fault.error(200, "InternalError"), method="POST", path_contains="uploadId=")
    assert put(faulty_store, LARGE) is True


def test_a_completion_whose_answer_got_lost_finds_its_own_object(
    faulty_store: S3Store, proxy: FaultProxy, s3: S3Client, bucket: str
) -> None:
    proxy.script(Fault.lost_answer(), method="POST", path_contains="uploadId=")
    proxy.script(Fault.error(404, "NoSuchUpload"), method="POST", path_contains="uploadId=")
    assert put(faulty_store, LARGE) is False
    assert b"".join(faulty_store.stream(KEY)) == LARGE
    assert "Uploads" not in s3.list_multipart_uploads(Bucket=bucket)


def test_a_failed_abort_does_not_hide_the_failure(
    faulty_store: S3Store, proxy: FaultProxy, caplog: pytest.LogCaptureFixture
) -> None:
    proxy.script(Fault.error(503, "SlowDown"), method="PUT", path_contains="partNumber", times=-1)
    proxy.script(Fault.error(500, "InternalError"), method="DELETE", times=-1)
    with pytest.raises(TransientError, match=r"UploadPart failed .* SlowDown"):
        put(faulty_store, LARGE)
    assert "Parts of an incomplete upload remain" in caplog.text


def test_another_writer_that_wins_the_multipart_race_is_found(
    faulty_store: S3Store, proxy: FaultProxy, store: S3Store
) -> None:
    put(store, LARGE)
    # The early look misses the object that is there by the time of the completion.
    proxy.script(Fault(status=404), method="HEAD", times=1)
    assert put(faulty_store, LARGE) is False


@pytest.mark.parametrize("fault", [Fault.cut(1000), Fault.error(500, "InternalError")])
def test_a_broken_read_is_worth_a_retry(
    faulty_store: S3Store, proxy: FaultProxy, fault: Fault
) -> None:
    put(faulty_store)
    proxy.script(fault, method="GET", times=-1)
    with pytest.raises(TransientError):
        faulty_store.read(KEY)
    with pytest.raises(TransientError):
        list(faulty_store.stream(KEY))
    with pytest.raises(TransientError):
        list(faulty_store.stream_into(KEY, bytearray(64)))
    proxy.clear()
    assert faulty_store.read(KEY) == BODY


def test_bytes_that_are_not_the_stores_own_are_called_corrupt(
    store: S3Store, s3: S3Client, bucket: str
) -> None:
    # moto believes the checksum that it is told, as a store with a damaged disk would.
    s3.put_object(
        Bucket=bucket,
        Key=f"site-a/{KEY}",
        Body=BODY,
        ChecksumAlgorithm="SHA256",
        ChecksumSHA256="A" * 43 + "=",
    )
    with pytest.raises(PermanentError) as caught:
        store.read(KEY)
    assert caught.value.reason is ReasonCode.OBJECT_CORRUPT


def test_a_listing_that_breaks_on_a_later_page_does_not_look_complete(
    faulty_store: S3Store,
    proxy: FaultProxy,
    s3: S3Client,
    bucket: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("MOTO_S3_DEFAULT_MAX_KEYS", "2")
    for number in range(3):
        s3.put_object(Bucket=bucket, Key=f"site-a/{number:04d}", Body=b"")
    assert len(list(faulty_store.list(""))) == 3
    proxy.script(Fault.error(503, "SlowDown"), path_contains="continuation-token", times=-1)
    with pytest.raises(TransientError, match="ListObjectsV2"):
        list(faulty_store.list(""))


def test_nobody_at_the_endpoint_is_unreachable_and_names_the_field(
    open_store: StoreFactory,
) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        store = open_store(url=f"http://127.0.0.1:{unused.getsockname()[1]}")
        with pytest.raises(
            TransientError, match="endpoint_url of connection cloud_target"
        ) as caught:
            put(store)
    assert caught.value.reason is ReasonCode.TARGET_UNREACHABLE
