"""Lossless compression of one frame, and its decompression by a library that did not compress it.

JPEG-LS is encoded by CharLS (pyjpegls), JPEG 2000 by OpenJPEG (pylibjpeg-openjpeg); both are
decoded by GDCM, which brings builds of its own of such codecs. pydicom checks that the pixel
format is one that PS3.5 section 8.2 allows for the transfer syntax.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from dicom_migration.transfer.native_pixels import NativePixels

JPEG_LS_LOSSLESS = "1.2.840.10008.1.2.4.80"
JPEG_2000_LOSSLESS = "1.2.840.10008.1.2.4.90"

#: One frame at a time in a process: the codecs hold the interpreter anyway, and a frame is held
#: several times over while it is checked.
one_frame = threading.Lock()


class CodecError(ValueError):
    """The codec does not take this frame; its own text is dropped."""


@dataclass(frozen=True, slots=True)
class Codec:
    """Compresses a frame (native, little endian, colour by pixel) and reads it again.

    `encode` and `decode` may raise anything; :meth:`compress` tells it as :class:`CodecError`.
    """

    transfer_syntax_uid: str
    encode: Callable[[bytes, NativePixels], bytes]
    decode: Callable[[bytes, NativePixels], bytes]

    def compress(self, frame: bytes, pixels: NativePixels) -> tuple[bytes, bool]:
        """Return the compressed frame and whether it decodes to the identical bytes.

        Raises
        ------
        CodecError
            Encoder or decoder refuse it.
        """
        try:
            with one_frame:
                packed = self.encode(frame, pixels)
                return packed, self.decode(packed, pixels) == frame
        except Exception:  # noqa: BLE001 - codecs raise anything, and their texts quote the header
            raise CodecError from None


def jpeg_ls() -> Codec:
    """Return JPEG-LS lossless (PS3.5 section 8.2.3)."""
    return _codec(JPEG_LS_LOSSLESS, "pyjpegls")


def jpeg_2000() -> Codec:
    """Return JPEG 2000 lossless only, without colour transform (PS3.5 section 8.2.4)."""
    return _codec(JPEG_2000_LOSSLESS, "pylibjpeg")


def _codec(transfer_syntax_uid: str, encoder: str) -> Codec:
    from pydicom.encaps import encapsulate
    from pydicom.pixels import get_decoder, get_encoder
    from pydicom.uid import UID

    syntax = UID(transfer_syntax_uid)

    def encode(frame: bytes, pixels: NativePixels) -> bytes:
        options = _options(pixels)
        return bytes(get_encoder(syntax).encode(frame, encoding_plugin=encoder, **options))

    def decode(packed: bytes, pixels: NativePixels) -> bytes:
        item = encapsulate([packed])
        options = _options(pixels)
        frame, _ = get_decoder(syntax).as_buffer(item, index=0, decoding_plugin="gdcm", **options)
        return bytes(frame)

    return Codec(transfer_syntax_uid, encode, decode)


def _options(pixels: NativePixels) -> dict[str, Any]:
    return {
        "rows": pixels.rows,
        "columns": pixels.columns,
        "samples_per_pixel": pixels.samples,
        "number_of_frames": 1,
        "bits_allocated": pixels.bits_allocated,
        "bits_stored": pixels.bits_stored,
        "pixel_representation": int(pixels.signed),
        "photometric_interpretation": pixels.photometric,
        "planar_configuration": 0,
        "pixel_keyword": "PixelData",
    }
