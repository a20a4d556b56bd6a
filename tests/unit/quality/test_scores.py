from pathlib import Path

import pytest
from pandas import DataFrame

from dicom_migration.ledger import Ledger
from dicom_migration.quality import Score, judge_frame, scores_of, store_scores
from dicom_migration.quality.scores import MAX_GROUPS, OTHERS

HEADERS = 30


def frame(**columns: object) -> DataFrame:
    content = {
        "uid": [str(number) for number in range(HEADERS)],
        "name": ["x"] * HEADERS,
        "sex": ["M"] * HEADERS,
        "modality": ["CT"] * HEADERS,
        **columns,
    }
    return DataFrame(content)


def scores(judged: DataFrame) -> dict[tuple[str, str], Score]:
    found = scores_of([judge_frame(judged, "small", ["uid"])])
    return {(score.kind, score.name): score for score in found}


def test_the_groups_add_up_to_the_suite_and_failures_are_their_own(suite: Path) -> None:
    found = scores(
        frame(
            name=[None] * 4 + ["x"] * (HEADERS - 4),
            modality=["MR"] * 5 + ["CT"] * (HEADERS - 5),
            institution_name=["North"] * 15 + ["South"] * 15,
            study_year=["2019"] * 2 + ["2020"] * 26 + ["", None],
        )
    )
    assert found["all", ""] == Score("all", "", HEADERS, 2 * HEADERS, 4)
    assert found["suite", "small"].unexpected == 4
    assert found["modality", "MR"] == Score("modality", "MR", 5, 10, 4)
    assert found["modality", "CT"].unexpected == 0
    assert found["institution", "North"] == Score("institution", "North", 15, 30, 4)
    assert found["year", "2019"].unexpected == 2
    assert found["year", "(none)"].rows == 2
    for kind in ("modality", "institution", "year"):
        groups = [score for score in found.values() if score.kind == kind]
        assert sum(score.evaluated for score in groups) == 2 * HEADERS
        assert sum(score.unexpected for score in groups) == 4


def test_what_is_no_name_of_a_group_is_not_told(suite: Path) -> None:
    found = scores(
        frame(
            modality=["CANARY", "CANARY^ANN"] + ["CT"] * (HEADERS - 2),
            institution_name=["CANARY^ANN 1947"] * 9 + ["North"] * (HEADERS - 9),
            study_year=["1847"] + ["2020"] * (HEADERS - 1),
        )
    )
    assert {name for _, name in found} == {"", "small", "CT", "North", "2020", OTHERS}


def test_the_smallest_of_too_many_institutions_are_told_together(suite: Path) -> None:
    places = [f"Site {number:03}" for number in range(60) for _ in range(10)]
    many = DataFrame({"uid": places, "name": "x", "sex": "M", "institution_name": places})
    found = [name for kind, name in scores(many) if kind == "institution"]
    assert len(found) == MAX_GROUPS + 1
    assert OTHERS in found


def test_a_run_that_judges_again_replaces_what_it_said(tmp_path: Path) -> None:
    from sqlalchemy import select

    from dicom_migration.ledger import schema

    with Ledger(f"sqlite:///{tmp_path / 'ledger.db'}") as ledger:
        ledger.upgrade()
        for run, failing in (("first", 9), ("first", 5), ("second", 1)):
            told = [Score("all", "", 10, 10, failing)]
            store_scores(ledger, "cleansing", "W1", run, "before", told)
        table = schema.quality_score.c
        with ledger.read() as connection:
            rows = connection.execute(select(table.run, table.unexpected)).all()
    assert {tuple(row) for row in rows} == {("first", 5), ("second", 1)}


@pytest.mark.parametrize("column", ["modality", "institution_name"])
def test_a_categorical_column_makes_groups_too(suite: Path, column: str) -> None:
    values = ["CT"] * 20 + [None] * 10
    found = scores(frame().assign(**{column: DataFrame({"c": values}, dtype="category")["c"]}))
    kind = {"institution_name": "institution"}.get(column, column)
    assert (found[kind, "CT"].rows, found[kind, "(none)"].rows) == (20, 10)
