"""What every source adapter must do, as a test class to inherit.

Give a subclass a fixture `subject`, and pytest runs the whole contract of
:class:`~dicom_migration.archive.protocol.ImageArchive` against your adapter. The source behind it
must hold the files of :mod:`tests.integration.archive.real_files`; see
``docs/extend-source-adapter.md``.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from io import BytesIO

import pytest
from pydicom import Dataset
from pydicom.filereader import read_dataset

from dicom_migration.archive import (
    ImageArchive,
    InstanceIdentity,
    InstanceRecord,
    RetrieveOutcome,
    StudyQuery,
)
from dicom_migration.datasets import inflate
from dicom_migration.errors import PermanentError, ReasonCode
from tests.integration.archive.real_files import RealFile
from tests.integration.archive.recording_sink import RecordingSink

UNKNOWN_STUDY = "1.2.826.0.1.3680043.8.498.1"


@dataclass(frozen=True)
class Subject:
    """An adapter under test, and what is known of the source behind it.

    Attributes
    ----------
    open
        Opens a new archive on the source.
    files
        What the source holds.
    refused
        Labels that this source cannot send; they must end as failures.
    rewritten
        Labels that this source encodes anew in the same transfer syntax, losing padding and
        group lengths; equal in every element.
    converted
        Labels that this source sends in another transfer syntax.
    """

    open: Callable[[], ImageArchive]
    files: tuple[RealFile, ...]
    refused: frozenset[str] = frozenset()
    rewritten: frozenset[str] = frozenset()
    converted: frozenset[str] = frozenset()

    def of_study(self, study_instance_uid: str) -> list[RealFile]:
        """Return the files of one study."""
        return [f for f in self.files if f.study_instance_uid == study_instance_uid]

    @property
    def studies(self) -> list[str]:
        """Return the studies that the source holds."""
        return sorted({f.study_instance_uid for f in self.files})


@dataclass(frozen=True)
class Delivered:
    """Everything that one archive delivered, study by study."""

    instances: dict[str, tuple[InstanceIdentity, bytes]]
    outcomes: dict[str, RetrieveOutcome]


class ArchiveConformance:
    """The contract; a subclass says what `subject` is."""

    @pytest.fixture(scope="class")
    @classmethod
    def subject(cls) -> Subject:
        raise NotImplementedError("say which adapter is tested")

    @pytest.fixture
    def archive(self, subject: Subject) -> Iterator[ImageArchive]:
        with subject.open() as archive:
            yield archive

    @pytest.fixture(scope="class")
    @classmethod
    def delivered(cls, subject: Subject) -> Delivered:
        instances: dict[str, tuple[InstanceIdentity, bytes]] = {}
        outcomes = {}
        with subject.open() as archive:
            for study in subject.studies:
                sink = RecordingSink()
                expected = tuple(archive.find_instances(study))
                outcomes[study] = archive.retrieve_study(study, sink, expected)
                assert [i.sop_instance_uid for i, _ in sink.committed] == outcomes[study].delivered
                instances.update({i.sop_instance_uid: (i, data) for i, data in sink.committed})
        return Delivered(instances, outcomes)

    def test_it_is_an_image_archive(self, archive: ImageArchive) -> None:
        assert isinstance(archive, ImageArchive)
        assert archive.name

    def test_check_gives_flat_facts_without_patients(
        self, subject: Subject, archive: ImageArchive
    ) -> None:
        check = archive.check()
        assert check.latency_s >= 0
        assert check.facts["kind"]
        assert all(isinstance(value, str) for value in check.facts.values())
        text = json.dumps(check.facts) + check.description
        assert not [phi for file in subject.files for phi in file.phi if phi in text]

    def test_it_finds_every_study_and_no_other(
        self, subject: Subject, archive: ImageArchive
    ) -> None:
        found = {record.study_instance_uid for record in archive.find_studies(StudyQuery())}
        assert sorted(found) == subject.studies

    def test_a_study_comes_with_its_patient_and_date(
        self, subject: Subject, archive: ImageArchive
    ) -> None:
        for record in archive.find_studies(StudyQuery()):
            files = subject.of_study(record.study_instance_uid)
            assert record.patient_id in {f.patient_id for f in files}
            assert record.patient_name in {f.patient_name for f in files}
            assert record.study_date in {f.study_date for f in files}

    def test_it_finds_a_study_by_uid(self, subject: Subject, archive: ImageArchive) -> None:
        for uid in subject.studies[:2]:
            query = StudyQuery(study_instance_uids=(uid,))
            assert {r.study_instance_uid for r in archive.find_studies(query)} == {uid}
        query = StudyQuery(study_instance_uids=(UNKNOWN_STUDY,))
        assert list(archive.find_studies(query)) == []

    def test_a_date_range_includes_its_ends_and_excludes_undated_studies(
        self, subject: Subject, archive: ImageArchive
    ) -> None:
        dated = {
            f.study_instance_uid: f.study_date for f in subject.files if f.study_date.isdigit()
        }
        day = sorted(dated.values())[len(dated) // 2]
        found = {r.study_instance_uid for r in archive.find_studies(StudyQuery(day, day))}
        assert found == {uid for uid, date in dated.items() if date == day}
        since = {r.study_instance_uid for r in archive.find_studies(StudyQuery(date_from=day))}
        assert since == {uid for uid, date in dated.items() if date >= day}

    def test_it_finds_the_series_and_instances_of_a_study(
        self, subject: Subject, archive: ImageArchive
    ) -> None:
        for study in subject.studies:
            files = subject.of_study(study)
            series = {record.series_instance_uid for record in archive.find_series(study)}
            assert series == {f.series_instance_uid for f in files}
            instances = list(archive.find_instances(study))
            assert _pairs(instances) == {(f.series_instance_uid, f.sop_instance_uid) for f in files}
            one = files[0].series_instance_uid
            assert _pairs(archive.find_instances(study, one)) == {
                (f.series_instance_uid, f.sop_instance_uid)
                for f in files
                if f.series_instance_uid == one
            }
            classes = {f.sop_instance_uid: f.sop_class_uid for f in files}
            assert all(r.sop_class_uid in ("", classes[r.sop_instance_uid]) for r in instances)

    def test_a_search_can_be_left_early_and_another_begun(self, archive: ImageArchive) -> None:
        search = archive.find_studies(StudyQuery())
        first = next(search)
        assert next(archive.find_series(first.study_instance_uid)).series_instance_uid
        assert next(search).study_instance_uid
        del search
        assert list(archive.find_studies(StudyQuery()))

    def test_every_instance_is_delivered_or_named_as_failed(
        self, subject: Subject, delivered: Delivered
    ) -> None:
        for file in subject.files:
            outcome = delivered.outcomes[file.study_instance_uid]
            failed = {failure.sop_instance_uid: failure.reason for failure in outcome.failures}
            if file.label in subject.refused:
                assert failed[file.sop_instance_uid] in set(ReasonCode)
                assert file.sop_instance_uid not in delivered.instances
            else:
                assert file.sop_instance_uid in delivered.instances, file.label
                assert file.sop_instance_uid not in failed
        assert len(delivered.instances) == len(subject.files) - len(subject.refused)

    def test_an_instance_keeps_its_identity_and_transfer_syntax(
        self, subject: Subject, delivered: Delivered
    ) -> None:
        for file in self._comparable(subject, delivered):
            identity, _ = delivered.instances[file.sop_instance_uid]
            assert identity == InstanceIdentity(
                file.sop_class_uid, file.sop_instance_uid, file.transfer_syntax_uid
            )

    def test_the_dataset_is_the_stored_one_byte_for_byte(
        self, subject: Subject, delivered: Delivered
    ) -> None:
        for file in self._comparable(subject, delivered):
            _, dataset = delivered.instances[file.sop_instance_uid]
            if file.label in subject.rewritten:
                assert _elements(dataset, file) == _elements(file.dataset, file), file.label
            else:
                assert dataset == file.dataset, file.label

    def test_one_instance_is_delivered_alone(self, subject: Subject, archive: ImageArchive) -> None:
        file = next(f for f in subject.files if f.label == "SC_rgb_small_odd")
        wanted = next(
            record
            for record in archive.find_instances(file.study_instance_uid)
            if record.sop_instance_uid == file.sop_instance_uid
        )
        sink = RecordingSink()
        outcome = archive.retrieve_instance(wanted, sink)
        assert outcome.delivered == [file.sop_instance_uid]
        assert [data for _, data in sink.committed] == [file.dataset]

    def test_a_malformed_uid_is_refused_before_it_is_used(self, archive: ImageArchive) -> None:
        with pytest.raises(PermanentError) as caught:
            archive.retrieve_study("../../etc/passwd", RecordingSink())
        assert caught.value.reason is ReasonCode.UID_INVALID
        assert "passwd" not in str(caught.value)

    def test_a_study_that_is_not_there_delivers_nothing(self, archive: ImageArchive) -> None:
        sink = RecordingSink()
        try:
            outcome = archive.retrieve_study(UNKNOWN_STUDY, sink)
        except PermanentError as error:
            told = str(error)
        else:
            told = UNKNOWN_STUDY
            assert outcome.delivered == []
        assert UNKNOWN_STUDY in told
        assert sink.opened == []

    def test_an_instance_that_the_sink_refuses_fails_alone(
        self, subject: Subject, archive: ImageArchive
    ) -> None:
        study, uids = self._study_with_several(subject)
        refusal = PermanentError("cannot be packed", reason=ReasonCode.PIXEL_DATA_INVALID)
        sink = RecordingSink(fail_on={uids[0]: refusal})
        outcome = archive.retrieve_study(study, sink, tuple(archive.find_instances(study)))
        assert uids[0] not in outcome.delivered
        assert set(uids[1:]) <= set(outcome.delivered)
        reasons = [f.reason for f in outcome.failures if f.sop_instance_uid == uids[0]]
        assert reasons == [ReasonCode.PIXEL_DATA_INVALID.value]

    def test_a_sink_that_breaks_ends_the_retrieval_and_its_error_is_raised(
        self, subject: Subject, archive: ImageArchive
    ) -> None:
        study, uids = self._study_with_several(subject)
        full = OSError(28, "No space left on device")
        sink = RecordingSink(fail_on=dict.fromkeys(uids, full), fail_at="write")
        with pytest.raises(OSError, match="No space left") as caught:
            archive.retrieve_study(study, sink, tuple(archive.find_instances(study)))
        assert caught.value is full
        assert len(sink.opened) == 1
        assert sink.committed == []
        assert list(archive.find_studies(StudyQuery())), "the archive can be used again"

    def test_no_patient_is_logged(
        self, subject: Subject, archive: ImageArchive, caplog: pytest.LogCaptureFixture
    ) -> None:
        with caplog.at_level(logging.DEBUG):
            for record in archive.find_studies(StudyQuery()):
                list(archive.find_instances(record.study_instance_uid))
            archive.retrieve_study(subject.studies[0], RecordingSink())
        logged = caplog.text
        assert not [phi for file in subject.files for phi in file.phi if phi in logged]

    def test_closing_twice_does_no_harm(self, subject: Subject) -> None:
        archive = subject.open()
        assert list(archive.find_studies(StudyQuery()))
        archive.close()
        archive.close()

    def _study_with_several(self, subject: Subject) -> tuple[str, list[str]]:
        study = next(f for f in subject.files if f.label == "MR_small").study_instance_uid
        files = [f for f in subject.of_study(study) if f.label not in subject.refused]
        assert len(files) > 1
        return study, sorted(f.sop_instance_uid for f in files)

    def _comparable(self, subject: Subject, delivered: Delivered) -> list[RealFile]:
        left_out = subject.refused | subject.converted
        compared = [f for f in subject.files if f.label not in left_out]
        assert compared
        assert delivered.instances
        return compared


def _pairs(found: Iterable[InstanceRecord]) -> set[tuple[str, str]]:
    return {(record.series_instance_uid, record.sop_instance_uid) for record in found}


def _elements(dataset: bytes, file: RealFile) -> list[object]:
    """Return tags and values without what a server may rightly drop: padding and group lengths."""
    syntax = file.transfer_syntax_uid
    if syntax == "1.2.840.10008.1.2.1.99":
        dataset = inflate(dataset)
    implicit, little = syntax == "1.2.840.10008.1.2", syntax != "1.2.840.10008.1.2.2"
    return _flattened(read_dataset(BytesIO(dataset), implicit, little))


def _flattened(dataset: Dataset) -> list[object]:
    found: list[object] = []
    for element in dataset:
        if element.tag.element == 0 or element.tag == 0xFFFCFFFC:
            continue
        # Not the VR: DCMTK mends that of encapsulated pixels from OW to OB.
        value = element.value
        if element.VR == "SQ":
            value = [_flattened(item) for item in value]
        found.append((int(element.tag), value))
    return found
