"""A PACS or VNA over DIMSE, from an Airflow connection of type ``dicom``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow.sdk.bases.hook import BaseHook

from dicom_migration.hooks.connection_fields import ConnectionFields, require_host, tested

if TYPE_CHECKING:
    from airflow.sdk import Connection

    from dicom_migration.archive.dimse import DimseArchive, DimseSettings, TlsSettings

DEFAULT_PORT = 104
"""The registered port of DICOM (PS3.8 section 9.1.1), for connections that name none."""

TEXTS = (
    "called_ae_title",
    "calling_ae_title",
    "retrieve_method",
    "move_destination_ae_title",
    "landing_host",
)
INTEGERS = ("landing_port", "max_pdu_bytes", "result_cap")
NUMBERS = (
    "connection_timeout_s",
    "acse_timeout_s",
    "dimse_timeout_s",
    "network_timeout_s",
    "move_quiet_s",
    "landing_wait_s",
)
BOOLEANS = ("landing_check_calling_ae", "landing_tls")
TLS_TEXTS = ("ca_file", "certificate_file", "key_file", "server_name")
FIELDS = frozenset(
    {
        *TEXTS,
        *INTEGERS,
        *NUMBERS,
        *BOOLEANS,
        *(f"tls_{name}" for name in TLS_TEXTS),
        "tls",
        "tls_verify",
    }
)


class DicomHook(BaseHook):
    """Opens the archive behind a connection of type ``dicom``.

    :param dicom_conn_id: Airflow connection: host, port, and the fields of
        :class:`~dicom_migration.archive.dimse_settings.DimseSettings` as extra, those of TLS with
        the prefix ``tls_``. The called AE title may stand in the schema field.
    """

    conn_name_attr = "dicom_conn_id"
    default_conn_name = "pacs_source"
    conn_type = "dicom"
    hook_name = "DICOM (PACS or VNA)"

    def __init__(self, dicom_conn_id: str = default_conn_name) -> None:
        super().__init__()
        self.dicom_conn_id = dicom_conn_id

    def get_conn(self) -> DimseArchive:
        """Return the archive; nothing is connected yet, and the caller closes it.

        Raises
        ------
        PermanentError
            A field of the connection is missing or malformed; it is named.
        """
        from dicom_migration.archive.dimse import DimseArchive

        return DimseArchive(dimse_settings(self.get_connection(self.dicom_conn_id)))

    def test_connection(self) -> tuple[bool, str]:
        """Send a C-ECHO and say what the source accepts."""
        return tested(self)


def dimse_settings(connection: Connection) -> DimseSettings:
    """Read the settings of a source from a connection.

    Raises
    ------
    PermanentError
        A field is missing or malformed; it is named.
    """
    from dicom_migration.archive.dimse_settings import DimseSettings

    fields = ConnectionFields(connection, FIELDS)
    values: dict[str, Any] = {}
    for names, read in (
        (TEXTS, fields.text),
        (INTEGERS, fields.integer),
        (NUMBERS, fields.number),
        (BOOLEANS, fields.boolean),
    ):
        values.update({name: read(name) for name in names if fields.given(name)})
    if not fields.given("called_ae_title"):
        if not connection.schema:
            raise fields.wrong("called_ae_title", "is missing")
        values["called_ae_title"] = connection.schema
    return DimseSettings(
        host=require_host(connection),
        port=connection.port or DEFAULT_PORT,
        tls=_tls(fields),
        **values,
    )


def _tls(fields: ConnectionFields) -> TlsSettings | None:
    from dicom_migration.archive.dimse_settings import TlsSettings

    if not (fields.given("tls") and fields.boolean("tls")):
        return None
    values: dict[str, Any] = {
        name: fields.text(f"tls_{name}") for name in TLS_TEXTS if fields.given(f"tls_{name}")
    }
    if fields.given("tls_verify"):
        values["verify"] = fields.boolean("tls_verify")
    return TlsSettings(**values)
