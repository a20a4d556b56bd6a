"""The page "Migration reports": the list of the ledger, and each report out of the bucket."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from datetime import datetime
from html import escape
from tempfile import SpooledTemporaryFile
from typing import IO

from fastapi import FastAPI, HTTPException, Response
from fastapi.responses import HTMLResponse, StreamingResponse

from dicom_migration.errors import MigrationError, ReasonCode
from dicom_migration.ui.access import only_for_dag_readers

#: A report is one file: it may style itself and nothing else, and only Airflow may frame it.
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; img-src data:; "
    "frame-ancestors 'self'; base-uri 'none'; form-action 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "private, no-store",
}
TYPES = {
    "html": "text/html; charset=utf-8",
    "json": "application/json",
    "csv": "text/csv; charset=utf-8",
    "parquet": "application/vnd.apache.parquet",
}
#: A report up to this size is held in memory (bytes), a larger one in a file without a name.
IN_MEMORY = 4 << 20
_CHUNK = 1 << 18

app = FastAPI(
    title="Migration reports", dependencies=[only_for_dag_readers()], docs_url=None, redoc_url=None
)


@app.get("/reports")
def list_reports() -> HTMLResponse:
    """List every report, the newest first."""
    from sqlalchemy import select

    from dicom_migration.hooks.ledger import open_ledger
    from dicom_migration.ledger import schema

    table = schema.report.c
    try:
        with open_ledger() as ledger, ledger.read() as connection:
            rows = connection.execute(
                select(table.created_at, table.kind, table.subject, table.object_key)
                .order_by(table.created_at.desc())
                .limit(1000)
            ).all()
    except MigrationError as error:
        return _page(f"<p>No list: {escape(str(error))}</p>", status=503)
    lines = "".join(_row(row.created_at, row.kind, row.subject, row.object_key) for row in rows)
    return _page(
        "<table><tr><th>When (UTC)</th><th>Report</th><th>Of</th><th></th></tr>"
        + (lines or "<tr><td colspan=4>None yet: run the discovery DAG.</td></tr>")
        + "</table>"
    )


@app.get("/reports/{key:path}")
def show_report(key: str) -> Response:
    """Return one report that the ledger knows; the key is never taken on trust.

    It is hashed before its first byte is sent, and may be larger than the memory.
    """
    from sqlalchemy import select

    from dicom_migration.hooks.cloud import open_store
    from dicom_migration.hooks.ledger import open_ledger
    from dicom_migration.ledger import schema

    table = schema.report.c
    try:
        with open_ledger() as ledger, ledger.read() as connection:
            sha256 = connection.scalar(select(table.sha256).where(table.object_key == key))
        if sha256 is None:
            raise HTTPException(404, "The ledger knows no such report.")
        body: IO[bytes] = SpooledTemporaryFile(IN_MEMORY)  # noqa: SIM115  # closed when sent
        digest = hashlib.sha256()
        with open_store() as store:
            for piece in store.stream(key, _CHUNK):
                digest.update(piece)
                body.write(piece)
    except MigrationError as error:
        status = 404 if error.reason is ReasonCode.OBJECT_MISSING else 503
        return _page(f"<p>{escape(str(error))}</p>", status=status)
    if digest.hexdigest() != sha256:
        return _page("<p>This report was changed after it was published.</p>", status=409)
    kind = TYPES.get(key.rpartition(".")[2], "application/octet-stream")
    headers = {**HEADERS, "Content-Length": str(body.tell())}
    return StreamingResponse(_sent(body), media_type=kind, headers=headers)


def _sent(body: IO[bytes]) -> Iterator[bytes]:
    with body:
        body.seek(0)
        while piece := body.read(_CHUNK):
            yield piece


def _row(created_at: datetime, kind: str, subject: str, key: str) -> str:
    address = escape(f"reports/{key}", quote=True)
    return (
        f"<tr><td>{created_at:%Y-%m-%d %H:%M:%S}</td><td>{escape(kind)}</td>"
        f"<td><code>{escape(subject)}</code></td>"
        f'<td><a href="{address}">{escape(key.rpartition(".")[2].upper())}</a></td></tr>'
    )


def _page(content: str, status: int = 200) -> HTMLResponse:
    return HTMLResponse(
        "<!doctype html><html lang=en><meta charset=utf-8><title>Migration reports</title><style>"
        "body{font:15px/1.5 system-ui,sans-serif;margin:24px;color:#16222e;background:#fff}"
        "table{border-collapse:collapse}td,th{padding:6px 18px 6px 0;text-align:left;"
        "border-bottom:1px solid #d9e0e6}a{color:#1f6fb2}</style>"
        f"<h1>Migration reports</h1>{content}</html>",
        status_code=status,
        headers=HEADERS,
    )
