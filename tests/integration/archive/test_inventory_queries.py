"""What an inventory asks of real sources beside dates: times, identifiers, the configuration."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date
from typing import Protocol

import pytest
from pynetdicom import AE
from pynetdicom.sop_class import StudyRootQueryRetrieveInformationModelFind, Verification

from dicom_migration.archive import ProbedArchive, StudyQuery, StudyRecord
from dicom_migration.archive.dimse import DimseArchive, DimseSettings
from dicom_migration.archive.dimse_association import Association
from dicom_migration.archive.dimse_command import CommandField, Field, number
from dicom_migration.archive.dimse_probe import association_facts
from dicom_migration.discovery.answers import parse_date, parse_time
from dicom_migration.discovery.slices import Axis, Slice
from tests.integration.archive.real_files import RealFile
from tests.integration.archive.scripted_source import ScriptedSource, answer
from tests.integration.discovery.query_source import dataset

PEERS = ("orthanc", "dcmqrscp", "qrscp")


class Peer(Protocol):
    host: str
    port: int
    ae_title: str


@pytest.fixture(params=[pytest.param(name, marks=pytest.mark.peers) for name in PEERS])
def archive(
    request: pytest.FixtureRequest, archive_files: tuple[RealFile, ...]
) -> Iterator[DimseArchive]:
    peer: Peer = request.getfixturevalue(request.param)
    with DimseArchive(DimseSettings(peer.host, peer.port, peer.ae_title)) as opened:
        yield opened


def uids(archive: DimseArchive, query: StudyQuery) -> set[str]:
    return {record.study_instance_uid for record in archive.find_studies(query)}


def timed(archive: DimseArchive) -> list[StudyRecord]:
    found = [
        record
        for record in archive.find_studies(StudyQuery())
        if parse_date(record.study_date) and parse_time(record.study_time) is not None
    ]
    assert len(found) > 5
    return found


def test_the_halves_of_a_day_bring_each_study_once(archive: DimseArchive) -> None:
    for record in timed(archive):
        day = parse_date(record.study_date)
        halves = Slice(day, day).cut(Axis.TIME, 2)
        found = [record.study_instance_uid in uids(archive, half.query()) for half in halves]
        assert sorted(found) == [False, True]


def test_a_single_second_brings_its_study(archive: DimseArchive) -> None:
    for record in timed(archive):
        day, second = parse_date(record.study_date), parse_time(record.study_time)
        assert second is not None
        part = Slice(day, day, since=second, until=second)
        assert record.study_instance_uid in uids(archive, part.query())


def is_plain(value: str) -> bool:
    return value.isascii() and value.replace("-", "").isalnum()


def test_the_beginning_of_a_patient_id_brings_its_studies(archive: DimseArchive) -> None:
    for record in archive.find_studies(StudyQuery()):
        value = record.patient_id
        if is_plain(value):
            assert record.study_instance_uid in uids(archive, Slice(patient=value[0]).query())
            whole = Slice(patient=value, exact_patient=True)
            assert record.study_instance_uid in uids(archive, whole.query())


def test_the_beginning_of_an_accession_number_brings_its_studies(archive: DimseArchive) -> None:
    for record in archive.find_studies(StudyQuery()):
        value = record.accession_number
        if is_plain(value):
            assert record.study_instance_uid in uids(archive, Slice(accession=value[0]).query())
            whole = Slice(accession=value, exact_accession=True)
            assert record.study_instance_uid in uids(archive, whole.query())


def test_the_configuration_is_told_and_no_patient(archive: DimseArchive) -> None:
    assert isinstance(archive, ProbedArchive)
    check = archive.probe(2, date(2025, 11, 1))
    assert check.facts["associations"] == "at least 2"
    assert "1.2.840.10008.1.2" in check.facts["storage_1.2.840.10008.5.1.4.1.1.2"]
    assert check.observed == {"character_sets": "no studies"}


@pytest.mark.parametrize(("asked", "told"), [(8, "3"), (2, "at least 2"), (3, "at least 3")])
def test_the_limit_of_associations_is_found_and_not_passed(asked: int, told: str) -> None:
    """pynetdicom rejects what comes after its maximum, for the moment."""
    entity = AE(ae_title="PACS")
    entity.maximum_associations = 3
    for context in (Verification, StudyRootQueryRetrieveInformationModelFind):
        entity.add_supported_context(context)
    server = entity.start_server(("127.0.0.1", 0), block=False)
    try:
        settings = DimseSettings("127.0.0.1", int(server.server_address[1]), "PACS")
        assert association_facts(settings, asked) == {"associations": told}
    finally:
        server.shutdown()


def test_answers_tell_the_character_sets_of_the_source() -> None:
    def serve(association: Association) -> None:
        while True:
            context_id, command = association.receive_command(30)
            association.receive_dataset(command)
            if number(command, Field.COMMAND_FIELD) == CommandField.C_FIND_RQ:
                for index, charset in enumerate((b"ISO_IR 100", b"ISO_IR 192", b"ISO_IR 100", b"")):
                    row = {0x00080005: charset, 0x0020000D: b"1.2.%d" % index}
                    answer(association, (context_id, command), 0xFF00, dataset=dataset(row))
            answer(association, (context_id, command), 0)

    with ScriptedSource(serve) as peer, DimseArchive(peer.settings()) as archive:
        check = archive.probe(0, date(2025, 11, 1))
    assert check.observed == {"character_sets": "ISO_IR 100, ISO_IR 192, none declared"}
    assert "associations" not in check.facts
