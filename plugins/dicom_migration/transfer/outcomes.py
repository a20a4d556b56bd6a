"""What became of an instance that could be recompressed: the manifest's ``recompression``."""

from __future__ import annotations

from enum import StrEnum


class Outcome(StrEnum):
    """Recompressed, or why not; docs/recompression.md explains each to operators."""

    OFF = ""
    RECOMPRESSED = "recompressed"
    NOT_NATIVE = "not_native"
    NO_PIXEL_DATA = "no_pixel_data"
    MODALITY_NOT_NAMED = "modality_not_named"
    TOO_SMALL = "too_small"
    FLOAT_PIXELS = "float_pixels"
    PIXEL_DESCRIPTION = "pixel_description"
    BITS_ALLOCATED = "bits_allocated"
    BITS_STORED = "bits_stored"
    PHOTOMETRIC_INTERPRETATION = "photometric_interpretation"
    PLANAR_CONFIGURATION = "planar_configuration"
    PIXEL_LENGTH = "pixel_length"
    FRAME_TOO_LARGE = "frame_too_large"
    SIGNED_SAMPLES = "signed_samples"
    UNUSED_BITS = "unused_bits"
    DIGITALLY_SIGNED = "digitally_signed"
    DATA_AFTER_PIXELS = "data_after_pixels"
    HEADER_NOT_CONVERTIBLE = "header_not_convertible"
    CODEC_REFUSED = "codec_refused"
    PIXELS_DIFFER = "pixels_differ"
    NOT_SMALLER = "not_smaller"


class UntouchedError(Exception):
    """The instance is stored as it is, for the reason that `outcome` names."""

    def __init__(self, outcome: Outcome) -> None:
        self.outcome = outcome
        super().__init__(outcome.value)
