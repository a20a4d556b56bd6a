"""The first task of a DAG does not try again: what it meets is for the person who started it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from dicom_migration.errors import TransientError


@contextlib.contextmanager
def for_a_person() -> Iterator[None]:
    """Say in a passing error that nobody tries again by itself.

    Raises
    ------
    TransientError
        The same, with another next step.
    """
    try:
        yield
    except TransientError as error:
        wanted = error.next_step or "Set it right."
        raise TransientError(
            error.message,
            reason=error.reason,
            next_step=f"{wanted} This first task does not try again by itself: clear it then.",
            study_instance_uid=error.study_instance_uid,
        ) from error
