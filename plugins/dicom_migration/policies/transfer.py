"""How the transfer works: ``include/policies/transfer.yaml``."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field

from dicom_migration.policies.loading import Policy, include_dir, load_policy


class Recompression(Policy):
    """Whether uncompressed instances are stored losslessly compressed.

    Attributes
    ----------
    target
        ``none``; ``jpeg-ls`` (JPEG-LS lossless) or ``jpeg-2000`` (JPEG 2000 lossless only).
    minimum_saving_percent
        A new object that saves less than this of the whole object is not taken.
    modalities
        Modality (0008,0060) values that are recompressed; empty means all.
    minimum_kib
        Smaller objects stay as they are (KiB).
    """

    target: Literal["none", "jpeg-ls", "jpeg-2000"] = "none"
    minimum_saving_percent: int = Field(default=10, ge=0, le=99)
    modalities: tuple[str, ...] = ()
    minimum_kib: int = Field(default=64, ge=0)


class TransferPolicy(Policy):
    """Sizes and bounds of the transfer.

    Attributes
    ----------
    layout
        ``instance``: one object an instance; ``series-zip``: one stored ZIP a series;
        ``by-plan``: as the plan has decided for each study, ``instance`` where it has not.
        What the plan has decided goes before the other two as well.
    max_packed_mib
        A series larger than this is packed into several ZIPs (MiB).
    packed_memory_mib
        Instances that wait for the rest of their series take at most this much memory in a task
        (MiB), then a file in `spool_folder`, which needs room for the largest series.
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
    recompression
        Lossless compression of what comes uncompressed; off by default.
    """

    layout: Literal["instance", "series-zip", "by-plan"] = "instance"
    max_packed_mib: int = Field(default=4096, ge=1)
    packed_memory_mib: int = Field(default=96, ge=0)
    studies_per_shard: int = Field(default=50, ge=1)
    max_shards: int = Field(default=1000, ge=1, le=1024)
    upload_threads: int = Field(default=4, ge=1, le=64)
    spool_memory_mib: int = Field(default=128, ge=4)
    spool_folder: str = ""
    study_attempts: int = Field(default=2, ge=1, le=10)
    give_up_after_studies: int = Field(default=5, ge=1)
    recompression: Recompression = Recompression()

    def layout_of(self, planned: str) -> str:
        """Return a study's layout; `planned` is the ledger's word, "" when it says nothing."""
        return planned or (self.layout if self.layout != "by-plan" else "instance")


def load_transfer_policy(path: Path | None = None) -> TransferPolicy:
    """Read the transfer policy; see :func:`~dicom_migration.policies.loading.load_policy`."""
    return load_policy(TransferPolicy, path or include_dir() / "policies" / "transfer.yaml")
