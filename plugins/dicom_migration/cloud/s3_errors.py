"""What an S3 failure means: worth retrying or not, and what a person does about it.

The codes are those of "Error responses" in the Amazon S3 API reference. Only the code, the HTTP
status and the request id of an answer are quoted: they are what a support case asks for, and
they hold neither PHI nor secrets.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from botocore import exceptions as boto
from botocore.exceptions import BotoCoreError, ClientError

from dicom_migration.errors import MigrationError, PermanentError, ReasonCode, TransientError


@dataclass(frozen=True, slots=True)
class S3Address:
    """What a request was about: the names that a message may and must carry."""

    bucket: str
    connection: str
    key: str = ""

    def __str__(self) -> str:
        """Return the URI and the connection."""
        uri = f"s3://{self.bucket}/{self.key}" if self.key else f"s3://{self.bucket}"
        return f"{uri} (connection {self.connection})"


@dataclass(frozen=True, slots=True)
class _Meaning:
    kind: type[MigrationError]
    reason: ReasonCode
    next_step: str


_BUSY = _Meaning(
    TransientError,
    ReasonCode.TARGET_BUSY,
    "Let the task retry; when it persists, lower the transfer concurrency.",
)
_FAILED = _Meaning(
    TransientError,
    ReasonCode.TARGET_BUSY,
    "Let the task retry; when it persists, look at the store's health page and quote the "
    "request id.",
)
_RACE = _Meaning(
    TransientError,
    ReasonCode.TARGET_BUSY,
    "Another writer is at the same key: let the task retry, it compares what is there then.",
)
_UNREACHABLE = _Meaning(
    TransientError,
    ReasonCode.TARGET_UNREACHABLE,
    "Let the task retry; when it persists, check the network, the proxy and endpoint_url of "
    "connection {connection}.",
)
_NO_CREDENTIALS = _Meaning(
    PermanentError,
    ReasonCode.TARGET_REJECTED,
    "Give connection {connection} an access key, a profile_name or a role_arn, or the worker "
    "an instance role.",
)
_CREDENTIALS_LATE = _Meaning(
    TransientError,
    ReasonCode.TARGET_UNREACHABLE,
    "Let the task retry; when it persists, check role_arn and the metadata or token service "
    "that connection {connection} takes its credentials from.",
)
_BAD_KEY = _Meaning(
    PermanentError,
    ReasonCode.TARGET_REJECTED,
    "Correct the access key id and the secret access key of connection {connection}.",
)
_EXPIRED = _Meaning(
    PermanentError,
    ReasonCode.TARGET_REJECTED,
    "Renew the session token of connection {connection}, or use role_arn, which renews itself.",
)
_DENIED = _Meaning(
    PermanentError,
    ReasonCode.TARGET_REJECTED,
    "Grant the identity of connection {connection} the policy of docs/connect-s3.md on bucket "
    "{bucket}.",
)
_NO_BUCKET = _Meaning(
    PermanentError,
    ReasonCode.TARGET_MISSING,
    "Create bucket {bucket}, or correct service_config.s3.bucket_name of connection {connection}.",
)
_NO_OBJECT = _Meaning(
    PermanentError,
    ReasonCode.OBJECT_MISSING,
    "Look for who deleted it, then transfer the study again.",
)
_ARCHIVED = _Meaning(
    PermanentError,
    ReasonCode.OBJECT_ARCHIVED,
    "Restore the object first (RestoreObject; from DEEP_ARCHIVE it takes 12 to 48 hours), then "
    "run this again.",
)
_REGION = _Meaning(
    PermanentError,
    ReasonCode.CONFIGURATION_INVALID,
    "Set region_name of connection {connection} to the region of bucket {bucket}.",
)
_CLOCK = _Meaning(
    PermanentError,
    ReasonCode.CONFIGURATION_INVALID,
    "Synchronise the worker's clock (NTP): it differs too much from the store's.",
)
_KMS = _Meaning(
    PermanentError,
    ReasonCode.TARGET_REJECTED,
    "Enable the KMS key and grant kms:GenerateDataKey and kms:Decrypt to the identity of "
    "connection {connection}.",
)
_CLASS = _Meaning(
    PermanentError,
    ReasonCode.CONFIGURATION_INVALID,
    "Choose a storage class that the store offers, in the storage tier policy.",
)
_RANGE = _Meaning(
    PermanentError,
    ReasonCode.OBJECT_CORRUPT,
    "The object is shorter than its manifest says: verify the study, then transfer it again.",
)
_CORRUPT = _Meaning(
    PermanentError,
    ReasonCode.OBJECT_CORRUPT,
    "The bytes read do not match the store's checksum: read again, then transfer the study again.",
)
_DAMAGED = _Meaning(
    TransientError,
    ReasonCode.TARGET_BUSY,
    "The bytes were damaged on the way: let the task retry; when it persists, check the "
    "network path for a device that rewrites traffic.",
)
_TLS = _Meaning(
    PermanentError,
    ReasonCode.TARGET_REJECTED,
    "Check the certificate of the endpoint, and `verify` (a CA bundle) of connection {connection}.",
)
_REFUSED = _Meaning(
    PermanentError,
    ReasonCode.TARGET_REJECTED,
    "Look the code up in the store's documentation and correct connection {connection} or the "
    "bucket's settings.",
)
_MISCONFIGURED = _Meaning(
    PermanentError,
    ReasonCode.CONFIGURATION_INVALID,
    "Correct connection {connection}; see docs/connect-s3.md.",
)

_BY_CODE: dict[str, _Meaning] = {
    **dict.fromkeys(
        ("SlowDown", "Throttling", "ThrottlingException", "RequestLimitExceeded"), _BUSY
    ),
    **dict.fromkeys(
        ("TooManyRequests", "TooManyRequestsException", "KMS.ThrottlingException"), _BUSY
    ),
    **dict.fromkeys(("InternalError", "ServiceUnavailable", "RequestTimeout", "503"), _FAILED),
    **dict.fromkeys(("ConditionalRequestConflict", "OperationAborted", "NoSuchUpload"), _RACE),
    **dict.fromkeys(
        ("InvalidAccessKeyId", "SignatureDoesNotMatch", "InvalidClientTokenId"), _BAD_KEY
    ),
    **dict.fromkeys(
        ("ExpiredToken", "ExpiredTokenException", "InvalidToken", "TokenRefreshRequired"), _EXPIRED
    ),
    **dict.fromkeys(("AccessDenied", "AllAccessDisabled", "AccountProblem", "403"), _DENIED),
    **dict.fromkeys(("AuthorizationHeaderMalformed", "PermanentRedirect", "301"), _REGION),
    **dict.fromkeys(("NoSuchKey", "NoSuchVersion"), _NO_OBJECT),
    **dict.fromkeys(("BadDigest", "XAmzContentSHA256Mismatch", "IncompleteBody"), _DAMAGED),
    "NoSuchBucket": _NO_BUCKET,
    "InvalidObjectState": _ARCHIVED,
    "RequestTimeTooSkewed": _CLOCK,
    "InvalidStorageClass": _CLASS,
    "InvalidRange": _RANGE,
}

# First match wins: a subclass stands before its base.
_BY_TYPE: tuple[tuple[type[BotoCoreError], _Meaning], ...] = (
    (boto.NoCredentialsError, _NO_CREDENTIALS),
    (boto.PartialCredentialsError, _NO_CREDENTIALS),
    (boto.ProfileNotFound, _NO_CREDENTIALS),
    (boto.CredentialRetrievalError, _CREDENTIALS_LATE),
    (boto.MetadataRetrievalError, _CREDENTIALS_LATE),
    (boto.SSLError, _TLS),
    (boto.FlexibleChecksumError, _CORRUPT),
    (boto.IncompleteReadError, _UNREACHABLE),
    (boto.HTTPClientError, _UNREACHABLE),
    (boto.ConnectionError, _UNREACHABLE),
)


def error_code(exc: ClientError) -> str:
    """Return the code of an answer; for a HEAD, which has no body, the HTTP status."""
    return str(exc.response.get("Error", {}).get("Code", ""))


def http_status(exc: ClientError) -> int:
    """Return the HTTP status of an answer, 0 when it has none."""
    return int(exc.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))


def is_precondition_failed(exc: ClientError) -> bool:
    """Tell whether an object exists already under a key that was to be created."""
    return error_code(exc) in ("PreconditionFailed", "412")


def _meaning_of_answer(exc: ClientError, address: S3Address) -> _Meaning:
    code, status = error_code(exc), http_status(exc)
    known = _BY_CODE.get(code)
    if known is not None:
        return known
    if code.startswith("KMS."):
        return _KMS
    if code == "404":
        return _NO_OBJECT if address.key else _NO_BUCKET
    if status == 429 or code == "429":
        return _BUSY
    if status >= 500:
        return _FAILED
    return _DENIED if status == 403 else _REFUSED


def _meaning_of_exception(exc: BotoCoreError) -> _Meaning:
    return next((meaning for kind, meaning in _BY_TYPE if isinstance(exc, kind)), _MISCONFIGURED)


def translate(exc: ClientError | BotoCoreError, action: str, address: S3Address) -> MigrationError:
    """Return our error for one of botocore's.

    Parameters
    ----------
    action
        The API operation that failed, for example ``PutObject``.
    """
    if isinstance(exc, ClientError):
        meaning = _meaning_of_answer(exc, address)
        request_id = exc.response.get("ResponseMetadata", {}).get("RequestId", "")
        cause = f"{error_code(exc) or 'no code'}, HTTP {http_status(exc)}"
        cause += f", request id {request_id}" if request_id else ""
    else:
        meaning = _meaning_of_exception(exc)
        cause = type(exc).__name__
    return meaning.kind(
        f"{action} failed on {address}: {cause}.",
        reason=meaning.reason,
        next_step=meaning.next_step.format(bucket=address.bucket, connection=address.connection),
    )


@contextmanager
def translated(action: str, address: S3Address) -> Iterator[None]:
    """Run a block of S3 requests and raise our errors in place of botocore's.

    Raises
    ------
    TransientError, PermanentError
        See :func:`translate`.
    """
    try:
        yield
    except (ClientError, BotoCoreError) as exc:
        raise translate(exc, action, address) from exc


def refuse_other_checksum(told: str | None, sent: str, address: S3Address) -> None:
    """Compare the SHA-256 (base64) that the store names, where it does; botocore does not.

    Raises
    ------
    TransientError
        It is another one: the store has other bytes, or says so.
    """
    if told and told != sent:
        raise TransientError(
            f"The store names another SHA-256 for {address} than the one that was sent.",
            reason=ReasonCode.TARGET_BUSY,
            next_step="Let the task retry, it compares what is there then; when it persists, "
            "look at the store's health page.",
        )
