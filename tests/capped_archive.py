"""A small archive in memory: it searches as a PACS does, cap and silence included."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

from dicom_migration.archive import (
    ArchiveCheck,
    InstanceIdentity,
    InstanceRecord,
    InstanceSink,
    RetrieveOutcome,
    SeriesRecord,
    StudyQuery,
    StudyRecord,
)
from dicom_migration.datasets import IMPLICIT_VR_LITTLE_ENDIAN


@dataclass
class CappedArchive:
    """An archive that cuts every answer at `cap` studies without saying so.

    `datasets` are encoded in Implicit VR Little Endian, by SOP Instance UID.
    """

    studies: list[StudyRecord] = field(default_factory=list)
    series: list[SeriesRecord] = field(default_factory=list)
    instances: list[InstanceRecord] = field(default_factory=list)
    datasets: dict[str, bytes] = field(default_factory=dict)
    cap: int | None = None
    facts: dict[str, str] = field(default_factory=lambda: {"software": "1.0"})
    name: str = "memory"
    queries: int = 0

    def check(self) -> ArchiveCheck:
        return ArchiveCheck("memory", 0.001, self.facts)

    def find_studies(self, query: StudyQuery) -> Iterator[StudyRecord]:
        self.queries += 1
        found = [study for study in self.studies if _matches(study, query)]
        yield from found[: self.cap]

    def find_series(self, study_instance_uid: str) -> Iterator[SeriesRecord]:
        return (s for s in self.series if s.study_instance_uid == study_instance_uid)

    def find_instances(
        self, study_instance_uid: str, series_instance_uid: str | None = None
    ) -> Iterator[InstanceRecord]:
        for instance in self.instances:
            if instance.study_instance_uid == study_instance_uid and series_instance_uid in (
                None,
                instance.series_instance_uid,
            ):
                yield instance

    def retrieve_study(
        self,
        study_instance_uid: str,
        sink: InstanceSink,
        expected: tuple[InstanceRecord, ...] = (),
    ) -> RetrieveOutcome:
        outcome = RetrieveOutcome()
        for instance in self.find_instances(study_instance_uid):
            outcome.delivered += self.retrieve_instance(instance, sink).delivered
        return outcome

    def retrieve_instance(self, instance: InstanceRecord, sink: InstanceSink) -> RetrieveOutcome:
        data = self.datasets.get(instance.sop_instance_uid)
        if data is None:
            return RetrieveOutcome()
        writer = sink.open(
            InstanceIdentity(
                instance.sop_class_uid, instance.sop_instance_uid, IMPLICIT_VR_LITTLE_ENDIAN
            )
        )
        writer.write(data)
        writer.commit()
        return RetrieveOutcome(delivered=[instance.sop_instance_uid])

    def close(self) -> None:
        pass

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


def _matches(study: StudyRecord, query: StudyQuery) -> bool:
    """Match as databases do: a range compares text, and nothing matches an empty date."""
    if query.study_instance_uids and study.study_instance_uid not in query.study_instance_uids:
        return False
    for value, key in (
        (study.patient_id, query.patient_key or "*"),
        (study.accession_number, query.accession_key or "*"),
    ):
        if value != key and not (key.endswith("*") and value.startswith(key[:-1])):
            return False
    if query.time_range and not (
        study.study_time
        and (query.time_from or "") <= study.study_time <= (query.time_to or "999999")
    ):
        return False
    if query.date_from is None and query.date_to is None:
        return True
    if not study.study_date:
        return False
    return (query.date_from or "") <= study.study_date <= (query.date_to or "99999999")
