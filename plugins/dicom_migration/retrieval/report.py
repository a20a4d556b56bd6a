"""The benchmark's report: promises, percentiles and charts, cloud and source side by side."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from dicom_migration.policies.slas import SlaPolicy
from dicom_migration.reporting import render_report
from dicom_migration.retrieval.charts import WIDTH, Bar, percentile_curves, stacked, trend_lines
from dicom_migration.retrieval.network_cost import NetworkCost
from dicom_migration.retrieval.regression import Comparison
from dicom_migration.retrieval.results import Group, RuleResult, group_samples, seconds_text
from dicom_migration.retrieval.samples import EarlierRun, Sample
from dicom_migration.retrieval.stages import STAGES
from dicom_migration.retrieval.statistics import Estimate, nearest_rank
from dicom_migration.units import human_bytes

_OPERATIONS = {
    "first_image": "first image",
    "whole_study": "whole study",
    "relevant_prior": "relevant prior",
    "restore": "restore",
}
_TEMPERATURES = {"cold": "first retrieval", "warm": "repeated", "busy": "busy hour"}
_STAGE_NAMES = ("waiting for a turn", "connecting", "first byte", "transfer", "decoding")
_SIDES = {"cloud": "cloud (after)", "source": "source (before)"}


@dataclass(frozen=True, slots=True)
class Findings:
    """Everything that a report tells of one benchmark."""

    benchmark_id: str
    began_at: datetime | None
    studies: int
    samples: Sequence[Sample]
    results: Sequence[RuleResult]
    earlier: Sequence[EarlierRun] = ()
    comparisons: Sequence[Comparison] = ()
    network: Sequence[NetworkCost] = ()


def render_retrieval_report(found: Findings, policy: SlaPolicy) -> str:
    """Return the report as one self-contained HTML file; no study is named in it."""
    overall = group_samples(found.samples, policy, by_modality=False)
    by_modality = group_samples(found.samples, policy, by_modality=True)
    return render_report(
        "retrieval_report.html.j2",
        benchmark_id=found.benchmark_id,
        began_at=f"{found.began_at:%Y-%m-%d %H:%M} UTC" if found.began_at else "",
        studies=found.studies,
        samples=len(found.samples),
        failed=sum(group.failed for group in overall),
        kept=sum(result.outcome == "kept" for result in found.results),
        breached=sum(result.outcome == "breached" for result in found.results),
        slower=sum(item.verdict == "slower" for item in found.comparisons),
        rules=[_rule(result) for result in found.results],
        rows=[_row(group) for group in overall],
        before_after=_bars(overall, "cold", (0, 2)),
        busy=_bars(overall, "busy", (0, 2)),
        curves=_curves(found.samples),
        modalities=_modalities(by_modality),
        stages=_stages(found.samples),
        stage_names=_STAGE_NAMES,
        trends=_trends(found),
        comparisons=[_comparison(item) for item in found.comparisons],
        earlier=len(found.earlier),
        network=[_network(cost) for cost in found.network],
        width=WIDTH,
        busy_hour=policy.busy_hour,
        sample=policy.sample,
        trend=policy.trend,
        archived=policy.archived,
    )


def _rule(result: RuleResult) -> dict[str, Any]:
    rule, measured = result.rule, result.estimate
    ages = [("from", rule.min_age_years), ("below", rule.max_age_years)]
    scope = [s for s in (rule.modality, rule.storage_class, rule.temperature, rule.access) if s]
    scope += [f"{word} {years:g} years" for word, years in ages if years is not None]
    return {
        "name": rule.name,
        "what": f"p{rule.percentile:g} {_OPERATIONS[rule.operation]}, {rule.side}",
        "scope": ", ".join(scope) or "all",
        "limit": seconds_text(rule.seconds),
        "measured": _value_and_interval(measured),
        "n": measured.n,
        "outcome": result.outcome,
        "tone": {"kept": "good", "breached": "bad"}.get(result.outcome, "warn"),
        "cause": result.cause.told() if result.outcome == "breached" else "",
    }


def _row(group: Group) -> dict[str, Any]:
    return {
        "what": _OPERATIONS.get(group.operation, group.operation),
        "when": _TEMPERATURES.get(group.temperature, group.temperature),
        "side": group.side,
        "access": group.access,
        "n": group.estimates[0].n,
        "failed": group.failed,
        "cells": [_value_and_interval(e) for e in group.estimates],
    }


def _bars(groups: Sequence[Group], temperature: str, places: Sequence[int]) -> list[Bar]:
    """Return the bars of the wanted percentiles, both sides of an operation under one another."""
    chosen = [g for g in groups if g.temperature == temperature and g.operation != "restore"]
    pairs = [(g, g.estimates[place]) for g in _in_order(chosen) for place in places]
    pairs.sort(
        key=lambda pair: (
            _rank(pair[0]),
            pair[1].percentile,
            pair[0].side != "source",
            pair[0].access,
        )
    )
    bars: list[Bar] = []
    for operation, name in _waits():  # a scale for each: an image takes less than a study
        mine = [(g, e) for g, e in pairs if g.operation == operation]
        bars += _scaled(
            [
                (f"{name} p{e.percentile:g}, {g.side} {g.access}".rstrip(), g.side, e)
                for g, e in mine
            ]
        )
    return bars


def _scaled(rows: Sequence[tuple[str, str, Estimate]]) -> list[Bar]:
    finite = [v for _, _, e in rows for v in (e.seconds, e.high) if math.isfinite(v)]
    top = max(finite, default=1.0) or 1.0

    def at(value: float) -> float:
        return (value / top if math.isfinite(value) else 1.0) * WIDTH * 0.62

    return [
        Bar(label, at(e.seconds), at(e.low), at(e.high), f"{_with_interval(e)}, n={e.n}", side)
        for label, side, e in rows
    ]


def _curves(samples: Sequence[Sample]) -> list[Any]:
    charts = []
    for operation, name in _waits():
        mine = [s for s in samples if s.operation == operation]
        groups = [
            (
                f"{side}, {_TEMPERATURES[temperature]}",
                f"{side} {temperature}",
                [s for s in mine if (s.side, s.temperature) == (side, temperature)],
            )
            for side in ("source", "cloud")
            for temperature in _TEMPERATURES
        ]
        charts.append(percentile_curves(f"Time to the {name}", groups))
    return [chart for chart in charts if chart is not None]


def _modalities(groups: Sequence[Group]) -> list[dict[str, Any]]:
    charts = []
    for operation, name in _waits():
        chosen = [g for g in groups if (g.operation, g.temperature) == (operation, "cold")]
        chosen.sort(key=lambda g: (g.modality, g.side != "source"))
        rows = [(f"{g.modality}, {g.side}", g.side, g.estimates[2]) for g in chosen]
        if rows:
            charts.append({"title": f"Time to the {name}, p95", "bars": _scaled(rows)})
    return charts


def _stages(samples: Sequence[Sample]) -> list[dict[str, Any]]:
    """Return the mean seconds of each stage, by operation, temperature and side."""
    keys = sorted({_key(s) for s in samples if s.stages.total_s}, key=lambda k: (k[1], k[2], k[0]))
    rows = []
    for key in keys:
        mine = [s for s in samples if _key(s) == key and math.isfinite(s.seconds)]
        if mine:
            means = [
                sum(getattr(s.stages, name) or 0.0 for s in mine) / len(mine) for name in STAGES
            ]
            rows.append((key, means))
    tops: dict[str, float] = {}
    for key, means in rows:  # to one scale for each operation
        tops[key[1]] = max(tops.get(key[1], 0.0), sum(means))
    return [
        {
            "label": f"{_OPERATIONS[key[1]]}, {key[0]}, {_TEMPERATURES[key[2]]}",
            "parts": stacked(means, tops[key[1]], WIDTH * 0.62),
            "text": seconds_text(sum(means)),
            "cells": [seconds_text(mean) if mean else "–" for mean in means],
        }
        for key, means in rows
    ]


def _trends(found: Findings) -> list[Any]:
    runs = [*((run.began_at, run.samples) for run in found.earlier)]
    if found.began_at is not None:
        runs.append((found.began_at, tuple(found.samples)))
    charts = []
    for operation, name in _waits():
        series = []
        for side in ("source", "cloud"):
            for percentile in (50, 95):
                values = [_percentile(s, side, operation, percentile) for _, s in runs]
                label = f"{side} p{percentile}"
                series.append((label, f"{side} {'cold' if percentile == 50 else 'busy'}", values))
        dates = [f"{began:%m-%d %H:%M}" for began, _ in runs]
        charts.append(trend_lines(f"Time to the {name}, first retrieval", dates, series))
    return [chart for chart in charts if chart is not None]


def _percentile(samples: Sequence[Sample], side: str, operation: str, percentile: float) -> float:
    wanted = (side, operation, "cold")
    return nearest_rank([s.seconds for s in samples if _key(s) == wanted], percentile)


def _comparison(item: Comparison) -> dict[str, Any]:
    return {
        "what": f"{_OPERATIONS[item.operation]}, {item.side}, {_TEMPERATURES[item.temperature]}",
        "ratio": f"{item.ratio:.2f} ×",
        "p": f"{item.p_value:.4f}",
        "n": f"{item.n_now} / {item.n_before}",
        "verdict": item.verdict,
        "tone": {"slower": "bad", "faster": "good"}.get(item.verdict, ""),
    }


def _network(cost: NetworkCost) -> dict[str, Any]:
    def told(found: Estimate) -> str:
        if not found.n:
            return "not measured"
        show = (lambda v: f"{human_bytes(v)}/s") if cost.is_rate else seconds_text
        return f"{show(found.seconds)} ({show(found.low)} – {show(found.high)}), n={found.n}"

    change = cost.change
    worse = change is not None and cost.is_certain and (change < 0) == cost.is_rate
    return {
        "title": cost.title,
        "rest": told(cost.rest),
        "migrating": told(cost.migrating),
        "change": "–" if change is None else f"{change:+.0%}",
        "verdict": "" if change is None else ("certain" if cost.is_certain else "within noise"),
        "tone": "bad" if worse else "",
    }


def _waits() -> list[tuple[str, str]]:
    """Return the operations that a clinician waits for, with their names; restores are hours."""
    return [(key, name) for key, name in _OPERATIONS.items() if key != "restore"]


def _in_order(groups: Sequence[Group]) -> list[Group]:
    return sorted(groups, key=lambda g: (_rank(g), g.side))


def _rank(group: Group) -> int:
    return list(_OPERATIONS).index(group.operation)


def _key(sample: Sample) -> tuple[str, str, str]:
    return sample.side, sample.operation, sample.temperature


def _value_and_interval(found: Estimate) -> tuple[str, str]:
    if found.n < 2:
        return seconds_text(found.seconds), ""
    return seconds_text(found.seconds), f"{seconds_text(found.low)} – {seconds_text(found.high)}"


def _with_interval(found: Estimate) -> str:
    if found.n < 2:
        return seconds_text(found.seconds)
    low, high = seconds_text(found.low), seconds_text(found.high)
    return f"{seconds_text(found.seconds)} ({low} – {high})"
