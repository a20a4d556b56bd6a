from datetime import date

import pytest
from sqlalchemy import func, select, update

from dicom_migration.cleansing.approval import (
    approve_corrections,
    reject_corrections,
    standing_approval,
)
from dicom_migration.cleansing.identity import note_identity_conflicts
from dicom_migration.cleansing.judging import WaveJudgement, judge_wave
from dicom_migration.cleansing.proposals import Correction, propose_corrections
from dicom_migration.cleansing.report import masked, report_wave
from dicom_migration.cleansing.settlement import Settlement, settle_wave
from dicom_migration.cleansing.waves import choose_wave, cut_chunks, studies_of_chunk
from dicom_migration.errors import PermanentError, ReasonCode
from dicom_migration.ledger import Ledger, open_exception_counts, schema
from dicom_migration.policies.cleansing import CleansingPolicy
from dicom_migration.policies.corrections import RuleSet, load_ruleset
from dicom_migration.quality import judge_frame, suite_names
from dicom_migration.transfer.approved_corrections import approved_corrections
from tests.unit.cleansing.conftest import NEXT_WAVE, PLAN, WAVE, AddStudy

TODAY = date(2025, 11, 1)
RULES = "a" * 64


def propose(ledger: Ledger, wave: str = WAVE) -> list[Correction]:
    return propose_corrections(ledger, wave, load_ruleset(), RULES)


def judge(ledger: Ledger, corrections: list[Correction] | None = None) -> WaveJudgement:
    return judge_wave(ledger, WAVE, suite_names("header_"), judge_frame, TODAY, corrections or [])


def settle(ledger: Ledger) -> Settlement:
    return settle_wave(ledger, WAVE, RULES, judge(ledger, propose(ledger)).failing)


def short(corrections: list[Correction]) -> list[tuple[str, str, str, str]]:
    return sorted(
        (c.study_instance_uid, c.series_instance_uid, c.keyword, c.new_value) for c in corrections
    )


def test_a_value_for_the_study_is_one_for_all_its_series(
    ledger: Ledger, add_study: AddStudy
) -> None:
    add_study(
        1,
        {"study_date": None, "series_date": "20200103"},
        {"study_date": None, "series_date": "20200102"},
    )
    add_study(2, {"study_date": "20200101"}, {"study_date": None, "series_date": "20200109"})
    assert short(propose(ledger)) == [
        ("1.2.1", "", "StudyDate", "20200102"),
        ("1.2.2", "1.2.2.2", "StudyDate", "20200101"),
    ]


def test_proposing_again_changes_nothing(ledger: Ledger, add_study: AddStudy) -> None:
    add_study(1, {"body_part_examined": "LUMBAR SPINE AND SACRUM"})
    assert propose(ledger) == propose(ledger)
    with ledger.read() as connection:
        assert connection.scalar(select(func.count()).select_from(schema.correction)) == 1


def test_a_value_that_the_attribute_cannot_hold_is_an_exception(
    ledger: Ledger, add_study: AddStudy
) -> None:
    add_study(1, {"study_date": None, "series_date": "yesterday"})
    assert propose(ledger) == []
    with ledger.read() as connection:
        assert open_exception_counts(connection) == {"correction_failed": 1}


def test_a_character_set_is_declared_only_for_text_encoded_as_judged(
    ledger: Ledger, add_study: AddStudy
) -> None:
    add_study(1, {"text_encoding": "utf-8"}, {"text_encoding": "8-bit"}, {"patient_sex": "W"})
    propose(ledger)
    table = schema.correction.c
    with ledger.read() as connection:
        rows = connection.execute(
            select(table.series_instance_uid, table.new_value, table.expected_text_encoding)
        ).all()
    assert sorted(tuple(row) for row in rows) == [
        ("1.2.1.1", "ISO_IR 192", "utf-8"),
        ("1.2.1.2", "ISO_IR 100", "8-bit"),
        ("1.2.1.3", "F", None),
    ]


def test_what_text_is_re_encoded_from_reaches_the_transfer(
    ledger: Ledger, add_study: AddStudy
) -> None:
    ruleset = RuleSet.model_validate(
        {
            "rules": [
                {
                    "id": "utf-8-everywhere",
                    "keyword": "SpecificCharacterSet",
                    "reason": "The new archive searches names in UTF-8 only.",
                    "owner": "PACS administration",
                    "when": {"text_encoding": ["8-bit"]},
                    "operation": {"reencode_from": "ISO_IR 144"},
                    "examples": [{"given": {"text_encoding": "8-bit"}, "expect": "ISO_IR 192"}],
                }
            ]
        }
    )
    uid = add_study(1, {"text_encoding": "8-bit"})
    found = propose_corrections(ledger, WAVE, ruleset, RULES)
    approve_corrections(ledger, WAVE, RULES, "Ada")
    settle_wave(ledger, WAVE, RULES, judge(ledger, found).failing)
    with ledger.read() as connection:
        (correction,) = approved_corrections(connection, WAVE)[uid]
    assert (correction.value, correction.text_charset) == ("ISO_IR 192", "ISO_IR 144")
    assert correction.expected_text_encoding == "8-bit"


