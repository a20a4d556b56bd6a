"""A plan while it is read from the ledger: studies in order, cut into waves, sealed by a hash."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from dicom_migration.discovery.decisions import EXCLUDE
from dicom_migration.ledger.events import canonical_json

if TYPE_CHECKING:
    from dicom_migration.policies.strategy import WaveLimits


@dataclass(slots=True)
class WaveDraft:
    """A wave: studies between two keys of the plan's order (newest first), and its size."""

    ordinal: int
    first: tuple[str, str]
    last: tuple[str, str]
    studies: int = 0
    instances: int = 0
    bytes_estimated: int = 0


@dataclass(slots=True)
class PlanDraft:
    """The content of a plan while it is read from the ledger."""

    digest: Any = field(default_factory=hashlib.sha256)
    waves: list[WaveDraft] = field(default_factory=list)
    included: int = 0
    excluded: int = 0
    purge_candidates: int = 0


def draft_plan(rows: Iterable[Any], limits: WaveLimits) -> PlanDraft:
    """Read the studies' decisions, newest first, and cut those that go into waves."""
    draft = PlanDraft()
    for row in rows:
        ordinal = 0
        draft.purge_candidates += bool(row.purge_rule)
        if row.decision == EXCLUDE:
            draft.excluded += 1
        else:
            draft.included += 1
            ordinal = _add_to_wave(draft, row, limits)
        sealed = [
            row.study_instance_uid,
            row.decision,
            row.decision_rule,
            row.storage_class,
            row.purge_rule,
            ordinal,
        ]
        draft.digest.update(canonical_json(sealed).encode())
    return draft


def _add_to_wave(draft: PlanDraft, row: Any, limits: WaveLimits) -> int:
    key = (row.study_date, row.study_instance_uid)
    size = row.bytes_estimated or 0
    wave = draft.waves[-1] if draft.waves else None
    if (
        wave is None
        or wave.studies >= limits.max_studies
        or wave.bytes_estimated + size > limits.max_bytes
    ):
        wave = WaveDraft(len(draft.waves) + 1, first=key, last=key)
        draft.waves.append(wave)
    wave.last = key
    wave.studies += 1
    wave.instances += row.number_of_instances or 0
    wave.bytes_estimated += size
    return wave.ordinal
