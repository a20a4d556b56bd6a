"""What is migrated, and in what order: ``include/policies/strategy.yaml``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from dicom_migration.policies.loading import Policy, include_dir, load_policy
from dicom_migration.uids import is_valid_uid

Name = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]{1,60}$")]
DicomDate = Annotated[str, Field(pattern=r"^[0-9]{8}$")]


class SelectionRule(Policy):
    """Includes or excludes the studies that fulfil all its conditions; first match wins.

    Attributes
    ----------
    modalities
        The study contains one of these.
    institutions
        Institution Name (0008,0080) is one of these, exactly.
    date_from, date_to
        Inclusive Study Date range as ``YYYYMMDD``.
    study_instance_uids
        These studies.
    reason
        Why, for the report and the auditor.
    """

    name: Name
    action: Literal["include", "exclude"]
    reason: str = Field(min_length=5)
    modalities: tuple[str, ...] = ()
    institutions: tuple[str, ...] = ()
    date_from: DicomDate | None = None
    date_to: DicomDate | None = None
    study_instance_uids: tuple[str, ...] = ()

    @model_validator(mode="after")
    def _says_something(self) -> Self:
        conditions = (self.modalities, self.institutions, self.study_instance_uids)
        if not any(conditions) and self.date_from is None and self.date_to is None:
            raise ValueError(f"rule {self.name} has no condition and would match every study")
        if not all(is_valid_uid(uid) for uid in self.study_instance_uids):
            raise ValueError(f"rule {self.name} names something that is not a UID")
        return self


class WaveLimits(Policy):
    """How large a wave may become; a single larger study is a wave of its own."""

    max_studies: int = Field(default=2000, ge=1)
    max_bytes: int = Field(default=500_000_000_000, ge=1)


class Throughput(Policy):
    """What the timeline assumes until transfers have been measured.

    Attributes
    ----------
    megabytes_per_second, instances_per_second
        Sustained from source to target; the slower of the two decides.
    hours_per_day
        Hours in which the migration may run.
    """

    megabytes_per_second: float = Field(default=40, gt=0)
    instances_per_second: float = Field(default=100, gt=0)
    hours_per_day: float = Field(default=12, gt=0, le=24)


class StrategyPolicy(Policy):
    """The strategy and its exceptions.

    Attributes
    ----------
    strategy
        ``full``: everything; ``hybrid``: recent studies stay on site; ``dr_copy``: everything, as
        a second copy; ``continuity_copy``: recent studies only, to go on working in an outage.
    keep_recent_months
        What "recent" means to ``hybrid`` and ``continuity_copy``.
    exclude_purge_candidates
        Leave out what the retention policy would let you delete.
    """

    strategy: Literal["full", "hybrid", "dr_copy", "continuity_copy"] = "full"
    keep_recent_months: int = Field(default=24, ge=0)
    exclude_purge_candidates: bool = False
    rules: tuple[SelectionRule, ...] = ()
    waves: WaveLimits = WaveLimits()
    throughput: Throughput = Throughput()

    @model_validator(mode="after")
    def _names_are_unique(self) -> Self:
        names = [rule.name for rule in self.rules]
        if len(names) != len(set(names)):
            raise ValueError("two rules share a name; the report could not tell them apart")
        return self


def load_strategy_policy(path: Path | None = None) -> StrategyPolicy:
    """Read the strategy; see :func:`~dicom_migration.policies.loading.load_policy`."""
    return load_policy(StrategyPolicy, path or include_dir() / "policies" / "strategy.yaml")
