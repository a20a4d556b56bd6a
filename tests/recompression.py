"""Instances on their way through recompression, for the tests of it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from io import BytesIO
from typing import Any

from pydicom import Dataset, dcmread
from pydicom.uid import UID

from dicom_migration.archive import InstanceIdentity
from dicom_migration.archive.elements import encoding_of, iter_elements
from dicom_migration.datasets import inflate, read_header
from dicom_migration.policies.transfer import Recompression
from dicom_migration.transfer.lossless_codecs import Codec
from dicom_migration.transfer.outcomes import Outcome
from dicom_migration.transfer.part10 import part10_header
from dicom_migration.transfer.recompressing import Recompressed, recompress
from dicom_migration.transfer.spool import MemoryBudget, Spool
from tests.archives import HeldInstance, held_from, real_file, real_files

IMPLICIT, EXPLICIT, BIG = "1.2.840.10008.1.2", "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.2"
DEFLATED = "1.2.840.10008.1.2.1.99"
UNCOMPRESSED = (IMPLICIT, EXPLICIT, BIG, DEFLATED)
TARGETS = {"jpeg-ls": "1.2.840.10008.1.2.4.80", "jpeg-2000": "1.2.840.10008.1.2.4.90"}


@dataclass
class Tried:
    """What became of one instance.

    `stored` is the new Part 10 object, empty when untouched; `memory` what spools still hold.
    """

    outcome: Outcome
    new: Recompressed | None
    stored: bytes
    memory: int


def tried(held: HeldInstance, codec: Codec | None = None, **policy: Any) -> Tried:
    """Recompress `held` under a policy that takes everything that is smaller."""
    settings = {"target": "jpeg-ls", "minimum_saving_percent": 0, "minimum_kib": 0} | policy
    budget = MemoryBudget(1 << 26)
    with part10(held) as original:
        outcome, new = recompress(
            identity(held),
            original,
            Recompression(**settings),
            lambda head: Spool(head, budget),
            codec,
        )
    return Tried(
        outcome, new, bytes(new.stored.contents()) if new else b"", (1 << 26) - budget.left
    )


def identity(held: HeldInstance) -> InstanceIdentity:
    record = held.record
    return InstanceIdentity(record.sop_class_uid, record.sop_instance_uid, held.transfer_syntax_uid)


def part10(held: HeldInstance) -> Spool:
    spool = Spool(part10_header(identity(held)), MemoryBudget(1 << 26))
    spool.write(held.dataset)
    spool.seal()
    return spool


def file_of(held: HeldInstance) -> bytes:
    """Return the Part 10 file of an instance."""
    with part10(held) as spool:
        return bytes(spool.contents())


def uncompressed_instances() -> Iterator[tuple[str, HeldInstance]]:
    """Yield every real file with uncompressed Pixel Data, whole enough to be read."""
    for path in real_files():
        with contextlib.suppress(Exception):  # the collection has files broken in every way
            held = held_from(path.read_bytes())
            if held.transfer_syntax_uid in UNCOMPRESSED and dcmread(path).PixelData:
                list(iter_elements(plain(held), encoding_of(held.transfer_syntax_uid)))
                yield path.name, held


def plain(held: HeldInstance) -> bytes:
    """Return the dataset's bytes, inflated when deflated."""
    return inflate(held.dataset) if held.transfer_syntax_uid == DEFLATED else held.dataset


def header_bytes(held: HeldInstance) -> bytes:
    """Return the encoded elements before Pixel Data."""
    file = BytesIO(plain(held))
    read_header(file, held.transfer_syntax_uid)
    return plain(held)[: file.tell()]


def ct(syntax: str = EXPLICIT, **changes: Any) -> HeldInstance:
    """Return a real CT (16 bits, signed) with attributes changed, in `syntax`."""
    dataset = dcmread(BytesIO(real_file("CT_small.dcm")))
    for keyword, value in changes.items():
        if value is None:
            del dataset[keyword]
        else:
            setattr(dataset, keyword, value)
    return held(dataset, syntax)


def held(dataset: Dataset, syntax: str = EXPLICIT) -> HeldInstance:
    """Return a little endian `dataset` as an archive holds it."""
    dataset.file_meta.TransferSyntaxUID = UID(syntax)
    buffer = BytesIO()
    dataset.save_as(buffer, implicit_vr=syntax == IMPLICIT, little_endian=True)
    return held_from(buffer.getvalue())
