"""A DICOMweb service, from an Airflow connection of type ``dicomweb``."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from airflow.sdk.bases.hook import BaseHook

from dicom_migration.hooks.connection_fields import ConnectionFields, require_host, tested

if TYPE_CHECKING:
    from airflow.sdk import Connection

    from dicom_migration.archive.dicomweb import DicomWebArchive, DicomWebSettings

NUMBERS = ("connection_timeout_s", "read_timeout_s")
FIELDS = frozenset({*NUMBERS, "token", "verify", "ca_file", "page_size"})


class DicomWebHook(BaseHook):
    """Opens the archive behind a connection of type ``dicomweb``.

    :param dicomweb_conn_id: Airflow connection: the base URL as host (``https://`` when it names
        no scheme), port and schema (the path below the host) where they are not part of it,
        login and password for basic authentication or ``token`` in the extra.
    """

    conn_name_attr = "dicomweb_conn_id"
    default_conn_name = "dicomweb_source"
    conn_type = "dicomweb"
    hook_name = "DICOMweb"

    def __init__(self, dicomweb_conn_id: str = default_conn_name) -> None:
        super().__init__()
        self.dicomweb_conn_id = dicomweb_conn_id

    def get_conn(self) -> DicomWebArchive:
        """Return the archive; nothing is connected yet, and the caller closes it.

        Raises
        ------
        PermanentError
            A field of the connection is missing or malformed; it is named.
        """
        from dicom_migration.archive.dicomweb import DicomWebArchive

        return DicomWebArchive(dicomweb_settings(self.get_connection(self.dicomweb_conn_id)))

    def opener(self, answer_within_s: float) -> Callable[[], DicomWebArchive]:
        """Return what opens the archive once more, with no timeout above so many seconds."""
        from dataclasses import replace
        from functools import partial

        from dicom_migration.archive.dicomweb import DicomWebArchive

        settings = dicomweb_settings(self.get_connection(self.dicomweb_conn_id))
        shorter = {name: min(getattr(settings, name), answer_within_s) for name in NUMBERS}
        return partial(DicomWebArchive, replace(settings, **shorter))

    def test_connection(self) -> tuple[bool, str]:
        """Search for one study and say what answered."""
        return tested(self)


def dicomweb_settings(connection: Connection) -> DicomWebSettings:
    """Read the settings of a service from a connection.

    Raises
    ------
    PermanentError
        A field is missing or malformed; it is named.
    """
    from dicom_migration.archive.dicomweb import DicomWebSettings

    fields = ConnectionFields(connection, FIELDS)
    values: dict[str, Any] = {name: fields.number(name) for name in NUMBERS if fields.given(name)}
    values.update({name: fields.text(name) for name in ("token", "ca_file") if fields.given(name)})
    if fields.given("verify"):
        values["verify"] = fields.boolean("verify")
    if fields.given("page_size"):
        values["page_size"] = fields.integer("page_size")
    return DicomWebSettings(
        base_url=base_url(connection),
        username=connection.login or "",
        password=connection.password or "",
        **values,
    )


def base_url(connection: Connection) -> str:
    """Put the root of the service together: host, port and path may come apart or as one URL."""
    host = require_host(connection)
    url = host if "://" in host else f"https://{host}"
    if connection.port:
        url = f"{url.rstrip('/')}:{connection.port}"
    if connection.schema:
        url = f"{url.rstrip('/')}/{connection.schema.strip('/')}"
    return url
