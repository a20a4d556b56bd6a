"""From an Airflow connection to a store that works."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import pytest

import dicom_migration
from dicom_migration.cloud.s3_settings import S3Client
from dicom_migration.errors import PermanentError, ReasonCode
from dicom_migration.hooks.cloud import open_store

BODY = b"DICM"


def connection(extra: dict[str, Any] | str, conn_type: str = "aws") -> str:
    return json.dumps(
        {
            "conn_type": conn_type,
            "login": "AKIAEXAMPLEEXAMPLE00",
            "password": "secret-of-the-test",
            "extra": extra,
        }
    )


@pytest.fixture
def extra(endpoint: str, bucket: str) -> dict[str, Any]:
    return {
        "region_name": "us-east-1",
        "endpoint_url": endpoint,
        "service_config": {"s3": {"bucket_name": bucket, "prefix": "site-a"}},
    }


def test_a_connection_opens_a_store_that_works(
    monkeypatch: pytest.MonkeyPatch, extra: dict[str, Any], s3: S3Client, bucket: str
) -> None:
    extra["service_config"]["s3"]["kms_key_id"] = "alias/archive"
    monkeypatch.setenv("AIRFLOW_CONN_CLOUD_TARGET", connection(extra))
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)  # the provider accepts our keys silently
        store = open_store()
    with store:
        assert store.check()["conditional_create"] == "honoured"
        sha256 = hashlib.sha256(BODY).hexdigest()
        assert store.put("1.2.3", BODY, size=4, sha256=sha256).created
    head = s3.head_object(Bucket=bucket, Key="site-a/1.2.3")
    assert head["SSEKMSKeyId"] == "alias/archive"
    assert store.name == f"s3://{bucket}/site-a"


def test_the_connections_own_botocore_settings_win(
    monkeypatch: pytest.MonkeyPatch, extra: dict[str, Any]
) -> None:
    extra["config_kwargs"] = {"read_timeout": 7}
    extra["service_config"]["s3"]["max_pool_connections"] = 40
    monkeypatch.setenv("AIRFLOW_CONN_OTHER", connection(extra))
    store = open_store("other")
    config = store._client.meta.config
    assert (config.read_timeout, config.max_pool_connections, config.tcp_keepalive) == (7, 40, True)
    store.close()


def test_a_connection_without_a_bucket_names_the_field(
    monkeypatch: pytest.MonkeyPatch, extra: dict[str, Any]
) -> None:
    del extra["service_config"]["s3"]["bucket_name"]
    for broken in (extra, {}):
        monkeypatch.setenv("AIRFLOW_CONN_CLOUD_TARGET", connection(broken))
        with pytest.raises(PermanentError, match=r"service_config\.s3\.bucket_name") as caught:
            open_store()
        assert caught.value.reason is ReasonCode.CONFIGURATION_INVALID
        assert "cloud_target" in str(caught.value)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("prefix", ["a"]),
        ("prefix", "../other"),
        ("kms_key_id", 7),
        ("part_bytes", "64 MiB"),
        ("part_bytes", 1),
        ("max_attempts", True),
        ("require_conditional_create", "false"),
    ],
)
def test_a_field_that_cannot_be_right_is_named(
    monkeypatch: pytest.MonkeyPatch, extra: dict[str, Any], field: str, value: object
) -> None:
    extra["service_config"]["s3"][field] = value
    monkeypatch.setenv("AIRFLOW_CONN_CLOUD_TARGET", connection(extra))
    with pytest.raises(PermanentError, match=field):
        open_store()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"endpoint_url": "not a url"}, "endpoint"),
        ({"assume_role_method": "magic", "role_arn": "arn:aws:iam::1:role/x"}, "cannot be read"),
        ({"service_config": {"s3": ["archive"]}}, "service_config"),
        ({"profile_name": "no-such-profile"}, "profile_name"),
    ],
)
def test_a_connection_that_cannot_work_says_why(
    monkeypatch: pytest.MonkeyPatch, extra: dict[str, Any], change: dict[str, Any], words: str
) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_CLOUD_TARGET", connection(extra | change))
    with pytest.raises(PermanentError, match=words) as caught:
        open_store()
    assert "secret-of-the-test" not in str(caught.value)


def test_a_missing_connection_does_not_fall_back_to_the_workers_own_credentials() -> None:
    with pytest.raises(PermanentError, match="no_such_connection does not exist"):
        open_store("no_such_connection")


def test_a_connection_of_another_type_is_refused(
    monkeypatch: pytest.MonkeyPatch, extra: dict[str, Any]
) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_CLOUD_TARGET", connection(extra, conn_type="http"))
    with pytest.warns(UserWarning, match="aws"), pytest.raises(PermanentError, match="type http"):
        open_store()


def test_importing_the_hook_loads_neither_airflow_nor_boto3() -> None:
    code = (
        "import sys, dicom_migration.hooks.cloud; "
        "sys.exit(bool({'boto3', 'botocore', 'airflow'} & set(sys.modules)))"
    )
    package = Path(dicom_migration.__file__).parents[1]
    environment = os.environ | {"PYTHONPATH": str(package)}
    assert subprocess.run([sys.executable, "-c", code], env=environment).returncode == 0
