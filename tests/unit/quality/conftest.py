"""A suite of two expectations, in an include folder of its own."""

import json
from pathlib import Path

import pytest

from dicom_migration.policies.loading import INCLUDE_VARIABLE


def expectation(kind: str, severity: str, **kwargs: object) -> dict[str, object]:
    meta = {"title": f"{kind} holds", "reason_code": "field_invalid"}
    return {"type": f"expect_{kind}", "kwargs": kwargs, "severity": severity, "meta": meta}


@pytest.fixture
def suite(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv(INCLUDE_VARIABLE, str(tmp_path))
    (tmp_path / "expectations").mkdir()
    path = tmp_path / "expectations" / "small.json"
    expectations = [
        expectation("column_values_to_not_be_null", "critical", column="name"),
        expectation("column_values_to_be_in_set", "warning", column="sex", value_set=["M", "F"]),
    ]
    path.write_text(json.dumps({"name": "small", "expectations": expectations}))
    return path
