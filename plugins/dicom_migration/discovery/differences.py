"""What a study is now that it was not at the last inventory, said without a patient's data."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from dicom_migration.discovery.recording import TOLD

Event = tuple[str, str, dict[str, object]]

APPEARED, REAPPEARED = "study.appeared", "study.reappeared"
GROWN, SHRUNK, CHANGED = "study.grown", "study.shrunk", "study.changed"
VANISHED = "study.vanished"


def changed_columns(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Return what the source tells otherwise; what it does not tell this time is no change."""
    return [
        name
        for name in TOLD
        if before[name] != now[name] and not _untold(name, now[name], before[name])
    ]


def keep_untold(before: Mapping[str, Any], now: dict[str, Any]) -> dict[str, Any]:
    """Return the columns of `now`, with what was learnt earlier where nothing was told."""
    kept = {name: before[name] for name in TOLD if _untold(name, now[name], before[name])}
    return {**now, **kept}


def difference(before: Mapping[str, Any] | None, now: Mapping[str, Any]) -> Event | None:
    """Return the event for a new or changed study, None when nothing is to be said.

    `before` is its row of the ledger, None for a study that no inventory has seen.
    """
    uid = now["study_instance_uid"]
    if before is None:
        return (APPEARED, uid, {"instances": now["number_of_instances"]})
    columns = changed_columns(before, now)
    counts = before["number_of_instances"], now["number_of_instances"]
    told: dict[str, object] = {"fields": columns, "instances": list(counts)}
    if before["vanished_at"] is not None:
        return (REAPPEARED, uid, told)
    if not columns:
        return None
    if None not in counts and counts[0] != counts[1]:
        return (GROWN if counts[0] < counts[1] else SHRUNK, uid, told)
    return (CHANGED, uid, told)


def _untold(name: str, now: object, before: object) -> bool:
    """Tell whether the source left out what was found by asking further."""
    asked_for = name in ("number_of_series", "number_of_instances", "sop_classes", "modalities")
    return asked_for and now in (None, "") and before not in (None, "")
