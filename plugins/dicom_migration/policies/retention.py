"""Which studies could be purged: ``include/policies/retention.yaml``."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field

from dicom_migration.policies.loading import Policy, include_dir, load_policy
from dicom_migration.policies.strategy import Name


class RetentionRule(Policy):
    """Studies older than this could be purged; nothing here deletes anything.

    Attributes
    ----------
    older_than_years
        Age of the study.
    modalities
        Only studies that contain one of these, when given.
    patient_at_least_years_old
        Only when the patient's birth date is known and they are at least this old, since the
        retention period of minors usually begins with their majority.
    """

    name: Name
    reason: str = Field(min_length=5)
    older_than_years: int = Field(ge=1)
    modalities: tuple[str, ...] = ()
    patient_at_least_years_old: int = Field(default=0, ge=0)


class RetentionPolicy(Policy):
    """Rules that flag purge candidates; the first that matches gives its name."""

    rules: tuple[RetentionRule, ...] = ()


def load_retention_policy(path: Path | None = None) -> RetentionPolicy:
    """Read the retention rules; see :func:`~dicom_migration.policies.loading.load_policy`."""
    return load_policy(RetentionPolicy, path or include_dir() / "policies" / "retention.yaml")
