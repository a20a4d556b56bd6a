"""The store against a real endpoint: create once, never overwrite, read back."""

from __future__ import annotations

import base64
import hashlib
import io
import threading
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from dicom_migration.cloud.protocol import CloudStore, PutResult
from dicom_migration.cloud.s3 import S3Store
from dicom_migration.cloud.s3_settings import MIN_PART_BYTES, S3Client
from dicom_migration.errors import PermanentError, ReasonCode, TransientError
from tests.integration.cloud.conftest import StoreFactory
from tests.integration.cloud.fault_proxy import FaultProxy

KEY = "studies/1.2.840.113619/1.2.3.dcm"
BODY = b"DICM" * 1000


def digest(body: bytes) -> str:
    return hashlib.sha256(body).hexdigest()


def put(
    store: S3Store, body: bytes = BODY, key: str = KEY, storage_class: str = "STANDARD"
) -> PutResult:
    return store.put(key, body, size=len(body), sha256=digest(body), storage_class=storage_class)


def test_it_is_a_cloud_store(store: S3Store) -> None:
    as_port: CloudStore = store
    assert isinstance(as_port, CloudStore)
    assert store.uri(KEY) == f"{store.name}/{KEY}"


def test_an_object_is_created_once_and_then_found_identical(store: S3Store) -> None:
    first, second = put(store), put(store)
    assert (first.created, second.created) == (True, False)
    assert second.stored == first.stored
    assert first.stored.sha256 == digest(BODY)


def test_other_bytes_under_the_same_key_are_a_conflict_and_change_nothing(store: S3Store) -> None:
    put(store)
    with pytest.raises(PermanentError, match="nothing was overwritten") as caught:
        put(store, b"other bytes of another length")
    assert caught.value.reason is ReasonCode.INSTANCE_CONFLICT
    with pytest.raises(PermanentError) as caught:
        put(store, BODY[::-1])  # as many bytes, but other ones
    assert caught.value.reason is ReasonCode.INSTANCE_CONFLICT
    assert store.read(KEY) == BODY


def test_of_many_creators_exactly_one_creates(open_store: StoreFactory, proxy: FaultProxy) -> None:
    store = open_store(url=proxy.url)
    start = threading.Barrier(8)

    def create(_: int) -> bool:
        start.wait()
        return put(store).created

    with ThreadPoolExecutor(8) as threads:
        assert sorted(threads.map(create, range(8))) == [False] * 7 + [True]


def test_the_checksum_and_the_storage_class_are_in_the_head(
    store: S3Store, s3: S3Client, bucket: str
) -> None:
    result = put(store, storage_class="GLACIER_IR")
    head = store.head(KEY)
    assert head == result.stored
    assert head is not None
    assert (head.size, head.sha256, head.storage_class) == (len(BODY), digest(BODY), "GLACIER_IR")
    raw = s3.head_object(Bucket=bucket, Key=f"site-a/{KEY}", ChecksumMode="ENABLED")
    assert base64.b64decode(raw["ChecksumSHA256"]).hex() == digest(BODY)
    assert raw["Metadata"] == {"sha256": digest(BODY)}


