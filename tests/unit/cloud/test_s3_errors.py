"""Every S3 failure is either worth a retry or tells a person what to change."""

from __future__ import annotations

import pytest
from botocore import exceptions as boto
from botocore.exceptions import BotoCoreError, ClientError

from dicom_migration.cloud.s3_errors import S3Address, translate
from dicom_migration.errors import PermanentError, ReasonCode, TransientError

OBJECT = S3Address("archive", "cloud_target", "site-a/1.2.3")
BUCKET = S3Address("archive", "cloud_target")


def answer(code: str, status: int) -> ClientError:
    return ClientError(
        {
            "Error": {"Code": code, "Message": "Doe^John must not be quoted"},
            "ResponseMetadata": {"HTTPStatusCode": status, "RequestId": "REQ1"},  # type: ignore[typeddict-item]
        },
        "PutObject",
    )


@pytest.mark.parametrize(
    ("code", "status"),
    [
        ("SlowDown", 503),
        ("ServiceUnavailable", 503),
        ("InternalError", 500),
        ("InternalError", 200),
        ("RequestTimeout", 400),
        ("ConditionalRequestConflict", 409),
        ("TooManyRequests", 429),
        ("BadDigest", 400),
        ("KMS.ThrottlingException", 400),
        ("SomethingNew", 502),
        ("SomethingNew", 429),
    ],
)
def test_worth_a_retry(code: str, status: int) -> None:
    error = translate(answer(code, status), "PutObject", OBJECT)
    assert isinstance(error, TransientError)
    assert error.reason is ReasonCode.TARGET_BUSY
    assert "s3://archive/site-a/1.2.3" in str(error)
    assert "retry" in error.next_step


@pytest.mark.parametrize(
    ("code", "status", "reason", "step"),
    [
        ("AccessDenied", 403, ReasonCode.TARGET_REJECTED, "docs/connect-s3.md on bucket archive"),
        ("403", 403, ReasonCode.TARGET_REJECTED, "docs/connect-s3.md on bucket archive"),
        ("InvalidAccessKeyId", 403, ReasonCode.TARGET_REJECTED, "access key id"),
        ("SignatureDoesNotMatch", 403, ReasonCode.TARGET_REJECTED, "secret access key"),
        ("ExpiredToken", 400, ReasonCode.TARGET_REJECTED, "Renew the session token"),
        ("RequestTimeTooSkewed", 403, ReasonCode.CONFIGURATION_INVALID, "clock"),
        ("NoSuchBucket", 404, ReasonCode.TARGET_MISSING, "service_config.s3.bucket_name"),
        ("NoSuchKey", 404, ReasonCode.OBJECT_MISSING, "transfer the study again"),
        ("404", 404, ReasonCode.OBJECT_MISSING, "transfer the study again"),
        ("InvalidObjectState", 403, ReasonCode.OBJECT_ARCHIVED, "Restore the object"),
        ("InvalidStorageClass", 400, ReasonCode.CONFIGURATION_INVALID, "storage class"),
        ("InvalidRange", 416, ReasonCode.OBJECT_CORRUPT, "shorter"),
        ("PermanentRedirect", 301, ReasonCode.CONFIGURATION_INVALID, "region_name"),
        ("KMS.DisabledException", 400, ReasonCode.TARGET_REJECTED, "kms:GenerateDataKey"),
        ("SomethingNew", 400, ReasonCode.TARGET_REJECTED, "Look the code up"),
        ("SomethingNew", 403, ReasonCode.TARGET_REJECTED, "Grant"),
    ],
)
def test_for_a_person(code: str, status: int, reason: ReasonCode, step: str) -> None:
    error = translate(answer(code, status), "GetObject", OBJECT)
    assert isinstance(error, PermanentError)
    assert error.reason is reason
    assert step in error.next_step


def test_404_without_a_key_is_a_missing_bucket() -> None:
    error = translate(answer("404", 404), "HeadBucket", BUCKET)
    assert error.reason is ReasonCode.TARGET_MISSING
    assert "Create bucket archive" in error.next_step


@pytest.mark.parametrize(
    ("exc", "kind", "reason"),
    [
        (
            boto.EndpointConnectionError(endpoint_url="http://x"),
            TransientError,
            ReasonCode.TARGET_UNREACHABLE,
        ),
        (
            boto.ReadTimeoutError(endpoint_url="http://x"),
            TransientError,
            ReasonCode.TARGET_UNREACHABLE,
        ),
        (
            boto.ConnectTimeoutError(endpoint_url="http://x"),
            TransientError,
            ReasonCode.TARGET_UNREACHABLE,
        ),
        (
            boto.ConnectionClosedError(endpoint_url="http://x"),
            TransientError,
            ReasonCode.TARGET_UNREACHABLE,
        ),
        (
            boto.ResponseStreamingError(error="broken"),
            TransientError,
            ReasonCode.TARGET_UNREACHABLE,
        ),
        (
            boto.IncompleteReadError(actual_bytes=1, expected_bytes=2),
            TransientError,
            ReasonCode.TARGET_UNREACHABLE,
        ),
        (
            boto.CredentialRetrievalError(provider="web-identity", error_msg="timeout"),
            TransientError,
            ReasonCode.TARGET_UNREACHABLE,
        ),
        (boto.NoCredentialsError(), PermanentError, ReasonCode.TARGET_REJECTED),
        (boto.ProfileNotFound(profile="x"), PermanentError, ReasonCode.TARGET_REJECTED),
        (
            boto.SSLError(endpoint_url="https://x", error=OSError("self signed")),
            PermanentError,
            ReasonCode.TARGET_REJECTED,
        ),
        (
            boto.FlexibleChecksumError(error_msg="differs"),
            PermanentError,
            ReasonCode.OBJECT_CORRUPT,
        ),
        (boto.ParamValidationError(report="bad"), PermanentError, ReasonCode.CONFIGURATION_INVALID),
    ],
)
def test_failures_without_an_answer(
    exc: BotoCoreError, kind: type[Exception], reason: ReasonCode
) -> None:
    error = translate(exc, "PutObject", OBJECT)
    assert type(error) is kind
    assert error.reason is reason
    assert "cloud_target" in str(error)
    assert error.next_step


def test_a_message_quotes_code_and_request_id_but_not_the_servers_text() -> None:
    text = str(translate(answer("InternalError", 500), "PutObject", OBJECT))
    assert "PutObject failed on" in text
    assert "InternalError, HTTP 500, request id REQ1" in text
    assert "Doe" not in text
