"""Judging a wave's headers by the suites, as they are and as they will be."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import TYPE_CHECKING, Protocol

from dicom_migration.cleansing.facts import KEYS, wave_frame
from dicom_migration.errors import ReasonCode
from dicom_migration.judgements import JudgedFinding, Judgement

if TYPE_CHECKING:
    from pandas import DataFrame

    from dicom_migration.cleansing.proposals import Correction
    from dicom_migration.ledger import Ledger


class Judge(Protocol):
    """What judges a frame by a suite: ``dicom_migration.quality.judge_frame``."""

    def __call__(self, frame: DataFrame, suite_name: str, keys: Sequence[str] = ()) -> Judgement:
        """Judge; `keys` are the columns that name a failing row."""


@dataclass(frozen=True, slots=True)
class Failure:
    """A critical expectation that a study does not meet, and the first header that shows it."""

    title: str
    reason: ReasonCode
    series_instance_uid: str
    sop_instance_uid: str
    suggested_fix: str
    headers: int = 1


@dataclass(slots=True)
class WaveJudgement:
    """All suites' outcomes, and the studies that critical expectations keep back.

    `score` is the share of judged values that met their expectation, 0 to 1.
    """

    judgements: list[Judgement] = field(default_factory=list)
    failing: dict[str, list[Failure]] = field(default_factory=dict)

    @property
    def score(self) -> float:
        """Share of judged values that met their expectation."""
        findings = [f for judgement in self.judgements for f in judgement.findings]
        evaluated = sum(finding.evaluated for finding in findings)
        unexpected = sum(finding.unexpected for finding in findings)
        return 1.0 if not evaluated else 1 - unexpected / evaluated


def judge_wave(
    ledger: Ledger,
    wave_id: str,
    suites: Iterable[str],
    judge: Judge,
    today: date,
    corrections: Iterable[Correction] = (),
    columns: Collection[str] | None = None,
) -> WaveJudgement:
    """Judge the wave's headers as they will be with `corrections` applied.

    `columns` are those that the suites look at: no other one is read. None: all.
    """
    frame = wave_frame(ledger, wave_id, today, corrections, columns)
    outcome = WaveJudgement()
    for suite in suites:
        judgement = judge(frame, suite, KEYS)
        outcome.judgements.append(judgement)
        for finding in judgement.findings:
            if finding.severity == "critical":
                _keep_back(outcome, finding)
    return outcome


def _keep_back(outcome: WaveJudgement, finding: JudgedFinding) -> None:
    seen: dict[str, list[tuple[str, str]]] = {}
    for study, series, sop in finding.keys:
        seen.setdefault(study, []).append((series, sop))
    for study, headers in seen.items():
        series, sop = headers[0]
        outcome.failing.setdefault(study, []).append(
            Failure(
                finding.title,
                ReasonCode(finding.reason_code),
                series,
                sop,
                finding.suggested_fix,
                len(headers),
            )
        )
