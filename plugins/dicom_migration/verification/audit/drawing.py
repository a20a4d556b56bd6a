"""What is audited: a stratified random draw from the instances of a wave, the same for a seed."""

from __future__ import annotations

import hashlib
import heapq
import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date

from sqlalchemy import Connection, select

from dicom_migration.cloud import CloudStore
from dicom_migration.ledger import schema
from dicom_migration.manifest import ManifestRow
from dicom_migration.policies.verification import MIB, PixelAudit
from dicom_migration.verification.audit.confidence import Drawn, sample_size, upper_bound
from dicom_migration.verification.claims import StudyClaim
from dicom_migration.verification.manifests import manifest_rows
from dicom_migration.verification.readback import ARCHIVED_CLASSES

#: Study ages in years, and how the stratum of those below is called.
_AGES = ((2, "under 2 years"), (5, "2 to 5 years"), (10, "5 to 10 years"))


@dataclass(frozen=True, slots=True, order=True)
class Stratum:
    """Instances of one kind; `pixels` tells whether there is something to decode."""

    modality: str
    age: str
    tier: str
    transfer_syntax_uid: str
    pixels: bool


@dataclass(slots=True)
class Frame:
    """All instances that could be drawn, counted by stratum, and the first of each in line.

    Attributes
    ----------
    lines
        Of each stratum, in the order of the seed, as many as could ever be drawn.
    left_out
        Instances that cannot be drawn, by why.
    """

    sizes: Counter[Stratum] = field(default_factory=Counter)
    lines: dict[Stratum, list[tuple[StudyClaim, ManifestRow]]] = field(default_factory=dict)
    left_out: Counter[str] = field(default_factory=Counter)

    def part(self, *, pixels: bool) -> dict[Stratum, int]:
        """Return the sizes of the strata with, or without, pixels."""
        return {s: n for s, n in sorted(self.sizes.items()) if s.pixels is pixels}


def sampling_frame(
    store: CloudStore,
    connection: Connection,
    claims: Sequence[StudyClaim],
    policy: PixelAudit,
    today: date,
) -> Frame:
    """Read the manifests of a wave; memory is bounded by ``max_instances`` rows a stratum."""
    frame = Frame()
    heaps: dict[Stratum, list[tuple[int, str, StudyClaim, ManifestRow]]] = {}
    known = _studies(connection, claims)
    for claim in claims:
        modalities, tier, study_date = known[claim.study_instance_uid]
        if tier in ARCHIVED_CLASSES:
            frame.left_out["in an archive tier, readable after a restore only"] += (
                claim.stored_instances
            )
            continue
        for row in manifest_rows(store, claim):
            if max(row.object_bytes, row.dataset_bytes) > policy.max_instance_mib * MIB:
                frame.left_out[f"larger than {policy.max_instance_mib} MiB"] += 1
                continue
            stratum = Stratum(
                str(row.facts.get("modality") or modalities or "unknown"),
                _age(study_date, today),
                tier or "STANDARD",
                row.transfer_syntax_uid,
                bool(row.pixel_bytes),
            )
            frame.sizes[stratum] += 1
            entry = (-_place_in_line(policy.seed, row), row.object_key, claim, row)
            _keep(heaps.setdefault(stratum, []), entry, policy.max_instances)
    for stratum, heap in heaps.items():
        frame.lines[stratum] = [
            (entry[2], entry[3]) for entry in sorted(heap, reverse=True, key=lambda e: e[:2])
        ]
    return frame


def allocate(
    sizes: Mapping[Stratum, int], policy: PixelAudit, failures: int = 0
) -> dict[Stratum, int]:
    """Return how many to draw from each stratum: in proportion, rounded up.

    So that the bound holds whatever strata the defects are in, the sample grows until it does,
    or until ``max_instances`` (rounding up adds at most one a stratum) or all are drawn.
    """
    population = sum(sizes.values())
    if not population:
        return {}
    wanted = sample_size(policy.defect_rate, policy.confidence, population, failures)
    while True:
        capped = min(wanted, policy.max_instances, population)
        drawn = {s: min(n, math.ceil(capped * n / population)) for s, n in sizes.items()}
        if (
            capped < wanted
            or capped == population
            or not _too_loose(sizes, drawn, policy, failures)
        ):
            return drawn
        wanted += max(1, wanted // 20)


def _too_loose(
    sizes: Mapping[Stratum, int], drawn: Mapping[Stratum, int], policy: PixelAudit, failures: int
) -> bool:
    strata = [Drawn(size, drawn[stratum]) for stratum, size in sizes.items()]
    return upper_bound(strata, failures, policy.confidence) >= policy.defect_rate


def _studies(
    connection: Connection, claims: Iterable[StudyClaim]
) -> dict[str, tuple[str, str, str]]:
    table = schema.study.c
    waves = {claim.wave_id for claim in claims}
    rows = connection.execute(
        select(
            table.study_instance_uid, table.modalities, table.storage_class, table.study_date
        ).where(table.wave_id.in_(waves))
    )
    return {row[0]: (row[1], row[2], row[3]) for row in rows}


def _age(study_date: str, today: date) -> str:
    try:
        made = date(int(study_date[:4]), int(study_date[4:6]), int(study_date[6:8]))
    except ValueError:
        return "undated"
    years = (today - made).days / 365.25
    return next((name for limit, name in _AGES if years < limit), "10 years and more")


def _place_in_line(seed: int, row: ManifestRow) -> int:
    text = f"{seed}:{row.sop_instance_uid}:{row.object_key}:{row.offset}"
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8])


def _keep(
    heap: list[tuple[int, str, StudyClaim, ManifestRow]],
    entry: tuple[int, str, StudyClaim, ManifestRow],
    most: int,
) -> None:
    """Keep the `most` entries that are first in line; the last of them is on top of the heap."""
    if len(heap) <= most:  # one more: rounding up
        heapq.heappush(heap, entry)
    else:
        heapq.heappushpop(heap, entry)
