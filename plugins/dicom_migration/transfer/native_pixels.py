"""What uncompressed pixel data is made of, and whether a lossless codec can carry all of it.

Attributes and lengths: PS3.3 section C.7.6.3.1, PS3.5 section 8.1.1.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from dicom_migration.transfer.outcomes import Outcome, UntouchedError
from dicom_migration.transfer.pixel_data import PixelValue
from dicom_migration.transfer.reencoding import turned

if TYPE_CHECKING:
    from pydicom import Dataset

#: A larger frame would take too much memory while it is compressed and checked.
MAX_FRAME_BYTES = 32 << 20
_PHOTOMETRIC = frozenset({"MONOCHROME1", "MONOCHROME2", "PALETTE COLOR", "RGB", "YBR_FULL"})


@dataclass(frozen=True, slots=True)
class NativePixels:
    """The pixel format of a dataset.

    `by_plane` is Planar Configuration (0028,0006) of colour; `word` is the size of the words to
    turn, 1 for none.
    """

    rows: int
    columns: int
    samples: int
    frames: int
    bits_allocated: int
    bits_stored: int
    high_bit: int
    signed: bool
    photometric: str
    by_plane: bool = False
    word: int = 1

    @property
    def frame_bytes(self) -> int:
        """Bytes of one native frame."""
        return self.rows * self.columns * self.samples * self.bits_allocated // 8


def describe_pixels(header: Dataset, value: PixelValue, *, word: int) -> NativePixels:
    """Return the format of native pixel data that a codec can carry exactly.

    Parameters
    ----------
    word
        1 for little endian data and bytes; 2 for 16-bit words of a big endian dataset.

    Raises
    ------
    UntouchedError
        It cannot be carried: the outcome says why.
    """
    pixels = _described(header, word)
    checks = (
        (pixels.bits_allocated in (8, 16), Outcome.BITS_ALLOCATED),
        (_bits_fit(pixels), Outcome.BITS_STORED),
        (pixels.samples == (3 if _is_colour(pixels) else 1), Outcome.PHOTOMETRIC_INTERPRETATION),
        (pixels.photometric in _PHOTOMETRIC, Outcome.PHOTOMETRIC_INTERPRETATION),
        (not pixels.by_plane, Outcome.PLANAR_CONFIGURATION),
        (_length_fits(pixels, value), Outcome.PIXEL_LENGTH),
        (pixels.frame_bytes <= MAX_FRAME_BYTES, Outcome.FRAME_TOO_LARGE),
        (pixels.frame_bytes % word == 0, Outcome.PIXEL_LENGTH),
    )
    for holds, outcome in checks:
        if not holds:
            raise UntouchedError(outcome)
    return pixels


def read_frames(
    read: Callable[[int, int], bytes], value: PixelValue, pixels: NativePixels
) -> Iterator[bytes]:
    """Yield each frame as little endian bytes, one at a time; `read` gives the bytes between."""
    for number in range(pixels.frames):
        start = value.start + number * pixels.frame_bytes
        yield turned(read(start, start + pixels.frame_bytes), pixels.word)


def fills_unused_bits(frame: bytes, pixels: NativePixels) -> bool:
    """Tell whether bits above Bits Stored say something of their own, such as an overlay.

    They do not when they are zero, or repeat the sign: then decoding gives them back.
    """
    import numpy as np

    samples = np.frombuffer(frame, f"<{'i' if pixels.signed else 'u'}{pixels.bits_allocated // 8}")
    low = -(1 << (pixels.bits_stored - 1)) if pixels.signed else 0
    return bool(samples.min() < low or samples.max() >= low + (1 << pixels.bits_stored))


def _described(header: Dataset, word: int) -> NativePixels:
    try:
        samples, bits_stored = int(header.SamplesPerPixel), int(header.BitsStored)
        return NativePixels(
            rows=int(header.Rows),
            columns=int(header.Columns),
            samples=samples,
            frames=int(header.get("NumberOfFrames") or 1),
            bits_allocated=int(header.BitsAllocated),
            bits_stored=bits_stored,
            high_bit=int(header.get("HighBit", bits_stored - 1)),
            signed=bool(int(header.PixelRepresentation)),
            photometric=str(header.PhotometricInterpretation),
            by_plane=samples > 1 and bool(int(header.get("PlanarConfiguration") or 0)),
            word=word,
        )
    except Exception:  # noqa: BLE001 - hostile values raise anything when they are decoded
        raise UntouchedError(Outcome.PIXEL_DESCRIPTION) from None


def _is_colour(pixels: NativePixels) -> bool:
    return pixels.photometric in ("RGB", "YBR_FULL")


def _bits_fit(pixels: NativePixels) -> bool:
    """Tell whether the codec's container is the dataset's: 9 to 16 bits in two bytes."""
    low = pixels.high_bit == pixels.bits_stored - 1
    return low and pixels.bits_allocated - 8 < pixels.bits_stored <= pixels.bits_allocated


def _length_fits(pixels: NativePixels, value: PixelValue) -> bool:
    """Tell whether the value is the frames and at most a pad byte: anything else would be lost."""
    expected = pixels.frame_bytes * pixels.frames
    return expected > 0 and value.length in (expected, expected + expected % 2)
