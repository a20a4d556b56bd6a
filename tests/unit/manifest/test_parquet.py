import hashlib
import io
import random

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from dicom_migration.errors import PermanentError, ReasonCode
from dicom_migration.manifest import (
    ManifestRow,
    compact,
    decode_manifest,
    decode_table,
    encode_manifest,
    manifest_key,
)


def row(number: int) -> ManifestRow:
    return ManifestRow(
        study_instance_uid="1.2",
        series_instance_uid=f"1.2.{number % 3}",
        sop_instance_uid=f"1.2.{number % 3}.{number}",
        sop_class_uid="1.2.840.10008.5.1.4.1.1.2",
        transfer_syntax_uid="1.2.840.10008.1.2.1",
        dataset_bytes=number,
        dataset_sha256=hashlib.sha256(bytes([number])).hexdigest(),
        object_bytes=number + 300,
        object_sha256=hashlib.sha256(bytes([number, 1])).hexdigest(),
        pixel_bytes=None if number % 2 else number,
        pixel_sha256="",
        object_key=f"studies/1.2/{number}.dcm",
        source="pacs",
        corrections=("c1", "c2") if number == 5 else (),
        facts={"modality": "CT", "rows": 512, "patient_name": None},
    )


def test_the_order_of_arrival_does_not_show_in_the_file() -> None:
    rows = [row(number) for number in range(40)]
    shuffled = rows.copy()
    random.Random(3).shuffle(shuffled)
    assert encode_manifest(rows) == encode_manifest(shuffled)


def test_rows_come_back_as_they_were() -> None:
    rows = [row(number) for number in range(7)]
    data, digest = encode_manifest(rows)
    decoded = {r.sop_instance_uid: r for r in decode_manifest(data)}
    assert digest == hashlib.sha256(data).hexdigest()
    assert decoded[rows[5].sop_instance_uid].corrections == ("c1", "c2")
    assert decoded[rows[3].sop_instance_uid].pixel_bytes is None
    assert decoded[rows[4].sop_instance_uid].facts["rows"] == 512
    assert decoded[rows[4].sop_instance_uid].facts["patient_name"] is None
    assert decoded[rows[4].sop_instance_uid].facts["columns"] is None


def test_manifests_of_a_wave_become_one_table() -> None:
    tables = [decode_table(encode_manifest([row(number)])[0]) for number in range(3)]
    assert compact(tables).num_rows == 3
    assert compact([]).num_rows == 0


def test_a_manifest_of_the_first_version_reads_as_not_recompressed() -> None:
    table = decode_table(encode_manifest([row(1), row(2)])[0])
    added = ["recompression", "stored_transfer_syntax_uid", "source_pixel_sha256"]
    old = table.drop_columns(added).replace_schema_metadata({"dicom_migration.manifest": "1"})
    file = io.BytesIO()
    pq.write_table(old, file)
    assert decode_manifest(file.getvalue()) == decode_manifest(encode_manifest([row(1), row(2)])[0])
    assert compact([decode_table(file.getvalue()), table]).num_rows == 4


@pytest.mark.parametrize("damage", ["empty", "cut", "foreign"])
def test_what_is_no_manifest_is_refused(damage: str) -> None:
    data, _ = encode_manifest([row(1)])
    bad = {"empty": b"", "cut": data[: len(data) // 2], "foreign": b"PK\x03\x04" + data}[damage]
    with pytest.raises(PermanentError) as caught:
        decode_manifest(bad)
    assert caught.value.reason is ReasonCode.MANIFEST_CORRUPT


def test_the_key_is_made_of_the_content() -> None:
    assert manifest_key("1.2", "ab" * 32) == "studies/1.2/manifest-abababababababab.parquet"


def test_where_a_packed_instance_lies_comes_back() -> None:
    packed = row(1).at("studies/1.2/1.2.1.zip", 70, container_bytes=900, container_sha256="ab" * 32)
    (decoded,) = decode_manifest(encode_manifest([packed])[0])
    assert decoded.packed
    assert (decoded.object_key, decoded.offset) == ("studies/1.2/1.2.1.zip", 70)
    assert (decoded.container_bytes, decoded.container_sha256) == (900, "ab" * 32)


def test_a_manifest_of_the_first_version_is_read_and_compacted_with_newer_ones() -> None:
    new = decode_table(encode_manifest([row(1), row(2)])[0])
    added = ["container_bytes", "container_sha256"]
    old = new.drop_columns(added).replace_schema_metadata({"dicom_migration.manifest": "1"})
    buffer = io.BytesIO()
    pq.write_table(old, buffer)
    first, _ = decode_manifest(buffer.getvalue())
    assert (first.packed, first.container_bytes, first.container_sha256) == (False, None, "")
    assert compact([decode_table(buffer.getvalue()), new]).num_rows == 4


def test_a_manifest_of_a_later_version_is_refused() -> None:
    table = pa.table({"study_instance_uid": ["1.2"]})
    buffer = io.BytesIO()
    pq.write_table(table.replace_schema_metadata({"dicom_migration.manifest": "99"}), buffer)
    with pytest.raises(PermanentError, match="version 99"):
        decode_manifest(buffer.getvalue())
