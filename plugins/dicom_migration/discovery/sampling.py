"""Retrieving a few instances of each modality, to learn what an instance weighs.

Each instance comes from another study, and the studies are spread evenly over the archive in the
order of their UIDs. Bytes are those of the dataset as the source sends it, without group 0002.
"""

from __future__ import annotations

import logging
import math
import random
import statistics
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from sqlalchemy import func, literal, select

from dicom_migration.archive import ImageArchive, InstanceRecord
from dicom_migration.archive.sinks import CountingSink
from dicom_migration.discovery.recording import upsert
from dicom_migration.errors import MigrationError, PermanentError
from dicom_migration.ledger import schema, utc_now
from dicom_migration.units import MIB

if TYPE_CHECKING:
    from dicom_migration.ledger import Ledger
    from dicom_migration.policies.discovery import SizeSample

log = logging.getLogger(__name__)

GIVE_UP_AFTER = 5
"""Instances in a row that could not be retrieved: the source will not deliver."""
_CHOICE = 1000
#: Student's t for a 95 % confidence interval, by degrees of freedom from 1 on.
_T = (12.71, 4.30, 3.18, 2.78, 2.57, 2.45, 2.36, 2.31, 2.26, 2.23,
      2.20, 2.18, 2.16, 2.14, 2.13, 2.12, 2.11, 2.10, 2.09, 2.09,
      2.08, 2.07, 2.07, 2.06, 2.06, 2.06, 2.05, 2.05, 2.05, 2.04)  # fmt: skip
_STUDY, _SERIES, _SAMPLE = schema.study.c, schema.series.c, schema.size_sample.c


@dataclass(slots=True)
class SampleOutcome:
    """What was retrieved: instances by modality, bytes in all, and how many failed."""

    sizes: dict[str, list[int]] = field(default_factory=dict)
    bytes: int = 0
    failed: int = 0

    def summary(self) -> dict[str, int]:
        """Return the counts for XCom."""
        instances = sum(map(len, self.sizes.values()))
        return {
            "modalities": len(self.sizes),
            "instances": instances,
            "bytes": self.bytes,
            "failed": self.failed,
        }


def sample_sizes(ledger: Ledger, archive: ImageArchive, policy: SizeSample) -> SampleOutcome:
    """Retrieve instances of modalities that are not sampled yet, and record what they weigh.

    A source that does not deliver ends the sample, not the inventory: sizes stay assumed.

    Raises
    ------
    TransientError
        The source is down.
    """
    outcome = SampleOutcome()
    draw = random.Random(policy.seed)
    failed_in_a_row = 0
    for modality, study, series in _candidates(ledger, archive.name, policy.instances):
        if outcome.bytes >= policy.max_mib * MIB or failed_in_a_row >= GIVE_UP_AFTER:
            log.warning("The sample of sizes ends early: %s", outcome.summary())
            break
        try:
            weight = _weigh(archive, study, series, draw)
        except MigrationError as error:
            if not isinstance(error, PermanentError):
                archive.check()  # raises when the source is down
            log.info("An instance of study %s was not sampled: %s", study, error.reason)
            weight = 0
        if weight:
            outcome.sizes.setdefault(modality, []).append(weight)
            outcome.bytes += weight
            failed_in_a_row = 0
        else:
            outcome.failed += 1
            failed_in_a_row += 1
    _record(ledger, archive.name, outcome)
    return outcome


def half_width(sizes: Sequence[int]) -> float:
    """Return half of the 95 % confidence interval of the mean; of one value, the value."""
    if len(sizes) < 2:
        return float(sum(sizes))
    freedom = len(sizes) - 1
    factor = _T[freedom - 1] if freedom <= len(_T) else 1.96
    return factor * statistics.stdev(sizes) / math.sqrt(len(sizes))


def _candidates(ledger: Ledger, source: str, wanted: int) -> Iterator[tuple[str, str, str]]:
    """Yield modality, study and series: `wanted` of each modality, evenly spread.

    Where the series were not listed, studies of one modality stand for it, with "" as series.
    """
    if not wanted:
        return
    known = (_STUDY.source == source) & _STUDY.vanished_at.is_(None)
    with ledger.read() as connection:
        sampled = set(connection.scalars(select(_SAMPLE.modality).where(_SAMPLE.source == source)))
        series = _spread(
            select(_SERIES.modality, _SERIES.study_instance_uid, _SERIES.series_instance_uid)
            .join(schema.study, _STUDY.study_instance_uid == _SERIES.study_instance_uid)
            .where(known, _SERIES.number_of_instances > 0),
            wanted,
        )
        studies = _spread(
            select(
                _STUDY.modalities.label("modality"),
                _STUDY.study_instance_uid,
                literal("").label("series_instance_uid"),
            ).where(
                known,
                _STUDY.number_of_instances > 0,
                ~_STUDY.modalities.contains("\\", autoescape=True),
            ),
            wanted,
        )
        chosen = [tuple(row) for row in connection.execute(series)]
        covered = sampled | {modality for modality, _, _ in chosen}
        chosen += [row for row in connection.execute(studies) if row.modality not in covered]
    for modality, study, series_uid in chosen:
        if modality and modality not in sampled:
            yield modality, study, series_uid


def _spread(rows: Any, wanted: int) -> Any:
    """Return the query for `wanted` of `rows` in each modality, evenly spread, one a study."""
    each = rows.subquery()
    first = (
        select(
            each.c.modality,
            each.c.study_instance_uid,
            func.min(each.c.series_instance_uid).label("series_instance_uid"),
        )
        .group_by(each.c.modality, each.c.study_instance_uid)
        .subquery()
    )
    rank = func.row_number().over(
        partition_by=first.c.modality, order_by=first.c.study_instance_uid
    )
    total = func.count().over(partition_by=first.c.modality)
    ranked = select(first, rank.label("rank"), total.label("total")).subquery()
    step = ranked.c.rank * wanted // ranked.c.total
    before = (ranked.c.rank - 1) * wanted // ranked.c.total
    return (
        select(ranked.c.modality, ranked.c.study_instance_uid, ranked.c.series_instance_uid)
        .where(step != before)
        .order_by(ranked.c.modality, ranked.c.study_instance_uid)
    )


def _weigh(archive: ImageArchive, study: str, series: str, draw: random.Random) -> int:
    """Return the bytes of one instance of the series, 0 when it was not delivered."""
    listed: list[InstanceRecord] = []
    for instance in archive.find_instances(study, series or None):
        listed.append(instance)
        if len(listed) >= _CHOICE:
            break
    if not listed:
        return 0
    sink = CountingSink()
    archive.retrieve_instance(draw.choice(listed), sink)
    return sink.bytes // sink.instances if sink.instances else 0


def _record(ledger: Ledger, source: str, outcome: SampleOutcome) -> None:
    rows = [
        {
            "source": source,
            "modality": modality[:16],
            "instances": len(sizes),
            "mean_bytes": statistics.fmean(sizes),
            "error_bytes": half_width(sizes),
            "sampled_at": utc_now(),
        }
        for modality, sizes in outcome.sizes.items()
    ]
    with ledger.write() as connection:
        upsert(
            connection,
            schema.size_sample,
            rows,
            ("instances", "mean_bytes", "error_bytes", "sampled_at"),
        )
