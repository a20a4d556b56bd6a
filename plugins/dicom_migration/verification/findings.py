"""What verification finds wrong with a study, and what follows from it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from dicom_migration.errors import ReasonCode
from dicom_migration.ledger import ExceptionNote

if TYPE_CHECKING:
    from dicom_migration.manifest import StudyDelta

PHASE = "verification"


class Remedy(StrEnum):
    """What can make a finding go away."""

    RETRANSFER = "retransfer"  # sending the study again may heal it
    DECIDE = "decide"  # only a person can
    NONE = "none"  # nothing is wrong, but it should be known


class Outcome(StrEnum):
    """The value of ``verification.outcome``."""

    VERIFIED = "verified"
    MISMATCHED = "mismatched"
    UNDECIDED = "undecided"


@dataclass(frozen=True, slots=True)
class Finding:
    """One difference; `detail` and `fix` hold no PHI."""

    reason: ReasonCode
    remedy: Remedy
    detail: str
    fix: str = ""
    series_instance_uid: str = ""
    sop_instance_uid: str = ""


@dataclass(frozen=True, slots=True)
class StudyVerdict:
    """What the four witnesses said of one study, and whether they agree.

    Counts are of SOP Instances, as seen by the source now, at receipt, in the manifest and in
    the cloud. ``objects_attested`` counts objects whose checksum the store told instead of being
    read; ``bytes_read`` is in bytes. ``receipt`` tells how what was received was compared with
    the manifest: ``set`` of UIDs, ``counts`` alone, or "" when it was not; ``source_delta``,
    which instances the source lists now and did not send then, and the other way round.
    """

    study_instance_uid: str
    method: str
    source_instances: int
    received_instances: int
    manifest_instances: int
    cloud_instances: int
    objects_read: int = 0
    objects_attested: int = 0
    bytes_read: int = 0
    findings: tuple[Finding, ...] = ()
    receipt: str = ""
    source_delta: StudyDelta | None = None

    @property
    def outcome(self) -> Outcome:
        """Whether the study is verified, may heal by a new transfer, or needs a person."""
        remedies = {finding.remedy for finding in self.findings}
        if Remedy.DECIDE in remedies:
            return Outcome.UNDECIDED
        return Outcome.MISMATCHED if Remedy.RETRANSFER in remedies else Outcome.VERIFIED

    @property
    def reason(self) -> str:
        """Name the reasons of an outcome that is not ``verified``, comma-separated."""
        codes = {f.reason.value for f in self.findings if f.remedy is not Remedy.NONE}
        return ",".join(sorted(codes))


def exception_notes(verdict: StudyVerdict, limit: int, phase: str = PHASE) -> list[ExceptionNote]:
    """Return the ledger's exceptions: at most `limit` a reason, the rest summed up in one."""
    uid = verdict.study_instance_uid
    notes = []
    seen: Counter[ReasonCode] = Counter()
    for finding in verdict.findings:
        seen[finding.reason] += 1
        if seen[finding.reason] <= limit:
            notes.append(_note(uid, finding, phase))
    notes += [
        ExceptionNote(
            reason=reason,
            phase=phase,
            study_instance_uid=uid,
            detail=f"{count} instances in all, {limit} of them listed one by one.",
        )
        for reason, count in seen.items()
        if count > limit
    ]
    return notes


def first_of(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    """Return findings without repetitions, in order."""
    return tuple(dict.fromkeys(findings))


def _note(uid: str, finding: Finding, phase: str) -> ExceptionNote:
    return ExceptionNote(
        reason=finding.reason,
        phase=phase,
        study_instance_uid=uid,
        series_instance_uid=finding.series_instance_uid,
        sop_instance_uid=finding.sop_instance_uid,
        detail=finding.detail,
        suggested_fix=finding.fix,
    )
