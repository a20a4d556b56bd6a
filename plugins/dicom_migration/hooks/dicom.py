"""A PACS or VNA over DIMSE, from an Airflow connection of type ``dicom``."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from airflow.sdk.bases.hook import BaseHook

from dicom_migration.hooks.connection_fields import ConnectionFields, require_host, tested

if TYPE_CHECKING:
    from airflow.sdk import Connection

    from dicom_migration.archive.dimse import DimseArchive, DimseSettings, TlsSettings
    from dicom_migration.archive.dimse_settings import LandingAddress

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
ANSWER_TIMEOUTS = ("connection_timeout_s", "acse_timeout_s", "dimse_timeout_s")
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
        "landings",
    }
)
LANDING_FIELDS = frozenset({"ae_title", "port", "host"})
SINGLE_LANDING = ("move_destination_ae_title", "landing_port")


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

    def get_conn(self, landing: LandingAddress | None = None) -> DimseArchive:
        """Return the archive; nothing is connected yet, and the caller closes it.

        :param landing: where C-MOVE shall send to; the first of the connection's if None

        Raises
        ------
        PermanentError
            A field of the connection is missing or malformed; it is named.
        """
        from dataclasses import replace

        from dicom_migration.archive.dimse import DimseArchive

        settings = dimse_settings(self.get_connection(self.dicom_conn_id))
        if landing is not None:
            settings = replace(
                settings, move_destination_ae_title=landing.ae_title, landing_port=landing.port
            )
        return DimseArchive(settings)

    def opener(self, answer_within_s: float) -> Callable[[], DimseArchive]:
        """Return what opens the archive once more, with no timeout above so many seconds."""
        from dataclasses import replace
        from functools import partial

        from dicom_migration.archive.dimse import DimseArchive

        settings = dimse_settings(self.get_connection(self.dicom_conn_id))
        shorter = {name: min(getattr(settings, name), answer_within_s) for name in ANSWER_TIMEOUTS}
        return partial(DimseArchive, replace(settings, **shorter))

    def landings(self) -> tuple[LandingAddress, ...]:
        """Return the landings to choose from; none when it retrieves by C-GET."""
        from dicom_migration.archive.dimse_settings import LandingAddress

        connection = self.get_connection(self.dicom_conn_id)
        settings = dimse_settings(connection)
        if settings.retrieve_method != "C-MOVE":
            return ()
        if several := landing_addresses(connection):
            return several
        if settings.landing_port == 0:
            return ()  # any free port: nobody else can have it
        return (LandingAddress(settings.destination, settings.landing_port),)

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
    if landings := landing_addresses(connection):
        values["move_destination_ae_title"] = landings[0].ae_title
        values["landing_port"] = landings[0].port
    return DimseSettings(
        host=require_host(connection),
        port=connection.port or DEFAULT_PORT,
        tls=_tls(fields),
        **values,
    )


def landing_addresses(connection: Connection) -> tuple[LandingAddress, ...]:
    """Read the field ``landings``; empty where there is none.

    Raises
    ------
    PermanentError
        It is malformed, stands beside the fields of a single landing, or names one twice.
    """
    from dicom_migration.archive.dimse_settings import LandingAddress

    fields = ConnectionFields(connection, FIELDS)
    if not fields.given("landings"):
        return ()
    if double := [name for name in SINGLE_LANDING if fields.given(name)]:
        raise fields.wrong(double[0], "is of no use beside 'landings'")
    found = []
    for row in fields.rows("landings", LANDING_FIELDS):
        port = str(row.get("port", ""))
        if not (port.isascii() and port.isdigit()):
            raise fields.wrong("landings", "needs a port, a whole number, in each entry")
        host = str(row.get("host") or "")
        found.append(LandingAddress(str(row.get("ae_title", "")), int(port), host))
    for names in ({x.ae_title for x in found}, {(x.host, x.port) for x in found}):
        if len(names) < len(found):
            raise fields.wrong("landings", "names an AE title or a port twice")
    return tuple(found)


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
