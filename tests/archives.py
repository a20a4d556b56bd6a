"""A source archive in memory: real instances, and a say in how it fails."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from types import TracebackType
from typing import Self

import data_store
import pydicom
from pydicom import dcmread
from pydicom.filereader import _read_file_meta_info as read_meta
from pydicom.filereader import read_preamble

from dicom_migration.archive import (
    ArchiveCheck,
    InstanceFailure,
    InstanceIdentity,
    InstanceRecord,
    InstanceSink,
    RetrieveOutcome,
    SeriesRecord,
    StudyQuery,
    StudyRecord,
)

WHEEL = Path(pydicom.__file__).parent / "data" / "test_files"


@dataclass(frozen=True)
class HeldInstance:
    """An instance as the archive holds it: dataset bytes without group 0002."""

    record: InstanceRecord
    transfer_syntax_uid: str
    dataset: bytes


def held_from(file: bytes) -> HeldInstance:
    """Return a Part 10 file as an instance of the archive, its dataset bytes untouched."""
    stream = BytesIO(file)
    read_preamble(stream, force=False)
    meta = read_meta(stream)
    dataset = file[stream.tell() :]
    header = dcmread(BytesIO(file), stop_before_pixels=True)
    record = InstanceRecord(
        str(header.StudyInstanceUID),
        str(header.SeriesInstanceUID),
        str(header.SOPInstanceUID),
        str(header.SOPClassUID),
    )
    return HeldInstance(record, str(meta.TransferSyntaxUID), dataset)


def real_file(name: str) -> bytes:
    """Return a real DICOM file of the pydicom wheel."""
    return (WHEEL / name).read_bytes()


def real_files() -> list[Path]:
    """Return the DICOM files that the pydicom wheel and pydicom-data bring, in a fixed order."""
    assert data_store.__file__
    more = Path(data_store.__file__).parent / "data"
    return sorted([*WHEEL.glob("*.dcm"), *more.glob("*.dcm")])


Interference = Callable[[HeldInstance], None]


@dataclass
class MemoryArchive:
    """Implements ``ImageArchive`` over instances in memory.

    Attributes
    ----------
    before_delivery
        Called before each instance is delivered; raise there to fail.
    undeliverable
        SOP Instance UIDs that are listed and fail when asked for, with their reason.
    """

    instances: list[HeldInstance]
    name: str = "memory"
    before_delivery: Interference = lambda _held: None
    undeliverable: dict[str, str] = field(default_factory=dict)
    unlisted: set[str] = field(default_factory=set)

    def check(self) -> ArchiveCheck:
        return ArchiveCheck("memory", 0.0, {})

    def find_studies(self, query: StudyQuery) -> Iterator[StudyRecord]:
        for uid in sorted({held.record.study_instance_uid for held in self.instances}):
            yield StudyRecord(uid)

    def find_series(self, study_instance_uid: str) -> Iterator[SeriesRecord]:
        found = {
            held.record.series_instance_uid
            for held in self.instances
            if held.record.study_instance_uid == study_instance_uid
        }
        for uid in sorted(found):
            yield SeriesRecord(study_instance_uid, uid)

    def find_instances(
        self, study_instance_uid: str, series_instance_uid: str | None = None
    ) -> Iterator[InstanceRecord]:
        for held in self.instances:
            record = held.record
            if record.study_instance_uid != study_instance_uid:
                continue
            if series_instance_uid not in (None, record.series_instance_uid):
                continue
            if record.sop_instance_uid not in self.unlisted:
                yield record

    def retrieve_study(
        self,
        study_instance_uid: str,
        sink: InstanceSink,
        expected: tuple[InstanceRecord, ...] = (),
    ) -> RetrieveOutcome:
        outcome = RetrieveOutcome()
        for held in self.instances:
            if held.record.study_instance_uid == study_instance_uid:
                self._deliver(held, sink, outcome)
        return outcome

    def retrieve_instance(self, instance: InstanceRecord, sink: InstanceSink) -> RetrieveOutcome:
        outcome = RetrieveOutcome()
        for held in self.instances:
            if held.record.sop_instance_uid == instance.sop_instance_uid:
                self._deliver(held, sink, outcome)
        return outcome

    def _deliver(self, held: HeldInstance, sink: InstanceSink, outcome: RetrieveOutcome) -> None:
        record = held.record
        if reason := self.undeliverable.get(record.sop_instance_uid):
            outcome.failures.append(InstanceFailure(record.sop_instance_uid, reason))
            return
        self.before_delivery(held)
        writer = sink.open(
            InstanceIdentity(
                record.sop_class_uid, record.sop_instance_uid, held.transfer_syntax_uid
            )
        )
        middle = len(held.dataset) // 2
        writer.write(held.dataset[:middle])
        writer.write(held.dataset[middle:])
        writer.commit()
        outcome.delivered.append(record.sop_instance_uid)

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
