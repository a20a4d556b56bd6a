from typing import Any

import pytest

from include.demo.summary import as_table, is_complete

GOOD: dict[str, Any] = {
    "studies": {"discovered": 10, "excluded": 1, "quarantined": 2, "verified": 7, "unfinished": 0},
    "instances": {"received": 70, "stored": 70, "verified": 70},
    "bytes": 1_000_000,
    "seconds": 12.0,
    "dags": {"discovery": "success", "transfer": "success"},
    "exceptions": {"instance_missing": 2},
    "quarantine": {"instance_missing": 2},
    "exclusions": {"no-research-site": 1},
    "transfer": {"seconds": 2.0, "bytes_per_second": 500_000},
    "retrieval": {"p50_s": 0.01, "p95_s": 0.1, "sla_met": True},
}


def changed(**parts: Any) -> dict[str, Any]:
    return {
        name: {**value, **parts[name]} if isinstance(value, dict) and name in parts else value
        for name, value in GOOD.items()
    }


def test_every_study_with_an_end_and_a_reason_is_complete() -> None:
    assert is_complete(GOOD)


@pytest.mark.parametrize(
    "parts",
    [
        {"studies": {"unfinished": 1}},
        {"studies": {"quarantined": 3}},  # one of them without a reason
        {"studies": {"excluded": 2}},  # one of them without a rule
        {"studies": {"discovered": 0}},
        {"dags": {"transfer": "failed"}},
    ],
)
def test_anything_less_is_not(parts: dict[str, Any]) -> None:
    assert not is_complete(changed(**parts))


def test_the_table_names_reasons_rules_and_the_sla() -> None:
    table = as_table(GOOD)
    for part in ("no-research-site", "instance_missing", "70 of 70", "1.0 MB", "SLA met"):
        assert part in table
    assert "MISSED" in as_table(changed(retrieval={"sla_met": False}))
