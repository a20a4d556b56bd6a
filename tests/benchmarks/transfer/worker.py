"""One worker of ours, as Airflow runs it: a process that transfers one shard.

Reads its task (JSON) from the command line, says ``ready`` when it has imported what a task has
imported, begins at the next line of its input, and prints what it measured.
"""

from __future__ import annotations

import cProfile
import json
import pstats
import sys
import time
from typing import Any

import boto3

from dicom_migration.archive import ImageArchive
from dicom_migration.archive.dicomweb import DicomWebArchive, DicomWebSettings
from dicom_migration.archive.dimse import DimseArchive
from dicom_migration.archive.dimse_settings import DimseSettings
from dicom_migration.cloud.s3 import S3Store
from dicom_migration.cloud.s3_settings import S3Settings, create_client
from dicom_migration.ledger import Ledger
from dicom_migration.manifest import encode_manifest
from dicom_migration.policies.transfer import TransferPolicy
from dicom_migration.transfer.shard_transfer import transfer_shard
from dicom_migration.transfer.shards import Shard
from tests.integration.transfer.memory_worker import peak_mib


def main() -> None:
    """Transfer the shard of ``argv[1]``."""
    task: dict[str, Any] = json.loads(sys.argv[1])
    session = boto3.session.Session(
        aws_access_key_id=task["access_key"],
        aws_secret_access_key=task["secret_key"],
        region_name="us-east-1",
    )
    settings = S3Settings(require_conditional_create=False)  # rclone ignores If-None-Match
    client = create_client(settings, session, endpoint_url=task["endpoint_url"])
    policy = TransferPolicy.model_validate(task["policy"])
    shard = Shard(task["wave_id"], task["shard"])
    with (
        Ledger(task["ledger"]) as ledger,
        source(task) as archive,
        S3Store(client, "bucket", task["prefix"], settings) as store,
    ):
        encode_manifest([])  # Arrow imports pandas at its first use
        print("ready", flush=True)
        sys.stdin.readline()
        cpu = time.process_time()
        if task.get("profile"):
            profile = cProfile.Profile()
            profile.runcall(transfer_shard, archive, store, ledger, shard, policy, last_try=False)
            pstats.Stats(profile, stream=sys.stderr).sort_stats("tottime").print_stats(40)
        else:
            transfer_shard(archive, store, ledger, shard, policy, last_try=False)
        cpu = time.process_time() - cpu
    print(json.dumps({"cpu_s": cpu, "peak_mib": peak_mib()}), flush=True)


def source(task: dict[str, Any]) -> ImageArchive:
    """Return the archive that speaks the task's method."""
    if task["method"] == "DICOMweb":
        return DicomWebArchive(DicomWebSettings(task["dicomweb_url"]))
    return DimseArchive(
        DimseSettings(
            host="127.0.0.1",
            port=task["dicom_port"],
            called_ae_title="ORTHANC",
            calling_ae_title=task["landing_aet"],
            retrieve_method=task["method"],
            landing_host="127.0.0.1",
            landing_port=task["landing_port"],
        )
    )


if __name__ == "__main__":
    main()
