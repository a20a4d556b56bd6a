"""Finding all studies of a window, however few the source is willing to return at once.

Whatever a source answers is passed on: a study that was reported is never lost. An answer that
looks cut off is asked for again in smaller parts, and what it held must turn up in those; if it
does not, the parts are cut along another axis. What cannot be proven complete is named.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Generator, Iterator
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from dicom_migration.archive import SearchableArchive, StudyRecord, result_cap_of
from dicom_migration.discovery.answers import Answers, parse_date
from dicom_migration.discovery.density import Density
from dicom_migration.discovery.slices import Axis, Slice
from dicom_migration.discovery.windows import UNDATED, Window
from dicom_migration.errors import (
    MAY_CONCERN_EVERYBODY,
    PermanentError,
    TransientError,
)

if TYPE_CHECKING:
    from dicom_migration.policies.discovery import DiscoveryPolicy

    Found = Generator[list[StudyRecord], None, bool]

BATCH = 500
"""Studies that are passed on at once, and so held in memory."""
SAMPLE = 20_000
"""Studies of a cut-off answer that are looked for in its parts."""
GIVE_UP_AFTER = 40
"""Queries in a row that the source failed: it is the source, not the question. One defective row
fails each query on the way down to it, which is half as many."""
_STRAYS = 100
#: Stands in a sample for what an answer that broke off would have held: its parts must bring
#: something, or the defect is in all of them.
_SOMETHING = "something"

CUT_OFF = "looks cut off and cannot be asked in smaller parts"
BROKEN_OFF = "breaks off, however small the part that is asked for"
SPENT = "takes more queries than the policy allows (window_queries, undated_queries)"
INCONSISTENT = "lacks studies that a wider query had brought"
DATES_IGNORED = "holds other dates and is cut off: the source ignores the Study Date of a query"
NO_PATIENT_ID = "studies without a usable date and without a usual Patient ID"


@dataclass(slots=True)
class _Answer:
    """One answer: how long, whether it is all, and whether the question was understood."""

    rows: int = 0
    strays: int = 0
    cut_off: bool = False
    broken: bool = False
    refused: bool = False
    uids: set[str] = field(default_factory=set)

    def ignores_dates(self) -> bool:
        """Tell whether the source overlooks the range of dates; a single stray is a defect."""
        return self.strays * 2 > self.rows

    def is_useless(self, axis: Axis) -> bool:
        """Tell whether smaller parts along this axis would bring the same again."""
        if axis is Axis.DATE:
            return self.cut_off and self.ignores_dates()
        return self.refused or self.strays > 0


class WindowSearch:
    """Searches windows, and learns from one how to ask for the next.

    Parameters
    ----------
    archive
        The source.
    policy
        What looks cut off, and how many queries a window may take.
    """

    def __init__(self, archive: SearchableArchive, policy: DiscoveryPolicy) -> None:
        self._archive = archive
        self._policy = policy
        self._density = Density(result_cap_of(archive) or policy.result_cap)
        self._answers = Answers()
        self._allowed = 0
        self._awaited: list[set[str]] = []
        self._failed_in_a_row = 0
        self._undated_only = False
        #: Attributes that some study of this source lacks: cutting by them hides others like it.
        self._lacking: set[Axis] = set()

    def find(self, window: Window, answers: Answers) -> Iterator[list[StudyRecord]]:
        """Yield the studies of a window in lists, as they come; duplicates are left in.

        Raises
        ------
        TransientError, PermanentError
            The source is down, refuses us, or failed for several queries in a row.
        """
        self._answers, self._awaited = answers, []
        self._undated_only = window.kind == UNDATED
        if self._undated_only:
            self._allowed = 1 + self._policy.undated_queries
            yield from self._find_undated()
            return
        self._allowed = self._policy.window_queries
        whole = Slice(window.first, window.last)
        if not (yield from self._walk([whole], Axis.DATE, set())) and not answers.unproven:
            self._name(whole, INCONSISTENT)

    def _find_undated(self) -> Iterator[list[StudyRecord]]:
        """Ask for everything and keep what no range matches; by Patient ID when it is cut off.

        That finds more, and proves nothing: who has no Patient ID matches no beginning.
        """
        whole = Slice()
        answer = yield from self._ask(whole, Axis.DATE)
        if answer is None or not answer.cut_off:
            return
        parts = whole.cut(Axis.PATIENT, 2)
        if (yield from self._walk(parts, Axis.PATIENT, set())):
            self._answers.unproven[NO_PATIENT_ID] = CUT_OFF
        else:
            self._answers.unproven["studies without a usable date"] = CUT_OFF

    def _walk(self, parts: list[Slice], axis: Axis, sample: set[str]) -> Found:
        """Ask for the parts, cut along `axis` as far as they have to be.

        Returns whether all their studies were found: no answer was cut off for good, and each
        study of `sample` turned up again. Parts of dates that were not are named here.
        """
        awaited = set(sample)
        self._awaited.append(awaited)
        left, proven = deque(parts), True
        while left:
            part = left.popleft()
            if smaller := self._foreseen(part, axis):
                self._queue(left, smaller)
                continue
            answer = yield from self._ask(part, axis)
            if answer is None or answer.is_useless(axis):
                rest = replace(parts[-1], first=part.first)
                self._name_if_dated(axis, rest, SPENT if answer is None else DATES_IGNORED)
                proven = False
                break
            if not answer.cut_off:
                continue
            awaited |= answer.uids
            if smaller := part.cut(axis, self._pieces(part, axis)):
                self._queue(left, smaller)
            elif not (yield from self._settle(part, axis, answer.uids)):
                self._name_if_dated(axis, part, BROKEN_OFF if answer.broken else CUT_OFF)
                awaited -= answer.uids
                proven = False
        self._awaited.pop()
        return proven and not awaited

    def _settle(self, part: Slice, axis: Axis, sample: set[str]) -> Found:
        """Find the studies of a part that cannot be cut along `axis` any more."""
        if self._undated_only and axis is Axis.PATIENT:
            return False
        for other in Axis:
            parts = part.cut(other, self._pieces(part, other)) if other > axis else []
            if not parts or not (yield from self._walk(parts, other, sample)):
                continue
            if other not in self._lacking:
                self._answers.caveats.add(other.attribute)
                return True
        return False

    def _queue(self, left: deque[Slice], smaller: list[Slice]) -> None:
        """Put parts next; last where no proof is sought, so that rare beginnings show early."""
        if self._undated_only:
            left.extend(smaller)
        else:
            left.extendleft(reversed(smaller))

    def _foreseen(self, part: Slice, axis: Axis) -> list[Slice]:
        """Return the parts to ask for instead of one that will not fit an answer."""
        pieces = self._density.pieces(part.days) if axis is Axis.DATE else 1
        return part.cut(axis, pieces) if pieces > 1 else []

    def _pieces(self, part: Slice, axis: Axis) -> int:
        days = part.days if axis is Axis.DATE else None
        return self._density.pieces_of_cut_off(days)

    def _ask(self, part: Slice, axis: Axis) -> Generator[list[StudyRecord], None, _Answer | None]:
        """Pass on the answer for a part, and judge it; None when no query is left.

        A source may fail because of how much it is asked for: out of resources, or an abort in
        the middle. While it still answers an echo, that is an answer cut off.
        """
        if self._answers.queries >= self._allowed:
            return None
        answer = _Answer()
        yield from self._attempt(part, axis, answer)
        if answer.broken and answer.rows == 0:
            yield from self._attempt(part, axis, answer)
        capped = self._policy.looks_capped(answer.rows, result_cap_of(self._archive))
        answer.cut_off = answer.broken or capped
        if answer.broken:
            answer.uids.add(_SOMETHING)
        if axis is Axis.DATE:
            self._density.learn(answer.rows, part.days, answer.cut_off)
            if answer.strays >= _STRAYS and answer.ignores_dates():
                self._answers.dates_ignored = True
        return answer

    def _attempt(self, part: Slice, axis: Axis, answer: _Answer) -> Iterator[list[StudyRecord]]:
        answer.broken = False
        try:
            yield from self._listen(part, axis, answer)
        except TransientError:
            answer.broken = True
            # A source that overlooks identifiers meets its defective row at every one of them.
            hopeless = self._is_hopeless()
            answer.refused = hopeless and axis > Axis.TIME
            if hopeless and not answer.refused:
                raise
        except PermanentError as error:
            if axis is Axis.DATE or error.reason not in MAY_CONCERN_EVERYBODY:
                raise
            answer.refused = True
        else:
            self._failed_in_a_row = 0

    def _listen(self, part: Slice, axis: Axis, answer: _Answer) -> Iterator[list[StudyRecord]]:
        self._answers.queries += 1
        batch: list[StudyRecord] = []
        for record in self._archive.find_studies(part.query()):
            answer.rows += 1
            answer.strays += part.is_outside(axis, record)
            self._note_lacking(record)
            uid = record.study_instance_uid
            for awaited in self._awaited:
                awaited.discard(uid)
                awaited.discard(_SOMETHING)
            if len(answer.uids) < SAMPLE and part.expects(axis, record):
                answer.uids.add(uid)
            if self._undated_only and parse_date(record.study_date) is not None:
                continue
            batch.append(record)
            if len(batch) >= BATCH:
                yield batch
                batch = []
        yield batch

    def _note_lacking(self, record: StudyRecord) -> None:
        if not record.study_time:
            self._lacking.add(Axis.TIME)
        if not record.patient_id:
            self._lacking.add(Axis.PATIENT)
        if not record.accession_number:
            self._lacking.add(Axis.ACCESSION)

    def _is_hopeless(self) -> bool:
        """Tell a question that is too big from a source that fails whatever it is asked.

        Raises
        ------
        TransientError, PermanentError
            The source does not even answer a check.
        """
        self._failed_in_a_row += 1
        self._archive.check()
        return self._failed_in_a_row >= GIVE_UP_AFTER

    def _name_if_dated(self, axis: Axis, part: Slice, why: str) -> None:
        if axis is Axis.DATE:
            self._name(part, why)

    def _name(self, part: Slice, why: str) -> None:
        self._answers.unproven.setdefault(str(part), why)
