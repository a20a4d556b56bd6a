"""Completeness of the cloud copy beside what the source's headers said before the cleansing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from dicom_migration.errors import ReasonCode
from dicom_migration.judgements import JudgedFinding, Judgement
from dicom_migration.ledger import ExceptionNote
from dicom_migration.reporting import render_report
from dicom_migration.verification.findings import PHASE


@dataclass(slots=True)
class Tally:
    """Values judged by one expectation, and those that do not meet it."""

    evaluated: int = 0
    unexpected: int = 0

    def add(self, finding: JudgedFinding) -> None:
        """Count the values of a finding too."""
        self.evaluated += finding.evaluated
        self.unexpected += finding.unexpected


@dataclass(slots=True)
class Line:
    """One expectation: of the source's headers, of the same instances in the cloud, of all."""

    suite: str
    title: str
    severity: str
    before: Tally = field(default_factory=Tally)
    after: Tally = field(default_factory=Tally)
    cloud: Tally = field(default_factory=Tally)


@dataclass(slots=True)
class Comparison:
    """The wave's completeness before and after, expectation by expectation.

    `before` and `after` are judged on the same instances (those whose headers the cleansing
    read), so that the two may be compared; `cloud` is every instance of the wave.
    `worsened` are studies that met a critical expectation before and do not in the cloud.
    """

    wave_id: str
    lines: list[Line] = field(default_factory=list)
    worsened: list[ExceptionNote] = field(default_factory=list)

    def score(self, when: str) -> float | None:
        """Return the share of judged values as expected (0 to 1), None when none was judged."""
        tallies: list[Tally] = [getattr(line, when) for line in self.lines]
        evaluated = sum(tally.evaluated for tally in tallies)
        if not evaluated:
            return None
        return 1 - sum(tally.unexpected for tally in tallies) / evaluated

    def summary(self) -> dict[str, Any]:
        """Return scores and counts, small enough for XCom."""
        scores = {f"score_{when}": self.score(when) for when in ("before", "after", "cloud")}
        rounded = {name: None if s is None else round(s, 4) for name, s in scores.items()}
        return {**rounded, "worsened": len({note.study_instance_uid for note in self.worsened})}

    def render(self) -> str:
        """Return the report as HTML: counts and UIDs only."""
        suites: dict[str, list[Line]] = {}
        for line in self.lines:
            suites.setdefault(line.suite, []).append(line)
        return render_report(
            "completeness_report.html.j2",
            wave_id=self.wave_id,
            scores={when: self.score(when) for when in ("before", "after", "cloud")},
            suites=suites,
            worsened=self.worsened,
        )


def compare_judgements(
    wave_id: str,
    before: Sequence[Judgement],
    after: Sequence[Judgement],
    cloud: Sequence[Sequence[Judgement]],
) -> Comparison:
    """Bring judgements by the same suites together; `cloud` holds one list a part of the wave."""
    lines: dict[tuple[str, str], Line] = {}

    def line(suite: str, finding: JudgedFinding) -> Line:
        key = (suite, finding.title)
        return lines.setdefault(key, Line(suite, finding.title, finding.severity))

    result = Comparison(wave_id)
    for old, new in zip(before, after, strict=True):
        for was, now in zip(old.findings, new.findings, strict=True):
            line(old.suite, was).before.add(was)
            line(old.suite, was).after.add(now)
            if now.severity == "critical":
                result.worsened += _worsened(old.suite, was, now)
    for part in cloud:
        for judgement in part:
            for finding in judgement.findings:
                line(judgement.suite, finding).cloud.add(finding)
    result.lines = list(lines.values())
    return result


def _worsened(suite: str, was: JudgedFinding, now: JudgedFinding) -> list[ExceptionNote]:
    failed_before = set(was.keys)
    counted = Counter(key[0] for key in now.keys if key not in failed_before)
    return [
        ExceptionNote(
            reason=ReasonCode(now.reason_code),
            phase=PHASE,
            study_instance_uid=uid,
            detail=f"{now.title}: met by the source's headers and not by {count} of the same "
            "instances in the cloud.",
            suggested_fix="Look at the approved corrections of the study and at its audit.",
            subject=f"{suite}: {now.title}"[:128],
        )
        for uid, count in sorted(counted.items())
    ]
