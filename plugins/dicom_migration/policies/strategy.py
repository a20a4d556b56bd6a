"""What is migrated, and in what order: ``include/policies/strategy.yaml``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from dicom_migration.policies.loading import Policy, include_dir, load_policy
from dicom_migration.policies.study_lists import ListedStudies, with_list
from dicom_migration.uids import is_valid_uid

Name = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]{1,60}$")]
DicomDate = Annotated[str, Field(pattern=r"^[0-9]{8}$")]


class SelectionRule(ListedStudies):
    """Includes or excludes the studies that fulfil all its conditions; first match wins.

    Attributes
    ----------
    modalities
        The study contains one of these.
    sites
        Issuer of Patient ID (0010,0021) is one of these, exactly: what tells the sites of a
        shared archive apart.
    sources
        The study was found in one of these archives, by the name the inventory gives them.
    institutions
        Institution Name (0008,0080) is one of these, exactly.
    date_from, date_to
        Inclusive Study Date range as ``YYYYMMDD``; undated studies are not in it.
    reason
        Why, for the report and the auditor.
    """

    name: Name
    action: Literal["include", "exclude"]
    reason: str = Field(min_length=5)
    modalities: tuple[str, ...] = ()
    sites: tuple[str, ...] = ()
    sources: tuple[str, ...] = ()
    institutions: tuple[str, ...] = ()
    date_from: DicomDate | None = None
    date_to: DicomDate | None = None

    @model_validator(mode="after")
    def _says_something(self) -> Self:
        conditions = (
            *(self.modalities, self.sites, self.sources, self.institutions),
            *(self.study_instance_uids, self.study_list, self.date_from, self.date_to),
        )
        if not any(conditions):
            raise ValueError(f"rule {self.name} has no condition and would match every study")
        if not all(is_valid_uid(uid) for uid in self.study_instance_uids):
            raise ValueError(f"rule {self.name} names something that is not a UID")
        if self.date_from and self.date_to and self.date_from > self.date_to:
            raise ValueError(f"rule {self.name}: date_from is after date_to")
        return self


class WaveLimits(Policy):
    """How large a wave may become, and what goes first.

    Attributes
    ----------
    max_studies, max_bytes
        Bounds of a wave; a single larger study is a wave of its own.
    order
        ``newest_first``; ``upcoming_need``: requested studies, then those of the patients who
        came last, since they are the ones who come again; ``by_modality``: in the order of
        `modalities`, then the others. Within each, the newest study first.
    modalities
        For ``by_modality``.
    """

    max_studies: int = Field(default=2000, ge=1)
    max_bytes: int = Field(default=500_000_000_000, ge=1)
    order: Literal["newest_first", "upcoming_need", "by_modality"] = "newest_first"
    modalities: tuple[str, ...] = ()

    @model_validator(mode="after")
    def _knows_the_order(self) -> Self:
        if (self.order == "by_modality") != bool(self.modalities):
            raise ValueError("order by_modality goes with a list of modalities, and only it does")
        return self


class Throughput(Policy):
    """What the timeline assumes until transfers have been measured.

    Attributes
    ----------
    megabytes_per_second, instances_per_second
        Sustained from source to target; the slower of the two decides.
    hours_per_day
        Hours a day in which the migration may run, where the window policy names no windows.
    optimistic, pessimistic
        What the expected speed is multiplied by for the best and the worst finish date.
    measured_hours
        So many whole hours of transfer must be in the ledger before they replace the
        assumption.
    """

    megabytes_per_second: float = Field(default=40, gt=0)
    instances_per_second: float = Field(default=100, gt=0)
    hours_per_day: float = Field(default=12, gt=0, le=24)
    optimistic: float = Field(default=1.5, ge=1)
    pessimistic: float = Field(default=0.5, gt=0, le=1)
    measured_hours: int = Field(default=8, ge=1)


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
    """Read the strategy and the lists it names; see :func:`load_policy`."""
    path = path or include_dir() / "policies" / "strategy.yaml"
    policy = load_policy(StrategyPolicy, path)
    rules = tuple(with_list(rule, path.parent) for rule in policy.rules)
    return policy.model_copy(update={"rules": rules})
