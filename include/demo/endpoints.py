"""Where the demonstration's source and bucket are: embedded ones, or those of the environment.

``AIRFLOW_CONN_PACS_SOURCE`` and ``AIRFLOW_CONN_CLOUD_TARGET`` (a URI or JSON, as Airflow reads
them) point the same run at a test PACS or a real bucket.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import parse_qsl, unquote, urlsplit

from include.demo.errors import DemoError
from include.peers.orthanc import Orthanc
from include.peers.qrscp import Qrscp
from include.peers.s3 import MotoS3

SOURCE_VARIABLE = "AIRFLOW_CONN_PACS_SOURCE"
TARGET_VARIABLE = "AIRFLOW_CONN_CLOUD_TARGET"
BUCKET = "image-archive"
PREFIX = "hospital"


class Peer(Protocol):
    """A server of ours that runs until it is stopped."""

    @property
    def pid(self) -> int | None:
        """Its process id while it runs."""

    def stop(self) -> None:
        """End it."""


@dataclass(slots=True)
class Endpoint:
    """One end of the migration.

    Attributes
    ----------
    connection
        What replaces the fields of the connection in ``airflow_settings.yaml``; empty when the
        environment already names the connection.
    facts
        What ``endpoints.json`` tells of it.
    peer
        The embedded server, None when the environment names the connection.
    """

    connection: dict[str, Any]
    facts: dict[str, Any]
    peer: Peer | None = None
    note: str = ""


def open_source(workdir: Path, archive: Path, kind: str) -> Endpoint:
    """Start and load the embedded source (`kind` ``qrscp`` or ``orthanc``), or use the given one.

    Raises
    ------
    DemoError
        The kind is unknown or not installed, or the folder holds no DICOM file.
    """
    if given := os.environ.get(SOURCE_VARIABLE):
        fields = connection_fields(given)
        return Endpoint(
            {},
            {
                "aet": fields["extra"].get("called_ae_title"),
                "host": fields["host"],
                "port": fields["port"],
            },
            note=f"source: the one that {SOURCE_VARIABLE} names",
        )
    peer = _embedded_pacs(workdir, kind)
    peer.start(detach=True)
    try:
        report = peer.load(archive)
    except BaseException:
        peer.stop()
        raise
    if not report.instances:
        peer.stop()
        raise DemoError(
            f"{archive} holds no DICOM file that the source could take "
            f"({len(report.skipped)} files were skipped). Name another folder in ARCHIVE_DIR."
        )
    connection = {
        "host": "127.0.0.1",
        "port": peer.port,
        "extra": {"called_ae_title": peer.ae_title},
    }
    facts = {"aet": peer.ae_title, "host": "127.0.0.1", "port": peer.port}
    note = (
        f"source: {kind} with {report.studies} studies, {report.instances} instances"
        f" ({len(report.skipped)} files not taken)"
    )
    return Endpoint(connection, facts, peer, note)


def open_target(workdir: Path) -> Endpoint:
    """Start the embedded S3 endpoint, or use the bucket that the environment names."""
    if given := os.environ.get(TARGET_VARIABLE):
        fields = connection_fields(given)
        service = (fields["extra"].get("service_config") or {}).get("s3") or {}
        return Endpoint(
            {},
            {
                "endpoint": fields["extra"].get("endpoint_url") or service.get("endpoint_url"),
                "bucket": service.get("bucket_name"),
                "prefix": service.get("prefix", ""),
                "access_key": fields["login"],
                "secret_key": fields["password"],
            },
            note=f"target: the bucket that {TARGET_VARIABLE} names",
        )
    peer = MotoS3(workdir)
    peer.start(detach=True)
    peer.create_bucket(BUCKET)
    connection = {
        "login": peer.access_key,
        "password": peer.secret_key,
        "extra": {
            "endpoint_url": peer.endpoint_url,
            "service_config": {"s3": {"bucket_name": BUCKET, "prefix": PREFIX}},
        },
    }
    facts = {
        "endpoint": peer.endpoint_url,
        "bucket": BUCKET,
        "prefix": PREFIX,
        "access_key": peer.access_key,
        "secret_key": peer.secret_key,
    }
    return Endpoint(connection, facts, peer, f"target: s3://{BUCKET}/{PREFIX} (embedded)")


def connection_fields(text: str) -> dict[str, Any]:
    """Return host, port, login, password and extra of a connection written as URI or JSON."""
    if text.lstrip().startswith("{"):
        data = json.loads(text)
        extra = data.get("extra") or {}
        if isinstance(extra, str):
            extra = json.loads(extra or "{}")
        return {
            "host": data.get("host"),
            "port": data.get("port"),
            "login": data.get("login"),
            "password": data.get("password"),
            "extra": extra,
        }
    parts = urlsplit(text)
    query = dict(parse_qsl(parts.query))
    extra = json.loads(query["__extra__"]) if "__extra__" in query else query
    return {
        "host": unquote(parts.hostname or "") or None,
        "port": parts.port,
        "login": unquote(parts.username) if parts.username else None,
        "password": unquote(parts.password) if parts.password else None,
        "extra": extra,
    }


def merged(connection: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """Return a connection of the settings file with some fields replaced."""
    result = dict(connection)
    extra = json.loads(result.get("extra") or "{}")
    extra.update(changes.get("extra") or {})
    result.update({key: value for key, value in changes.items() if key != "extra"})
    result["extra"] = json.dumps(extra)
    return result


def _embedded_pacs(workdir: Path, kind: str) -> Qrscp | Orthanc:
    if kind == "qrscp":
        return Qrscp(workdir)
    if kind != "orthanc":
        raise DemoError(f"PACS={kind} is not known. Use PACS=qrscp or PACS=orthanc.")
    if not Orthanc.available():
        raise DemoError(
            "PACS=orthanc needs Orthanc, which is not installed. On Debian: "
            "apt-get install orthanc orthanc-dicomweb (or make peers)."
        )
    return Orthanc(workdir)
