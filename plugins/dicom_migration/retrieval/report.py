"""The benchmark's report: promises, percentiles and charts, cloud and source side by side."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from dicom_migration.policies.slas import SlaPolicy
from dicom_migration.reporting import render_report
from dicom_migration.retrieval.results import (
    Group,
    RuleResult,
    Sample,
    group_samples,
    seconds_text,
)
from dicom_migration.retrieval.statistics import Estimate

_TITLES = {
    ("first_image", "cold"): "Time to the first image, first retrieval",
    ("first_image", "warm"): "Time to the first image, repeated",
    ("first_image", "busy"): "Time to the first image, busy hour",
    ("whole_study", "cold"): "Time to the whole study, first retrieval",
    ("whole_study", "warm"): "Time to the whole study, repeated",
    ("whole_study", "busy"): "Time to the whole study, busy hour",
}


def render_retrieval_report(
    benchmark_id: str,
    samples: Sequence[Sample],
    results: Sequence[RuleResult],
    policy: SlaPolicy,
    studies: int,
) -> str:
    """Return the report as one self-contained HTML file; no study is named in it."""
    overall = group_samples(samples, policy, by_modality=False)
    return render_report(
        "retrieval_report.html.j2",
        benchmark_id=benchmark_id,
        studies=studies,
        samples=len(samples),
        failed=sum(group.failed for group in overall),
        kept=sum(result.outcome == "kept" for result in results),
        breached=sum(result.outcome == "breached" for result in results),
        rules=[_rule(result) for result in results],
        sections=_sections(overall, group_samples(samples, policy, by_modality=True)),
        busy_hour=policy.busy_hour,
        sample=policy.sample,
    )


def _rule(result: RuleResult) -> dict[str, Any]:
    rule, measured = result.rule, result.estimate
    scope = [s for s in (rule.modality, rule.storage_class, rule.temperature) if s]
    return {
        "name": rule.name,
        "what": f"p{rule.percentile:g} {rule.operation.replace('_', ' ')}, {rule.side}",
        "scope": ", ".join(scope) or "all",
        "limit": seconds_text(rule.seconds),
        "measured": _with_interval(measured),
        "n": measured.n,
        "outcome": result.outcome,
        "tone": {"kept": "good", "breached": "bad"}.get(result.outcome, "warn"),
    }


def _sections(overall: Sequence[Group], by_modality: Sequence[Group]) -> list[dict[str, Any]]:
    sections = []
    for key, title in _TITLES.items():
        groups = [g for g in overall if (g.operation, g.temperature) == key]
        if not groups:
            continue
        parts = [g for g in by_modality if (g.operation, g.temperature) == key]
        sections.append(
            {
                "title": title,
                "rows": [
                    {
                        "side": group.side,
                        "n": group.estimates[0].n,
                        "failed": group.failed,
                        "cells": [_with_interval(e) for e in group.estimates],
                    }
                    for group in groups
                ],
                "percentiles": [_bar(g.side, g, e) for e in range(4) for g in groups],
                "modalities": [_bar(f"{g.modality} {g.side}", g, 2) for g in parts],
            }
        )
    return sections


def _bar(label: str, group: Group, place: int) -> dict[str, Any]:
    found = group.estimates[place]
    finite = found.seconds if found.seconds < 1e9 else 0.0
    return {
        "label": f"{label} p{found.percentile:g}",
        "value": finite,
        "text": f"{seconds_text(found.seconds)} (n={found.n})",
        "colour": "#1f6fb2" if group.side == "cloud" else "#8a97a3",
    }


def _with_interval(found: Estimate) -> str:
    if found.n < 2:
        return seconds_text(found.seconds)
    low, high = seconds_text(found.low), seconds_text(found.high)
    return f"{seconds_text(found.seconds)} ({low} – {high})"
