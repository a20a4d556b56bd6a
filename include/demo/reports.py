"""Fetches the reports of a run from the bucket, so that a browser can open them."""

from __future__ import annotations

from pathlib import Path

from sqlalchemy import select

from dicom_migration.ledger import Ledger, schema
from include.demo.endpoints import Endpoint


def download_reports(ledger: Ledger, target: Endpoint, folder: Path) -> list[str]:
    """Save the HTML reports and certificates of an embedded target; return what there is.

    A target of the environment is left alone: then the keys in its bucket are returned.
    """
    table = schema.report.c
    with ledger.read() as connection:
        keys = list(connection.scalars(select(table.object_key).order_by(table.created_at)))
    if target.peer is None:
        return [f"{target.facts['bucket']}: {key}" for key in keys]
    import boto3

    facts = target.facts
    client = boto3.client(
        "s3",
        endpoint_url=facts["endpoint"],
        aws_access_key_id=facts["access_key"],
        aws_secret_access_key=facts["secret_key"],
        region_name="us-east-1",
    )
    folder.mkdir(parents=True, exist_ok=True)
    saved = []
    for key in keys:
        file = folder / Path(key).name
        file.write_bytes(
            client.get_object(Bucket=facts["bucket"], Key=f"{facts['prefix']}/{key}")["Body"].read()
        )
        if file.suffix == ".html":
            saved.append(str(file))
    return saved
