"""Keeps an association for queries, so that a study does not cost three negotiations.

An iterator owns its association until it ends; then the next query may have it. A source closes
idle associations when it likes, so a query whose association ended before the first answer is
asked again, once, on a new one.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from dicom_migration.archive.association_request import request_association
from dicom_migration.archive.dimse_association import Association
from dicom_migration.archive.dimse_query import STUDY_ROOT_FIND, find
from dicom_migration.archive.dimse_settings import DimseSettings
from dicom_migration.archive.presentation_contexts import QUERY_SYNTAXES
from dicom_migration.archive.records import Attributes
from dicom_migration.errors import TransientError


class QueryAssociations:
    """Lends one kept association at a time; opens another when it is lent already."""

    def __init__(self, settings: DimseSettings) -> None:
        self._settings = settings
        self._kept: Association | None = None

    def find(self, keys: Mapping[int, str]) -> Iterator[Attributes]:
        """Yield the answers to one C-FIND.

        Raises
        ------
        TransientError, PermanentError
            As :func:`~dicom_migration.archive.dimse_query.find`.
        """
        kept, self._kept = self._kept, None
        answered = False
        if kept is not None:
            try:
                for answer in self._ask(kept, keys):
                    answered = True
                    yield answer
                return
            except TransientError:
                # While it is open, the source spoke: an error of this query, not of its age.
                if answered or kept.is_open:
                    raise
        yield from self._ask(self._open(), keys)

    def close(self) -> None:
        """Release the kept association; safe to call twice."""
        kept, self._kept = self._kept, None
        if kept is not None:
            kept.release()

    def _open(self) -> Association:
        return request_association(self._settings, [(STUDY_ROOT_FIND, QUERY_SYNTAXES)])

    def _ask(self, association: Association, keys: Mapping[int, str]) -> Iterator[Attributes]:
        try:
            yield from find(association, keys, self._settings.dimse_timeout_s)
        except BaseException:
            # GeneratorExit included: answers still under way would be taken for the next query's.
            association.abort()
            raise
        if self._kept is None:
            self._kept = association
        else:
            association.release()
