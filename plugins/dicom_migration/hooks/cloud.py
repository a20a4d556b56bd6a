"""From an Airflow connection to a cloud store."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from dicom_migration.errors import PermanentError, ReasonCode

if TYPE_CHECKING:
    from airflow.providers.amazon.aws.hooks.s3 import S3Hook

    from dicom_migration.cloud.s3 import S3Store
    from dicom_migration.cloud.s3_settings import S3Settings

DEFAULT_CONNECTION = "cloud_target"

# Optional keys of extra.service_config.s3 that are passed on to S3Settings, with their type.
_SETTINGS: dict[str, type] = {
    "kms_key_id": str,
    "server_side_encryption": str,
    "multipart_threshold_bytes": int,
    "part_bytes": int,
    "max_pool_connections": int,
    "connect_timeout": float,
    "read_timeout": float,
    "max_attempts": int,
    "require_conditional_create": bool,
}


def open_store(conn_id: str = DEFAULT_CONNECTION) -> S3Store:
    """Open the store that an Airflow connection of type ``aws`` describes.

    Credentials, assumed roles, profiles, region and ``endpoint_url`` are the amazon provider's
    business. The bucket is ``extra.service_config.s3.bucket_name``, as the provider defines it;
    ``prefix`` and the settings of :class:`~dicom_migration.cloud.s3_settings.S3Settings` stand
    beside it and are ours (the provider ignores them). ``extra.config_kwargs`` wins over our
    timeouts and retries. No request goes to S3.

    Parameters
    ----------
    conn_id
        Airflow connection.

    Raises
    ------
    PermanentError
        Reason ``configuration_invalid``: no such connection, not of type ``aws``, no bucket,
        or a field that cannot be right. The message names the field.
    """
    from airflow.providers.amazon.aws.hooks.s3 import S3Hook

    from dicom_migration.cloud.s3 import S3Store
    from dicom_migration.cloud.s3_errors import S3Address, translated
    from dicom_migration.cloud.s3_settings import client_config

    hook = S3Hook(aws_conn_id=conn_id)
    service = _service_config(hook, conn_id)
    bucket, prefix = service.get("bucket_name"), service.get("prefix", "")
    if not isinstance(bucket, str) or not bucket:
        raise _misconfigured(conn_id, "names no bucket", "Set service_config.s3.bucket_name")
    if not isinstance(prefix, str):
        raise _misconfigured(conn_id, "has no valid prefix", "Correct service_config.s3.prefix")
    settings = _settings(conn_id, service)
    config = client_config(settings).merge(hook.config)
    try:
        with translated("Session", S3Address(bucket, conn_id)):
            client = hook.get_client_type(region_name=hook.region_name, config=config)
    except ValueError as exc:
        raise _misconfigured(conn_id, "has no valid endpoint", "Correct endpoint_url") from exc
    return S3Store(client, bucket, prefix, settings)


def _service_config(hook: S3Hook, conn_id: str) -> dict[str, Any]:
    from airflow.exceptions import AirflowException

    try:
        connection = hook.conn_config
    except (AirflowException, TypeError, ValueError, NotImplementedError) as exc:
        # Their text may quote the extra, which can hold a secret key.
        raise _misconfigured(
            conn_id, "cannot be read", "Make its extra a valid JSON object"
        ) from exc
    if not connection:  # the provider would go on with whatever credentials the worker has
        raise _misconfigured(conn_id, "does not exist", "Create it as Amazon Web Services")
    if connection.conn_type != "aws":
        raise _misconfigured(
            conn_id,
            f"is of type {connection.conn_type}",
            "Change its type to Amazon Web Services (aws)",
        )
    service = hook.service_config
    if not isinstance(service, dict):
        raise _misconfigured(conn_id, "has no valid service_config.s3", "Make it an object")
    return service


def _settings(conn_id: str, service: dict[str, Any]) -> S3Settings:
    from dicom_migration.cloud.s3_settings import S3Settings

    given = {name: service[name] for name in _SETTINGS if service.get(name) is not None}
    for name, value in given.items():
        if not _fits(value, _SETTINGS[name]):
            raise _misconfigured(
                conn_id,
                f"has a service_config.s3.{name} of the wrong type",
                f"Make it a {_SETTINGS[name].__name__}",
            )
    return S3Settings(connection=conn_id, **given)


def _fits(value: object, kind: type) -> bool:
    if isinstance(value, bool):  # JSON true is an int to Python, and not a number to a person
        return kind is bool
    return isinstance(value, (int, float) if kind is float else kind)


def _misconfigured(conn_id: str, problem: str, advice: str) -> PermanentError:
    return PermanentError(
        f"the Airflow connection {conn_id} {problem}",
        reason=ReasonCode.CONFIGURATION_INVALID,
        next_step=f"{advice}; docs/connect-s3.md shows a complete connection.",
    )
