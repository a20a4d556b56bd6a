"""The report that a wave's corrections are approved on: before, after, and what is kept back."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from sqlalchemy import select

from dicom_migration.cleansing.facts import count_untouched
from dicom_migration.cleansing.trend import KINDS, wave_scores
from dicom_migration.ledger import schema
from dicom_migration.policies.identity import ORDERS_RULE, PATIENTS_RULE
from dicom_migration.reporting import render_report

if TYPE_CHECKING:
    from dicom_migration.cleansing.judging import WaveJudgement
    from dicom_migration.cleansing.proposals import Correction
    from dicom_migration.ledger import Ledger
    from dicom_migration.policies.corrections import RuleSet

#: A list of studies in the report is cut here; the ledger has them all.
MAX_LISTED = 100
_LETTER, _DIGIT = re.compile(r"[^\W\d_]"), re.compile(r"\d")


def masked(value: str) -> str:
    """Return the form of a value without its content: letters as ``A``, digits as ``9``."""
    return _DIGIT.sub("9", _LETTER.sub("A", value))[:64] or "(empty)"


def report_wave(
    ledger: Ledger,
    wave_id: str,
    ruleset: RuleSet,
    ruleset_sha256: str,
    corrections: Sequence[Correction],
    before: WaveJudgement,
    after: WaveJudgement,
) -> str:
    """Return the report as HTML: counts, UIDs and masked values only."""
    with ledger.read() as connection:
        headers, untouched = count_untouched(connection, wave_id, corrections)
        scores = wave_scores(connection, wave_id)
    return render_report(
        "cleansing_report.html.j2",
        wave_id=wave_id,
        ruleset_sha256=ruleset_sha256,
        score_before=before.score,
        score_after=after.score,
        rules=[*_by_rule(ruleset, corrections), *_by_list(corrections)],
        corrections=len(corrections),
        studies_corrected=len({correction.study_instance_uid for correction in corrections}),
        headers=headers,
        untouched=untouched,
        suites=_side_by_side(before, after),
        scores=scores,
        kinds=KINDS,
        failing=sorted(after.failing.items())[:MAX_LISTED],
        failing_total=len(after.failing),
        exceptions=_open_exceptions(ledger, wave_id),
    )


def _by_rule(ruleset: RuleSet, corrections: Sequence[Correction]) -> list[dict[str, Any]]:
    rows = []
    for rule in ruleset.rules:
        mine = [correction for correction in corrections if correction.rule_id == rule.id]
        forms = Counter((masked(item.old_value), masked(item.new_value)) for item in mine)
        if rule.operation.declare_charset:  # character sets are not PHI and worth reading
            forms = Counter((item.old_value or "(empty)", item.new_value) for item in mine)
        rows.append(
            {
                "id": rule.id,
                "keyword": rule.keyword,
                "reason": rule.reason,
                "owner": rule.owner,
                "corrections": len(mine),
                "studies": len({item.study_instance_uid for item in mine}),
                "forms": [(old, new, count) for (old, new), count in forms.most_common(3)],
            }
        )
    return rows


def _by_list(corrections: Sequence[Correction]) -> list[dict[str, Any]]:
    """Return what the lists change, an attribute a line, as of a rule."""
    by_list = [c for c in corrections if c.rule_id in (PATIENTS_RULE, ORDERS_RULE)]
    rows = []
    for rule_id, keyword in sorted({(c.rule_id, c.keyword) for c in by_list}):
        mine = [c for c in by_list if (c.rule_id, c.keyword) == (rule_id, keyword)]
        forms = Counter((masked(item.old_value), masked(item.new_value)) for item in mine)
        rows.append(
            {
                "id": rule_id,
                "keyword": keyword,
                "reason": mine[0].reason,
                "owner": "who keeps the list",
                "corrections": len(mine),
                "studies": len({item.study_instance_uid for item in mine}),
                "forms": [(old, new, count) for (old, new), count in forms.most_common(3)],
            }
        )
    return rows


def _side_by_side(before: WaveJudgement, after: WaveJudgement) -> list[dict[str, Any]]:
    suites = []
    for first, second in zip(before.judgements, after.judgements, strict=True):
        rows = [
            {
                "title": old.title,
                "severity": old.severity,
                "evaluated": new.evaluated,
                "before": old.unexpected,
                "after": new.unexpected,
                "missed": bool(old.unexpected or new.unexpected),
            }
            for old, new in zip(first.findings, second.findings, strict=True)
        ]
        suites.append({"name": first.suite, "findings": rows})
    return suites


def _open_exceptions(ledger: Ledger, wave_id: str) -> dict[str, int]:
    table = schema.exception.c
    with ledger.read() as connection:
        reasons = connection.scalars(
            select(table.reason)
            .join(schema.study, schema.study.c.study_instance_uid == table.study_instance_uid)
            .where(
                schema.study.c.wave_id == wave_id,
                table.status == "open",
                table.phase == "cleansing",
            )
        )
        return dict(sorted(Counter(reasons).items()))


def approval_text(summary: Mapping[str, Any]) -> str:
    """Return what an approver reads in Airflow (Markdown): the proposal in a few lines."""
    return "\n".join(
        (
            f"**Wave {summary['wave_id']}**",
            "",
            f"- {summary['corrections']:,} corrections proposed by the rules",
            f"- {summary['score_before']:.1%} of the judged values are as expected now, "
            f"{summary['score_after']:.1%} with the corrections",
            f"- {summary['kept_back']:,} studies still fail a critical expectation, or contradict "
            "a list, and will be quarantined",
            f"- {summary['identity_conflicts']:,} contradictions between studies are reported",
            "",
            f"Report: {summary['report_uri']}",
            "",
            f"Approving binds to the rules and suites `{summary['ruleset_sha256']}`, also for "
            "later waves of the plan as long as they do not change.",
        )
    )