def test_an_object_in_parts_carries_the_checksum_of_the_whole(
    open_store: StoreFactory, s3: S3Client, bucket: str
) -> None:
    body = bytes(range(256)) * (2 * MIN_PART_BYTES // 256) + b"end"
    store = open_store(multipart_threshold_bytes=1, part_bytes=MIN_PART_BYTES)
    put(store, body, key="large")
    told = s3.head_object(Bucket=bucket, Key="site-a/large", ChecksumMode="ENABLED")
    assert told["ChecksumType"] == "FULL_OBJECT"
    assert base64.b64decode(told["ChecksumCRC32"]) == zlib.crc32(body).to_bytes(4, "big")
    assert store.head("large").sha256 == digest(body)  # type: ignore[union-attr]


@pytest.mark.parametrize("size", [0, 1, 64 * 1024, 64 * 1024 + 1, 3_000_000])
def test_a_file_is_stored_from_its_beginning_whatever_its_position(
    store: S3Store, tmp_path: Path, size: int
) -> None:
    body = bytes(range(256)) * (size // 256) + b"x" * (size % 256)
    path = tmp_path / "instance.dcm"
    path.write_bytes(body)
    with path.open("rb") as file:
        file.read(10)
        result = store.put(KEY, file, size=size, sha256=digest(body))
        assert not file.closed
    assert result.created
    assert store.read(KEY) == body


def test_before_a_large_body_is_sent_a_head_asks_whether_it_is_there(
    open_store: StoreFactory, proxy: FaultProxy
) -> None:
    store = open_store(url=proxy.url, ask_first_bytes=1000)
    for key, size in (("small", 1000), ("large", 1001), ("large", 1001)):
        put(store, b"x" * size, key=key)
    sent = [(seen.method, seen.path.rsplit("/", 1)[-1]) for seen in proxy.requests]
    assert [request for request in sent if request[1] in ("small", "large")] == [
        ("PUT", "small"),
        ("HEAD", "large"),
        ("PUT", "large"),
        ("HEAD", "large"),
    ]


def test_a_body_of_another_size_is_refused_and_nothing_is_stored(store: S3Store) -> None:
    for body in (BODY, io.BytesIO(BODY)):
        with pytest.raises(PermanentError, match="4000 bytes, 4001 were declared") as caught:
            store.put(KEY, body, size=4001, sha256=digest(BODY))
        assert caught.value.reason is ReasonCode.INSTANCE_TRUNCATED
    assert store.head(KEY) is None


def test_a_malformed_digest_is_refused(store: S3Store) -> None:
    with pytest.raises(PermanentError, match="64 hexadecimal digits"):
        store.put(KEY, BODY, size=len(BODY), sha256="abc")


def test_a_unicode_key_is_refused_before_any_request(
    open_store: StoreFactory, proxy: FaultProxy
) -> None:
    store = open_store(url=proxy.url)
    for ask in (store.head, store.read, store.uri):
        with pytest.raises(PermanentError, match="alphabet"):
            ask("Müller^Jürgen.dcm")
    with pytest.raises(PermanentError, match="alphabet"):
        put(store, key="Müller^Jürgen.dcm")
    assert proxy.requests == []


def test_an_object_without_any_checksum_is_read_and_hashed_to_decide(
    store: S3Store, s3: S3Client, bucket: str
) -> None:
    s3.put_object(Bucket=bucket, Key=f"site-a/{KEY}", Body=BODY)
    head = store.head(KEY)
    assert head is not None
    assert head.sha256 == ""
    result = put(store)
    assert (result.created, result.stored.sha256) == (False, digest(BODY))
    with pytest.raises(PermanentError) as caught:
        put(store, BODY[::-1])
    assert caught.value.reason is ReasonCode.INSTANCE_CONFLICT


def test_a_large_object_goes_up_in_parts_and_tells_its_sha256(
    store: S3Store, s3: S3Client, bucket: str
) -> None:
    body = bytes(range(256)) * (12 * 4096 + 1)  # 12 MiB and a bit: three parts
    first, second = put(store, body, storage_class="STANDARD_IA"), put(store, body)
    assert (first.created, second.created) == (True, False)
    assert first.stored.etag.endswith("-3")
    assert store.head(KEY) == first.stored
    assert second.stored.storage_class == "STANDARD_IA"
    assert b"".join(store.stream(KEY)) == body
    with pytest.raises(PermanentError) as caught:
        put(store, body[::-1])
    assert caught.value.reason is ReasonCode.INSTANCE_CONFLICT
    assert "Uploads" not in s3.list_multipart_uploads(Bucket=bucket)


def test_a_large_body_with_another_digest_is_given_up_without_a_trace(
    store: S3Store, s3: S3Client, bucket: str
) -> None:
    body = b"x" * (2 * MIN_PART_BYTES + 1)
    with pytest.raises(PermanentError, match="declared SHA-256") as caught:
        store.put(KEY, body, size=len(body), sha256=digest(b"y"))
    assert caught.value.reason is ReasonCode.INSTANCE_TRUNCATED
    assert store.head(KEY) is None
    assert "Uploads" not in s3.list_multipart_uploads(Bucket=bucket)


def test_ranges_are_read_as_slices(store: S3Store) -> None:
    body = bytes(range(256))
    put(store, body)
    assert store.read(KEY, 10, 5) == body[10:15]
    assert store.read(KEY, 250) == body[250:]
    assert store.read(KEY, length=3) == body[:3]
    assert store.read(KEY, 250, 100) == body[250:]
    assert store.read(KEY, 10, 0) == b""
    with pytest.raises(PermanentError, match="shorter") as caught:
        store.read(KEY, 256, 1)
    assert caught.value.reason is ReasonCode.OBJECT_CORRUPT
    with pytest.raises(PermanentError, match="negative"):
        store.read(KEY, -1, 5)


def test_a_stream_has_bounded_pieces(store: S3Store) -> None:
    body = b"0123456789" * 1000
    put(store, body)
    pieces = list(store.stream(KEY, chunk_bytes=4096))
    assert [len(piece) for piece in pieces] == [4096, 4096, 1808]
    assert b"".join(pieces) == body


@pytest.mark.parametrize("plain", [True, False])
def test_a_stream_can_come_into_memory_that_is_there(store: S3Store, plain: bool) -> None:
    body = b"0123456789" * 1000
    put(store, body)
    if not plain:
        store._reader = None
    buffer = bytearray(4096)
    pieces = [bytes(view) for view in store.stream_into(KEY, buffer)]
    assert [len(piece) for piece in pieces] == [4096, 4096, 1808]
    assert b"".join(pieces) == body
    assert buffer[:1808] == body[-1808:]


def test_what_is_not_there_is_missing(store: S3Store) -> None:
    assert store.head("nothing/here") is None
    assert list(store.list("nothing/")) == []
    for ask in (
        store.read,
        lambda key: list(store.stream(key)),
        lambda key: list(store.stream_into(key, bytearray(9))),
    ):
        with pytest.raises(PermanentError, match="transfer the study again") as caught:
            ask("nothing/here")
        assert caught.value.reason is ReasonCode.OBJECT_MISSING


def test_entries_of_a_listing_are_read_here_and_the_rest_by_botocore(
    store: S3Store, s3: S3Client, bucket: str
) -> None:
    names = ["site-a/a&b <c> ü", "site-a/studies/1", "site-a/studies/2"]
    for name in names:
        s3.put_object(Bucket=bucket, Key=name, Body=name.encode(), StorageClass="STANDARD_IA")
    listed, ours = (
        client.list_objects_v2(Bucket=bucket, MaxKeys=2) for client in (s3, store._client)
    )
    kept = {"Key", "Size", "ETag", "StorageClass"}
    assert [set(entry) for entry in ours["Contents"]] == [kept, kept]
    assert ours["Contents"] == [{n: e[n] for n in kept} for e in listed["Contents"]]
    rest = set(listed) - {"Contents", "ResponseMetadata"}
    assert ours["NextContinuationToken"]
    assert {n: ours[n] for n in rest} == {n: listed[n] for n in rest}


def test_listing_goes_beyond_a_page_in_key_order(store: S3Store, s3: S3Client, bucket: str) -> None:
    for number in range(1003):
        s3.put_object(Bucket=bucket, Key=f"site-a/studies/{number:05d}", Body=b"x")
    s3.put_object(Bucket=bucket, Key="site-b/studies/00001", Body=b"x")
    s3.put_object(Bucket=bucket, Key="site-a/Ünexpected key", Body=b"x")
    store.check()
    keys = [stored.key for stored in store.list("studies/")]
    assert keys == [f"studies/{number:05d}" for number in range(1003)]
    assert len(list(store.list("studies/0000"))) == 10
    # Foreign keys are told, the object of the write check is not.
    assert [stored.key for stored in store.list("")] == [*keys, "Ünexpected key"]


@pytest.mark.parametrize("token", [{}, {"NextContinuationToken": "same"}])
def test_a_listing_that_never_ends_is_given_up(
    store: S3Store, monkeypatch: pytest.MonkeyPatch, token: dict[str, str]
) -> None:
    put(store, b"body")
    ask = store._client.list_objects_v2

    def again(**asked: str) -> dict[str, object]:
        asked.pop("ContinuationToken", None)
        return {**ask(**asked), "IsTruncated": True, **token}

    monkeypatch.setattr(store._client, "list_objects_v2", again)
    with pytest.raises(TransientError, match="again and again"):
        list(store.list("studies/"))


def test_an_archived_object_says_that_it_must_be_restored(store: S3Store) -> None:
    put(store, storage_class="DEEP_ARCHIVE")
    assert put(store, storage_class="DEEP_ARCHIVE").created is False
    with pytest.raises(PermanentError, match="Restore the object first"):
        store.read(KEY)


def test_the_bucket_is_encrypted_with_the_key_of_the_settings(
    open_store: StoreFactory, s3: S3Client, bucket: str
) -> None:
    store = open_store(kms_key_id="alias/archive")
    put(store)
    large = b"x" * (2 * MIN_PART_BYTES + 1)
    put(store, large, key="large")
    for key in (KEY, "large"):
        head = s3.head_object(Bucket=bucket, Key=f"site-a/{key}")
        assert (head["ServerSideEncryption"], head["SSEKMSKeyId"]) == ("aws:kms", "alias/archive")


def test_a_store_without_a_prefix_uses_the_whole_bucket(open_store: StoreFactory) -> None:
    store = open_store(prefix="")
    put(store)
    assert [stored.key for stored in store.list("")] == [KEY]


def test_closing_twice_does_no_harm(store: S3Store) -> None:
    with store:
        put(store)
    store.close()
