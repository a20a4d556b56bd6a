"""Settings: what S3 would refuse in the middle of a wave is refused at the start."""

from __future__ import annotations

import pytest

from dicom_migration.cloud.s3_settings import MIB, S3Settings, create_client
from dicom_migration.errors import PermanentError


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("part_bytes", MIB),
        ("multipart_threshold_bytes", 6 << 30),
        ("server_side_encryption", "rot13"),
        ("max_pool_connections", 0),
        ("read_timeout", 0),
        ("max_attempts", 0),
    ],
)
def test_a_setting_out_of_range_is_named(field: str, value: object) -> None:
    with pytest.raises(PermanentError, match=field):
        S3Settings(**{field: value})  # type: ignore[arg-type]


def test_a_kms_key_implies_kms_encryption() -> None:
    assert S3Settings(kms_key_id="alias/archive").encryption_parameters() == {
        "ServerSideEncryption": "aws:kms",
        "SSEKMSKeyId": "alias/archive",
    }
    assert S3Settings().encryption_parameters() == {}
    with pytest.raises(PermanentError, match="kms_key_id"):
        S3Settings(kms_key_id="alias/archive", server_side_encryption="AES256")


def test_the_settings_reach_the_client() -> None:
    settings = S3Settings(read_timeout=7, max_attempts=4, max_pool_connections=33)
    client = create_client(settings, region_name="eu-central-1")
    config = client.meta.config
    assert (config.read_timeout, config.max_pool_connections) == (7, 33)
    assert config.retries == {"mode": "standard", "total_max_attempts": 4}
    assert config.tcp_keepalive is True
    client.close()


def test_a_malformed_endpoint_names_the_field_to_correct() -> None:
    with pytest.raises(PermanentError, match="endpoint_url of connection cloud_target"):
        create_client(S3Settings(), region_name="us-east-1", endpoint_url="not a url")
