"""The packed layout: a series becomes one stored ZIP as soon as its last instance has arrived."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import BinaryIO, cast

from dicom_migration.archive import InstanceRecord
from dicom_migration.cloud import CloudStore
from dicom_migration.manifest import ManifestRow
from dicom_migration.transfer.instance_pass import Examined, PassSettings
from dicom_migration.transfer.never_overwrite import create_beside
from dicom_migration.transfer.series_stage import OWN_FILES, SeriesStage, Staged
from dicom_migration.transfer.series_zip import SeriesZip
from dicom_migration.transfer.spool import MemoryBudget
from dicom_migration.transfer.zip_format import Entry


@dataclass(frozen=True, slots=True)
class _Member:
    """An instance that waits for its series; `again` when its UID has come before."""

    row: ManifestRow
    content: Staged
    again: bool

    @property
    def name(self) -> str:
        distinct = f".{self.row.object_sha256[:16]}" if self.again else ""
        return f"{self.row.sop_instance_uid}{distinct}.dcm"


@dataclass(slots=True)
class _Group:
    """Members of one series; `stays` tells that the stage is another group's as well."""

    stage: SeriesStage
    members: list[_Member] = field(default_factory=list)
    stays: bool = False


class SeriesZipLayout:
    """Stores ``studies/<study>/<series>.zip``, or ``<series>.part-0001.zip`` and on when large.

    A ZIP holds exactly what the source lists of the series, sorted by SOP Instance UID, so that
    its bytes depend on no order of arrival. What else came under the series (not listed, listed
    under another series, second bytes under one UID) is packed apart when the study ends.
    Where the source lists nothing, because its count was met, a series is what came of it.
    """

    def __init__(self, store: CloudStore, settings: PassSettings, memory: MemoryBudget) -> None:
        self._store = store
        self._settings = settings
        self._memory = memory
        self._own_files = threading.Semaphore(OWN_FILES)
        self._lock = threading.Lock()
        self._listed: dict[str, str] = {}
        self._waiting: dict[str, set[str]] = {}
        self._arrived: dict[str, set[str]] = {}
        self._series: dict[str, _Group] = {}
        self._rest: dict[str, _Group] = {}
        self._packing: list[_Group] = []

    def expect(self, instances: Sequence[InstanceRecord]) -> None:
        """Learn which instances make which series whole; some may have arrived."""
        with self._lock:
            for instance in instances:
                self._listed[instance.sop_instance_uid] = instance.series_instance_uid
            for uid, series in self._listed.items():
                waiting = self._waiting.setdefault(series, set())
                if uid not in self._arrived:
                    waiting.add(uid)
            for series, group in self._rest.items():
                regular = [member for member in group.members if self._is_regular(member)]
                group.members = [m for m in group.members if not self._is_regular(m)]
                group.stays = True
                self._series[series] = _Group(group.stage, regular, stays=True)

    def _is_regular(self, member: _Member) -> bool:
        row = member.row
        return not member.again and self._listed.get(row.sop_instance_uid) == (
            row.series_instance_uid
        )

    def keep(self, examined: Examined) -> list[ManifestRow]:
        """Hold the instance; when it makes its series whole, store that and return its rows."""
        row = examined.row(self._settings)
        uid, series = row.sop_instance_uid, row.series_instance_uid
        with self._lock:
            versions = self._arrived.setdefault(uid, set())
            if row.dataset_sha256 in versions:
                examined.stored.close()
                return []
            again = bool(versions)
            versions.add(row.dataset_sha256)
            regular = not again and self._listed.get(uid) == series
            group = self._group(self._series if regular else self._rest, series)
        content = group.stage.hold(examined.stored)
        with self._lock:
            group.members.append(_Member(row, content, again))
            whole = None if again else self._made_whole(uid)
        return self._pack(*whole) if whole else []

    def finish(self) -> list[ManifestRow]:
        """Pack what is left, if all that the source lists has arrived.

        Otherwise the study cannot be transferred, nothing would refer to its leftovers, and the
        keys of its incomplete series stay free for the whole ones.
        """
        with self._lock:
            left = [*sorted(self._series.items()), *sorted(self._rest.items())]
            self._series, self._rest = {}, {}
            self._packing += [group for _, group in left]
        if any(self._waiting.values()):
            return []
        return [row for series, group in left for row in self._pack(series, group)]

    def discard(self) -> None:
        """Forget what is not stored."""
        with self._lock:
            groups = [*self._series.values(), *self._rest.values(), *self._packing]
            self._series, self._rest, self._packing = {}, {}, []
        for group in groups:
            group.stage.close()

    def _group(self, groups: dict[str, _Group], series: str) -> _Group:
        if series not in groups:
            stage = SeriesStage(self._memory, self._settings.spool_folder, self._own_files)
            groups[series] = _Group(stage)
        return groups[series]

    def _made_whole(self, uid: str) -> tuple[str, _Group] | None:
        """Return the series, and what it holds, that `uid` was the last one of."""
        series = self._listed.get(uid)
        if series is None:
            return None
        waiting = self._waiting[series]
        waiting.discard(uid)
        group = None if waiting else self._series.pop(series, None)
        if group is None:
            return None
        self._packing.append(group)
        return series, group

    def _pack(self, series: str, group: _Group) -> list[ManifestRow]:
        ordered = sorted(group.members, key=lambda m: (m.row.sop_instance_uid, m.row.object_sha256))
        parts = list(_parts(ordered, self._settings.max_packed_bytes))
        rows: list[ManifestRow] = []
        for number, part in enumerate(parts, start=1):
            name = f"{series}.part-{number:04d}" if len(parts) > 1 else series
            rows += self._store_part(name, part)
        if not group.stays:
            group.stage.close()
        return rows

    def _store_part(self, name: str, members: Sequence[_Member]) -> list[ManifestRow]:
        packed = SeriesZip(
            [Entry(m.name, m.content.size, m.content.crc32) for m in members],
            [m.content for m in members],
        )
        digest = packed.sha256()
        key = create_beside(
            self._store,
            f"studies/{self._settings.study_instance_uid}/{name}",
            ".zip",
            lambda: cast(BinaryIO, packed),
            size=packed.size,
            sha256=digest,
            storage_class=self._settings.storage_class,
            content_type="application/zip",
            stored=self._settings.stored_keys,
        )
        return [
            member.row.at(key, offset, container_bytes=packed.size, container_sha256=digest)
            for member, offset in zip(members, packed.offsets, strict=True)
        ]


def _parts(members: Sequence[_Member], limit: int) -> Iterator[list[_Member]]:
    """Cut sorted members into runs of at most `limit` bytes; one that is larger stays alone."""
    part: list[_Member] = []
    size = 0
    for member in members:
        if part and size + member.content.size > limit:
            yield part
            part, size = [], 0
        part.append(member)
        size += member.content.size
    if part:
        yield part
