"""How the transfer works: ``include/policies/transfer.yaml``."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field

from dicom_migration.policies.loading import Policy, include_dir, load_policy


class TransferPolicy(Policy):
    """Sizes and bounds of the transfer.

    Attributes
    ----------
    studies_per_shard
        A shard is one mapped task: minutes of work, not seconds.
    max_shards
        At most this many mapped tasks a wave (Airflow's own bound is 1,024).
    upload_threads
        Parallel uploads a task; retrieval goes on meanwhile.
    spool_memory_mib
        Memory for all instances in transit of one task (MiB); an instance that does not fit
        into a quarter of it passes through a file.
    spool_folder
        Where such files are made; empty means the system's temporary folder.
    study_attempts
        Tries a study gets within one task before the task tries again later.
    give_up_after_studies
        A task ends early when this many studies in a row failed for passing reasons:
        the source or the target is down, and the retry comes with a pause.
    """

    layout: Literal["instance"] = "instance"
    studies_per_shard: int = Field(default=50, ge=1)
    max_shards: int = Field(default=1000, ge=1, le=1024)
    upload_threads: int = Field(default=4, ge=1, le=64)
    spool_memory_mib: int = Field(default=128, ge=4)
    spool_folder: str = ""
    study_attempts: int = Field(default=2, ge=1, le=10)
    give_up_after_studies: int = Field(default=5, ge=1)


def load_transfer_policy(path: Path | None = None) -> TransferPolicy:
    """Read the transfer policy; see :func:`~dicom_migration.policies.loading.load_policy`."""
    return load_policy(TransferPolicy, path or include_dir() / "policies" / "transfer.yaml")
