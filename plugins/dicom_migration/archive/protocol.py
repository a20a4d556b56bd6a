"""The SOURCE port: what a study archive can be asked, whatever it speaks.

Adapters (:mod:`~dicom_migration.archive.dimse`, :mod:`~dicom_migration.archive.dicomweb`,
:mod:`~dicom_migration.archive.folder`) implement :class:`ImageArchive`. The port knows no phase
of the migration: it finds and delivers, and says honestly what it could not.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import date
from types import TracebackType
from typing import Protocol, Self, runtime_checkable


@dataclass(frozen=True, slots=True)
class StudyQuery:
    """Which studies to find.

    Attributes
    ----------
    date_from, date_to
        Inclusive Study Date range (0008,0020) as ``YYYYMMDD``; both None means any date,
        undated studies included.
    study_instance_uids
        When not empty, only these studies.
    time_from, time_to
        Inclusive Study Time range (0008,0030) as ``HHMMSS.FFFFFF``, shorter ones included; only
        within one day: a range of dates and one of times do not combine across midnight (PS3.4
        section C.2.2.2.5). A source may ignore it.
    patient_id_prefix, accession_prefix
        When not None, only studies whose Patient ID (0010,0020) or Accession Number (0008,0050)
        begins with it: ASCII without wildcards. A source may ignore it, or match without regard
        to case.
    patient_id, accession_number
        When not None, only studies that have exactly this one; goes before the beginning.
    """

    date_from: str | None = None
    date_to: str | None = None
    study_instance_uids: tuple[str, ...] = ()
    patient_id_prefix: str | None = None
    time_from: str | None = None
    time_to: str | None = None
    accession_prefix: str | None = None
    patient_id: str | None = None
    accession_number: str | None = None

    @property
    def date_range(self) -> str:
        """The Study Date to match, "" for any."""
        return _range(self.date_from, self.date_to)

    @property
    def time_range(self) -> str:
        """The Study Time to match, "" for any."""
        return _range(self.time_from, self.time_to)

    @property
    def patient_key(self) -> str:
        """The Patient ID to match, "" for any."""
        return _key(self.patient_id, self.patient_id_prefix)

    @property
    def accession_key(self) -> str:
        """The Accession Number to match, "" for any."""
        return _key(self.accession_number, self.accession_prefix)


def _key(value: str | None, beginning: str | None) -> str:
    """Write single value or wildcard matching (PS3.4 sections C.2.2.2.1 and C.2.2.2.4)."""
    return value or (f"{beginning}*" if beginning else "")


def _range(first: str | None, last: str | None) -> str:
    """Write the range matching of PS3.4 section C.2.2.2.5.

    A range of one value is written as that value: some sources know no range from X to X.
    """
    if not first and not last:
        return ""
    return first if first and first == last else f"{first or ''}-{last or ''}"


@dataclass(frozen=True, slots=True)
class StudyRecord:
    """A study as the source's own database reports it (holds PHI).

    Text attributes are stripped; "" means absent or empty. ``number_of_*`` are None when the
    source does not tell (Number of Study Related Series/Instances, (0020,1206)/(0020,1208)), and
    so is ``total_bytes``, the size of all instances as stored. ``sop_classes`` are those of SOP
    Classes in Study (0008,0062), () when it is not told.
    """

    study_instance_uid: str
    study_date: str = ""
    study_time: str = ""
    patient_id: str = ""
    issuer_of_patient_id: str = ""
    patient_name: str = ""
    patient_birth_date: str = ""
    patient_sex: str = ""
    accession_number: str = ""
    study_id: str = ""
    study_description: str = ""
    institution_name: str = ""
    modalities: tuple[str, ...] = ()
    number_of_series: int | None = None
    number_of_instances: int | None = None
    sop_classes: tuple[str, ...] = ()
    total_bytes: int | None = None


@dataclass(frozen=True, slots=True)
class SeriesRecord:
    """A series as the source's own database reports it."""

    study_instance_uid: str
    series_instance_uid: str
    modality: str = ""
    series_number: str = ""
    series_description: str = ""
    body_part_examined: str = ""
    number_of_instances: int | None = None


@dataclass(frozen=True, slots=True)
class InstanceRecord:
    """A SOP Instance as the source's own database reports it."""

    study_instance_uid: str
    series_instance_uid: str
    sop_instance_uid: str
    sop_class_uid: str = ""
    number_of_frames: int | None = None


@dataclass(frozen=True, slots=True)
class InstanceIdentity:
    """What is known of an instance before its first byte arrives.

    ``transfer_syntax_uid`` is the encoding of the dataset bytes that follow.
    """

    sop_class_uid: str
    sop_instance_uid: str
    transfer_syntax_uid: str


class InstanceWriter(Protocol):
    """Takes the dataset of one instance, in order, in pieces of any size."""

    def write(self, data: bytes | memoryview) -> None:
        """Take the next piece of the dataset (without file meta information, group 0002)."""

    def commit(self) -> None:
        """Say that the dataset is complete; it counts as received only after this."""

    def abort(self, reason: str) -> None:
        """Say that the rest will not come; everything written is discarded."""


