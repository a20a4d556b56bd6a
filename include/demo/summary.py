"""What the run came to: for a person a table, for machines ``summary.json``."""

from __future__ import annotations

import math
from typing import Any

from sqlalchemy import Connection, func, select

from dicom_migration.ledger import Ledger, StudyState, open_exception_counts, schema
from dicom_migration.policies.slas import load_sla_policy
from dicom_migration.retrieval.results import judge_rules, outcome_counts
from dicom_migration.retrieval.samples import load_samples
from dicom_migration.retrieval.statistics import estimate
from dicom_migration.units import human_bytes, human_seconds


def summarise(ledger: Ledger, dags: dict[str, str], seconds: float) -> dict[str, Any]:
    """Return the content of ``summary.json`` (documented in ``docs/demo.md``)."""
    with ledger.read() as connection:
        states = _states(connection)
        return {
            "studies": {
                "discovered": sum(states.values()),
                "excluded": states.get(StudyState.EXCLUDED.value, 0),
                "quarantined": states.get(StudyState.QUARANTINED.value, 0),
                "verified": states.get(StudyState.VERIFIED.value, 0),
                "unfinished": sum(states.values()) - _finished(states),
            },
            "instances": _instances(connection),
            "bytes": _total(connection, schema.study.c.bytes_stored),
            "seconds": round(seconds, 1),
            "dags": dags,
            "exceptions": open_exception_counts(connection),
            "quarantine": _quarantine_reasons(connection),
            "exclusions": _exclusion_rules(connection),
            "transfer": _transfer(connection),
            "retrieval": _retrieval(connection),
        }


def is_complete(summary: dict[str, Any]) -> bool:
    """Tell whether every study ended verified, excluded by a named rule, or quarantined with one.

    "Quarantined with a reason" is checked, not assumed: each needs an open exception of its own.
    """
    studies = summary["studies"]
    explained = sum(summary["quarantine"].values())
    excluded = sum(count for rule, count in summary["exclusions"].items() if rule)
    return bool(
        studies["discovered"] > 0
        and studies["unfinished"] == 0
        and explained == studies["quarantined"]
        and excluded == studies["excluded"]
        and all(state == "success" for state in summary["dags"].values())
    )


def as_table(summary: dict[str, Any]) -> str:
    """Return the summary as lines for a terminal."""
    studies, instances = summary["studies"], summary["instances"]
    transfer, retrieval = summary["transfer"], summary["retrieval"]
    rows: list[tuple[str, str]] = [
        ("Studies discovered", f"{studies['discovered']:,}"),
        ("  verified in the cloud", f"{studies['verified']:,}"),
        ("  excluded by policy", f"{studies['excluded']:,}"),
        *((f"    {rule}", f"{count:,}") for rule, count in summary["exclusions"].items()),
        ("  quarantined for a person", f"{studies['quarantined']:,}"),
        *((f"    {reason}", f"{count:,}") for reason, count in summary["quarantine"].items()),
        ("Instances verified", f"{instances['verified']:,} of {instances['received']:,} received"),
        ("Bytes stored", human_bytes(summary["bytes"])),
        (
            "Transfer",
            f"{human_seconds(transfer['seconds'])}, {human_bytes(transfer['bytes_per_second'])}/s",
        ),
        ("Whole run", human_seconds(summary["seconds"])),
    ]
    if retrieval["p50_s"] is not None:
        verdict = "met" if retrieval["sla_met"] else "MISSED"
        rows.append(
            (
                "Retrieval of a study",
                f"p50 {retrieval['p50_s']:.3f} s, p95 {retrieval['p95_s']:.3f} s, SLA {verdict}",
            )
        )
    if studies["unfinished"]:
        rows.append(("NOT FINISHED", f"{studies['unfinished']:,}"))
    width = max(len(name) for name, _ in rows)
    return "\n".join(f"  {name:<{width}}  {value}" for name, value in rows)


def _states(connection: Connection) -> dict[str, int]:
    table = schema.study.c
    rows = connection.execute(select(table.state, func.count()).group_by(table.state))
    return {str(row[0]): int(row[1]) for row in rows}


def _finished(states: dict[str, int]) -> int:
    final = (StudyState.EXCLUDED, StudyState.QUARANTINED, StudyState.VERIFIED)
    return sum(states.get(state.value, 0) for state in final)


def _instances(connection: Connection) -> dict[str, int]:
    table = schema.study.c
    return {
        "received": _total(connection, table.received_instances),
        "stored": _total(connection, table.stored_instances),
        "verified": _total(connection, table.verified_instances),
    }


def _total(connection: Connection, column: Any) -> int:
    return int(connection.scalar(select(func.coalesce(func.sum(column), 0))) or 0)


def _quarantine_reasons(connection: Connection) -> dict[str, int]:
    """Count quarantined studies by their first open reason; one without a reason is not counted."""
    study, exception = schema.study.c, schema.exception.c
    first = (
        select(exception.study_instance_uid, func.min(exception.reason).label("reason"))
        .where(exception.status == "open")
        .group_by(exception.study_instance_uid)
        .subquery()
    )
    rows = connection.execute(
        select(first.c.reason, func.count())
        .join(schema.study, study.study_instance_uid == first.c.study_instance_uid)
        .where(study.state == StudyState.QUARANTINED.value)
        .group_by(first.c.reason)
        .order_by(first.c.reason)
    )
    return {str(row[0]): int(row[1]) for row in rows}


def _exclusion_rules(connection: Connection) -> dict[str, int]:
    table = schema.study.c
    rows = connection.execute(
        select(table.decision_rule, func.count())
        .where(table.state == StudyState.EXCLUDED.value)
        .group_by(table.decision_rule)
        .order_by(table.decision_rule)
    )
    return {str(row[0]): int(row[1]) for row in rows}


def _transfer(connection: Connection) -> dict[str, float]:
    """Wall time from the first study's start to the last one's end, and the rate over it."""
    table = schema.attempt.c
    first, last, received = connection.execute(
        select(func.min(table.started_at), func.max(table.ended_at), func.sum(table.bytes)).where(
            table.phase == "transfer"
        )
    ).one()
    seconds = (last - first).total_seconds() if first and last else 0.0
    return {
        "seconds": round(seconds, 3),
        "bytes_per_second": round((received or 0) / seconds) if seconds else 0,
    }


def _retrieval(connection: Connection) -> dict[str, Any]:
    """Time to a whole study from the cloud (seconds), over the last benchmark."""
    table = schema.retrieval_sample.c
    benchmark = connection.scalar(
        select(table.benchmark_id).order_by(table.sample_id.desc()).limit(1)
    )
    if benchmark is None:
        return {"p50_s": None, "p95_s": None, "sla_met": None}
    policy = load_sla_policy()
    samples = load_samples(connection, benchmark)
    seconds = [s.seconds for s in samples if (s.side, s.operation) == ("cloud", "whole_study")]
    outcomes = outcome_counts(judge_rules(samples, policy))
    return {
        "p50_s": _percentile(seconds, 50),
        "p95_s": _percentile(seconds, 95),
        "sla_met": outcomes["breached"] == 0,
    }


def _percentile(seconds: list[float], percentile: float) -> float | None:
    """Return the percentile rounded to milliseconds; None for no sample or a failed retrieval."""
    if not seconds:
        return None
    value = estimate(seconds, percentile, resamples=1, seed=0).seconds
    return round(value, 4) if math.isfinite(value) else None
