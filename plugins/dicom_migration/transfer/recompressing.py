"""Uncompressed instances stored with losslessly compressed pixels, when that is proven and pays.

Off by default. The pixels are compressed frame by frame, each frame is decoded by another library
and compared byte by byte, and the new object is taken only when it is smaller by what the policy
asks for; in every other case the object stays as it was. Elements keep their values; what changes
is what PS3.5 annex A.4 demands: transfer syntax, explicit little endian, encapsulated Pixel Data.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from dicom_migration.archive import InstanceIdentity
from dicom_migration.archive.elements import EXPLICIT_LITTLE, iter_elements
from dicom_migration.policies.transfer import Recompression
from dicom_migration.transfer.encapsulating import (
    PIXEL_DATA_HEAD,
    SEQUENCE_DELIMITER,
    fragment,
    offset_tables,
)
from dicom_migration.transfer.hashing import ObjectHashes, hash_object
from dicom_migration.transfer.lossless_codecs import (
    JPEG_LS_LOSSLESS,
    Codec,
    CodecError,
    jpeg_2000,
    jpeg_ls,
)
from dicom_migration.transfer.native_instance import NativeInstance, take_apart
from dicom_migration.transfer.native_pixels import (
    NativePixels,
    describe_pixels,
    fills_unused_bits,
    read_frames,
)
from dicom_migration.transfer.outcomes import Outcome, UntouchedError
from dicom_migration.transfer.part10 import part10_header
from dicom_migration.transfer.pixel_data import PixelValue
from dicom_migration.transfer.reencoding import HeaderNotConvertibleError, explicit_little_endian
from dicom_migration.transfer.spool import Spool

_PIXEL_GROUP_LENGTH = 0x7FE00000
_LARGEST_GROUP = 0xFFFFFFFE


@dataclass(frozen=True, slots=True)
class Recompressed:
    """A new object, to be closed by who takes it, and what the manifest says of it.

    Attributes
    ----------
    pixel_bytes
        Length of the encapsulated value of Pixel Data, without the sequence delimiter.
    source_pixel_sha256
        Of the native frames as received, little endian, without a pad byte: what decoding gives.
    """

    stored: Spool
    transfer_syntax_uid: str
    pixel_bytes: int
    hashes: ObjectHashes
    source_pixel_sha256: str


@dataclass(frozen=True, slots=True)
class _Packed:
    """The fragments of all frames, the length of each stream, and the SHA-256 of the pixels."""

    fragments: Spool
    lengths: Sequence[int]
    source_sha256: str


def recompress(
    identity: InstanceIdentity,
    stored: Spool,
    policy: Recompression,
    new_spool: Callable[[bytes], Spool],
    codec: Codec | None = None,
) -> tuple[Outcome, Recompressed | None]:
    """Return what became of the object `stored`, and the new object when there is one.

    Parameters
    ----------
    identity
        With the transfer syntax that `stored` is in.
    stored
        The Part 10 object that would be stored otherwise, corrected already, and sealed; left as
        it is.
    new_spool
        Makes a spool that begins with the bytes it is given.
    codec
        The policy's own when None.

    Raises
    ------
    TransientError
        With reason ``disk_full``.
    """
    if policy.target == "none":
        return Outcome.OFF, None
    limit = min(stored.size - 1, stored.size * (100 - policy.minimum_saving_percent) // 100)
    try:
        instance = take_apart(identity, stored, policy)
        chosen = codec or (jpeg_ls() if policy.target == "jpeg-ls" else jpeg_2000())
        pixels = _carried_exactly(instance, chosen)
        header, tail = _explicit(identity, instance, pixels)
        with new_spool(b"") as fragments:
            packed = _compress(instance, pixels, chosen, fragments, limit)
            header = _with_pixel_group_length(header, packed)
            new = replace(identity, transfer_syntax_uid=chosen.transfer_syntax_uid)
            spool = new_spool(part10_header(new))
            value = _write(spool, header, packed, tail)
    except UntouchedError as error:
        return error.outcome, None
    if spool.size > limit:
        spool.close()
        return Outcome.NOT_SMALLER, None
    return Outcome.RECOMPRESSED, Recompressed(
        stored=spool,
        transfer_syntax_uid=new.transfer_syntax_uid,
        pixel_bytes=value.length,
        hashes=hash_object(spool, value),
        source_pixel_sha256=packed.source_sha256,
    )


def _carried_exactly(instance: NativeInstance, codec: Codec) -> NativePixels:
    pixels = describe_pixels(
        instance.attributes, instance.pixels, word=2 if instance.swapped else 1
    )
    without_sign = codec.transfer_syntax_uid == JPEG_LS_LOSSLESS and pixels.signed
    if without_sign and pixels.bits_stored < pixels.bits_allocated:
        raise UntouchedError(Outcome.SIGNED_SAMPLES)  # they would come back without their sign
    return pixels


def _explicit(
    identity: InstanceIdentity, instance: NativeInstance, pixels: NativePixels
) -> tuple[bytes, bytes]:
    syntax = identity.transfer_syntax_uid
    try:
        header = explicit_little_endian(instance.header, syntax, signed=pixels.signed)
        tail = explicit_little_endian(instance.tail, syntax, signed=pixels.signed)
    except HeaderNotConvertibleError:
        raise UntouchedError(Outcome.HEADER_NOT_CONVERTIBLE) from None
    return header, tail


def _compress(
    instance: NativeInstance, pixels: NativePixels, codec: Codec, fragments: Spool, limit: int
) -> _Packed:
    """Write the fragments, at most `limit` bytes; one frame is held in memory at a time."""
    lengths: list[int] = []
    digest = hashlib.sha256()
    for frame in read_frames(instance.read, instance.pixels, pixels):
        digest.update(frame)
        if fills_unused_bits(frame, pixels):
            raise UntouchedError(Outcome.UNUSED_BITS)
        try:
            stream, identical = codec.compress(frame, pixels)
        except CodecError:
            raise UntouchedError(Outcome.CODEC_REFUSED) from None
        if not identical:
            raise UntouchedError(Outcome.PIXELS_DIFFER)
        lengths.append(len(stream))
        fragments.write(fragment(stream))
        if fragments.size > limit:
            raise UntouchedError(Outcome.NOT_SMALLER)
    fragments.seal()
    return _Packed(fragments, lengths, digest.hexdigest())


def _write(spool: Spool, header: bytes, packed: _Packed, tail: bytes) -> PixelValue:
    """Write the dataset; return where its Pixel Data value lies. The spool is closed on error."""
    elements, table = offset_tables(packed.lengths)
    try:
        spool.write(header + elements + PIXEL_DATA_HEAD)
        start = spool.size
        spool.write(table)
        for piece in packed.fragments.pieces():
            spool.write(piece)
        value = PixelValue(start, spool.size - start, encapsulated=True)
        spool.write(SEQUENCE_DELIMITER + tail)
        spool.seal()
    except BaseException:
        spool.close()
        raise
    return value


def _with_pixel_group_length(header: bytes, packed: _Packed) -> bytes:
    """Set (7FE0,0000) right, with which the header of some old instances ends."""
    tags = [element.tag for element in iter_elements(header, EXPLICIT_LITTLE)]
    if not tags or tags[-1] != _PIXEL_GROUP_LENGTH:
        return header
    elements, table = offset_tables(packed.lengths)
    length = len(elements) + len(PIXEL_DATA_HEAD) + len(table) + packed.fragments.size
    length += len(SEQUENCE_DELIMITER)
    if length > _LARGEST_GROUP:
        raise UntouchedError(Outcome.PIXEL_LENGTH)
    return header[:-4] + struct.pack("<I", length)
