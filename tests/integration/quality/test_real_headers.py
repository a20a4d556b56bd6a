"""Real files: what the header suites say of them is so, and none is kept back for nothing."""

import re
import warnings
from io import BytesIO
from typing import Any

import pydicom
import pytest
from pandas import DataFrame
from pydicom import Dataset, dcmread
from pydicom.datadict import keyword_for_tag

from dicom_migration.cleansing.headers import read_study
from dicom_migration.errors import PermanentError
from dicom_migration.policies.cleansing import CleansingPolicy
from dicom_migration.quality import Finding, judge_frame, suite_names
from tests.archives import MemoryArchive, held_from, real_files

#: Absent or absurd in some of these files indeed, and no migration can do without them.
KEPT_BACK_FOR = {
    "Patient ID (0010,0020) is present",
    "Study Date (0008,0020) is present",
    "Study Date is a date between 1900 and today",
    "Modality (0008,0060) is present",
}
DERIVED = {"birth_date_is": None, "laterality_known": True}
TAG = re.compile(r"\(([0-9A-F]{4}),([0-9A-F]{4})\)")


@pytest.fixture(scope="module")
def real() -> dict[str, tuple[Dataset, dict[str, Any]]]:
    """Return the real files that can be read: as pydicom reads them, as the collection does."""
    found: dict[str, tuple[Dataset, dict[str, Any]]] = {}
    for path in real_files():
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                held = held_from(path.read_bytes())
                dataset = dcmread(BytesIO(path.read_bytes()))
            except (pydicom.errors.InvalidDicomError, PermanentError, AttributeError, KeyError):
                continue
            uid = held.record.study_instance_uid
            facts = read_study(MemoryArchive([held]), uid, CleansingPolicy(headers="all")).facts
        for row in facts:
            found.setdefault(row["sop_instance_uid"], (dataset, row))
    return found


@pytest.fixture(scope="module")
def findings(real: dict[str, tuple[Dataset, dict[str, Any]]]) -> list[Finding]:
    rows = [
        {**row, **DERIVED, "study_date_is": "plausible" if row["study_date"] else None}
        for _, row in real.values()
    ]
    frame = DataFrame(rows, dtype=object)
    judged = [judge_frame(frame, name, ["sop_instance_uid"]) for name in suite_names("header_")]
    return [finding for result in judged for finding in result.findings]


def is_so(dataset: Dataset, title: str) -> bool:
    """Tell whether pydicom agrees that the attribute of the title is absent, or empty."""
    tag = TAG.search(title)
    assert tag is not None
    keyword = keyword_for_tag(int("".join(tag.groups()), 16))
    if "be it empty" in title:
        return keyword not in dataset
    return keyword not in dataset or dataset[keyword].is_empty


def test_every_attribute_that_is_said_to_be_lacking_is_lacking(
    real: dict[str, tuple[Dataset, dict[str, Any]]], findings: list[Finding]
) -> None:
    told = [f for f in findings if f.expectation.startswith("expect_attribute_to_be_known")]
    assert sum(finding.unexpected for finding in told) > 20
    for finding in told:
        for (uid,) in finding.keys:
            assert is_so(real[uid][0], finding.title), (uid, finding.title)


def test_real_headers_are_kept_back_for_nothing_else_than_what_they_lack(
    real: dict[str, tuple[Dataset, dict[str, Any]]], findings: list[Finding]
) -> None:
    assert len(real) > 50
    critical = {f.title for f in findings if f.severity == "critical" and f.unexpected}
    assert critical <= KEPT_BACK_FOR
