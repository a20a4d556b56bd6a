"""Instances that should be one or have names of their own: found in a wave's manifests, reported.

The same image under different SOP Instance UIDs, and one SOP Instance UID in several studies.
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from dicom_migration.errors import ReasonCode
from dicom_migration.ledger import EventChain, ExceptionNote, note_exceptions

if TYPE_CHECKING:
    import pyarrow as pa

    from dicom_migration.cloud import CloudStore
    from dicom_migration.ledger import Ledger

PHASE = "verification"
#: Cleansing notes the same of the headers it read; what is one trouble is one exception.
SHARED_UID_PHASE = "cleansing"
#: UIDs of others that an exception names; the manifests have them all.
NAMED = 3
_COLUMNS = [
    "study_instance_uid",
    "series_instance_uid",
    "sop_instance_uid",
    "pixel_sha256",
    "source_pixel_sha256",
]


@dataclass(frozen=True, slots=True)
class Duplicates:
    """How many images have several UIDs, and how many instances share theirs across studies."""

    images: int
    shared_uids: int


def note_duplicates(
    store: CloudStore, ledger: Ledger, wave_id: str, part_keys: Sequence[str]
) -> Duplicates:
    """Note what the wave holds twice, and what has one UID for two things; all stay as they are.

    Images are the same when their pixel data has the same SHA-256: as received for what the
    transfer recompressed, as stored for the others. Instances without pixel data are none.

    Parameters
    ----------
    part_keys
        The wave's compacted manifests.
    """
    import pyarrow as pa

    tables = [_read(store, key) for key in part_keys]
    if not tables:
        return Duplicates(0, 0)
    table = pa.concat_tables(tables)
    images = [_image_note(rows) for rows in _several(table, "image", "sop_instance_uid")]
    shared = [
        note
        for rows in _several(table, "sop_instance_uid", "study_instance_uid")
        for note in _shared_notes(rows)
    ]
    with ledger.write() as connection:
        chain = EventChain(f"wave:{wave_id}/verify-duplicates")
        note_exceptions(connection, [*images, *shared], chain)
    return Duplicates(len(images), len(shared))


def _several(table: pa.Table, same: str, different: str) -> Iterator[list[dict[str, Any]]]:
    """Yield the rows that agree in one column and not in another, in order of their UIDs."""
    import pyarrow.compute as pc

    named = table.filter(pc.not_equal(table[same], ""))
    counted = named.group_by(same).aggregate([(different, "count_distinct")])
    several = counted.filter(pc.greater(counted[f"{different}_count_distinct"], 1))
    # Only those are read out of Arrow: of a wave they are few.
    found = named.filter(pc.is_in(named[same], value_set=several[same].combine_chunks()))
    groups: dict[str, list[dict[str, Any]]] = {}
    for row in found.sort_by([(name, "ascending") for name in _COLUMNS[:3]]).to_pylist():
        groups.setdefault(row[same], []).append(row)
    yield from (groups[value] for value in sorted(groups))


def _read(store: CloudStore, key: str) -> pa.Table:
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    table = pq.read_table(io.BytesIO(store.read(key)), columns=_COLUMNS)
    as_received = table["source_pixel_sha256"]
    image = pc.if_else(pc.not_equal(as_received, ""), as_received, table["pixel_sha256"])
    return table.select(_COLUMNS[:3]).append_column("image", image)


def _image_note(rows: Sequence[dict[str, Any]]) -> ExceptionNote:
    first, uids = rows[0], list(dict.fromkeys(row["sop_instance_uid"] for row in rows))
    studies = {row["study_instance_uid"] for row in rows}
    others = ", ".join(uids[1 : 1 + NAMED]) + (" …" if len(uids) > 1 + NAMED else "")
    return ExceptionNote(
        ReasonCode.INSTANCE_DUPLICATED,
        PHASE,
        study_instance_uid=first["study_instance_uid"],
        series_instance_uid=first["series_instance_uid"],
        sop_instance_uid=uids[0],
        subject=first["image"],
        detail=f"The same pixel data is stored under {len(uids)} SOP Instance UIDs in "
        f"{len(studies)} studies; the others: {others}.",
        suggested_fix="Nothing needs to be done; compare them, and clean up at the source if one "
        "was sent twice. Blank images are alike, too.",
    )


def _shared_notes(rows: Sequence[dict[str, Any]]) -> Iterator[ExceptionNote]:
    for study in sorted({row["study_instance_uid"] for row in rows}):
        yield ExceptionNote(
            ReasonCode.INSTANCE_CONFLICT,
            SHARED_UID_PHASE,
            study_instance_uid=study,
            sop_instance_uid=rows[0]["sop_instance_uid"],
            detail="The same SOP Instance UID occurs in another study.",
            suggested_fix="Compare both instances; give one of them a new UID at the source.",
        )
