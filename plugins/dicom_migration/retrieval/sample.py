"""Which studies are retrieved: a stratified, seeded sample within a budget."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

from sqlalchemy import ColumnElement, Connection, case, func, select

from dicom_migration.cloud.s3_restore import ARCHIVED_CLASSES
from dicom_migration.ledger import StudyState, schema
from dicom_migration.policies.slas import Sample
from dicom_migration.strata import stratified_sample
from dicom_migration.units import human_bytes

MIB = 1024**2
_AGES = ((1.0, "under 1 year"), (3.0, "1 to 3 years"), (7.0, "3 to 7 years"))
_SIZES = ((10 * MIB, "under 10 MiB"), (100 * MIB, "10 to 100 MiB"))
_table = schema.study.c
#: What a study is sampled by; PHI stays in the ledger.
STUDY_COLUMNS = (
    _table.study_instance_uid,
    _table.modalities,
    _table.storage_class,
    _table.study_date,
    _table.manifest_key,
    _table.manifest_sha256,
    _table.stored_instances,
    _table.bytes_stored,
)


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
    def stratum(self) -> tuple[str, str, str, str]:
        """Modality, age group, storage tier and size."""
        return (
            self.modality,
            age_group(self.age_years),
            self.storage_class,
            size_group(self.stored_bytes),
        )


@dataclass(frozen=True, slots=True)
class SamplePlan:
    """What a benchmark will read, told before it starts.

    Attributes
    ----------
    archived
        Verified studies in archive tiers, which need a restore first.
    priors
        By Study Instance UID: the latest relevant prior of a sampled study, where there is one.
    """

    studies: tuple[SampledStudy, ...]
    eligible: int
    archived: int
    priors: dict[str, SampledStudy]

    @property
    def stored_bytes(self) -> int:
        """Bytes of one pass over one side, without priors."""
        return sum(study.stored_bytes for study in self.studies)

    def told(self) -> str:
        """Return the plan as one line for the log."""
        return (
            f"{len(self.studies)} of {self.eligible} verified studies, "
            f"{len({study.stratum for study in self.studies})} strata, "
            f"{len(self.priors)} with a relevant prior, "
            f"{human_bytes(self.stored_bytes)} a pass and side; "
            f"{self.archived} in archive tiers"
        )


def age_group(years: float | None) -> str:
    """Return the age stratum of a study."""
    if years is None:
        return "undated"
    return next((name for limit, name in _AGES if years < limit), "7 years and more")


def size_group(stored_bytes: int) -> str:
    """Return the size stratum of a study."""
    return next((name for limit, name in _SIZES if stored_bytes < limit), "100 MiB and more")


def plan_sample(
    connection: Connection, policy: Sample, today: date, waves: Sequence[str] = ()
) -> SamplePlan:
    """Choose verified studies, of `waves` or of all; at most ``policy.max_mib`` in all."""
    from dicom_migration.retrieval.priors import relevant_priors

    scope = _verified(waves)
    readable = [*scope, _table.storage_class.not_in(ARCHIVED_CLASSES)]
    chosen = within(draw(connection, readable, policy, today), policy.max_mib * MIB)
    eligible = connection.scalar(select(func.count()).where(*readable)) or 0
    whole = connection.scalar(select(func.count()).where(*scope)) or 0
    priors = relevant_priors(connection, chosen, today)
    return SamplePlan(tuple(chosen), eligible, whole - eligible, priors)


def plan_archived(
    connection: Connection, policy: Sample, today: date, waves: Sequence[str] = ()
) -> list[SampledStudy]:
    """Choose verified studies in archive tiers, at most ``policy.studies`` and ``max_mib``."""
    scope = [*_verified(waves), _table.storage_class.in_(ARCHIVED_CLASSES)]
    return within(draw(connection, scope, policy, today), policy.max_mib * MIB)


def restored_studies(connection: Connection, benchmark_id: str, today: date) -> list[SampledStudy]:
    """Return the studies whose restore a benchmark has asked for."""
    restore = schema.retrieval_restore.c
    asked = select(restore.study_instance_uid).where(restore.benchmark_id == benchmark_id)
    rows = connection.execute(
        select(*STUDY_COLUMNS)
        .where(_table.study_instance_uid.in_(asked))
        .order_by(_table.study_instance_uid)
    )
    return [sampled(row, today) for row in rows]


def draw(
    connection: Connection, scope: Iterable[ColumnElement[bool]], policy: Sample, today: date
) -> list[SampledStudy]:
    """Return a stratified sample of the studies in `scope`.

    The database keeps a few of each coarse stratum, in an order as random as their manifests'
    SHA-256, so that a ledger of millions does not pass through this process.
    """
    size = case(*((_table.bytes_stored < limit, name) for limit, name in _SIZES), else_="more")
    year = func.substr(_table.study_date, 1, 4)
    shuffled = func.substr(_table.manifest_sha256, 1 + policy.seed % 48, 16)
    ranked = (
        select(
            *STUDY_COLUMNS,
            func.row_number()
            .over(
                partition_by=(_table.modalities, _table.storage_class, year, size),
                order_by=(shuffled, _table.study_instance_uid),
            )
            .label("place"),
        )
        .where(*scope)
        .subquery()
    )
    rows = connection.execute(
        select(ranked).where(ranked.c.place <= policy.studies).order_by(ranked.c.study_instance_uid)
    )
    studies = [sampled(row, today) for row in rows]
    return stratified_sample(studies, lambda s: s.stratum, policy.studies, policy.seed)


def within(studies: Iterable[SampledStudy], bytes_left: int) -> list[SampledStudy]:
    """Return those that fit, in order."""
    chosen = []
    for study in studies:
        if study.stored_bytes <= bytes_left:
            chosen.append(study)
            bytes_left -= study.stored_bytes
    return chosen


def sampled(row: Any, today: date) -> SampledStudy:
    """Return the study of a row of :data:`STUDY_COLUMNS`."""
    return SampledStudy(
        row.study_instance_uid,
        imaging_modality(row.modalities),
        row.storage_class or "STANDARD",
        _age(row.study_date, today),
        row.manifest_key,
        row.manifest_sha256,
        row.stored_instances,
        row.bytes_stored,
    )


def imaging_modality(modalities: str) -> str:
    """Return the study's imaging modality: presentation states and reports follow images."""
    names = [name for name in modalities.replace(",", "\\").split("\\") if name]
    images = [name for name in names if name not in ("PR", "SR", "KO", "OT")]
    return (images or names or ["unknown"])[0].strip()


def _verified(waves: Sequence[str]) -> list[ColumnElement[bool]]:
    scope = [_table.state == StudyState.VERIFIED.value, _table.stored_instances > 0]
    return [*scope, _table.wave_id.in_(waves)] if waves else scope


def _age(study_date: str, today: date) -> float | None:
    try:
        born = date(int(study_date[:4]), int(study_date[4:6]), int(study_date[6:8]))
    except ValueError:
        return None
    return round(max(0.0, (today - born).days / 365.25), 2)
