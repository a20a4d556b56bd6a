"""What a source can send, and say of what it sent: never is a part taken for the whole.

By C-GET and by C-MOVE, from a source that does over real associations what healthy ones do not;
dcmqrscp where it does so by itself.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from pydicom import dcmread

from dicom_migration.archive.dimse import DimseArchive, DimseSettings
from dicom_migration.errors import PermanentError, ReasonCode, TransientError
from include.peers import Dcmqrscp, Orthanc
from include.peers.process import free_port
from tests.archives import HeldInstance, held_from, real_file
from tests.conftest import require
from tests.integration.archive.faulty_source import FaultySource, Retrieval
from tests.integration.archive.real_files import PRIVATE_SOP_CLASS
from tests.integration.transfer.faults.conftest import OUR_AE_TITLE, Begin
from tests.integration.transfer.faults.migration import POLICY
from tests.integration.transfer.faults.sample import FIRST, LAST, VICTIM, WHOLE, Sample

Open = Callable[..., Any]
SUCCESS, WARNING = 0x0000, 0xB000


@pytest.fixture(params=["C-GET", "C-MOVE"])
def opened(request: pytest.FixtureRequest, sample: Sample) -> Open:
    """Open the archive of a source that holds the sample and does with VICTIM as told."""

    @contextmanager
    def archive(victims: Retrieval | None = None, **others: Retrieval) -> Iterator[DimseArchive]:
        retrievals = {**others, **({VICTIM: victims} if victims else {})}
        with FaultySource(sample.instances, retrievals, free_port()) as source:
            settings = source.settings(retrieve_method=request.param, move_quiet_s=0.2)
            with DimseArchive(settings) as archive:
                yield archive

    return archive


@pytest.fixture
def victims(sample: Sample) -> tuple[HeldInstance, HeldInstance]:
    first, second = sample.of(VICTIM)
    return first, second


def test_a_store_that_is_sent_twice_counts_once(
    begin: Begin, opened: Open, victims: tuple[HeldInstance, ...]
) -> None:
    migration = begin()
    with opened(Retrieval((victims[0], victims[0], victims[1]))) as archive:
        assert migration.run(archive)["transferred"] == len(WHOLE)
    migration.check_moved(*WHOLE)
    assert migration.attempts(VICTIM) == [("transferred", "")]
    assert len(migration.objects()) == 6 + len(WHOLE), "two instances a study, and its manifest"


def test_other_bytes_under_one_uid_are_both_kept_and_a_person_decides(
    begin: Begin, opened: Open, victims: tuple[HeldInstance, ...]
) -> None:
    other = replace(victims[0], dataset=victims[0].dataset[:-2] + b"\x01\x02")
    migration = begin()
    with opened(Retrieval((other, *victims))) as archive:
        assert migration.run(archive)["quarantined"] == 1
    migration.check_quarantined(VICTIM, "instance_conflict")
    assert migration.attempts(VICTIM) == [("refused", "instance_conflict")]
    migration.check_moved(FIRST, LAST)
    kept = [key for key in migration.objects() if victims[0].record.sop_instance_uid + "." in key]
    assert len(kept) == 2


def test_sub_operations_that_end_with_warnings_are_as_good_as_completed(
    begin: Begin, opened: Open
) -> None:
    migration = begin()
    counters = {"completed": 0, "failed": 0, "warning": 2}
    with opened(Retrieval(status=WARNING, counters=counters)) as archive:
        assert migration.run(archive)["transferred"] == len(WHOLE)
    migration.check_moved(*WHOLE)


def test_a_response_without_counters_is_judged_by_what_arrived(begin: Begin, opened: Open) -> None:
    migration = begin()
    with opened(Retrieval(counters={})) as archive:
        assert migration.run(archive)["transferred"] == len(WHOLE)
    migration.check_moved(*WHOLE)


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        pytest.param(
            {"status": WARNING, "counters": {"completed": 1, "failed": 1, "warning": 0}},
            "source_failed",
            id="failed and counted",
        ),
        pytest.param({"status": WARNING, "counters": {}}, "instance_missing", id="not counted"),
        pytest.param(
            {"counters": {"completed": 2, "failed": 0, "warning": 0}},
            "instance_missing",
            id="called complete",
        ),
        pytest.param({"counters": {}}, "instance_missing", id="said nothing"),
    ],
)
def test_fewer_instances_than_listed_are_never_taken_for_the_whole(
    begin: Begin,
    opened: Open,
    victims: tuple[HeldInstance, ...],
    said: dict[str, Any],
    reason: str,
) -> None:
    migration = begin()
    with opened(Retrieval(victims[:1], **said)) as archive:
        assert migration.run(archive)["quarantined"] == 1
    migration.check_quarantined(VICTIM, reason)
    assert migration.attempts(VICTIM) == [("refused", reason)]
    migration.check_moved(FIRST, LAST)


def test_a_failed_sub_operation_that_is_named_is_told_by_its_name(
    begin: Begin, opened: Open, victims: tuple[HeldInstance, ...]
) -> None:
    missing = victims[1].record.sop_instance_uid
    migration = begin()
    counters = {"completed": 1, "failed": 1, "warning": 0}
    with opened(Retrieval(victims[:1], WARNING, counters, (missing,))) as archive:
        assert migration.run(archive)["quarantined"] == 1
    migration.check_quarantined(VICTIM, "source_failed")
    assert [row[1] for row in migration.end().exceptions] == [missing]
    migration.check_moved(FIRST, LAST)


def test_a_source_without_resources_is_asked_again_later(begin: Begin, opened: Open) -> None:
    migration = begin()
    with opened(Retrieval((), 0xA701, {})) as archive:
        with pytest.raises(TransientError) as caught:
            migration.run(archive)
        migration.check_left(VICTIM, caught.value, *[("failed", "source_busy")] * 2)
        migration.check_moved(FIRST, LAST)
    with opened() as archive:
        migration.run(archive)
    migration.check_moved(*WHOLE)


def test_a_study_that_is_refused_alone_is_set_aside(begin: Begin, opened: Open) -> None:
    migration = begin()
    with opened(Retrieval((), 0xA801, {})) as archive:
        assert migration.run(archive)["quarantined"] == 1
    migration.check_quarantined(VICTIM, "source_refused_operation")
    assert migration.attempts(VICTIM) == [("failed", "source_refused_operation")]
    migration.check_moved(FIRST, LAST)


def test_the_same_refusal_of_every_study_stops_the_task(begin: Begin, opened: Open) -> None:
    migration = begin()
    policy = POLICY.model_copy(update={"give_up_after_studies": 2})
    refused = dict.fromkeys(WHOLE, Retrieval((), 0xA801, {}))
    with (
        opened(**refused) as archive,
        pytest.raises(PermanentError, match="2 studies in a row") as caught,
    ):
        migration.run(archive, policy=policy)
    assert caught.value.reason is ReasonCode.SOURCE_REFUSED_OPERATION
    assert caught.value.next_step
    migration.check_quarantined(FIRST, "source_refused_operation")
    assert (migration.state(LAST), migration.attempts(LAST)) == ("cleansed", [])


@pytest.fixture(scope="module")
def odd_files(sample: Sample, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A good study, one in JPEG 2000, and one of a SOP class that nobody knows."""
    folder = tmp_path_factory.mktemp("odd")
    for path in sample.folder.glob(f"{FIRST}.*"):
        shutil.copy(path, folder)
    (folder / "compressed.dcm").write_bytes(real_file("JPEG2000.dcm"))
    unknown = dcmread(sample.folder / f"{VICTIM}.1.dcm")
    unknown.SOPClassUID = unknown.file_meta.MediaStorageSOPClassUID = PRIVATE_SOP_CLASS.decode()
    unknown.save_as(folder / "unknown.dcm")
    return folder


