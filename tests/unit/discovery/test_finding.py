"""No study of a window is lost, or else the part of the archive that may hide it is named."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import date

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dicom_migration.archive import ArchiveCheck, StudyQuery, StudyRecord
from dicom_migration.discovery.answers import Answers, parse_time
from dicom_migration.discovery.finding import GIVE_UP_AFTER, WindowSearch
from dicom_migration.discovery.windows import UNDATED, Window
from dicom_migration.errors import PermanentError, ReasonCode, TransientError
from dicom_migration.policies.discovery import DiscoveryPolicy
from tests.capped_archive import CappedArchive
from tests.unit.discovery.conftest import study

YEAR = Window("I1-1", "date", date(2020, 1, 1), date(2020, 12, 31))
POLICY = DiscoveryPolicy(result_cap=5)


@dataclass
class Watched(CappedArchive):
    """Remembers what it was asked."""

    asked: list[StudyQuery] = field(default_factory=list)

    def find_studies(self, query: StudyQuery) -> Iterator[StudyRecord]:
        self.asked.append(query)
        return super().find_studies(query)


def search(
    archive: CappedArchive, window: Window = YEAR, policy: DiscoveryPolicy = POLICY
) -> tuple[set[str], Answers]:
    answers = Answers()
    found = {
        record.study_instance_uid
        for batch in WindowSearch(archive, policy).find(window, answers)
        for record in batch
    }
    return found, answers


def uids(archive: CappedArchive) -> set[str]:
    return {record.study_instance_uid for record in archive.studies}


def at(second: int) -> str:
    return f"{second // 3600:02}{second // 60 % 60:02}{second % 60:02}"


TIMES = st.one_of(
    st.integers(0, 86399).map(at),
    st.integers(0, 86399).map(lambda second: at(second) + ".999999"),
    st.sampled_from(["", "12", "1230", "0000", "235959.5", "noon"]),
)
STUDIES = st.lists(
    st.tuples(
        st.sampled_from(["20200101", "20200102", "20201231", "2020-06-01", "00000000", ""]),
        TIMES,
        st.sampled_from(["", "A1", "A2", "a1", "B", "B1", "B12"]),
        st.sampled_from(["", "X1", "X2", "Y"]),
    ),
    max_size=60,
)


@settings(max_examples=150, deadline=None)
@given(described=STUDIES, cap=st.integers(2, 12))
def test_what_was_not_found_is_named(described: list[tuple[str, str, str, str]], cap: int) -> None:
    archive = Watched(
        [
            study(n, day, study_time=time, patient_id=patient, accession_number=accession)
            for n, (day, time, patient, accession) in enumerate(described)
        ],
        cap=cap,
    )
    found, answers = search(archive, policy=POLICY.model_copy(update={"result_cap": cap}))
    dated = {r.study_instance_uid for r in archive.studies if r.study_date.startswith("20")}
    lost = {uid for uid in dated if uid not in found and "-" not in date_of(archive, uid)}
    assert not lost or answers.unproven or answers.caveats
    for query in archive.asked:
        if query.time_range:
            assert query.date_from is not None
            assert query.date_from == query.date_to


def date_of(archive: CappedArchive, uid: str) -> str:
    return next(r.study_date for r in archive.studies if r.study_instance_uid == uid)


def test_a_busy_day_is_asked_for_by_time_of_day() -> None:
    archive = Watched(
        [study(n, "20200501", study_time=at(n * 400), patient_id="P") for n in range(200)], cap=5
    )
    found, answers = search(archive)
    assert (found, answers.unproven) == (uids(archive), {})
    assert answers.caveats == {"Study Time"}


@pytest.mark.parametrize(
    ("patient", "accession"), [("P{}", "A"), ("P", "A{}"), ("{}", ""), ("", "{}")]
)
def test_studies_of_one_second_are_told_apart_by_patient_or_accession(
    patient: str, accession: str
) -> None:
    archive = CappedArchive(
        [
            study(
                n,
                "20200501",
                study_time="120000",
                patient_id=patient.format(n),
                accession_number=accession.format(n),
            )
            for n in range(30)
        ],
        cap=5,
    )
    found, answers = search(archive)
    assert (found, answers.unproven) == (uids(archive), {})


def test_studies_that_nothing_tells_apart_leave_their_day_named() -> None:
    same = [study(n, "20200501", patient_id="P") for n in range(9)]
    found, answers = search(CappedArchive([*same, study(100, "20200601")], cap=5))
    assert "1.2.100" in found
    assert list(answers.unproven) == ["2020-05-01 to 2020-05-01"]


def test_studies_without_a_time_are_looked_for_by_patient() -> None:
    timed = [study(n, "20200501", study_time=at(n * 3000), patient_id="T") for n in range(20)]
    timeless = [study(100 + n, "20200501", patient_id=f"U{n}") for n in range(4)]
    archive = CappedArchive([*timeless, *timed], cap=5)
    found, answers = search(archive)
    assert found == uids(archive)
    assert list(answers.unproven) == ["2020-05-01 to 2020-05-01"]  # T: twenty of one patient


class DeafToDates(Watched):
    def find_studies(self, query: StudyQuery) -> Iterator[StudyRecord]:
        return super().find_studies(replace(query, date_from=None, date_to=None))


def test_a_source_that_ignores_dates_and_caps_is_not_asked_for_ever() -> None:
    archive = DeafToDates([study(n, f"20{n:02}0101") for n in range(30)], cap=5)
    _, answers = search(archive)
    assert len(archive.asked) < 10
    assert "ignores the Study Date" in answers.unproven["2020-01-01 to 2020-12-31"]


def test_a_source_that_ignores_dates_and_tells_everything_is_inventoried() -> None:
    archive = DeafToDates([study(n, f"19{n % 90 + 10}0101") for n in range(300)])
    policy = DiscoveryPolicy(suspicious_multiple=0)
    found, answers = search(archive, policy=policy)
    assert (found, answers.unproven, answers.dates_ignored) == (uids(archive), {}, True)
    assert len(archive.asked) == 1


def test_a_source_that_ignores_times_is_asked_by_patient() -> None:
    class DeafToTimes(CappedArchive):
        def find_studies(self, query: StudyQuery) -> Iterator[StudyRecord]:
            return super().find_studies(replace(query, time_from=None, time_to=None))

    archive = DeafToTimes(
        [study(n, "20200501", study_time=at(n * 400), patient_id=f"P{n}") for n in range(60)],
        cap=5,
    )
    found, answers = search(archive)
    assert (found, answers.unproven) == (uids(archive), {})


def test_a_source_that_refuses_times_is_asked_by_patient() -> None:
    class Strict(CappedArchive):
        def find_studies(self, query: StudyQuery) -> Iterator[StudyRecord]:
            if query.time_range:
                raise PermanentError("0xA900", reason=ReasonCode.SOURCE_REFUSED_OPERATION)
            return super().find_studies(query)

    archive = Strict([study(n, "20200501", patient_id=f"P{n}") for n in range(30)], cap=5)
    found, answers = search(archive)
    assert (found, answers.unproven) == (uids(archive), {})


class Fragile(CappedArchive):
    """Breaks off long answers, or those that would hold one defective study."""

    longest = 10**9
    defective = ""
    is_down = False

    def check(self) -> ArchiveCheck:
        if self.is_down:
            raise TransientError("down", reason=ReasonCode.SOURCE_UNREACHABLE)
        return super().check()

    def find_studies(self, query: StudyQuery) -> Iterator[StudyRecord]:
        for number, record in enumerate(super().find_studies(query)):
            if number >= self.longest or record.study_instance_uid == self.defective:
                raise TransientError("aborted", reason=ReasonCode.SOURCE_FAILED)
            yield record


def test_an_answer_that_breaks_off_is_asked_for_in_parts() -> None:
    days = [f"2020{month:02}{day:02}" for month in range(1, 13) for day in range(1, 28)]
    archive = Fragile([study(n, day) for n, day in enumerate(days)])
    archive.longest = 20
    found, answers = search(archive, policy=DiscoveryPolicy())
    assert (found, answers.unproven) == (uids(archive), {})


def test_one_defective_study_hides_no_other_and_is_named() -> None:
    days = [f"2020{month:02}{day:02}" for month in range(1, 13) for day in range(1, 28)]
    archive = Fragile([study(n, day, study_time=at(n)) for n, day in enumerate(days)])
    archive.defective = "1.2.100"
    found, answers = search(archive, policy=DiscoveryPolicy())
    assert found == uids(archive) - {"1.2.100"}
    assert list(answers.unproven) == ["2020-04-20 to 2020-04-20"]


def test_a_source_that_is_down_is_no_long_answer() -> None:
    archive = Fragile([study(1, "20200101")])
    archive.longest, archive.is_down = 0, True
    with pytest.raises(TransientError, match="down"):
        search(archive)


def test_a_source_that_fails_every_query_is_given_up() -> None:
    class Failing(Fragile):
        def find_studies(self, query: StudyQuery) -> Iterator[StudyRecord]:
            self.queries += 1
            raise TransientError("0xC000", reason=ReasonCode.SOURCE_FAILED)

    failing = Failing()
    with pytest.raises(TransientError, match="0xC000"):
        search(failing)
    assert failing.queries < 2 * GIVE_UP_AFTER


def test_what_is_left_when_the_queries_are_used_up_is_named() -> None:
    archive = Watched([study(n, f"2020{n % 12 + 1:02}{n % 27 + 1:02}") for n in range(200)], cap=5)
    found, answers = search(archive, policy=POLICY.model_copy(update={"window_queries": 10}))
    assert len(archive.asked) == 10
    assert found < uids(archive)
    (named,) = answers.unproven
    assert named.endswith("to 2020-12-31")
    begins = named[:10].replace("-", "")
    assert {r.study_instance_uid for r in archive.studies if r.study_date < begins} <= found


def test_the_density_learnt_in_one_window_spares_queries_in_the_next() -> None:
    months = [Window(f"I1-{n}", "date", date(2020, n, 1), date(2020, n, 28)) for n in (1, 2)]
    studies = [
        study(month * 1000 + n, f"2020{month:02}{n % 28 + 1:02}")
        for month in (1, 2)
        for n in range(112)
    ]
    archive = Watched(studies, cap=5)
    one, asked = WindowSearch(archive, POLICY), []
    for month in months:
        answers = Answers()
        found = {r.study_instance_uid for batch in one.find(month, answers) for r in batch}
        assert len(found) == 112
        asked.append(answers.queries)
    assert asked[1] < asked[0]


def test_a_study_whose_date_no_range_matches_is_not_waited_for() -> None:
    odd = study(1, "2020-06-01")
    archive = CappedArchive([odd, *(study(10 + n, f"202006{n:02}") for n in range(1, 20))], cap=5)
    _, answers = search(archive)
    assert answers.unproven == {}
    found, _ = search(archive, Window("I1-2", UNDATED), DiscoveryPolicy(result_cap=50))
    assert found == {"1.2.1"}


@pytest.mark.parametrize(
    ("text", "second"),
    [
        ("12", 43200),
        ("1230", 45000),
        ("123001.5", 45001),
        ("12:30:01", 45001),
        ("235960", 86399),
        ("24", None),
        ("noon", None),
        ("", None),
        ("1²", None),
    ],
)
def test_times_are_read_in_every_form_of_the_standard(text: str, second: int | None) -> None:
    assert parse_time(text) == second
