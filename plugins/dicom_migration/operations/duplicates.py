"""The same image under different SOP Instance UIDs: found in a wave's manifests, and reported."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from dicom_migration.errors import ReasonCode
from dicom_migration.ledger import EventChain, ExceptionNote, note_exceptions

if TYPE_CHECKING:
    import pyarrow as pa

    from dicom_migration.cloud import CloudStore
    from dicom_migration.ledger import Ledger

PHASE = "verification"
#: UIDs of others that an exception names; the manifests have them all.
NAMED = 3
_COLUMNS = [
    "study_instance_uid",
    "series_instance_uid",
    "sop_instance_uid",
    "pixel_sha256",
    "source_pixel_sha256",
]


def note_duplicates(
    store: CloudStore, ledger: Ledger, wave_id: str, part_keys: Sequence[str]
) -> int:
    """Note each image that the wave holds under several SOP Instance UIDs; all stay as they are.

    Images are the same when their pixel data has the same SHA-256: as received for what the
    transfer recompressed, as stored for the others. Instances without pixel data are none.

    Parameters
    ----------
    part_keys
        The wave's compacted manifests.

    Returns
    -------
    int
        How many images.
    """
    notes = [_note(rows) for rows in _groups(store, part_keys)]
    with ledger.write() as connection:
        note_exceptions(connection, notes, EventChain(f"wave:{wave_id}/verify-duplicates"))
    return len(notes)


def _groups(store: CloudStore, part_keys: Sequence[str]) -> Iterator[list[dict[str, Any]]]:
    """Yield the instances of each image that has several UIDs, in order of their UIDs."""
    import pyarrow as pa
    import pyarrow.compute as pc

    tables = [_read(store, key) for key in part_keys]
    if not tables:
        return
    table = pa.concat_tables(tables)
    # The UIDs of an image by its hash; only those of which there are several are read out.
    counted = table.group_by("image").aggregate([("sop_instance_uid", "count_distinct")])
    several = counted.filter(pc.greater(counted["sop_instance_uid_count_distinct"], 1))
    found = table.filter(pc.is_in(table["image"], value_set=several["image"].combine_chunks()))
    by_image: dict[str, list[dict[str, Any]]] = {}
    for row in found.sort_by([(name, "ascending") for name in _COLUMNS[:3]]).to_pylist():
        by_image.setdefault(row["image"], []).append(row)
    yield from (by_image[image] for image in sorted(by_image))


def _read(store: CloudStore, key: str) -> pa.Table:
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    table = pq.read_table(io.BytesIO(store.read(key)), columns=_COLUMNS)
    as_received = table["source_pixel_sha256"]
    image = pc.if_else(pc.not_equal(as_received, ""), as_received, table["pixel_sha256"])
    kept = table.select(_COLUMNS[:3]).append_column("image", image)
    return kept.filter(pc.not_equal(kept["image"], ""))


def _note(rows: Sequence[dict[str, Any]]) -> ExceptionNote:
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
