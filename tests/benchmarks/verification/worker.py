"""One worker of ours, as Airflow runs it: a process that verifies one shard.

Reads its task (JSON) from the command line, says ``ready`` when it has imported what a task has
imported, begins at the next line of its input, and prints what it measured.
"""

from __future__ import annotations

import cProfile
import json
import pstats
import sys
import time
from pathlib import Path
from typing import Any

from dicom_migration.archive.folder import FolderArchive, FolderSettings
from dicom_migration.ledger import Ledger
from dicom_migration.manifest import decode_manifest, encode_manifest
from dicom_migration.policies.verification import VerificationPolicy
from dicom_migration.verification.claims import Shard
from dicom_migration.verification.shards import verify_shard
from tests.benchmarks.verification.wave import opened_store
from tests.integration.transfer.memory_worker import peak_mib


def main() -> None:
    """Verify the shard of ``argv[1]``."""
    task: dict[str, Any] = json.loads(sys.argv[1])
    policy = VerificationPolicy.model_validate(task["policy"])
    shard = Shard(task["wave_id"], task["shard"], task["shard_size"])
    with (
        Ledger(task["ledger"]) as ledger,
        FolderArchive(FolderSettings(Path(task["source"]))) as archive,
        opened_store(
            task["endpoint_url"], task["access_key"], task["secret_key"], task["prefix"]
        ) as store,
    ):
        archive.check()  # a PACS has its index, too
        decode_manifest(encode_manifest([])[0])  # Arrow imports pandas at its first use
        print("ready", flush=True)
        sys.stdin.readline()
        cpu, began = time.process_time(), time.perf_counter()
        profile = cProfile.Profile()
        if task["profile"]:
            profile.enable()
        summary = verify_shard(archive, store, ledger, shard, policy)
        profile.disable()
        told = {
            "cpu_s": time.process_time() - cpu,
            "seconds": time.perf_counter() - began,
            "peak_mib": peak_mib(),
            **summary.as_dict(),
        }
    if task["profile"]:
        pstats.Stats(profile, stream=sys.stderr).sort_stats("tottime").print_stats(45)
    print(json.dumps(told), flush=True)


if __name__ == "__main__":
    main()
