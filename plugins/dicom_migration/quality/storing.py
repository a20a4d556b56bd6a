"""Keeping judgements in the ledger: counts for trends and reports, no values."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from sqlalchemy import delete, insert, select

from dicom_migration.ledger import schema, utc_now

if TYPE_CHECKING:
    from dicom_migration.ledger import Ledger
    from dicom_migration.quality.results import QualityResult
    from dicom_migration.quality.scores import Score


def store_results(
    ledger: Ledger, phase: str, subject: str, results: Iterable[QualityResult]
) -> None:
    """Keep `results` of `phase` for `subject` (a wave, a plan, an inventory).

    What an earlier try of the same task stored under the same names is replaced.
    """
    table = schema.quality_result.c
    with ledger.write() as connection:
        for result in results:
            connection.execute(
                delete(schema.quality_result).where(
                    table.phase == phase, table.subject == subject, table.suite == result.suite
                )
            )
            connection.execute(
                insert(schema.quality_result).values(
                    phase=phase,
                    subject=subject,
                    suite=result.suite,
                    created_at=utc_now(),
                    success=result.success,
                    rows_judged=result.rows_judged,
                    summary=json.dumps(result.report()),
                )
            )


def store_scores(
    ledger: Ledger, phase: str, subject: str, run: str, moment: str, scores: Iterable[Score]
) -> None:
    """Keep the scores of one judgement; what the same run stored before is replaced."""
    table = schema.quality_score
    said = {"phase": phase, "subject": subject, "run": run[:250], "moment": moment}
    now = utc_now()
    rows = [
        {
            **said,
            "kind": score.kind,
            "name": score.name,
            "created_at": now,
            "rows_judged": score.rows,
            "evaluated": score.evaluated,
            "unexpected": score.unexpected,
        }
        for score in scores
    ]
    with ledger.write() as connection:
        connection.execute(delete(table).where(*(table.c[key] == said[key] for key in said)))
        if rows:
            connection.execute(insert(table), rows)


def stored_report(ledger: Ledger, phase: str, subject: str, suite: str) -> dict[str, Any] | None:
    """Return what :func:`store_results` kept, None when nothing was judged."""
    table = schema.quality_result.c
    with ledger.read() as connection:
        text = connection.scalar(
            select(table.summary)
            .where(table.phase == phase, table.subject == subject, table.suite == suite)
            .order_by(table.result_id.desc())
            .limit(1)
        )
    return None if text is None else dict(json.loads(text))
