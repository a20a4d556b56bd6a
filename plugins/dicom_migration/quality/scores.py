"""Scores: which share of the judged values is as expected, for each group of rows.

A score is 1 - unexpected / evaluated. It is counted by suite and, from the rows that fail, by
modality, institution and year of study. What a group is called may be shown, so a name stands
for many headers or it is not told: a field that was filled with something else stays in the
ledger's facts.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from numpy import intp
    from numpy.typing import NDArray
    from pandas import DataFrame

    from dicom_migration.quality.results import QualityResult

#: Column of the frame, and what the group is called.
GROUPS = {"modality": "modality", "institution_name": "institution", "study_year": "year"}
#: A group's name is told when so many headers bear it, and for so many groups of a kind.
MIN_HEADERS, MAX_GROUPS = 10, 40
NONE, OTHERS, EMPTY = "(none)", "(others)", " "
# Defined terms of Modality (0008,0060): PS3.3 section C.7.3.1.1.1, the retired ones too.
_DEFINED_TERMS = (
    "ANN AR ASMT AU BDUS BI BMD CFM CR CT CTPROTOCOL DG DMS DOC DX ECG EEG EMG EOG EPS ES FID GM "
    "HC HD IO IOL IVOCT IVUS KER KO LEN LS MG MR M3D NM OAM OCT OP OPM OPT OPTBSV OPTENF OPV OSS "
    "OT PA PLAN POS PR PT PX REG RESP RF RG RTDOSE RTIMAGE RTINTENT RTPLAN RTRAD RTRECORD "
    "RTSEGANN RTSTRUCT RWV SEG SM SMR SR SRF STAIN TEXTUREMAP TG US VA XA XAPROTOCOL XC "
    "AS CD CF CP CS DD DF DM DS EC FA FS LP MA MS OPR ST TELE VF"
)
MODALITIES = frozenset(_DEFINED_TERMS.split())
_YEAR = re.compile(r"(19|20)[0-9]{2}")


@dataclass(slots=True)
class Tally:
    """Counts of one group: its rows, the values judged in them, and those not as expected."""

    rows: int = 0
    evaluated: int = 0
    unexpected: int = 0

    def add(self, other: Tally, *, same_rows: bool = False) -> None:
        """Add the other's counts; with `same_rows` its rows are these, judged otherwise."""
        self.rows = max(self.rows, other.rows) if same_rows else self.rows + other.rows
        self.evaluated += other.evaluated
        self.unexpected += other.unexpected


@dataclass(frozen=True, slots=True)
class Score:
    """What is kept of a group; `kind` is ``all``, ``suite``, or a value of :data:`GROUPS`."""

    kind: str
    name: str
    rows: int
    evaluated: int
    unexpected: int


@dataclass(slots=True)
class GroupCounter:
    """Counts the failing rows of one frame by the groups that its columns make."""

    groups: dict[str, dict[str, Tally]] = field(default_factory=dict)
    _codes: dict[str, tuple[NDArray[intp], list[str], NDArray[intp]]] = field(default_factory=dict)
    _rows: int = 0

    @classmethod
    def of(cls, frame: DataFrame) -> GroupCounter:
        """Return one for the columns of :data:`GROUPS` that the frame has."""
        import numpy
        import pandas

        counter = cls(_rows=len(frame))
        for column, kind in GROUPS.items():
            if column not in frame:
                continue
            codes, distinct = pandas.factorize(frame[column])
            names = [*(str(name) or EMPTY for name in distinct), ""]
            codes = numpy.where(codes < 0, len(distinct), codes)
            rows = numpy.bincount(codes, minlength=len(names))
            counter._codes[kind] = (codes, names, rows)
            counter.groups[kind] = {
                name: Tally(rows=int(count)) for name, count in zip(names, rows, strict=True)
            }
        return counter

    def add(self, evaluated: int, positions: NDArray[intp]) -> None:
        """Count one expectation; one that judged only some of the rows has no group."""
        import numpy

        if evaluated != self._rows:
            return
        for kind, (codes, names, rows) in self._codes.items():
            failing = numpy.bincount(codes[positions], minlength=len(names))
            for name, judged, unexpected in zip(names, rows, failing, strict=True):
                tally = self.groups[kind][name]
                tally.evaluated += int(judged)
                tally.unexpected += int(unexpected)


def scores_of(results: Sequence[QualityResult]) -> list[Score]:
    """Return the scores of everything, of each suite, and of each group over all suites."""
    total, scores = Tally(), []
    for result in results:
        suite = Tally(
            result.rows_judged,
            sum(finding.evaluated for finding in result.findings),
            sum(finding.unexpected for finding in result.findings),
        )
        total.add(suite, same_rows=True)
        scores.append(_score("suite", result.suite, suite))
    scores.insert(0, _score("all", "", total))
    for kind in GROUPS.values():
        together: dict[str, Tally] = {}
        for result in results:
            for name, tally in result.groups.get(kind, {}).items():
                together.setdefault(name, Tally()).add(tally, same_rows=True)
        scores += [_score(kind, name, tally) for name, tally in _told(kind, together).items()]
    return scores


def _told(kind: str, tallies: dict[str, Tally]) -> dict[str, Tally]:
    """Return the groups by the names that may be shown, the largest ones by themselves."""
    told: dict[str, Tally] = {}
    present = ((name, tally) for name, tally in tallies.items() if tally.rows)
    for name, tally in sorted(present, key=lambda item: (-item[1].rows, item[0])):
        shown = NONE if not name.strip() else name if _may_be_told(kind, name, tally) else OTHERS
        if shown not in told and len(told) >= MAX_GROUPS:
            shown = OTHERS
        told.setdefault(shown, Tally()).add(tally)
    return told


def _may_be_told(kind: str, name: str, tally: Tally) -> bool:
    if kind == "modality":
        return name in MODALITIES
    if kind == "year":
        return _YEAR.fullmatch(name) is not None
    return tally.rows >= MIN_HEADERS and len(name) <= 64


def _score(kind: str, name: str, tally: Tally) -> Score:
    return Score(kind, name, tally.rows, tally.evaluated, tally.unexpected)
