"""What an auditor sees: windowed frames; and how much memory comparing frames takes."""

from __future__ import annotations

import base64
import io
import struct
import tracemalloc
import zlib

import numpy as np
import pytest
from pydicom import Dataset
from pydicom.dataset import FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian

from dicom_migration.verification.audit.pixels import PixelOutcome, compare_pixels
from dicom_migration.verification.audit.rendering import LONGEST_SIDE, picture


def decoded(uri: str) -> np.ndarray:
    """Read a PNG without filters, as a viewer does."""
    data = io.BytesIO(base64.b64decode(uri.removeprefix("data:image/png;base64,")))
    assert data.read(8) == b"\x89PNG\r\n\x1a\n"
    chunks = {}
    while head := data.read(8):
        length, name = struct.unpack(">I4s", head)
        body = data.read(length)
        assert struct.unpack(">I", data.read(4))[0] == zlib.crc32(name + body)
        chunks[name] = body
    width, height, depth, kind = struct.unpack(">IIBB", chunks[b"IHDR"][:10])
    assert depth == 8
    samples = 3 if kind == 2 else 1
    lines = np.frombuffer(zlib.decompress(chunks[b"IDAT"]), np.uint8)
    lines = lines.reshape(height, 1 + width * samples)[:, 1:]
    return lines.reshape(height, width, samples).squeeze()


def grey(**attributes) -> Dataset:
    dataset = Dataset()
    dataset.PhotometricInterpretation = "MONOCHROME2"
    for keyword, value in attributes.items():
        setattr(dataset, keyword, value)
    return dataset


FRAME = np.array([[0, 40, 80, 400]], np.int16)


def test_a_frame_is_shown_by_its_own_headers_window():
    shown = decoded(picture(FRAME, grey(WindowCenter="40.5", WindowWidth="81")))
    assert shown.tolist() == [0, 127, 255, 255]


def test_rescale_comes_before_the_window():
    header = grey(
        WindowCenter="-983.5", WindowWidth="81", RescaleSlope="1", RescaleIntercept="-1024"
    )
    assert decoded(picture(FRAME, header)).tolist() == [0, 127, 255, 255]


def test_without_a_window_all_values_are_shown_and_monochrome1_is_inverted():
    assert decoded(picture(FRAME, grey())).tolist() == [0, 25, 51, 255]
    inverted = grey(PhotometricInterpretation="MONOCHROME1")
    assert decoded(picture(FRAME, inverted)).tolist() == [255, 230, 204, 0]


def test_a_window_that_cannot_be_read_does_no_harm():
    assert decoded(picture(FRAME, grey(WindowCenter="40"))).tolist() == [0, 25, 51, 255]


def test_colour_is_shown_and_large_frames_are_thinned():
    frame = np.zeros((2000, 1000, 3), np.uint8)
    frame[..., 0] = 200
    header = grey(PhotometricInterpretation="RGB")
    shown = decoded(picture(frame, header))
    assert max(shown.shape) <= LONGEST_SIDE
    assert shown[0, 0].tolist() == [200, 0, 0]


def many_frames(pixels: bytes, frames: int) -> Dataset:
    dataset = grey(
        Rows=256,
        Columns=256,
        SamplesPerPixel=1,
        BitsAllocated=16,
        BitsStored=16,
        HighBit=15,
        PixelRepresentation=0,
        NumberOfFrames=frames,
    )
    dataset.PixelData = pixels
    dataset["PixelData"].VR = "OW"
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    return dataset


@pytest.mark.parametrize("frames", [16, 256])
def test_memory_does_not_grow_with_the_number_of_frames(frames):
    pixels = np.random.default_rng(1).integers(0, 65535, 256 * 256 * frames, np.uint16).tobytes()
    source, cloud = many_frames(pixels, frames), many_frames(pixels, frames)
    tracemalloc.start()
    result = compare_pixels(source, cloud)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert (result.outcome, result.frames) == (PixelOutcome.EQUAL, frames)
    assert peak < 3_000_000  # a frame has 131,072 bytes, all of them 33 million