def test_a_good_study_is_not_accused_and_defects_are(ledger: Ledger, add_study: AddStudy) -> None:
    add_study(1, {})
    add_study(2, {"patient_id": None})
    add_study(3, {"patient_birth_date": "20240101"})
    add_study(4, {"study_date": "18991230", "patient_birth_date": None})
    add_study(5, {"modality": "MG"})
    add_study(6, {"study_date": "20300101"})
    add_study(7, {"study_date": None, "series_date": "20190101"})
    add_study(8, {"text_encoding": "utf-8"})
    before, after = judge(ledger), judge(ledger, propose(ledger))
    reasons = {
        uid: sorted({failure.reason.value for failure in failures})
        for uid, failures in after.failing.items()
    }
    assert reasons == {
        "1.2.2": ["field_incomplete"],
        "1.2.3": ["field_invalid"],
        "1.2.4": ["field_invalid"],
        "1.2.5": ["field_incomplete"],
        "1.2.6": ["field_invalid"],
    }
    assert {"1.2.7", "1.2.8"} <= set(before.failing)
    assert before.score < after.score < 1


def test_nothing_is_settled_before_somebody_approved_these_rules(
    ledger: Ledger, add_study: AddStudy
) -> None:
    add_study(1, {})
    with pytest.raises(PermanentError) as refused:
        settle(ledger)
    assert refused.value.reason is ReasonCode.APPROVAL_MISSING
    approve_corrections(ledger, WAVE, "b" * 64, "Ada")
    with pytest.raises(PermanentError, match="rules changed"):
        settle(ledger)
    with pytest.raises(PermanentError, match="nobody"):
        approve_corrections(ledger, WAVE, RULES, "")


def test_an_approval_for_other_rules_than_proposed_is_refused(
    ledger: Ledger, add_study: AddStudy
) -> None:
    add_study(1, {"body_part_examined": "LUMBAR SPINE AND SACRUM"})
    propose(ledger)
    with pytest.raises(PermanentError, match="other rules"):
        approve_corrections(ledger, WAVE, "b" * 64, "Ada")


def test_settling_cleanses_quarantines_and_adds_up_once(
    ledger: Ledger, add_study: AddStudy
) -> None:
    add_study(1, {"patient_sex": "W"})
    add_study(2, {"patient_id": None})
    propose(ledger)
    approve_corrections(ledger, WAVE, RULES, "Ada")
    first, again = settle(ledger), settle(ledger)
    assert first == again == Settlement(WAVE, cleansed=1, quarantined=1, corrections=1)
    with ledger.read() as connection:
        assert open_exception_counts(connection) == {"field_incomplete": 1}
        assert connection.scalar(select(schema.correction.c.status)) == "approved"
        state = select(schema.wave.c.state).where(schema.wave.c.wave_id == WAVE)
        assert connection.scalar(state) == "cleansed"
        note = connection.execute(select(schema.exception)).one()
    assert note.suggested_fix
    assert note.study_instance_uid == "1.2.2"


def test_what_is_decided_about_a_wave_stands_in_chains_that_its_certificate_seals(
    ledger: Ledger, add_study: AddStudy
) -> None:
    add_study(1, {"patient_sex": "W"})
    propose(ledger)
    for _ in range(2):
        reject_corrections(ledger, WAVE, RULES, "Bob", "2025-11-01T10:00:00+00:00")
    approve_corrections(ledger, WAVE, RULES, "Ada")
    settle(ledger)
    settle(ledger)
    with ledger.read() as connection:
        events = connection.execute(select(schema.event).order_by(schema.event.c.sequence)).all()
    assert {event.chain for event in events} == {f"wave:{WAVE}/cleansing"}
    kinds = [event.kind for event in events]
    assert kinds.count("corrections.rejected") == kinds.count("wave.cleansed") == 1
    assert '"by":"Bob"' in events[kinds.index("corrections.rejected")].payload


