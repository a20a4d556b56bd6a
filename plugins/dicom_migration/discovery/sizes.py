"""How large studies are: as the source tells, else reckoned from what its instances weighed.

An estimate says on what it rests: ``told`` by the source, ``sampled`` from instances that were
retrieved, ``assumed`` from the policy. The error of a sampled one is half of its 95 % confidence
interval; that of a sum over many studies is the sum, since they share their means.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from sqlalchemy import select

from dicom_migration.archive import SeriesRecord, StudyRecord
from dicom_migration.ledger import schema

if TYPE_CHECKING:
    from dicom_migration.ledger import Ledger
    from dicom_migration.policies.discovery import SizeEstimate

TOLD, SAMPLED, ASSUMED = "told", "sampled", "assumed"


class StudySize(NamedTuple):
    """Bytes of a study, on what they rest, and their error in bytes (None: nobody measured)."""

    total: int | None
    basis: str
    error: int | None


UNKNOWN_SIZE = StudySize(None, "", None)


@dataclass(frozen=True, slots=True)
class InstanceSize:
    """Mean bytes of an instance, and half of the 95 % confidence interval of that mean."""

    mean: float
    error: float | None = None


class SizeModel:
    """Estimates studies by their modalities.

    Parameters
    ----------
    sampled
        What a sample of this source showed, by modality.
    assumed
        What the policy says of the others.
    """

    def __init__(self, sampled: Mapping[str, InstanceSize], assumed: SizeEstimate) -> None:
        self.sampled = sampled
        self._assumed = assumed

    def of(self, record: StudyRecord, series: Sequence[SeriesRecord] = ()) -> StudySize:
        """Return the size of a study as far as it can be known; `series` are all or none."""
        if record.total_bytes is not None:
            return StudySize(record.total_bytes, TOLD, None)
        if not series or any(each.number_of_instances is None for each in series):
            return self.reckon(record.modalities, record.number_of_instances)
        parts = [self.reckon((each.modality,), each.number_of_instances) for each in series]
        total = sum(part.total or 0 for part in parts)
        if any(part.error is None for part in parts):
            return StudySize(total, ASSUMED, None)
        return StudySize(total, SAMPLED, sum(part.error or 0 for part in parts))

    def reckon(self, modalities: Iterable[str], instances: int | None) -> StudySize:
        """Return the size of so many instances; of several modalities, the largest counts.

        A few reports beside a thousand slices would else make the study too small.
        """
        if instances is None:
            return UNKNOWN_SIZE
        known = [self.instance(name) for name in modalities] or [self.instance("")]
        largest = max(known, key=lambda size: size.mean)
        total = round(instances * largest.mean)
        if largest.error is None:
            return StudySize(total, ASSUMED, None)
        return StudySize(total, SAMPLED, round(instances * largest.error))

    def instance(self, modality: str) -> InstanceSize:
        """Return what an instance of a modality takes."""
        if modality in self.sampled:
            return self.sampled[modality]
        sizes = self._assumed
        return InstanceSize(sizes.by_modality.get(modality, sizes.default))


def read_sizes(ledger: Ledger, source: str, assumed: SizeEstimate) -> SizeModel:
    """Return what is known of the sizes of this source's instances."""
    table = schema.size_sample.c
    with ledger.read() as connection:
        rows = connection.execute(
            select(table.modality, table.mean_bytes, table.error_bytes).where(
                table.source == source
            )
        )
        sampled = {row.modality: InstanceSize(row.mean_bytes, row.error_bytes) for row in rows}
    return SizeModel(sampled, assumed)
