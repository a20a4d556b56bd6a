from datetime import date

from dicom_migration.cleansing.facts import wave_frame
from dicom_migration.cleansing.proposals import propose_corrections
from dicom_migration.ledger import Ledger
from dicom_migration.policies.corrections import load_ruleset
from tests.unit.cleansing.conftest import WAVE, AddStudy


def test_a_corrected_header_is_judged_as_it_will_be(ledger: Ledger, add_study: AddStudy) -> None:
    add_study(1, {"patient_sex": "W", "attributes": " 00100020 00100040v "})
    add_study(2, {"patient_sex": "W", "attributes": None})
    corrections = propose_corrections(ledger, WAVE, load_ruleset(), "a" * 64)
    frame = wave_frame(ledger, WAVE, date(2025, 11, 1), corrections)
    assert list(frame["attributes"]) == [" 00100020 00100040 ", None]