@pytest.mark.peers
@pytest.mark.parametrize("method", ["C-GET", "C-MOVE"])
def test_what_a_source_cannot_send_is_set_aside_and_the_others_go_on(
    begin: Begin, odd_files: Path, tmp_path: Path, method: Any
) -> None:
    require(Dcmqrscp.available(), "dcmtk")
    compressed = str(dcmread(odd_files / "compressed.dcm").StudyInstanceUID)
    migration = begin((FIRST, VICTIM, compressed))
    port = free_port()
    peer = Dcmqrscp(tmp_path / "peer", move_destinations={OUR_AE_TITLE: ("127.0.0.1", port)})
    assert peer.load(odd_files).loaded == 4
    with (
        peer,
        DimseArchive(
            DimseSettings(
                "127.0.0.1",
                peer.port,
                "DCMQRSCP",
                retrieve_method=method,
                landing_host="127.0.0.1",
                landing_port=port,
                move_quiet_s=0.3,
            )
        ) as archive,
    ):
        assert migration.run(archive)["quarantined"] == 2
    for study in (VICTIM, compressed):
        migration.check_quarantined(study, "source_failed")
        assert migration.attempts(study) == [("refused", "source_failed")]
    migration.check_moved(FIRST)


@pytest.mark.peers
@pytest.mark.parametrize("method", ["C-GET", "C-MOVE"])
def test_an_unknown_sop_class_that_the_source_sends_is_moved_as_it_is(
    begin: Begin, odd_files: Path, tmp_path: Path, method: Any
) -> None:
    require(Orthanc.available(), "orthanc")
    migration = begin((FIRST, VICTIM))
    port = free_port()
    destinations = {OUR_AE_TITLE: ("127.0.0.1", port)}
    with Orthanc(tmp_path / "peer", move_destinations=destinations) as peer:
        peer.load(odd_files)
        settings = DimseSettings(
            "127.0.0.1",
            peer.port,
            "ORTHANC",
            retrieve_method=method,
            landing_host="127.0.0.1",
            landing_port=port,
        )
        with DimseArchive(settings) as archive:
            assert migration.run(archive)["transferred"] == 2
    (row,) = migration.manifest(VICTIM)
    assert row.sop_class_uid == PRIVATE_SOP_CLASS.decode()
    unknown = held_from((odd_files / "unknown.dcm").read_bytes())
    assert migration.bucket.read(row.object_key).endswith(unknown.dataset)
    assert migration.attempts(VICTIM) == [("transferred", "")]
    migration.check_moved(FIRST)
