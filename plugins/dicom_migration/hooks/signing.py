"""The key that signs certificates and purge lists, from an Airflow connection."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from airflow.sdk import BaseHook
from airflow.sdk.exceptions import AirflowNotFoundException

from dicom_migration.errors import PermanentError, ReasonCode

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

DEFAULT_CONN_ID = "certificate_signing"


def signing_key(conn_id: str = DEFAULT_CONN_ID) -> Ed25519PrivateKey | None:
    """Return the ed25519 key of a connection, None when there is no such connection.

    The connection holds the PEM in its password, or its file's path in ``extra.key_file``.

    Raises
    ------
    PermanentError
        With reason ``configuration_invalid``: there is a connection, but no key in it. What was
        meant to be signed is never left unsigned in silence.
    """
    from dicom_migration.verification.signing import read_private_key

    try:
        connection = BaseHook.get_connection(conn_id)
    except AirflowNotFoundException:
        return None
    path = connection.extra_dejson.get("key_file", "")
    try:
        pem = Path(path).read_bytes() if path else (connection.password or "").encode()
    except OSError as error:
        raise PermanentError(
            f"The key file of connection {conn_id} cannot be read: {error.strerror}.",
            reason=ReasonCode.CONFIGURATION_INVALID,
            next_step="Correct extra.key_file, or make the file readable for the workers.",
        ) from None
    return read_private_key(pem)
