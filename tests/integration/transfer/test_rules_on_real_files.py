"""The shipped rules over every real file at hand: what they correct was wrong."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path

from pydicom.config import RAISE
from pydicom.datadict import dictionary_VR
from pydicom.valuerep import validate_value

from dicom_migration.datasets import read_header
from dicom_migration.policies.corrections import load_ruleset
from dicom_migration.transfer.correcting import Correction
from tests.correction import corrections_of, parts_of
from tests.integration.transfer.test_correcting import real_instances

PAGE = Path(__file__).resolve().parents[3] / "docs" / "cleansing.md"


def was_wrong(correction: Correction, header: bytes, syntax: str) -> bool:
    """Ask pydicom, which knows no rule, whether the value was empty or not allowed."""
    value = str(read_header(BytesIO(header), syntax).get(correction.keyword) or "")
    if not value:
        return True
    try:
        validate_value(dictionary_VR(correction.keyword), value, RAISE)
    except ValueError:
        return True
    return False


def test_no_real_file_is_corrected_without_need_and_the_page_says_so() -> None:
    ruleset, corrected, false, judged = load_ruleset(), 0, [], 0
    for name, held in real_instances():
        header, _, syntax = parts_of(held)
        made = corrections_of(header, syntax, ruleset)
        judged += 1
        corrected += bool(made)
        false += [(name, c.rule_id) for c in made if not was_wrong(c, header, syntax)]
    assert false == []
    page = " ".join(PAGE.read_text().split())
    assert f"Of the {judged} whole instances" in page
    assert f"correct {corrected}, and" in page
