"""Fetches the reports of a run from the bucket, so that a browser can open them.

With a certificate come the manifests that it seals, so that it can be checked without the bucket.
"""

from __future__ import annotations

from pathlib import Path

from sqlalchemy import select

from dicom_migration.ledger import Ledger, schema
from include.demo.certificate_check import manifest_keys
from include.demo.endpoints import Endpoint

MANIFESTS = "manifests"


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

    def save(key: str, into: Path) -> Path:
        into.mkdir(parents=True, exist_ok=True)
        stored = client.get_object(Bucket=facts["bucket"], Key=f"{facts['prefix']}/{key}")
        file = into / Path(key).name
        file.write_bytes(stored["Body"].read())
        return file

    saved = []
    for key in keys:
        file = save(key, folder)
        if file.suffix == ".html":
            saved.append(str(file))
        elif file.name.startswith("certificate-"):
            for manifest in manifest_keys(file):
                save(manifest, folder / MANIFESTS)
    return saved
