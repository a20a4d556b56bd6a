"""Our signature is the one that botocore would make."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime

import pytest
from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from dicom_migration.cloud.s3_signing import AccessKey, RequestSigner

NOW = datetime(2026, 3, 1, 9, 30, 5, tzinfo=UTC)
BODY_SHA256 = "ab" * 32
EXTRA = {
    "content-type": "application/dicom",
    "if-none-match": "*",
    "x-amz-meta-sha256": BODY_SHA256,
    "x-amz-storage-class": "GLACIER_IR",
}


def botocores(path: str, credentials: Credentials, monkeypatch: pytest.MonkeyPatch) -> str:
    request = AWSRequest("PUT", f"https://bucket.example.org{path}", headers=dict(EXTRA))
    request.headers["X-Amz-Content-SHA256"] = BODY_SHA256
    request.context["client_config"] = None
    monkeypatch.setattr("botocore.auth.get_current_datetime", lambda: NOW.replace(tzinfo=None))
    monkeypatch.setattr(S3SigV4Auth, "payload", lambda self, request: BODY_SHA256)
    S3SigV4Auth(credentials, "s3", "eu-central-1").add_auth(request)
    return str(request.headers["Authorization"])


@pytest.mark.parametrize("token", ["", "a session's token"])
@pytest.mark.parametrize("path", ["/studies/1.2/3.dcm", "/pre%20fix/%C3%A4/1.dcm"])
def test_a_signature_is_botocores(path: str, token: str, monkeypatch: pytest.MonkeyPatch) -> None:
    credentials = Credentials("AKIDEXAMPLE", "a secret", token or None)
    signer = RequestSigner("eu-central-1", "bucket.example.org")
    ours = signer.headers(
        path, BODY_SHA256, EXTRA, AccessKey("AKIDEXAMPLE", "a secret", token), NOW
    )
    assert ours["authorization"] == botocores(path, credentials, monkeypatch)


def test_a_signature_of_a_read_is_botocores(monkeypatch: pytest.MonkeyPatch) -> None:
    empty = hashlib.sha256(b"").hexdigest()
    url = "https://bucket.example.org/studies/1.2.zip"
    request = AWSRequest("GET", url, headers={"range": "bytes=5-9"})
    request.headers["X-Amz-Content-SHA256"] = empty
    request.context["client_config"] = None
    monkeypatch.setattr("botocore.auth.get_current_datetime", lambda: NOW.replace(tzinfo=None))
    S3SigV4Auth(Credentials("AKIDEXAMPLE", "a secret"), "s3", "eu-central-1").add_auth(request)
    signer = RequestSigner("eu-central-1", "bucket.example.org")
    access = AccessKey("AKIDEXAMPLE", "a secret")
    ours = signer.headers(
        "/studies/1.2.zip", empty, {"range": "bytes=5-9"}, access, NOW, method="GET"
    )
    assert ours["authorization"] == request.headers["Authorization"]


def test_new_credentials_and_a_new_day_make_a_new_key() -> None:
    signer = RequestSigner("eu-central-1", "bucket.example.org")

    def authorization(secret: str, now: datetime) -> str:
        key = AccessKey("AKIDEXAMPLE", secret)
        return signer.headers("/k", BODY_SHA256, EXTRA, key, now)["authorization"]

    first = authorization("one", NOW)
    assert authorization("two", NOW) != first
    assert authorization("one", NOW.replace(day=2)) != first
    assert authorization("one", NOW) == first
