"""Transfers one wave of a folder, and says how much memory that took.

``python -m tests.integration.transfer.memory_worker JOB``, JOB being JSON.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import boto3

from dicom_migration.archive.folder import FolderArchive, FolderSettings
from dicom_migration.cloud.s3 import S3Store
from dicom_migration.cloud.s3_settings import MIB, S3Settings, create_client
from dicom_migration.ledger import Ledger
from dicom_migration.policies.transfer import TransferPolicy
from dicom_migration.transfer.shard_transfer import transfer_shard
from dicom_migration.transfer.shards import Shard


def main() -> None:
    """Print the summary of the shard and the peak of resident memory in MiB."""
    job = json.loads(sys.argv[1])
    session = boto3.session.Session(
        aws_access_key_id="AKIAEXAMPLEEXAMPLE00",
        aws_secret_access_key="example",
        region_name="us-east-1",
    )
    settings = S3Settings(multipart_threshold_bytes=job["multipart_threshold_mib"] * MIB)
    client = create_client(settings, session, endpoint_url=job["endpoint"])
    policy = TransferPolicy(layout=job["layout"])
    with (
        Ledger(job["ledger"]) as ledger,
        FolderArchive(FolderSettings(Path(job["folder"]))) as archive,
        S3Store(client, job["bucket"], "", settings) as store,
    ):
        summary = transfer_shard(
            archive, store, ledger, Shard(job["wave_id"], 0), policy, last_try=False
        )
    print(json.dumps({**summary, "peak_mib": peak_mib()}))


def peak_mib() -> float:
    """Return the peak of this program's resident memory.

    Not ``ru_maxrss``: it begins with what the parent had when it started us.
    """
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) / 1024


if __name__ == "__main__":
    main()
