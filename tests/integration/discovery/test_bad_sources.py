"""Sources that misbehave end in a correct inventory, or in an exception that names the trouble."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Row, select

from dicom_migration.archive import InstanceRecord, SeriesRecord, StudyRecord, records
from dicom_migration.archive.dimse import DimseArchive
from dicom_migration.archive.dimse_association import Association
from dicom_migration.archive.dimse_command import CommandField, Field, encode_command, number
from dicom_migration.discovery.answers import Answers
from dicom_migration.discovery.closing import close_inventory
from dicom_migration.discovery.finding import WindowSearch
from dicom_migration.discovery.inventory import take_inventory
from dicom_migration.discovery.windows import UNDATED, Window, open_inventory
from dicom_migration.errors import PermanentError, ReasonCode, TransientError
from dicom_migration.ledger import Ledger, open_exception_counts, schema
from dicom_migration.policies.discovery import DiscoveryPolicy
from tests.capped_archive import CappedArchive
from tests.integration.archive.scripted_source import ScriptedSource, answer
from tests.integration.discovery.query_source import (
    DefectError,
    QuerySource,
    dataset,
    serving,
    study_values,
)

TODAY = date(2025, 11, 1)
POLICY = DiscoveryPolicy(
    earliest_study_date=date(2020, 1, 1), window_days=400, parallel_tasks=1, list_series=False
)


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    with Ledger(f"sqlite:///{tmp_path / 'ledger.db'}") as opened:
        opened.upgrade()
        yield opened


def study(number_: int, day: str = "20220101", **values: object) -> StudyRecord:
    told: dict[str, object] = {
        "patient_id": f"P{number_}",
        "study_time": f"{number_ % 24:02}0000",
        "modalities": ("CT",),
        "number_of_series": 1,
        "number_of_instances": 2,
        **values,
    }
    return StudyRecord(f"1.2.{number_}", study_date=day, **told)  # type: ignore[arg-type]


def days(count: int) -> list[StudyRecord]:
    return [
        study(n, f"{date(2022, 1, 1) + timedelta(days=n * 1000 // count):%Y%m%d}")
        for n in range(count)
    ]


def with_series(studies: list[StudyRecord]) -> CappedArchive:
    return CappedArchive(
        studies,
        [SeriesRecord(s.study_instance_uid, f"{s.study_instance_uid}.1", "CT") for s in studies],
        [
            InstanceRecord(
                s.study_instance_uid,
                f"{s.study_instance_uid}.1",
                f"{s.study_instance_uid}.1.{n}",
                "1.2.840.10008.5.1.4.1.1.2",
            )
            for s in studies
            for n in range(2)
        ],
    )


def inventoried(
    ledger: Ledger, source: QuerySource, policy: DiscoveryPolicy = POLICY
) -> tuple[dict[str, Row[Any]], dict[str, int]]:
    """Take a whole inventory; return the studies in the ledger and the open exceptions."""
    with serving(source) as archive:
        for windows in open_inventory(ledger, "I0000000001", policy, TODAY):
            take_inventory(ledger, archive, windows, policy)
        close_inventory(ledger, archive, "I0000000001", policy)
    with ledger.read() as connection:
        rows = connection.execute(select(schema.study)).all()
        return {row.study_instance_uid: row for row in rows}, open_exception_counts(connection)


def uids(archive: CappedArchive) -> set[str]:
    return {record.study_instance_uid for record in archive.studies}


def test_a_source_that_refuses_the_study_level_is_refused_with_the_next_step(
    ledger: Ledger,
) -> None:
    source = QuerySource(CappedArchive(days(3)), refused=frozenset({"STUDY"}))
    with pytest.raises(PermanentError, match="0xA900") as caught:
        inventoried(ledger, source)
    assert caught.value.reason is ReasonCode.SOURCE_REFUSED_OPERATION
    assert "conformance statement" in caught.value.next_step


@pytest.mark.parametrize("level", ["SERIES", "IMAGE"])
def test_a_source_that_refuses_a_lower_level_is_inventoried_by_study(
    ledger: Ledger, level: str
) -> None:
    source = QuerySource(with_series(days(40)), refused=frozenset({level}))
    policy = POLICY.model_copy(update={"list_series": True, "list_instances": True})
    known, exceptions = inventoried(ledger, source, policy)
    assert set(known) == uids(source.archive)
    assert {row.number_of_instances for row in known.values()} == {2}
    assert exceptions == {"source_refused_operation": 6}  # five studies, and the level itself
    assert source.asked.count(level) < 20


def test_a_source_that_ignores_dates_is_inventoried_and_reported(ledger: Ledger) -> None:
    source = QuerySource(CappedArchive(days(333)), deaf_to=frozenset({"date_from", "date_to"}))
    known, exceptions = inventoried(ledger, source)
    assert set(known) == uids(source.archive)
    assert exceptions == {"source_answer_invalid": 1}


def test_a_source_that_ignores_dates_and_cuts_off_is_reported_and_left(ledger: Ledger) -> None:
    source = QuerySource(
        CappedArchive(days(333), cap=100), deaf_to=frozenset({"date_from", "date_to"})
    )
    policy = POLICY.model_copy(update={"undated_queries": 0})
    known, exceptions = inventoried(ledger, source, policy)
    assert len(known) == 100
    assert exceptions["window_capped"] >= 5
    assert len(source.asked) < 40


def test_a_source_that_ignores_every_key_is_not_asked_for_ever(ledger: Ledger) -> None:
    deaf = frozenset(
        {
            "date_from",
            "date_to",
            "time_from",
            "time_to",
            "patient_id_prefix",
            "patient_id",
            "study_instance_uids",
        }
    )
    source = QuerySource(CappedArchive(days(333), cap=100), deaf_to=deaf)
    _, exceptions = inventoried(ledger, source)
    assert exceptions["window_capped"] >= 5
    assert len(source.asked) < 40


def test_series_of_other_studies_than_asked_are_not_counted(ledger: Ledger) -> None:
    source = QuerySource(with_series(days(5)), deaf_to=frozenset({"study_instance_uids"}))
    policy = POLICY.model_copy(update={"list_series": True})
    known, exceptions = inventoried(ledger, source, policy)
    assert set(known) == uids(source.archive)
    with ledger.read() as connection:
        listed = connection.execute(select(schema.series)).all()
    assert sorted((r.study_instance_uid, r.series_instance_uid) for r in listed) == sorted(
        (uid, f"{uid}.1") for uid in uids(source.archive)
    )
    assert exceptions == {}


def test_fewer_series_than_the_source_counts_are_an_exception(ledger: Ledger) -> None:
    archive = with_series([study(1, number_of_series=3), study(2)])
    known, exceptions = inventoried(
        ledger, QuerySource(archive), POLICY.model_copy(update={"list_series": True})
    )
    assert (set(known), exceptions) == (uids(archive), {"listing_incomplete": 1})


def test_instances_show_sop_classes_and_whether_the_count_is_right(ledger: Ledger) -> None:
    archive = with_series([study(1), study(2, number_of_instances=5), study(3)])
    archive.instances.append(InstanceRecord("1.2.3", "1.2.3.1", "1.2.3.1.9", "1.2.3.4"))
    known, exceptions = inventoried(
        ledger, QuerySource(archive), POLICY.model_copy(update={"list_instances": True})
    )
    assert known["1.2.1"].sop_classes == "1.2.840.10008.5.1.4.1.1.2"
    assert known["1.2.3"].sop_classes == "1.2.3.4\\1.2.840.10008.5.1.4.1.1.2"
    assert exceptions == {"listing_incomplete": 1}


def test_impossible_dates_are_found_and_kept_as_told(ledger: Ledger) -> None:
    odd = ["00000000", "20990101", "99999999", "18000101", "", "2022-01-01", "20220230"]
    archive = CappedArchive([study(n, day) for n, day in enumerate(odd)])
    known, exceptions = inventoried(ledger, QuerySource(archive))
    assert {row.study_date for row in known.values()} == set(odd)
    assert exceptions == {}


def test_every_character_set_and_none_is_inventoried(ledger: Ledger) -> None:
    names = {
        "1.2.0": (b"ISO_IR 100", "Müller^Jörg".encode("latin-1")),
        "1.2.1": (b"ISO_IR 192", "Müller^Jörg".encode("latin-1")),  # it says so, and is not
        "1.2.2": (b"", "山田^太郎".encode("shift-jis")),
        "1.2.3": (b"ISO 2022 IR 6\\ISO 2022 IR 87", b"Yamada=\x1b$B;3ED\x1b(B"),
        "1.2.4": (b"NO SUCH SET", "Müller".encode("cp850")),
        "1.2.5": (b"ISO_IR 144", "Люкceмбypг".encode("iso8859-5")),
    }

    def encode(record: StudyRecord) -> dict[int, bytes]:
        charset, name = names[record.study_instance_uid]
        return {
            **study_values(record),
            records.SPECIFIC_CHARACTER_SET: charset,
            records.PATIENT_NAME: name,
        }

    archive = CappedArchive([study(n) for n in range(len(names))])
    known, exceptions = inventoried(ledger, QuerySource(archive, encode=encode))
    told = {uid: row.patient_name for uid, row in known.items()}
    assert set(told) == set(names)
    assert told["1.2.0"] == "Müller^Jörg"
    assert told["1.2.3"] == "Yamada=山田"
    assert told["1.2.5"] == "Люкceмбypг"
    assert re.fullmatch("M.*ller.J.*rg", told["1.2.1"])
    assert exceptions == {}


def test_a_source_that_aborts_long_answers_is_asked_in_parts(ledger: Ledger) -> None:
    source = QuerySource(CappedArchive(days(333)), longest=40)
    policy = POLICY.model_copy(update={"undated_pass": False})
    known, exceptions = inventoried(ledger, source, policy)
    assert (set(known), exceptions) == (uids(source.archive), {})


def test_a_day_that_always_aborts_is_named_and_the_rest_is_found(ledger: Ledger) -> None:
    broken = replace(study(999, "20230505"), patient_id="P")
    archive = CappedArchive([*days(50), broken])

    def encode(record: StudyRecord) -> dict[int, bytes]:
        if record is broken:
            raise DefectError
        return study_values(record)

    policy = POLICY.model_copy(update={"undated_pass": False})
    known, exceptions = inventoried(ledger, QuerySource(archive, encode=encode), policy)
    assert set(known) == uids(archive) - {"1.2.999"}
    assert exceptions == {"window_capped": 1}
    with ledger.read() as connection:
        assert connection.scalars(select(schema.exception.c.subject)).all() == [
            "2023-05-05 to 2023-05-05"
        ]


def test_a_source_that_is_gone_leaves_its_window_to_the_next_try(ledger: Ledger) -> None:
    source = QuerySource(CappedArchive(days(50)))
    (windows,) = open_inventory(ledger, "I0000000001", POLICY, TODAY)
    with serving(source) as archive:
        take_inventory(ledger, archive, windows[:2], POLICY)
    with pytest.raises(TransientError):
        take_inventory(ledger, archive, windows, POLICY)
    with serving(source) as archive:
        counts = take_inventory(ledger, archive, windows, POLICY)
    assert counts.windows_skipped == 2


ROWS = 60_000


def test_an_endless_answer_needs_the_memory_of_a_short_one() -> None:
    template = dataset({**study_values(study(1)), records.STUDY_INSTANCE_UID: b"1.2.9999999"})

    def flood(association: Association) -> None:
        while True:
            context_id, command = association.receive_command(30)
            association.receive_dataset(command)
            response = {
                Field.COMMAND_FIELD: int(CommandField.C_FIND_RSP),
                Field.MESSAGE_ID_RESPONDED_TO: number(command, Field.MESSAGE_ID) or 0,
                Field.STATUS: 0xFF00,
                Field.DATASET_TYPE: 1,
            }
            head = association._pdus(context_id, encode_command(response), 1)
            for start in range(0, ROWS, 500):
                rows = (
                    template.replace(b"9999999", b"%07d" % n) for n in range(start, start + 500)
                )
                association.stream.send(
                    b"".join(head + association._pdus(context_id, row, 0) for row in rows)
                )
            answer(association, (context_id, command), 0)

    policy = DiscoveryPolicy(suspicious_multiple=0, suspicious_counts=())
    with ScriptedSource(flood) as peer, DimseArchive(peer.settings()) as archive:
        search = WindowSearch(archive, policy)
        list(search.find(Window("I-1", UNDATED), Answers()))  # warms up
        before, rows = peak_memory(), 0
        window = Window("I-2", "date", date(2022, 1, 1), date(2022, 12, 31))
        for batch in search.find(window, Answers()):
            assert len(batch) <= 500
            rows += len(batch)
        grown = peak_memory() - before
    assert rows == ROWS
    assert grown < 20 * 1024


def peak_memory() -> int:
    """Return the largest resident set of this process so far, in KiB."""
    status = Path("/proc/self/status").read_text()
    found = re.search(r"VmHWM:\s+(\d+) kB", status)
    assert found is not None
    return int(found[1])
