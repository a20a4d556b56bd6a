"""Each expectation of DICOM, in memory and inside a database, on rows that meet it or do not."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from pandas import DataFrame

from dicom_migration.errors import PermanentError
from dicom_migration.ledger import Ledger
from dicom_migration.policies.loading import INCLUDE_VARIABLE
from dicom_migration.quality import QualityResult, judge_frame, judge_query
from dicom_migration.quality.expectations.pixels import COLUMNS

Judge = Callable[[str, dict[str, Any], list[dict[str, Any]]], QualityResult]
CT, SR = "1.2.840.10008.5.1.4.1.1.2", "1.2.840.10008.5.1.4.1.1.88.33"


ONE_COLUMN: list[tuple[str, dict[str, Any], list[Any], list[Any]]] = [
    (
        "expect_column_values_to_be_uids",
        {},
        ["1.2.840.10008", "2.25.0123", "1." * 31 + "11"],
        ["1..2", "1.2.", "1.2.x", "1." * 32 + "1", "../1"],
    ),
    (
        "expect_column_values_to_be_person_names",
        {},
        ["Doe^Jane", "Yamada^Tarou=山田^太郎=やまだ^たろう", "A^B^C^D^E", "X" * 64],
        ["A^B^C^D^E^F", "a=b=c=d", "X" * 65, "Doe^\tJane"],
    ),
    (
        "expect_column_values_to_fit_vr",
        {"vr": "SH"},
        ["X" * 16, "A" * 16 + "\\" + "B" * 16, "Ä" * 16, "X" * 16 + "  "],
        ["X" * 17, "A\\" + "B" * 17, "A" * 9 + "=" + "B" * 9],
    ),
    (
        "expect_column_values_to_fit_vr",
        {"vr": "PN"},
        ["X" * 64 + "=" + "Y" * 64],
        ["X" * 65, "X=" + "Y" * 65],
    ),
    (
        "expect_attribute_to_be_known",
        {"keyword": "Rows"},
        [" 00080016 00280010 ", " 00280010v "],
        [" 00280010e ", " 00280011 "],
    ),
    (
        "expect_attribute_to_be_known",
        {"keyword": "Rows", "need": "present"},
        [" 00280010 ", " 00280010e "],
        [" 00280011 "],
    ),
    (
        "expect_attributes_to_conform_to_vr",
        {},
        [" 00280010 00280011e "],
        [" 00280010v 00280011 ", " 00280011v "],
    ),
]
TWO_COLUMNS: list[tuple[str, dict[str, Any], list[Any], list[Any]]] = [
    (
        "expect_dicom_dates_to_be_ordered",
        {},
        [("19600101", "20200101"), ("20200101", "20200101"), ("unknown", "19"), (None, "1")],
        [("20200102", "20200101")],
    ),
    (
        "expect_modality_to_suit_sop_class",
        {"modalities": {CT: ["CT"], SR: ["SR"]}},
        [(CT, "CT"), (SR, "SR"), ("1.2.3", "CT"), (CT, None)],
        [(SR, "CT"), (CT, "MR")],
    ),
    (
        "expect_character_set_to_decode_text",
        {},
        [
            (None, "ascii"),
            ("NONSENSE", "ascii"),
            ("ISO_IR 100", "declared"),
            ("\\ISO 2022 IR 87", "declared"),
            ("GB18030", "declared"),
        ],
        [("ISO_IR 100", "utf-8"), (None, "8-bit"), ("ISO-IR 100", "declared")],
    ),
    (
        "expect_identifier_to_name_one_owner",
        {},
        [("A1", "P1"), ("A1", "P1"), (None, "P2"), (None, "P3"), ("A3", None)],
        [("A2", "P1"), ("A2", "P2")],
    ),
    (
        "expect_attribute_to_be_known_above",
        {"keyword": "PlanarConfiguration", "above": 1},
        [(" 00280010 ", 1), (" 00280006 ", 3), (None, 3), (" 00280010 ", None)],
        [(" 00280010 ", 3)],
    ),
]
PIXELS = [
    (512, 512, 1, 16, None, "MONOCHROME2", 524288),
    (3, 3, 1, 8, 1, "MONOCHROME2", 10),
    (3, 3, 1, 8, 1, "MONOCHROME2", 9),
    (4, 4, 3, 8, 2, "YBR_FULL_422", 64),
    (4, 4, 1, 1, 3, "MONOCHROME2", 6),
    (512, 512, 1, 16, None, "MONOCHROME2", None),
    (None, 512, 1, 16, None, None, 7),
    (512, 512, 1, 16, None, "MONOCHROME2", 524286),
    (512, 512, 3, 8, 2, "RGB", 786432),
]


@contextmanager
def suite_of_one(folder: Path) -> Iterator[Callable[[str, dict[str, Any]], None]]:
    """Give a way to make ``one`` the suite of a single expectation."""
    (folder / "expectations").mkdir()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(INCLUDE_VARIABLE, str(folder))

        def write(kind: str, kwargs: dict[str, Any]) -> None:
            expectation = {
                "type": kind,
                "kwargs": kwargs,
                "severity": "warning",
                "meta": {"title": f"{kind} holds", "reason_code": "field_invalid"},
            }
            suite = {"name": "one", "expectations": [expectation]}
            (folder / "expectations" / "one.json").write_text(json.dumps(suite))

        yield write


def judged_in_database(ledger: Ledger, frame: DataFrame) -> QualityResult:
    with ledger.write() as connection:
        frame.to_sql("judged", connection, index=False, if_exists="replace")
    return judge_query(ledger, "SELECT * FROM judged", "one", ["uid"])


def framed(rows: list[dict[str, Any]]) -> DataFrame:
    numbered = [{"uid": str(number), **row} for number, row in enumerate(rows)]
    return DataFrame(numbered, dtype=object)


@pytest.fixture(params=["memory", "database"])
def judge(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Judge]:
    with Ledger(f"sqlite:///{tmp_path / 'ledger.db'}") as ledger, suite_of_one(tmp_path) as write:
        ledger.upgrade()

        def call(kind: str, kwargs: dict[str, Any], rows: list[dict[str, Any]]) -> QualityResult:
            write(kind, kwargs)
            if request.param == "memory":
                return judge_frame(framed(rows), "one", ["uid"])
            return judged_in_database(ledger, framed(rows).convert_dtypes())

        yield call


def failing(result: QualityResult) -> set[int]:
    return {int(uid) for (uid,) in result.findings[0].keys}


@pytest.mark.parametrize(("kind", "kwargs", "good", "bad"), ONE_COLUMN)
def test_values_of_one_column(
    judge: Judge, kind: str, kwargs: dict[str, Any], good: list[str], bad: list[str]
) -> None:
    rows = [{"value": value} for value in (*good, *bad, None)]
    result = judge(kind, {"column": "value", **kwargs}, rows)
    assert failing(result) == set(range(len(good), len(good) + len(bad)))


@pytest.mark.parametrize(("kind", "kwargs", "good", "bad"), TWO_COLUMNS)
def test_values_of_two_columns(
    judge: Judge, kind: str, kwargs: dict[str, Any], good: list[Any], bad: list[Any]
) -> None:
    rows = [{"a": a, "b": b} for a, b in (*good, *bad)]
    result = judge(kind, {"column_A": "a", "column_B": "b", **kwargs}, rows)
    assert failing(result) == set(range(len(good), len(good) + len(bad)))


def test_pixel_data_is_as_long_as_its_header_says(judge: Judge) -> None:
    result = judge(
        "expect_pixel_length_to_be_consistent",
        {"column_list": list(COLUMNS)},
        [dict(zip(COLUMNS, row, strict=True)) for row in PIXELS],
    )
    assert failing(result) == {7, 8}


@pytest.mark.parametrize("judge", ["memory"], indirect=True)
def test_forms_of_value_representations_are_judged_in_memory(judge: Judge) -> None:
    values = ["042Y", "42Y", "042y"]
    result = judge(
        "expect_column_values_to_conform_to_vr",
        {"column": "value", "vr": "AS"},
        [{"value": value} for value in values],
    )
    assert failing(result) == {1, 2}


def test_a_keyword_that_the_dictionary_lacks_is_refused(judge: Judge) -> None:
    with pytest.raises(PermanentError, match=r"one\.json"):
        judge(
            "expect_attribute_to_be_known",
            {"column": "value", "keyword": "Rowz"},
            [{"value": " 00280010 "}],
        )
