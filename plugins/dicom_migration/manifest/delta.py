"""What became of a study since its copy: instances added, gone, changed under their UID."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from dicom_migration.manifest.rows import ManifestRow

#: SOP Instance UIDs named in an event, and in a sentence; what is more is counted.
_IN_EVENTS, _IN_WORDS = 20, 5


@dataclass(frozen=True, slots=True)
class StudyDelta:
    """SOP Instance UIDs by what became of them, each sorted.

    `changed` is None when only lists of UIDs were compared: a list does not show it.
    """

    added: tuple[str, ...]
    gone: tuple[str, ...]
    changed: tuple[str, ...] | None = None

    def __bool__(self) -> bool:
        return bool(self.added or self.gone or self.changed)

    def as_payload(self) -> dict[str, object]:
        """Return the delta as an event keeps it: all counts, and at most 20 UIDs of each kind."""
        payload: dict[str, object] = {}
        for name, uids in self._known():
            payload[name] = len(uids)
            if uids:
                payload[f"{name}_uids"] = list(uids[:_IN_EVENTS])
        return payload

    def words(self) -> str:
        """Return the delta as a person reads it, for example ``2 added (1.2, 1.3), 0 gone``."""
        return ", ".join(f"{len(uids)} {name}{_named(uids)}" for name, uids in self._known())

    def _known(self) -> list[tuple[str, tuple[str, ...]]]:
        kinds = [("added", self.added), ("gone", self.gone)]
        return kinds if self.changed is None else [*kinds, ("changed", self.changed)]


def delta_of_lists(before: Collection[str], now: Collection[str]) -> StudyDelta:
    """Compare two sets of SOP Instance UIDs."""
    return StudyDelta(tuple(sorted(set(now) - set(before))), tuple(sorted(set(before) - set(now))))


def delta_of_rows(before: Sequence[ManifestRow], now: Sequence[ManifestRow]) -> StudyDelta:
    """Compare two manifests of a study; changed is an instance whose received dataset differs."""
    old = {row.sop_instance_uid: row.dataset_sha256 for row in before}
    new = {row.sop_instance_uid: row.dataset_sha256 for row in now}
    lists = delta_of_lists(old, new)
    changed = sorted(uid for uid in old.keys() & new.keys() if old[uid] != new[uid])
    return StudyDelta(lists.added, lists.gone, tuple(changed))


def _named(uids: tuple[str, ...]) -> str:
    if not uids:
        return ""
    more = ", …" if len(uids) > _IN_WORDS else ""
    return f" ({', '.join(uids[:_IN_WORDS])}{more})"
