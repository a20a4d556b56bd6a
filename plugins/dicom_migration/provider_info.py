"""What Airflow is told of the project as a provider: its connection types and hooks.

Found by the entry point ``apache_airflow_provider`` once the package is installed; files in
``plugins/`` cannot register a connection type. Field names are those of the settings classes in
:mod:`dicom_migration.archive`. Nothing is imported here: Airflow reads this at every start.
"""

from __future__ import annotations

from typing import Any

_INTEGRATION = "DICOM migration"


def get_provider_info() -> dict[str, Any]:
    """Return the provider description (entry point ``apache_airflow_provider``)."""
    return {
        "package-name": "airflow-dicom-migration",
        "name": _INTEGRATION,
        "description": "Migrates a hospital's DICOM archive to the cloud and proves it.",
        "versions": ["0.1.0"],
        "integrations": [
            {
                "integration-name": _INTEGRATION,
                "external-doc-url": "https://www.dicomstandard.org/current",
                "tags": ["protocol"],
            }
        ],
        "hooks": [
            {
                "integration-name": _INTEGRATION,
                "python-modules": [
                    "dicom_migration.hooks.archive",
                    "dicom_migration.hooks.dicom",
                    "dicom_migration.hooks.dicom_folder",
                    "dicom_migration.hooks.dicomweb",
                ],
            }
        ],
        "extra-links": ["dicom_migration.links.data_docs.DataDocsLink"],
        "connection-types": [_dicom(), _dicomweb(), _dicom_folder()],
    }


def _dicom() -> dict[str, Any]:
    return {
        "connection-type": "dicom",
        "hook-class-name": "dicom_migration.hooks.dicom.DicomHook",
        "hook-name": "DICOM (PACS or VNA)",
        "ui-field-behaviour": {
            "hidden-fields": ["schema", "login", "password", "extra"],
            "relabeling": {},
            "placeholders": {"host": "pacs.hospital.example", "port": "104"},
        },
        "conn-fields": {
            "called_ae_title": _text("Called AE title: the source's"),
            "calling_ae_title": _text("Calling AE title: ours", "DICOM_MIGRATION"),
            "retrieve_method": {
                "label": "Retrieval method",
                "schema": {"type": "string", "enum": ["C-GET", "C-MOVE"], "default": "C-GET"},
                "description": "C-MOVE needs the landing below, registered at the source.",
            },
            "move_destination_ae_title": _text("C-MOVE destination AE title (calling AE if empty)"),
            "landing_host": _text("Landing address to listen on (C-MOVE)", "0.0.0.0"),  # noqa: S104
            "landing_port": _integer("Landing port (C-MOVE)", 11113, 0, 65_535),
            "landings": _text('Landings (C-MOVE): JSON list of {"ae_title", "port", "host"}'),
            "landing_wait_s": _seconds("Landing: wait for the port while in use (s)", 600),
            "landing_check_calling_ae": _boolean("Landing: only the source's AE may send", True),
            "landing_tls": _boolean("Landing speaks TLS (as the source if unset)", None),
            "tls": _boolean("TLS", False),
            "tls_ca_file": _text("TLS: CA file (PEM)"),
            "tls_certificate_file": _text("TLS: our certificate file (PEM)"),
            "tls_key_file": _text("TLS: our key file (PEM)"),
            "tls_verify": _boolean("TLS: verify the source's certificate", True),
            "tls_server_name": _text("TLS: name in the certificate (host if empty)"),
            "connection_timeout_s": _seconds("Connection timeout (s)", 10),
            "acse_timeout_s": _seconds("Association timeout (s)", 30),
            "dimse_timeout_s": _seconds("DIMSE timeout: next message (s)", 300),
            "network_timeout_s": _seconds("Network timeout: next byte (s)", 60),
            "move_quiet_s": _seconds("C-MOVE: wait for instances under way (s)", 10),
            "max_pdu_bytes": _integer("Maximum PDU (bytes, 0: no limit)", 131_072, 0, 16_777_216),
            "result_cap": _integer("C-FIND answers at which the source stops", None, 1, None),
        },
    }


def _dicomweb() -> dict[str, Any]:
    return {
        "connection-type": "dicomweb",
        "hook-class-name": "dicom_migration.hooks.dicomweb.DicomWebHook",
        "hook-name": "DICOMweb",
        "ui-field-behaviour": {
            "hidden-fields": ["extra"],
            "relabeling": {"host": "Base URL", "schema": "Path below the host"},
            "placeholders": {"host": "https://pacs.hospital.example/dicom-web"},
        },
        "conn-fields": {
            "token": {
                "label": "Bearer token (instead of login and password)",
                "schema": {"type": ["string", "null"], "format": "password"},
            },
            "verify": _boolean("Verify the certificate", True),
            "ca_file": _text("CA file (PEM)"),
            "connection_timeout_s": _seconds("Connection timeout (s)", 10),
            "read_timeout_s": _seconds("Read timeout: next bytes (s)", 300),
            "page_size": _integer("Rows a search answer (QIDO-RS limit)", 500, 1, 10_000),
        },
    }


def _dicom_folder() -> dict[str, Any]:
    return {
        "connection-type": "dicom_folder",
        "hook-class-name": "dicom_migration.hooks.dicom_folder.DicomFolderHook",
        "hook-name": "DICOM folder",
        "ui-field-behaviour": {
            "hidden-fields": ["host", "schema", "login", "password", "port", "extra"],
            "relabeling": {},
            "placeholders": {},
        },
        "conn-fields": {"path": _text("Absolute path of the folder, as every worker sees it")},
    }


def _text(label: str, default: str | None = None) -> dict[str, Any]:
    return _field(label, "string", default)


def _boolean(label: str, default: bool | None) -> dict[str, Any]:
    return _field(label, "boolean", default)


def _seconds(label: str, default: int) -> dict[str, Any]:
    return _field(label, "number", default)


def _integer(label: str, default: int | None, minimum: int, maximum: int | None) -> dict[str, Any]:
    field = _field(label, "integer", default)
    field["schema"]["minimum"] = minimum
    if maximum is not None:
        field["schema"]["maximum"] = maximum
    return field


def _field(label: str, kind: str, default: object) -> dict[str, Any]:
    schema: dict[str, Any] = {"type": [kind, "null"]}
    if default is not None:
        schema["default"] = default
    return {"label": label, "schema": schema}
