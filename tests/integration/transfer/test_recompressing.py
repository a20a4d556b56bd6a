"""Real uncompressed images become smaller and stay what they were; the others stay untouched."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import replace
from io import BytesIO
from typing import Any

import numpy as np
import pytest
from pydicom import dcmread
from pydicom.encaps import generate_frames

from dicom_migration.transfer.hashing import sha256_of
from dicom_migration.transfer.lossless_codecs import jpeg_ls
from dicom_migration.transfer.outcomes import Outcome
from dicom_migration.transfer.pixel_data import locate_pixel_value
from dicom_migration.transfer.reencoding import turned
from tests.archives import HeldInstance, held_from, real_file
from tests.recompression import (
    BIG,
    DEFLATED,
    EXPLICIT,
    IMPLICIT,
    TARGETS,
    ct,
    file_of,
    header_bytes,
    held,
    part10,
    plain,
    tried,
    uncompressed_instances,
)

REAL = dict(uncompressed_instances())
#: Real files that have to stay as they are, and why.
UNTOUCHED = {
    "SC_rgb_32bit.dcm": Outcome.BITS_ALLOCATED,
    "rtdose.dcm": Outcome.BITS_ALLOCATED,
    "liver.dcm": Outcome.BITS_ALLOCATED,
    "color-pl.dcm": Outcome.PLANAR_CONFIGURATION,
    "ExplVR_BigEnd.dcm": Outcome.PLANAR_CONFIGURATION,
    "MR_small_padded.dcm": Outcome.PIXEL_LENGTH,
    "SC_rgb_small_odd_big_endian.dcm": Outcome.PIXEL_LENGTH,
    "SC_ybr_full_422_uncompressed.dcm": Outcome.PHOTOMETRIC_INTERPRETATION,
    "image_dfl.dcm": Outcome.NOT_SMALLER,
    "SC_rgb_small_odd.dcm": Outcome.CODEC_REFUSED,
}


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("name", REAL)
def test_a_real_image_keeps_its_pixels_and_its_header_or_is_not_touched(
    name: str, target: str
) -> None:
    held = REAL[name]
    result = tried(held, target=target)
    if result.new is None:
        assert result.outcome not in (Outcome.OFF, Outcome.RECOMPRESSED, Outcome.PIXELS_DIFFER)
        assert result.memory == 0
        return
    assert len(result.stored) < part10(held).size
    assert result.stored[144:].find(TARGETS[target].encode()) > 0
    before, after = dcmread(BytesIO(file_of(held))), dcmread(BytesIO(result.stored))
    assert np.array_equal(before.pixel_array, after.pixel_array)
    assert _values(before, big=held.transfer_syntax_uid == BIG) == _values(after)
    frames = int(before.get("NumberOfFrames") or 1)
    assert len(list(generate_frames(after.PixelData, number_of_frames=frames))) == frames


def test_most_real_images_are_recompressed_and_every_kind_of_encoding_is_among_them() -> None:
    done = {
        name: held.transfer_syntax_uid
        for name, held in REAL.items()
        if tried(held, target="jpeg-2000").outcome is Outcome.RECOMPRESSED
    }
    assert len(done) >= 40
    assert {IMPLICIT, EXPLICIT, BIG} <= set(done.values())


@pytest.mark.parametrize(("name", "outcome"), UNTOUCHED.items())
def test_what_no_codec_carries_exactly_is_untouched_with_the_reason(
    name: str, outcome: Outcome
) -> None:
    assert tried(REAL[name]).outcome is outcome


def test_an_explicit_header_is_kept_byte_for_byte() -> None:
    held = REAL["CT_small.dcm"]
    stored = tried(held).stored
    start = 144 + int.from_bytes(stored[140:144], "little")
    assert stored[start:].startswith(header_bytes(held))


def test_the_hashes_are_of_the_stored_value_and_of_the_pixels_as_received() -> None:
    held = REAL["emri_small.dcm"]
    result = tried(held)
    assert result.new
    element = result.stored.index(b"\xe0\x7f\x10\x00OB\0\0\xff\xff\xff\xff")
    value = locate_pixel_value(result.stored, element, TARGETS["jpeg-ls"])
    assert value
    assert value.length == result.new.pixel_bytes
    assert sha256_of(result.stored, value) == result.new.hashes.pixels
    assert hashlib.sha256(result.stored).hexdigest() == result.new.hashes.whole
    native = dcmread(BytesIO(file_of(held))).PixelData
    assert result.new.source_pixel_sha256 == hashlib.sha256(native).hexdigest()
    decoded = dcmread(BytesIO(result.stored)).pixel_array.tobytes()
    assert result.new.source_pixel_sha256 == hashlib.sha256(decoded).hexdigest()


@pytest.mark.parametrize("target", TARGETS)
def test_the_same_instance_gives_the_same_bytes(target: str) -> None:
    for name in ("CT_small.dcm", "emri_small.dcm", "SC_rgb_expb_2frame.dcm"):
        held = REAL[name]
        assert tried(held, target=target).stored == tried(held, target=target).stored


def test_a_wrong_pixel_of_the_encoder_is_found_and_the_original_stays() -> None:
    honest = jpeg_ls()

    def lossy(frame: bytes, pixels: Any) -> bytes:
        return honest.encode(frame[:-1] + bytes([frame[-1] ^ 1]), pixels)

    result = tried(REAL["emri_small.dcm"], replace(honest, encode=lossy))
    assert (result.outcome, result.new) == (Outcome.PIXELS_DIFFER, None)
    assert result.memory == 0


def test_a_codec_that_fails_leaves_the_original() -> None:
    def broken(_frame: bytes, _pixels: Any) -> bytes:
        raise MemoryError

    assert tried(ct(), replace(jpeg_ls(), decode=broken)).outcome is Outcome.CODEC_REFUSED


@pytest.mark.parametrize("syntax", [EXPLICIT, IMPLICIT, DEFLATED])
def test_each_little_endian_encoding_is_taken(syntax: str) -> None:
    instance = ct(syntax)
    result = tried(instance)
    if syntax == DEFLATED:  # deflate may have been as good
        assert result.outcome in (Outcome.RECOMPRESSED, Outcome.NOT_SMALLER)
        return
    assert result.outcome is Outcome.RECOMPRESSED


def _overlay_in_high_bits() -> HeldInstance:
    dataset = dcmread(BytesIO(real_file("MR_small.dcm")))
    dataset.PixelRepresentation, dataset.BitsStored, dataset.HighBit = 0, 12, 11
    pixels = np.frombuffer(dataset.PixelData, "<u2") & 0x0FFF
    pixels = pixels.copy()
    pixels[7] |= 0x8000
    dataset.PixelData = pixels.tobytes()
    return held(dataset)


def _palette() -> HeldInstance:
    return REAL["OBXXXX1A.dcm"]


def _float_pixels() -> HeldInstance:
    dataset = dcmread(BytesIO(real_file("CT_small.dcm")))
    del dataset.PixelData
    dataset.FloatPixelData = bytes(128 * 128 * 4)
    dataset.BitsAllocated = 32
    return held(dataset)


def _signed() -> HeldInstance:
    dataset = dcmread(BytesIO(real_file("MR_small.dcm")))
    dataset.add_new(0xFFFAFFFA, "SQ", [])
    return held(dataset)


@pytest.mark.parametrize(
    ("make", "outcome"),
    [
        (_overlay_in_high_bits, Outcome.UNUSED_BITS),
        (_float_pixels, Outcome.FLOAT_PIXELS),
        (_signed, Outcome.DIGITALLY_SIGNED),
        (_palette, Outcome.RECOMPRESSED),
        (lambda: ct(BitsStored=12, HighBit=11), Outcome.SIGNED_SAMPLES),
        (lambda: ct(BitsStored=8, HighBit=7), Outcome.BITS_STORED),
        (lambda: ct(HighBit=14), Outcome.BITS_STORED),
        (lambda: ct(Columns=None), Outcome.PIXEL_DESCRIPTION),
        (lambda: ct(NumberOfFrames=2, Rows=32), Outcome.PIXEL_LENGTH),
        (lambda: ct(SamplesPerPixel=3, Rows=128 // 3), Outcome.PHOTOMETRIC_INTERPRETATION),
        (lambda: held_from(real_file("rtplan.dcm")), Outcome.NO_PIXEL_DATA),
        (lambda: held_from(real_file("JPEG2000.dcm")), Outcome.NOT_NATIVE),
    ],
)
def test_odd_cases_end_as_they_must(make: Callable[[], HeldInstance], outcome: Outcome) -> None:
    assert tried(make()).outcome is outcome


@pytest.mark.parametrize("tag", ["(0028,0102)", "(0028,0011)", "(0028,0103)", "(0008,0060)"])
def test_a_value_that_cannot_be_decoded_leaves_the_original(tag: str) -> None:
    head = bytes.fromhex(tag[3:5] + tag[1:3] + tag[8:10] + tag[6:8])
    instance = ct()
    at = instance.dataset.index(head) + 6
    length = int.from_bytes(instance.dataset[at : at + 2], "little")
    value = b"\x01\0\0" if tag < "(0010" else b"\1"  # of no whole number of 16-bit words
    dataset = instance.dataset[:at] + len(value).to_bytes(2, "little") + value
    dataset += instance.dataset[at + 2 + length :]
    result = tried(replace(instance, dataset=dataset), modalities=("CT",))
    assert result.outcome in (Outcome.PIXEL_DESCRIPTION, Outcome.MODALITY_NOT_NAMED)


def test_jpeg_2000_carries_signed_samples_of_12_bits() -> None:
    dataset = dcmread(BytesIO(real_file("CT_small.dcm")))
    dataset.BitsStored, dataset.HighBit = 12, 11
    pixels = np.clip(np.frombuffer(dataset.PixelData, "<i2"), -2048, 2047) - 1024
    dataset.PixelData = np.clip(pixels, -2048, 2047).astype("<i2").tobytes()
    result = tried(held(dataset), target="jpeg-2000")
    assert result.outcome is Outcome.RECOMPRESSED
    assert np.array_equal(dcmread(BytesIO(result.stored)).pixel_array, dataset.pixel_array)


def test_the_policy_says_what_is_tried_and_what_is_worth_it() -> None:
    instance = ct()
    assert tried(instance, target="none").outcome is Outcome.OFF
    assert tried(instance, modalities=("MR",)).outcome is Outcome.MODALITY_NOT_NAMED
    assert tried(instance, modalities=("MR", "CT")).outcome is Outcome.RECOMPRESSED
    assert tried(instance, minimum_kib=64).outcome is Outcome.TOO_SMALL
    assert tried(instance, minimum_saving_percent=95).outcome is Outcome.NOT_SMALLER


def test_a_frame_too_large_for_memory_is_untouched(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dicom_migration.transfer.native_pixels.MAX_FRAME_BYTES", 1000)
    assert tried(ct()).outcome is Outcome.FRAME_TOO_LARGE


def test_the_length_of_the_pixel_group_is_set_right_where_there_is_one() -> None:
    instance = ct()
    header = header_bytes(instance)
    pixels = plain(instance)[len(header) :]
    old = header + b"\xe0\x7f\0\0UL\4\0" + len(pixels).to_bytes(4, "little")
    result = tried(replace(instance, dataset=old + pixels))
    at = result.stored.index(b"\xe0\x7f\0\0UL\4\0") + 8
    length = int.from_bytes(result.stored[at : at + 4], "little")
    tail = result.stored[at + 4 + length :]
    assert result.stored[: at + 4 + length].endswith(b"\xfe\xff\xdd\xe0\0\0\0\0")
    assert tail == b"" or tail.startswith(b"\xfc\xff\xfc\xff")


def _values(dataset: Any, *, big: bool = False) -> dict[int, object]:
    """Return the values of all elements but Pixel Data, VRs left out, words in little endian."""
    return {
        int(element.tag): [_values(item, big=big) for item in element.value]
        if element.VR == "SQ"
        else _raw(element, big)
        for element in dataset
        if element.tag != 0x7FE00010 and element.tag.element
    }


def _raw(element: Any, big: bool) -> object:
    if not isinstance(element.value, bytes):
        return str(element.value)
    return turned(element.value, 2) if big and element.VR == "OW" else element.value
