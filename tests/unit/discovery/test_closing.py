"""A rerun says what became of each study; what vanished is asked for before it is said so."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
from sqlalchemy import select, update

from dicom_migration.archive import StudyQuery, StudyRecord
from dicom_migration.discovery.closing import close_inventory
from dicom_migration.discovery.inventory import take_inventory
from dicom_migration.discovery.windows import open_inventory
from dicom_migration.errors import PermanentError, ReasonCode
from dicom_migration.ledger import Ledger, StudyState, open_exception_counts, schema
from dicom_migration.ledger.events import chain_names, verify_chain
from tests.capped_archive import CappedArchive
from tests.unit.discovery.conftest import TODAY, study
from tests.unit.discovery.test_inventory import POLICY, state_of, take


def inventoried(
    ledger: Ledger, archive: CappedArchive, number: int, **policy: object
) -> dict[str, int]:
    name = f"I{number:010}"
    chosen = POLICY.model_copy(update=policy)
    take(ledger, archive, chosen, inventory=name)
    return close_inventory(ledger, archive, name, chosen)


def told(ledger: Ledger) -> dict[str, list[tuple[str, dict[str, Any]]]]:
    """Return what the events say of each study: kind and payload."""
    found: dict[str, list[tuple[str, dict[str, Any]]]] = {}
    with ledger.read() as connection:
        rows = connection.execute(
            select(schema.event).where(schema.event.c.study_instance_uid != "")
        )
        for row in rows:
            if row.kind.startswith("study."):
                found.setdefault(row.study_instance_uid, []).append(
                    (row.kind, json.loads(row.payload))
                )
        for chain in chain_names(connection):
            verify_chain(connection, chain)
    return found


def test_a_first_inventory_tells_no_study_as_new(ledger: Ledger) -> None:
    counts = inventoried(ledger, CappedArchive([study(1), study(2)]), 1)
    assert (counts["new"], counts["vanished"]) == (2, 0)
    assert told(ledger) == {}


def test_a_rerun_tells_what_is_new_grown_shrunk_and_changed(ledger: Ledger) -> None:
    inventoried(ledger, CappedArchive([study(n) for n in range(1, 5)]), 1)
    now = [
        study(1),
        study(2, number_of_instances=12),
        study(3, number_of_instances=7),
        study(4, study_description="corrected"),
        study(5),
    ]
    counts = inventoried(ledger, CappedArchive(now), 2)
    assert {name: counts[name] for name in ("new", "changed", "grown", "shrunk")} == {
        "new": 1,
        "changed": 3,
        "grown": 1,
        "shrunk": 1,
    }
    events = told(ledger)
    assert {uid: [kind for kind, _ in each] for uid, each in events.items()} == {
        "1.2.2": ["study.grown"],
        "1.2.3": ["study.shrunk"],
        "1.2.4": ["study.changed"],
        "1.2.5": ["study.appeared"],
    }
    assert events["1.2.2"][0][1]["instances"] == [10, 12]
    assert events["1.2.4"][0][1]["fields"] == ["study_description"]
    assert "corrected" not in json.dumps(events)  # names of fields, never their values


def test_a_vanished_study_is_said_once_and_welcomed_back(ledger: Ledger) -> None:
    inventoried(ledger, CappedArchive([study(1), study(2)]), 1)
    counts = inventoried(ledger, CappedArchive([study(1)]), 2)
    again = inventoried(ledger, CappedArchive([study(1)]), 3)
    assert (counts["vanished"], again["vanished"]) == (1, 0)
    assert state_of(ledger, "1.2.2") == "quarantined"
    with ledger.read() as connection:
        assert open_exception_counts(connection) == {"study_vanished": 1}
    inventoried(ledger, CappedArchive([study(1), study(2)]), 4)
    kinds = [kind for kind, _ in told(ledger)["1.2.2"]]
    assert kinds == ["study.vanished", "study.quarantined", "study.reappeared"]
    with ledger.read() as connection:
        assert open_exception_counts(connection) == {}
        assert connection.scalars(select(schema.study.c.vanished_at)).all() == [None, None]


def test_a_copied_study_that_vanished_keeps_its_state(ledger: Ledger) -> None:
    inventoried(ledger, CappedArchive([study(1)]), 1)
    with ledger.write() as connection:
        connection.execute(update(schema.study).values(state=StudyState.VERIFIED.value))
    inventoried(ledger, CappedArchive([]), 2)
    assert state_of(ledger, "1.2.1") == "verified"


@dataclass
class Hiding(CappedArchive):
    """Leaves a study out of every search but that for its UID."""

    hidden: str = ""
    asked: list[StudyQuery] = field(default_factory=list)

    def find_studies(self, query: StudyQuery) -> Iterator[StudyRecord]:
        self.asked.append(query)
        for record in super().find_studies(query):
            if query.study_instance_uids or record.study_instance_uid != self.hidden:
                yield record


def test_a_study_that_only_its_uid_finds_is_a_hole_and_not_a_deletion(ledger: Ledger) -> None:
    inventoried(ledger, CappedArchive([study(1), study(2)]), 1)
    counts = inventoried(ledger, Hiding([study(1), study(2)], hidden="1.2.2"), 2)
    assert (counts["vanished"], counts["found_by_uid"]) == (0, 1)
    assert state_of(ledger, "1.2.2") == "discovered"
    with ledger.read() as connection:
        subjects = connection.scalars(select(schema.exception.c.subject)).all()
    assert subjects == ["studies found by UID only"]


def test_more_than_the_policy_allows_are_not_asked_for_and_that_is_said(ledger: Ledger) -> None:
    inventoried(ledger, CappedArchive([study(n) for n in range(9)]), 1)
    archive = Hiding([])
    counts = inventoried(ledger, archive, 2, vanished_checks=4)
    assert (counts["vanished"], counts["not_asked"]) == (4, 5)
    assert sum(len(query.study_instance_uids) for query in archive.asked) == 4
    rest = inventoried(ledger, Hiding([]), 3, vanished_checks=10)
    assert (rest["vanished"], rest["not_asked"]) == (5, 0)


def test_an_inventory_with_a_window_left_is_not_closed(ledger: Ledger) -> None:
    (windows, *_) = open_inventory(ledger, "I0000000001", POLICY, TODAY)
    take_inventory(ledger, CappedArchive([]), windows, POLICY)
    with pytest.raises(PermanentError) as caught:
        close_inventory(ledger, CappedArchive([]), "I0000000001", POLICY)
    assert caught.value.reason is ReasonCode.STATE_FORBIDDEN


def test_closing_twice_changes_nothing(ledger: Ledger) -> None:
    inventoried(ledger, CappedArchive([study(1)]), 1)
    first = inventoried(ledger, CappedArchive([]), 2)
    with ledger.read() as connection:
        events = len(connection.execute(select(schema.event)).all())
    assert close_inventory(ledger, CappedArchive([]), "I0000000002", POLICY) == first
    with ledger.read() as connection:
        assert len(connection.execute(select(schema.event)).all()) == events


def test_a_doubt_that_a_later_inventory_does_not_share_is_settled(ledger: Ledger) -> None:
    same = [study(n, "20200101", patient_id="P") for n in range(9)]
    inventoried(ledger, CappedArchive(same, cap=5), 1, result_cap=5, undated_queries=5)
    with ledger.read() as connection:
        assert open_exception_counts(connection)["window_capped"] >= 1
    inventoried(ledger, CappedArchive(same), 2)
    with ledger.read() as connection:
        assert open_exception_counts(connection) == {}


def test_a_killed_inventory_goes_on_where_it_was(ledger: Ledger) -> None:
    class Killed(CappedArchive):
        left = 10

        def find_studies(self, query: StudyQuery) -> Iterator[StudyRecord]:
            self.left -= 1
            if self.left < 0:
                raise KeyboardInterrupt
            return super().find_studies(query)

    studies = [study(year, f"{year}0601") for year in range(2015, 2026)]
    with pytest.raises(KeyboardInterrupt):
        take(ledger, Killed(studies))
    archive = CappedArchive(studies)
    counts = take(ledger, archive)
    assert counts.windows_skipped == 10
    assert archive.queries == counts.windows
    closed = close_inventory(ledger, archive, "I0000000001", POLICY)
    assert (closed["found"], closed["new"]) == (11, 11)
    assert closed["windows"] == counts.windows + 10


def test_the_hours_of_the_policy_end_a_task_between_two_windows(ledger: Ledger) -> None:
    (windows, *_) = open_inventory(ledger, "I0000000001", POLICY, TODAY)
    answers = iter([True, True, False])
    counts = take_inventory(
        ledger, CappedArchive([]), windows, POLICY, may_go_on=lambda: next(answers)
    )
    assert (counts.windows, counts.windows_left) == (2, len(windows) - 2)
