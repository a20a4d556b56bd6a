"""Refusals that may be one study's or everybody's: the same several times in a row is the latter.

What a study is blamed for is held back while it could still turn out to be everybody's.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from dicom_migration.errors import MAY_CONCERN_EVERYBODY, PermanentError, ReasonCode
from dicom_migration.verification.findings import StudyVerdict

#: Studies in a row with the same refusal after which none of them is blamed.
SAME_IN_A_ROW = 5


@dataclass(slots=True)
class Refusals:
    """Verdicts held back because the same refusal has met every study of late."""

    _held: list[StudyVerdict] = field(default_factory=list)
    _reason: ReasonCode | None = None

    def admit(self, verdict: StudyVerdict) -> list[StudyVerdict]:
        """Take the next verdict and return those that may be recorded now, in order.

        Raises
        ------
        PermanentError
            With the refusal's reason, when it met :data:`SAME_IN_A_ROW` studies in a row; none
            of them was returned.
        """
        reason = refusal_of(verdict)
        free = self.rest() if reason is not self._reason else []
        self._reason = reason
        if reason is None:
            return [*free, verdict]
        self._held.append(verdict)
        if len(self._held) >= SAME_IN_A_ROW:
            raise _everybodys(reason, verdict)
        return free

    def rest(self) -> list[StudyVerdict]:
        """Return what is still held back, and hold nothing any more."""
        held, self._held = self._held, []
        self._reason = None
        return held


def refusal_of(verdict: StudyVerdict) -> ReasonCode | None:
    """Return the one reason of a verdict that may be everybody's, None when it is the study's."""
    reasons = {finding.reason for finding in verdict.findings}
    if len(reasons) != 1:
        return None
    reason = reasons.pop()
    return reason if reason in MAY_CONCERN_EVERYBODY else None


def _everybodys(reason: ReasonCode, last: StudyVerdict) -> PermanentError:
    finding = last.findings[-1]
    return PermanentError(
        f"{SAME_IN_A_ROW} studies in a row met the same refusal, so that none of them is blamed; "
        f"the last, study {last.study_instance_uid}: {finding.detail}",
        reason=reason,
        next_step=f"{finding.fix} Then clear the task; what is verified is not read again.".strip(),
    )
