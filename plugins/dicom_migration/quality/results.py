"""What judging found: counts for everybody, keys for the ledger, values for nobody."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dicom_migration.quality.scores import Tally


@dataclass(frozen=True, slots=True)
class Finding:
    """One expectation's outcome.

    Attributes
    ----------
    evaluated, unexpected
        Rows judged, and rows that do not meet the expectation.
    keys
        Identifiers of the failing rows, in the order of the key columns that were asked for.
        Identifiers only: an offending value may be PHI.
    """

    title: str
    expectation: str
    columns: str
    reason_code: str
    severity: str
    evaluated: int
    unexpected: int
    success: bool
    suggested_fix: str = ""
    keys: Sequence[tuple[str, ...]] = ()


@dataclass(frozen=True, slots=True)
class QualityResult:
    """One suite's outcome; `success` speaks of critical expectations only.

    `groups` has the counts by modality, institution and year, for the columns that were judged.
    """

    suite: str
    rows_judged: int
    findings: tuple[Finding, ...]
    groups: dict[str, dict[str, Tally]] = field(default_factory=dict, repr=False)

    @property
    def success(self) -> bool:
        """No critical expectation failed."""
        return not any(f.severity == "critical" and not f.success for f in self.findings)

    def summary(self) -> dict[str, Any]:
        """Return counts, small enough for XCom and free of identifiers."""
        failed = [finding for finding in self.findings if not finding.success]
        return {
            "suite": self.suite,
            "rows": self.rows_judged,
            "success": self.success,
            "expectations": len(self.findings),
            "failed_critical": sum(finding.severity == "critical" for finding in failed),
            "failed_other": sum(finding.severity != "critical" for finding in failed),
        }

    def report(self) -> dict[str, Any]:
        """Return everything but the keys, for the ledger and for reports."""
        told = [each.name for each in fields(Finding) if each.name != "keys"]
        findings = [{name: getattr(f, name) for name in told} for f in self.findings]
        return {**self.summary(), "findings": findings}

    def table(self) -> str:
        """Return the findings as lines of text for a task log."""
        lines = [f"{self.suite}: {self.rows_judged} rows"]
        lines += [
            f"  {'ok  ' if finding.success else 'FAIL'} {finding.severity:8} "
            f"{finding.unexpected:>9} of {finding.evaluated:>9}  {finding.title}"
            for finding in self.findings
        ]
        return "\n".join(lines)
