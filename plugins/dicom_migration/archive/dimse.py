"""The DIMSE adapter: a PACS or VNA that speaks Study Root query/retrieve.

Source: DICOM PS3.4 Annex C (query/retrieve service class).
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import replace
from datetime import date
from types import TracebackType
from typing import Self

from dicom_migration.archive import dimse_probe, dimse_query, dimse_status, records
from dicom_migration.archive.dimse_check import check_source
from dicom_migration.archive.dimse_get import retrieve_by_get
from dicom_migration.archive.dimse_move import retrieve_by_move
from dicom_migration.archive.dimse_queries import QueryAssociations
from dicom_migration.archive.dimse_remainder import retrieve_remainder
from dicom_migration.archive.dimse_retrieve import RetrieveTarget
from dicom_migration.archive.dimse_settings import DimseSettings, TlsSettings
from dicom_migration.archive.instance_receiver import InstanceReceiver
from dicom_migration.archive.presentation_contexts import batches, likely_sop_classes
from dicom_migration.archive.protocol import (
    ArchiveCheck,
    InstanceRecord,
    InstanceSink,
    RetrieveOutcome,
    SeriesRecord,
    StudyQuery,
    StudyRecord,
)
from dicom_migration.errors import MigrationError, PermanentError, ReasonCode
from dicom_migration.uids import checked_uid, is_valid_uid

__all__ = ["DimseArchive", "DimseSettings", "TlsSettings"]

log = logging.getLogger(__name__)


class DimseArchive:
    """An :class:`~dicom_migration.archive.protocol.ImageArchive` over DIMSE.

    Not for use from several threads at once. One association is open at a time: sources allow
    few, and the pool that bounds them counts tasks. Every call may raise ``TransientError`` (no
    connection, rejected for the moment, aborted, silent) and ``PermanentError`` (rejected for
    good, operation refused); messages name the AE title and the study UID, never a patient.

    Parameters
    ----------
    settings
        The source and how to talk to it.
    """

    def __init__(self, settings: DimseSettings) -> None:
        self.settings = settings
        self.name = f"dimse:{settings.called_ae_title}"
        self.result_cap = settings.result_cap
        self._queries = QueryAssociations(settings)

    def check(self) -> ArchiveCheck:
        """Send a C-ECHO and tell what the source accepts."""
        return check_source(self.settings)

    def probe(self, associations: int, today: date) -> ArchiveCheck:
        """Check, and find out transfer syntaxes, the limit of associations, character sets."""
        found = self.check()
        facts = dict(found.facts)
        if self.settings.retrieve_method == "C-GET":
            facts |= dimse_probe.storage_facts(self.settings)
        if associations:
            facts |= dimse_probe.association_facts(self.settings, associations)
        observed = dimse_probe.character_sets(self.settings, today)
        return replace(found, facts=facts, observed=observed)

    def find_studies(self, query: StudyQuery) -> Iterator[StudyRecord]:
        """Yield the studies of a date range, or those asked for by UID, one query each.

        What a source answers to a date range is not filtered again: it may hold dates in forms
        that it alone understands, and a study dropped here would be lost. For the same reason a
        study without a Study Instance UID is yielded, with "" in its place.
        """
        uids = tuple(checked_uid(uid, "Study Instance UID") for uid in query.study_instance_uids)
        nameless = 0
        for uid in uids or ("",):
            for answer in self._queries.find(dimse_query.study_keys(query, uid)):
                record = records.study_record(answer)
                nameless += not record.study_instance_uid
                if record.study_instance_uid or not uid:
                    yield record
        self._report_nameless(nameless, "studies")

    def find_series(self, study_instance_uid: str) -> Iterator[SeriesRecord]:
        """Yield the series of one study."""
        nameless = 0
        for answer in self._queries.find(dimse_query.series_keys(study_instance_uid)):
            record = records.series_record(answer, study_instance_uid)
            if record.series_instance_uid:
                yield record
            else:
                nameless += 1
        self._report_nameless(nameless, "series")

    def find_instances(
        self, study_instance_uid: str, series_instance_uid: str | None = None
    ) -> Iterator[InstanceRecord]:
        """Yield the instances, series by series: few sources match a whole study at image level.

        (Relational queries are an extension that has to be negotiated, PS3.4 section C.5.)
        """
        yield from self._instances(study_instance_uid, series_instance_uid)

    def retrieve_study(
        self,
        study_instance_uid: str,
        sink: InstanceSink,
        expected: tuple[InstanceRecord, ...] = (),
    ) -> RetrieveOutcome:
        """Deliver all instances of a study by the configured method."""
        return self._retrieve(RetrieveTarget(study_instance_uid), sink, expected)

    def retrieve_instance(self, instance: InstanceRecord, sink: InstanceSink) -> RetrieveOutcome:
        """Deliver one instance by the configured method."""
        uid = (instance.sop_instance_uid,)
        target = RetrieveTarget(instance.study_instance_uid, instance.series_instance_uid, uid)
        return self._retrieve(target, sink, (instance,))

    def close(self) -> None:
        """Release the association kept for queries; safe to call twice."""
        self._queries.close()

    def __enter__(self) -> Self:
        """Use as a context manager."""
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Close."""
        self.close()

    def _instances(
        self,
        study_instance_uid: str,
        series_instance_uid: str | None = None,
        *,
        uids_only: bool = False,
    ) -> Iterator[InstanceRecord]:
        if series_instance_uid is None:
            series = {record.series_instance_uid for record in self.find_series(study_instance_uid)}
        else:
            series = {series_instance_uid}
        nameless = 0
        for uid in sorted(series):
            keys = dimse_query.instance_keys(study_instance_uid, uid, uids_only=uids_only)
            for answer in self._queries.find(keys):
                record = records.instance_record(answer, study_instance_uid, uid)
                if record.sop_instance_uid:
                    yield record
                else:
                    nameless += 1
        self._report_nameless(nameless, "instances")

    def _retrieve(
        self, target: RetrieveTarget, sink: InstanceSink, expected: tuple[InstanceRecord, ...]
    ) -> RetrieveOutcome:
        target.keys()  # a malformed UID is refused before it is used
        by_get = self.settings.retrieve_method == "C-GET"
        classes = self._told_sop_classes(target) if by_get and not expected else ()
        if not expected and not classes:
            listed = self._instances(target.study_instance_uid, uids_only=not by_get)
            expected = tuple(listed)
        if by_get and not classes:
            classes = self._sop_classes(target, expected)
        receiver = self._receiver(sink, expected)
        self._queries.close()

        def retrieve(part: RetrieveTarget) -> None:
            if by_get:
                retrieve_by_get(self.settings, part, receiver, expected, classes)
            else:
                retrieve_by_move(self.settings, part, receiver, expected)

        try:
            retrieve(target)
        except MigrationError as error:
            receiver.raise_sink_error()
            if receiver.outcome.failures and expected:
                retrieve_remainder(retrieve, receiver, expected)
            else:
                raise self._explained(error, target) from error
        return receiver.outcome

    def _receiver(
        self, sink: InstanceSink, expected: tuple[InstanceRecord, ...]
    ) -> InstanceReceiver:
        if self.settings.retrieve_method == "C-GET":
            return InstanceReceiver(sink)
        # Other senders may know our landing: what was not asked for is not let in.
        return InstanceReceiver(sink, frozenset(r.sop_instance_uid for r in expected))

    def _explained(self, error: MigrationError, target: RetrieveTarget) -> MigrationError:
        """Say that a study is gone, where the source only says that it failed."""
        if not isinstance(error, dimse_status.UnableToProcessError):
            return error
        query = StudyQuery(study_instance_uids=(target.study_instance_uid,))
        try:
            if any(self.find_studies(query)):
                return error
        except MigrationError:
            return error
        return PermanentError(
            f"{self.settings.peer} does not have the study any more.",
            reason=ReasonCode.INSTANCE_MISSING,
            next_step="Query the source again: the study was deleted, moved or merged.",
            study_instance_uid=target.study_instance_uid,
        )

    def _told_sop_classes(self, target: RetrieveTarget) -> tuple[str, ...]:
        """Return the study's SOP classes where the source tells them in one answer.

        The key is optional, and much cheaper than a list of instances with their classes.
        """
        tag = records.SOP_CLASSES_IN_STUDY
        answers = list(self._queries.find(dimse_query.sop_class_keys(target.study_instance_uid)))
        told = tuple(uid for answer in answers for uid in answer.get(tag, ()))
        classes = tuple(dict.fromkeys(told))
        if not all(map(is_valid_uid, classes)) or len(list(batches(classes))) != 1:
            return ()  # what needs several associations is asked for by instance
        return classes

    def _sop_classes(
        self, target: RetrieveTarget, expected: tuple[InstanceRecord, ...]
    ) -> tuple[str, ...]:
        """Return the SOP classes to negotiate: known from `expected`, or guessed by modality."""
        known = tuple(dict.fromkeys(record.sop_class_uid for record in expected))
        if known and all(is_valid_uid(uid) for uid in known):
            return known
        series = self.find_series(target.study_instance_uid)
        guessed = likely_sop_classes(sorted({record.modality for record in series}))
        return tuple(dict.fromkeys([*filter(is_valid_uid, known), *guessed]))

    def _report_nameless(self, count: int, what: str) -> None:
        if count:
            log.warning("%s reported %d %s without a UID", self.settings.peer, count, what)