class InstanceSink(Protocol):
    """Where an archive delivers instances; called from one thread at a time."""

    def open(self, identity: InstanceIdentity) -> InstanceWriter:
        """Begin one instance."""


@dataclass(frozen=True, slots=True)
class InstanceFailure:
    """An instance that the source announced but could not deliver.

    ``reason`` is a :class:`~dicom_migration.errors.ReasonCode` value; ``sop_instance_uid`` is ""
    when the source only counted it.
    """

    sop_instance_uid: str
    reason: str
    detail: str = ""


@dataclass(slots=True)
class RetrieveOutcome:
    """What one retrieval delivered; `failures` being empty does not prove completeness.

    Attributes
    ----------
    delivered
        SOP Instance UIDs committed to the sink, in order of arrival.
    failures
        Instances known to have failed.
    reported_completed, reported_failed
        The source's own sub-operation counters (PS3.7 section 9.1.3), None when absent.
    """

    delivered: list[str] = field(default_factory=list)
    failures: list[InstanceFailure] = field(default_factory=list)
    reported_completed: int | None = None
    reported_failed: int | None = None


@dataclass(frozen=True, slots=True)
class ArchiveCheck:
    """Result of asking the source whether it is there and what it can do (no PHI).

    ``latency_s`` is the round trip of the check in seconds; ``facts`` is a flat, JSON-able
    mapping whose hash is the configuration fingerprint. ``observed`` is what changes with the
    archive's contents, and so is no configuration.
    """

    description: str
    latency_s: float
    facts: dict[str, str]
    observed: dict[str, str] = field(default_factory=dict)


class SearchableArchive(Protocol):
    """The part of :class:`ImageArchive` that an inventory needs; its methods mean the same."""

    @property
    def name(self) -> str:
        """How the ledger calls the source."""

    def check(self) -> ArchiveCheck:
        """Prove that the source answers."""

    def find_studies(self, query: StudyQuery) -> Iterator[StudyRecord]:
        """Yield each matching study, lazily."""

    def find_series(self, study_instance_uid: str) -> Iterator[SeriesRecord]:
        """Yield the series of one study."""

    def find_instances(self, study_instance_uid: str) -> Iterator[InstanceRecord]:
        """Yield the SOP Instances of one study."""


@runtime_checkable
class ImageArchive(Protocol):
    """A study archive that can be checked, searched and read. Never written to.

    An adapter whose source stops at a known number of studies says so in an attribute
    ``result_cap`` (int, or None when it is unknown); without one, nothing is known.
    """

    name: str

    def check(self) -> ArchiveCheck:
        """Prove that the source answers and what it supports.

        Raises
        ------
        TransientError
            It did not answer, or said it is busy.
        PermanentError
            It answered and will not serve us as configured (unknown AE title, 401, no folder).
        """

    def find_studies(self, query: StudyQuery) -> Iterator[StudyRecord]:
        """Yield each matching study, possibly more than once, lazily.

        One that the source reports without a Study Instance UID is yielded with "": it cannot be
        retrieved, but must be counted.
        """

    def find_series(self, study_instance_uid: str) -> Iterator[SeriesRecord]:
        """Yield the series of one study."""

    def find_instances(
        self, study_instance_uid: str, series_instance_uid: str | None = None
    ) -> Iterator[InstanceRecord]:
        """Yield the SOP Instances of one study, or of one of its series."""

    def retrieve_study(
        self,
        study_instance_uid: str,
        sink: InstanceSink,
        expected: tuple[InstanceRecord, ...] = (),
    ) -> RetrieveOutcome:
        """Deliver all instances of a study to `sink`, bytes as the source sends them.

        `expected` (from :meth:`find_instances`) lets an adapter negotiate exactly the SOP
        classes of the study (PS3.8 allows 128 presentation contexts an association).

        Raises
        ------
        TransientError
            The connection broke or the source is busy; delivered instances stay delivered.
        PermanentError
            The source refuses the operation.
        """

    def retrieve_instance(self, instance: InstanceRecord, sink: InstanceSink) -> RetrieveOutcome:
        """Deliver one instance to `sink`."""

    def close(self) -> None:
        """Release connections; safe to call twice."""

    def __enter__(self) -> Self:
        """Use as a context manager."""

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Close."""


@runtime_checkable
class ProbedArchive(Protocol):
    """An archive that can be asked more of its configuration than a check does."""

    def probe(self, associations: int, today: date) -> ArchiveCheck:
        """Check, and find out what costs a few associations: at most so many at the same time.

        Raises
        ------
        TransientError, PermanentError
            As :meth:`ImageArchive.check`; what fails beyond that is told as a fact.
        """


def result_cap_of(archive: SearchableArchive) -> int | None:
    """Return the number of studies at which the source is known to stop, None when unknown."""
    cap: int | None = getattr(archive, "result_cap", None)
    return cap
