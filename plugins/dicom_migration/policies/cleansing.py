"""How a wave's headers are collected and judged: ``include/policies/cleansing.yaml``."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field

from dicom_migration.policies.loading import Policy, include_dir, load_policy


class CleansingPolicy(Policy):
    """Which headers are read, and by how many tasks.

    Attributes
    ----------
    headers
        ``first_of_series`` reads one instance a series; ``all`` reads every instance, which
        loads the source a second time with everything; ``sample`` reads a part of them.
    sample_fraction, sample_seed
        For ``sample``: which share of the instances is read (0 to 1), at least one a series.
        The same seed draws the same ones.
    use_metadata
        ``auto`` asks a DICOMweb source for metadata (WADO-RS) instead of instances, and
        retrieves those of studies whose text is not ASCII, since only the file tells how it is
        encoded. True does without that, and refuses a source that is no DICOMweb server. False
        always retrieves.
    studies_per_task, max_tasks
        A task reads the headers of so many studies.
    dry_run_instances
        Before the approval each rule is tried on so many instances.
    max_instance_mib
        An instance larger than this is not read into memory (MiB); it becomes an exception.
    """

    headers: Literal["first_of_series", "all", "sample"] = "first_of_series"
    sample_fraction: float = Field(default=0.1, gt=0, le=1)
    sample_seed: int = 20250101
    use_metadata: bool | Literal["auto"] = "auto"
    studies_per_task: int = Field(default=100, ge=1)
    max_tasks: int = Field(default=200, ge=1, le=1000)
    dry_run_instances: int = Field(default=3, ge=0, le=100)
    max_instance_mib: int = Field(default=512, ge=1)


def load_cleansing_policy(path: Path | None = None) -> CleansingPolicy:
    """Read the cleansing policy; see :func:`~dicom_migration.policies.loading.load_policy`."""
    return load_policy(CleansingPolicy, path or include_dir() / "policies" / "cleansing.yaml")
