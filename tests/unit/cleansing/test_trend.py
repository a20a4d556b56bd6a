from datetime import UTC, date, datetime

from dicom_migration.cleansing.report import report_wave
from dicom_migration.cleansing.trend import wave_scores
from dicom_migration.header_facts import TEXT_COLUMNS
from dicom_migration.ledger import Ledger
from dicom_migration.policies.corrections import load_ruleset
from dicom_migration.quality import judge_frame, scores_of, store_scores, suite_names
from dicom_migration.quality.data_docs import render_data_docs
from tests.unit.cleansing.conftest import NEXT_WAVE, WAVE, AddStudy
from tests.unit.cleansing.test_wave import RULES, judge, propose

#: One for each column, so that a leak tells where it comes from.
CANARY = "CANARY{0:02}^ANN"


def judged(ledger: Ledger, wave: str, run: str) -> None:
    from dicom_migration.cleansing.judging import judge_wave

    found = propose(ledger, wave)
    for moment, corrections in (("before", []), ("after", found)):
        outcome = judge_wave(
            ledger, wave, suite_names("header_"), judge_frame, date(2025, 11, 1), corrections
        )
        store_scores(ledger, "cleansing", wave, run, moment, scores_of(outcome.judgements))  # type: ignore[arg-type]


def report(ledger: Ledger, wave: str = WAVE) -> str:
    found = propose(ledger, wave)
    before, after = judge(ledger), judge(ledger, found)
    return report_wave(ledger, wave, load_ruleset(), RULES, found, before, after)


def test_a_wave_is_compared_with_the_run_before_it(ledger: Ledger, add_study: AddStudy) -> None:
    add_study(1, {"patient_sex": "W"}, {"modality": "MR"})
    add_study(2, {}, {"modality": "MR", "series_number": None}, wave=NEXT_WAVE)
    judged(ledger, WAVE, "first")
    judged(ledger, NEXT_WAVE, "second")
    with ledger.read() as connection:
        alone, scores = wave_scores(connection, WAVE), wave_scores(connection, NEXT_WAVE)
    assert [run.wave_id for run in alone.runs] == [WAVE]
    assert [run.wave_id for run in scores.runs] == [WAVE, NEXT_WAVE]
    assert alone.runs[0].before < alone.runs[0].after
    (ct, mr) = sorted(scores.groups["modality"], key=lambda group: group.name)
    assert ct.change is not None
    assert mr.change is not None
    assert ct.change > 0 > mr.change
    assert [group.name for group in scores.groups["year"]] == ["2020"]
    assert all(group.change is None for group in alone.groups["modality"])


def test_the_report_shows_scores_and_the_trend(ledger: Ledger, add_study: AddStudy) -> None:
    add_study(1, *({"institution_name": "North Clinic"} for _ in range(12)))
    assert "Trend over runs" not in report(ledger)
    judged(ledger, WAVE, "first")
    judged(ledger, WAVE, "again")
    html = report(ledger)
    assert html.count(f'<td class="mono">{WAVE}</td>') == 2
    assert "<td>North Clinic</td>" in html
    assert "<polyline" in html
    assert "<script" not in html


def test_no_value_is_in_the_data_docs_nor_in_the_report(
    ledger: Ledger, add_study: AddStudy
) -> None:
    planted = {name: CANARY.format(n) for n, name in enumerate(TEXT_COLUMNS)}
    add_study(1, planted, {**planted, "modality": "CT"}, {**planted, "study_date": "19470615"})
    judged(ledger, WAVE, "first")
    found = propose(ledger)
    before, after = judge(ledger), judge(ledger, found)
    page = render_data_docs(
        WAVE,
        datetime(2025, 11, 1, tzinfo=UTC),
        before.judgements,  # type: ignore[arg-type]
        after.judgements,  # type: ignore[arg-type]
    )
    for text in (page, report(ledger)):
        assert "CANARY" not in text
        assert "19470615" not in text
    assert all(suite in page for suite in suite_names("header_"))
    assert "Patient ID (0010,0020) is present" in page
    assert "http" not in page.replace("http-equiv", "")
    assert "<script" not in page
