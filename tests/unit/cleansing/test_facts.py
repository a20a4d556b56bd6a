from datetime import date

import pytest

from dicom_migration.cleansing import facts
from dicom_migration.cleansing.facts import ALWAYS, count_untouched, wave_frame
from dicom_migration.ledger import Ledger
from tests.unit.cleansing.conftest import WAVE, AddStudy
from tests.unit.cleansing.test_wave import TODAY, propose

DATES = {
    "20200101": "plausible",
    "20200230": "malformed",
    "2020-01-01": "malformed",
    "18991231": "too early",
    "20251102": "future",
    None: None,
}


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(facts, "CHUNK", 2)


def test_every_date_is_told_what_it_is_worth(ledger: Ledger, add_study: AddStudy) -> None:
    for number, value in enumerate(DATES):
        add_study(number, {"study_date": value})
    frame = wave_frame(ledger, WAVE, TODAY)
    told = [None if value != value else value for value in frame["study_date_is"]]
    assert told == list(DATES.values())
    assert list(frame["study_year"].fillna("-")) == ["2020", "", "", "1899", "2025", "-"]


def test_the_order_of_dates_is_unknown_where_one_is_none(
    ledger: Ledger, add_study: AddStudy
) -> None:
    add_study(1, {"patient_birth_date": "20200101"})
    add_study(2, {"patient_birth_date": "20200102"})
    add_study(3, {"patient_birth_date": "20201301"})
    add_study(4, {"patient_birth_date": None})
    ordered = wave_frame(ledger, WAVE, TODAY)["birth_before_study"]
    assert list(ordered.isna()) == [False, False, True, True]
    assert list(ordered[:2]) == [True, False]


def test_a_side_is_known_from_either_attribute(ledger: Ledger, add_study: AddStudy) -> None:
    add_study(1, {"laterality": "L"}, {"image_laterality": "R"}, {"laterality": None})
    assert list(wave_frame(ledger, WAVE, TODAY)["laterality_known"]) == [True, True, False]


def test_the_frame_says_what_the_corrected_headers_will_say(
    ledger: Ledger, add_study: AddStudy
) -> None:
    add_study(1, {"patient_sex": "W"}, {}, {"text_encoding": "utf-8"})
    add_study(2, {"study_date": None, "series_date": "20190105"}, {"study_date": "20200101"})
    add_study(3, {})
    found = propose(ledger)
    frame = wave_frame(ledger, WAVE, TODAY, found, ["patient_sex", "specific_character_set"])
    assert list(frame["patient_sex"]) == ["F"] * 6
    assert frame["text_encoding"][2] == "declared"
    assert frame["specific_character_set"][2] == "ISO_IR 192"
    assert list(frame["study_date_is"]) == ["plausible"] * 6
    with ledger.read() as connection:
        assert count_untouched(connection, WAVE, found) == (6, 3)


def test_only_what_is_looked_at_is_read(ledger: Ledger, add_study: AddStudy) -> None:
    add_study(1, {"rows": None}, {"rows": 512})
    frame = wave_frame(ledger, WAVE, TODAY, (), {"rows"})
    derived = {"study_date_is", "birth_date_is", "birth_before_study", "laterality_known"}
    assert set(frame) == ALWAYS | derived | {"rows", "study_year"}
    assert frame["rows"].isna().tolist() == [True, False]
    assert frame["rows"][1] == 512


def test_a_wave_without_headers_is_an_empty_frame(ledger: Ledger) -> None:
    assert wave_frame(ledger, WAVE, date(2025, 1, 1)).empty
