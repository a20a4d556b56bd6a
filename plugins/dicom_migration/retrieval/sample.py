"""Which studies are retrieved: a stratified, seeded sample within a budget."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

from sqlalchemy import Connection, select

from dicom_migration.ledger import StudyState, schema
from dicom_migration.policies.slas import Sample
from dicom_migration.strata import stratified_sample
from dicom_migration.units import human_bytes

MIB = 1024**2
#: These need a restore of hours before they can be read: no clinician waits for that.
ARCHIVED_CLASSES = ("GLACIER", "DEEP_ARCHIVE")
_AGES = ((1.0, "under 1 year"), (3.0, "1 to 3 years"), (7.0, "3 to 7 years"))


@dataclass(frozen=True, slots=True)
class SampledStudy:
    """A study to retrieve; no PHI. `stored_bytes` is its size in the cloud."""

    study_instance_uid: str
    modality: str
    storage_class: str
    age_years: float | None
    manifest_key: str
    manifest_sha256: str
    instances: int
    stored_bytes: int

    @property
    def stratum(self) -> tuple[str, str, str]:
        """Modality, age group and storage tier."""
        return self.modality, age_group(self.age_years), self.storage_class


@dataclass(frozen=True, slots=True)
class SamplePlan:
    """What a benchmark will read, told before it starts."""

    studies: tuple[SampledStudy, ...]
    eligible: int
    archived: int

    @property
    def stored_bytes(self) -> int:
        """Bytes of one pass over one side."""
        return sum(study.stored_bytes for study in self.studies)

    def told(self) -> str:
        """Return the plan as one line for the log."""
        return (
            f"{len(self.studies)} of {self.eligible} verified studies, "
            f"{len({study.stratum for study in self.studies})} strata, "
            f"{human_bytes(self.stored_bytes)} a pass and side; "
            f"{self.archived} in archive tiers are left out"
        )


def age_group(years: float | None) -> str:
    """Return the age stratum of a study."""
    if years is None:
        return "undated"
    return next((name for limit, name in _AGES if years < limit), "7 years and more")


def plan_sample(
    connection: Connection, policy: Sample, today: date, waves: Sequence[str] = ()
) -> SamplePlan:
    """Choose verified studies, of `waves` or of all; at most ``policy.max_mib`` in all."""
    table = schema.study.c
    scope = [table.state == StudyState.VERIFIED.value, table.stored_instances > 0]
    if waves:
        scope.append(table.wave_id.in_(waves))
    rows = connection.execute(
        select(
            table.study_instance_uid,
            table.modalities,
            table.storage_class,
            table.study_date,
            table.manifest_key,
            table.manifest_sha256,
            table.stored_instances,
            table.bytes_stored,
        )
        .where(*scope)
        .order_by(table.study_instance_uid)
    )
    studies = [
        SampledStudy(
            row.study_instance_uid,
            _modality(row.modalities),
            row.storage_class or "STANDARD",
            _age(row.study_date, today),
            row.manifest_key,
            row.manifest_sha256,
            row.stored_instances,
            row.bytes_stored,
        )
        for row in rows
    ]
    readable = [study for study in studies if study.storage_class not in ARCHIVED_CLASSES]
    drawn = stratified_sample(readable, lambda s: s.stratum, policy.studies, policy.seed)
    chosen, left = [], policy.max_mib * MIB
    for study in drawn:
        if study.stored_bytes <= left:
            chosen.append(study)
            left -= study.stored_bytes
    return SamplePlan(tuple(chosen), len(readable), len(studies) - len(readable))


def _modality(modalities: str) -> str:
    """Return the study's imaging modality: presentation states and reports follow images."""
    names = [name for name in modalities.replace(",", "\\").split("\\") if name]
    images = [name for name in names if name not in ("PR", "SR", "KO", "OT")]
    return (images or names or ["unknown"])[0].strip()


def _age(study_date: str, today: date) -> float | None:
    try:
        born = date(int(study_date[:4]), int(study_date[4:6]), int(study_date[6:8]))
    except ValueError:
        return None
    return round(max(0.0, (today - born).days / 365.25), 2)
