"""What is in the source archive: counted in the ledger, without anything of a patient."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import case, func, select

from dicom_migration.discovery.conditions import dated
from dicom_migration.ledger import schema

if TYPE_CHECKING:
    from sqlalchemy import Connection

UNDATED, UNKNOWN = "undated", "unknown"
_STUDY = schema.study.c
_PLAIN_MODALITY = re.compile(r"[A-Z0-9_]{1,16}")
#: What accompanies images: a study is counted under what it was made with.
_BESIDE = frozenset({"SR", "PR", "KO", "DOC", "OT", "SC", "REG", "SEG", "AU", "PLAN"})


@dataclass(frozen=True, slots=True)
class Group:
    """Studies that share something; `bytes` is mostly an estimate."""

    name: str
    studies: int
    instances: int
    bytes: int


@dataclass(frozen=True, slots=True)
class SopClass:
    """A kind of object, and how many studies hold some; `unusual` says why it needs a look."""

    uid: str
    name: str
    studies: int
    unusual: str


@dataclass(frozen=True, slots=True)
class ArchiveFigures:
    """The whole inventory.

    Attributes
    ----------
    by_basis
        By where the size is from: told, sampled, assumed.
    bytes_error
        Half of a 95 % confidence interval of the measured sizes, all errors in one direction.
    sop_classes
        Empty when the source tells none.
    uncounted
        Studies whose number of instances the source does not tell.
    """

    total: Group
    by_year: list[Group]
    by_modality: list[Group]
    by_basis: list[Group]
    by_state: dict[str, int]
    bytes_error: int
    sop_classes: list[SopClass]
    uncounted: int
    vanished: int

    @property
    def undated(self) -> int:
        """Studies without a usable Study Date."""
        return sum(group.studies for group in self.by_year if group.name == UNDATED)


def archive_figures(connection: Connection) -> ArchiveFigures:
    """Count the inventory: two passes over the studies, whatever their number."""
    year = case((dated(), func.substr(_STUDY.study_date, 1, 4)), else_=UNDATED)
    basis = case((_STUDY.bytes_basis == "", "assumed"), else_=_STUDY.bytes_basis)
    rows = connection.execute(
        select(
            year.label("year"),
            _STUDY.modalities,
            _STUDY.state,
            basis.label("basis"),
            func.count().label("studies"),
            func.coalesce(func.sum(_STUDY.number_of_instances), 0).label("instances"),
            func.coalesce(func.sum(_STUDY.bytes_estimated), 0).label("bytes"),
            func.coalesce(func.sum(_STUDY.bytes_error), 0).label("error"),
            func.count().filter(_STUDY.number_of_instances.is_(None)).label("uncounted"),
            func.count().filter(_STUDY.vanished_at.is_not(None)).label("vanished"),
        ).group_by("year", _STUDY.modalities, _STUDY.state, "basis")
    ).all()
    states = merged((row.state, row) for row in rows)
    return ArchiveFigures(
        total=next(iter(merged(("all", row) for row in rows)), Group("all", 0, 0, 0)),
        by_year=merged((row.year, row) for row in rows),
        by_modality=merged((main_modality(row.modalities), row) for row in rows),
        by_basis=merged((row.basis, row) for row in rows),
        by_state={group.name: group.studies for group in states},
        bytes_error=sum(int(row.error) for row in rows),
        sop_classes=_sop_classes(connection),
        uncounted=sum(int(row.uncounted) for row in rows),
        vanished=sum(int(row.vanished) for row in rows),
    )


def merged(named: Iterable[tuple[str, Any]]) -> list[Group]:
    """Add up rows of ``studies``, ``instances`` and ``bytes`` that share a name, in its order."""
    sums: dict[str, list[int]] = {}
    for name, row in named:
        values = sums.setdefault(name, [0, 0, 0])
        for at, value in enumerate((row.studies, row.instances, row.bytes)):
            values[at] += int(value)
    return [Group(name, *sums[name]) for name in sorted(sums)]


def main_modality(modalities: str) -> str:
    """Return what a study is counted under: the first modality that makes images.

    What is not written as a modality is (PS3.3 section C.7.3.1.1.1) is not repeated.
    """
    plain = [part for part in modalities.split("\\") if _PLAIN_MODALITY.fullmatch(part)]
    return next((part for part in plain if part not in _BESIDE), plain[0] if plain else UNKNOWN)


def _sop_classes(connection: Connection) -> list[SopClass]:
    counts: dict[str, int] = {}
    rows = connection.execute(
        select(_STUDY.sop_classes, func.count())
        .where(_STUDY.sop_classes != "")
        .group_by(_STUDY.sop_classes)
    )
    for text, studies in rows:
        for uid in set(text.split("\\")) - {""}:
            counts[uid] = counts.get(uid, 0) + int(studies)
    found = [_sop_class(uid, studies) for uid, studies in counts.items()]
    return sorted(found, key=lambda each: (-each.studies, each.uid))


def _sop_class(uid: str, studies: int) -> SopClass:
    from pydicom.uid import UID

    from dicom_migration.uids import is_valid_uid

    if not is_valid_uid(uid):
        return SopClass("", "not a UID", studies, "malformed")
    known = UID(uid)
    name = str(known.name)
    if name == uid:
        return SopClass(uid, "private or unknown", studies, "not in the standard")
    unusual = "retired" if known.info == "Retired" or "(Retired)" in name else ""
    if "Raw Data" in name:
        unusual = "raw data, large and no image"
    return SopClass(uid, name, studies, unusual)