def test_an_approval_stands_for_later_waves_until_the_rules_change(
    ledger: Ledger, add_study: AddStudy
) -> None:
    assert standing_approval(ledger, NEXT_WAVE, RULES) == ""
    approve_corrections(ledger, WAVE, RULES, "Ada")
    assert standing_approval(ledger, NEXT_WAVE, RULES) == "Ada"
    assert standing_approval(ledger, NEXT_WAVE, "b" * 64) == ""


def test_contradictions_between_studies_are_reported_and_keep_nothing_back(
    ledger: Ledger, add_study: AddStudy
) -> None:
    person = {"patient_name": "A^B", "patient_birth_date": "19600101", "patient_sex": "F"}
    add_study(1, {}, accession_number="A1")
    add_study(2, {}, accession_number="A1", wave=NEXT_WAVE)
    add_study(3, {}, patient_id="OLD", **person)
    add_study(4, {}, patient_id="NEW", **person)
    add_study(5, {}, patient_id="P9", accession_number="A9")
    add_study(6, {}, patient_id="P9", accession_number="A9")
    assert note_identity_conflicts(ledger, WAVE) == {
        "shared-accession-number": 1,
        "person-under-two-ids": 2,
        "shared-instance-uid": 0,
    }
    assert judge(ledger).failing == {}


def test_a_contradiction_that_is_gone_is_closed_and_others_stay(
    ledger: Ledger, add_study: AddStudy
) -> None:
    first = add_study(1, {}, accession_number="A1")
    add_study(2, {}, accession_number="A1", wave=NEXT_WAVE)
    add_study(3, {}, accession_number="A3")
    add_study(4, {}, accession_number="A3", wave=NEXT_WAVE)
    note_identity_conflicts(ledger, WAVE)
    with ledger.write() as connection:
        connection.execute(
            update(schema.study)
            .where(schema.study.c.study_instance_uid == first)
            .values(accession_number="A9")
        )
    note_identity_conflicts(ledger, WAVE)
    table = schema.exception.c
    with ledger.read() as connection:
        rows = connection.execute(select(table.study_instance_uid, table.status)).all()
        kinds = connection.scalars(select(schema.event.c.kind)).all()
    assert {tuple(row) for row in rows} == {("1.2.1", "resolved"), ("1.2.3", "open")}
    assert kinds.count("exception.resolved") == 1


def test_the_next_wave_is_chosen_only_under_an_approved_plan(ledger: Ledger) -> None:
    chosen = choose_wave(ledger, None)
    assert chosen is not None
    assert chosen.wave_id == WAVE
    with ledger.write() as connection:
        connection.execute(update(schema.wave).values(state="cleansed"))
    assert choose_wave(ledger, None) is None
    with ledger.write() as connection:
        connection.execute(update(schema.plan).values(state="proposed"))
    for wanted in (None, WAVE):
        with pytest.raises(PermanentError) as refused:
            choose_wave(ledger, wanted)
        assert refused.value.reason is ReasonCode.APPROVAL_MISSING


def test_chunks_hold_every_study_once_even_when_some_leave(
    ledger: Ledger, add_study: AddStudy
) -> None:
    for number in range(10):
        add_study(number, {})
    chunks = cut_chunks(ledger, WAVE, CleansingPolicy(studies_per_task=4))
    with ledger.write() as connection:
        connection.execute(
            update(schema.study)
            .where(schema.study.c.study_instance_uid == "1.2.1")
            .values(state="quarantined")
        )
    dealt = [uid for chunk in chunks for uid in studies_of_chunk(ledger, chunk)]
    assert sorted(dealt) == sorted(f"1.2.{n}" for n in range(10) if n != 1)
    assert len(cut_chunks(ledger, NEXT_WAVE, CleansingPolicy())) == 1, PLAN


def test_the_report_shows_forms_and_no_patient(ledger: Ledger, add_study: AddStudy) -> None:
    add_study(1, {"patient_birth_date": "1947-06-15", "patient_name": "CANARY^NAME"})
    add_study(2, {"patient_id": None, "patient_name": "CANARY^NAME"})
    add_study(3, {"body_part_examined": "LUMBAR SPINE AND SACRUM"}, {})
    found = propose(ledger)
    html = report_wave(
        ledger, WAVE, load_ruleset(), RULES, found, judge(ledger), judge(ledger, found)
    )
    assert "9999-99-99 → 99999999" in html
    assert "<b>2</b><span>of 4 headers untouched" in html
    assert "1.2.2" in html
    assert "CANARY" not in html
    assert "1947" not in html
    assert masked("Müller^1") == "AAAAAA^9"
