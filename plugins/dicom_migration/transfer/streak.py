"""Telling one study's trouble from everybody's."""

from __future__ import annotations

from dicom_migration.errors import (
    MAY_CONCERN_EVERYBODY,
    MigrationError,
    PermanentError,
    ReasonCode,
)
from dicom_migration.transfer.study_transfer import StudyResult


class Streak:
    """Tells one study's trouble from everybody's: the same trouble `limit` times in a row."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._length = 0
        self._reason: ReasonCode | None = None

    @property
    def is_everybodys(self) -> bool:
        """Whether the last `limit` studies all failed."""
        return self._length >= self._limit

    def failed(self, error: MigrationError) -> bool:
        """Note a passing failure; return whether it is everybody's by now."""
        self._reason = error.reason
        self._length += 1
        return self.is_everybodys

    def ended_as(self, result: StudyResult) -> None:
        """Note a study that came to an end.

        Raises
        ------
        PermanentError
            The last studies were all refused for one reason that is rarely a study's own.
        """
        if result.reason not in MAY_CONCERN_EVERYBODY:
            self._length, self._reason = 0, None
            return
        self._length = self._length + 1 if result.reason is self._reason else 1
        self._reason = result.reason
        if self.is_everybodys:
            raise PermanentError(
                f"The source refused {self._length} studies in a row for the same reason.",
                reason=result.reason,
                next_step="Look at their exceptions and at the source's configuration; then plan "
                "the quarantined studies again.",
            )
