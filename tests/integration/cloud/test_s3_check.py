"""The pre-flight check: what is wrong is said before a wave begins."""

from __future__ import annotations

import pytest

from dicom_migration.cloud.s3 import WRITE_CHECK_KEY, S3Store
from dicom_migration.cloud.s3_settings import S3Client
from dicom_migration.errors import PermanentError, ReasonCode
from tests.integration.cloud.conftest import StoreFactory
from tests.integration.cloud.fault_proxy import Fault, FaultProxy


def test_a_sound_bucket_tells_its_facts(store: S3Store, s3: S3Client, bucket: str) -> None:
    s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    by_default = {"ApplyServerSideEncryptionByDefault": {"SSEAlgorithm": "aws:kms"}}
    s3.put_bucket_encryption(
        Bucket=bucket, ServerSideEncryptionConfiguration={"Rules": [by_default]}
    )
    assert store.check() == {
        "bucket": bucket,
        "region": "us-east-1",
        "versioning": "enabled",
        "encryption": "aws:kms",
        "object_lock": "off",
        "conditional_create": "honoured",
    }


def test_object_lock_is_told_with_its_retention(
    open_store: StoreFactory, s3: S3Client, bucket: str
) -> None:
    locked = f"{bucket}-locked"
    s3.create_bucket(Bucket=locked, ObjectLockEnabledForBucket=True)
    store = open_store(bucket=locked)
    s3.put_object_lock_configuration(
        Bucket=locked,
        ObjectLockConfiguration={
            "ObjectLockEnabled": "Enabled",
            "Rule": {"DefaultRetention": {"Mode": "COMPLIANCE", "Days": 30}},
        },
    )
    assert store.check()["object_lock"] == "enabled, compliance 30 days"


def test_the_check_needs_no_delete_and_writes_once(
    faulty_store: S3Store, proxy: FaultProxy, s3: S3Client, bucket: str
) -> None:
    faulty_store.check()
    faulty_store.check()
    assert not [seen for seen in proxy.requests if seen.method == "DELETE"]
    keys = [entry["Key"] for entry in s3.list_objects_v2(Bucket=bucket)["Contents"]]
    assert keys == [f"site-a/{WRITE_CHECK_KEY}"]


@pytest.mark.parametrize(
    ("query", "fact"),
    [("versioning", "versioning"), ("encryption", "encryption"), ("object-lock", "object_lock")],
)
def test_a_fact_that_may_not_be_asked_does_not_fail_the_check(
    faulty_store: S3Store, proxy: FaultProxy, query: str, fact: str
) -> None:
    proxy.script(Fault.error(403, "AccessDenied"), method="GET", path_contains=f"?{query}")
    proxy.script(
        Fault.error(501, "NotImplemented"), method="GET", path_contains=f"?{query}", times=9
    )
    assert faulty_store.check()[fact] == "not permitted"
    assert faulty_store.check()[fact] == "not supported"


def test_a_missing_bucket_is_named_with_its_connection(open_store: StoreFactory) -> None:
    store = open_store(bucket="no-such-bucket")
    for ask in (store.check, lambda: store.head("1.2.3"), lambda: list(store.list(""))):
        with pytest.raises(PermanentError, match="Create bucket no-such-bucket") as caught:
            ask()
        assert caught.value.reason is ReasonCode.TARGET_MISSING
        assert "connection cloud_target" in str(caught.value)
    with pytest.raises(PermanentError, match="no-such-bucket") as caught:
        store.put(
            "1.2.3",
            b"",
            size=0,
            sha256="e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
        )
    assert caught.value.reason is ReasonCode.TARGET_MISSING


@pytest.mark.parametrize("method", ["HEAD", "GET", "PUT"])
def test_denied_access_points_to_the_policy(
    faulty_store: S3Store, proxy: FaultProxy, method: str
) -> None:
    proxy.script(Fault.error(403, "AccessDenied"), method=method, path_contains="", times=1)
    with pytest.raises(PermanentError, match=r"docs/connect-s3\.md") as caught:
        faulty_store.check()
    assert caught.value.reason is ReasonCode.TARGET_REJECTED


@pytest.mark.parametrize(
    ("status", "code", "advice"),
    [
        (403, "InvalidAccessKeyId", "Correct the access key id"),
        (403, "SignatureDoesNotMatch", "Correct the access key id"),
        (400, "ExpiredToken", "Renew the session token"),
        (403, "AccessDenied", "Grant the identity"),
    ],
)
def test_the_cause_that_a_head_cannot_tell_is_asked_of_a_listing(
    faulty_store: S3Store, proxy: FaultProxy, status: int, code: str, advice: str
) -> None:
    proxy.script(Fault.error(status, code), times=-1)
    with pytest.raises(PermanentError, match=advice) as caught:
        faulty_store.check()
    assert code in caught.value.message
    assert caught.value.reason is ReasonCode.TARGET_REJECTED


def test_a_store_that_overwrites_is_refused(
    faulty_store: S3Store, proxy: FaultProxy, open_store: StoreFactory
) -> None:
    proxy.script(Fault(status=200), method="PUT", times=-1)
    with pytest.raises(PermanentError, match="ignores If-None-Match"):
        faulty_store.check()
    lenient = open_store(url=proxy.url, require_conditional_create=False)
    assert lenient.check()["conditional_create"] == "ignored"
