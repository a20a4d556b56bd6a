"""Which studies could be purged: ``include/policies/retention.yaml``."""

from __future__ import annotations

from pathlib import Path
from typing import Self

from pydantic import Field, model_validator

from dicom_migration.policies.loading import Policy, include_dir, load_policy
from dicom_migration.policies.strategy import Name
from dicom_migration.policies.study_lists import ListedStudies, with_list
from dicom_migration.uids import is_valid_uid


class RetentionRule(Policy):
    """Studies older than this could be purged; nothing here deletes anything.

    Attributes
    ----------
    older_than_years
        Age of the study. A study without a usable date is never a candidate.
    modalities
        Only studies that contain one of these, when given.
    except_modalities
        Not studies that contain one of these: they have a rule of their own (mammography).
    patient_at_least_years_old
        Only when the patient's birth date is known and they are at least this old today, since
        the retention period of minors usually begins with their majority.
    patient_age_at_study_from, patient_age_at_study_below
        Only when the patient's birth date is known and they had completed at least, or less
        than, so many years on the day of the study.
    """

    name: Name
    reason: str = Field(min_length=5)
    older_than_years: int = Field(ge=1, le=150)
    modalities: tuple[str, ...] = ()
    except_modalities: tuple[str, ...] = ()
    patient_at_least_years_old: int = Field(default=0, ge=0, le=150)
    patient_age_at_study_from: int = Field(default=0, ge=0, le=150)
    patient_age_at_study_below: int = Field(default=0, ge=0, le=150)

    @model_validator(mode="after")
    def _can_match(self) -> Self:
        if set(self.modalities) & set(self.except_modalities):
            raise ValueError(f"rule {self.name} wants and excepts the same modality")
        below = self.patient_age_at_study_below
        if below and below <= self.patient_age_at_study_from:
            raise ValueError(f"rule {self.name}: no age is in its range")
        return self


class LegalHold(ListedStudies):
    """Studies that must be kept, whatever the rules say: they are never candidates.

    Attributes
    ----------
    institutions
        Institution Name (0008,0080) is one of these.
    """

    name: Name
    reason: str = Field(min_length=5)
    institutions: tuple[str, ...] = ()

    @model_validator(mode="after")
    def _says_something(self) -> Self:
        if not (self.study_instance_uids or self.study_list or self.institutions):
            raise ValueError(f"legal hold {self.name} names no study")
        if not all(is_valid_uid(uid) for uid in self.study_instance_uids):
            raise ValueError(f"legal hold {self.name} names something that is not a UID")
        return self


class RetentionPolicy(Policy):
    """Rules that flag purge candidates; the first that matches gives its name."""

    rules: tuple[RetentionRule, ...] = ()
    legal_holds: tuple[LegalHold, ...] = ()

    @model_validator(mode="after")
    def _names_are_unique(self) -> Self:
        names = [rule.name for rule in self.rules] + [hold.name for hold in self.legal_holds]
        if len(names) != len(set(names)):
            raise ValueError(
                "two rules or holds share a name; the report could not tell them apart"
            )
        return self


def load_retention_policy(path: Path | None = None) -> RetentionPolicy:
    """Read the retention rules and the lists they name; see :func:`load_policy`."""
    path = path or include_dir() / "policies" / "retention.yaml"
    policy = load_policy(RetentionPolicy, path)
    holds = tuple(with_list(hold, path.parent) for hold in policy.legal_holds)
    return policy.model_copy(update={"legal_holds": holds})
