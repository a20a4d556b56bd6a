"""Decoded pixels of two copies, compared frame by frame: exactly, and in bounded memory."""

from __future__ import annotations

import hashlib
import warnings
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from dicom_migration.datasets import PIXEL_TAGS

if TYPE_CHECKING:
    import numpy as np
    from pydicom import Dataset

#: A frame that declares more decoded bytes than this is not decoded.
MAX_FRAME_BYTES = 1 << 30
_SAMPLES = "samples differ"


class PixelOutcome(StrEnum):
    """What comparing the pixels of one instance came to."""

    EQUAL = "equal"
    DIFFERENT = "different"
    #: The source's own image cannot be decoded; its bytes and the copy's are the same.
    UNDECODABLE = "undecodable"


@dataclass(slots=True)
class PixelComparison:
    """The pixels of one instance in both copies.

    Attributes
    ----------
    why
        What differs, or the kind of error that the decoder raised; no value of a pixel or header.
    frames, first_different
        Frames compared, and the number of the first that differs (from 1), 0 for none.
    max_difference
        Largest absolute difference of two samples.
    histogram
        Samples by the power of two that their absolute difference reaches: 0 for no difference,
        1 for 1, 2 for 2 and 3, 4 for 4 to 7, and so on.
    shown
        The frame to be shown of source and cloud: the first that differs, else the first.
    """

    outcome: PixelOutcome = PixelOutcome.EQUAL
    why: str = ""
    frames: int = 0
    first_different: int = 0
    max_difference: float = 0
    histogram: Counter[int] = field(default_factory=Counter)
    shown: tuple[np.ndarray | None, np.ndarray | None] = (None, None)


class _DecodeError(ValueError):
    """A decoder gave up; the text is the kind of its error."""


def compare_pixels(source: Dataset, cloud: Dataset) -> PixelComparison:
    """Compare every sample of every frame; both datasets carry their ``file_meta``."""
    result = PixelComparison()
    orders: tuple[list[bytes], list[bytes]] = ([], [])
    theirs, ours = _frames(source), _frames(cloud)
    while True:
        try:
            wanted = next(theirs, None)
        except _DecodeError as error:
            return _undecodable(source, cloud, str(error))
        try:
            held = next(ours, None)
        except _DecodeError as error:
            return _different(result, f"the copy cannot be decoded ({error}), the source can")
        if wanted is None and held is None:
            break
        if wanted is None or held is None:
            _different(result, "the copies have different numbers of frames")
            break
        _compare_frame(result, wanted, held, orders)
    if result.why == _SAMPLES and sorted(orders[0]) == sorted(orders[1]):
        result.why = "the frames are the same, in another order"
    return result


def _compare_frame(
    result: PixelComparison,
    wanted: np.ndarray,
    held: np.ndarray,
    orders: tuple[list[bytes], list[bytes]],
) -> None:
    import numpy as np

    result.frames += 1
    for order, frame in zip(orders, (wanted, held), strict=True):
        order.append(hashlib.sha256(np.ascontiguousarray(frame).data).digest())
    same = wanted.shape == held.shape and wanted.dtype.kind == held.dtype.kind
    if same and np.array_equal(wanted, held, equal_nan=wanted.dtype.kind == "f"):
        result.histogram[0] += wanted.size
        if result.frames == 1:
            result.shown = (wanted, held)
        return
    if not result.first_different:
        result.first_different = result.frames
        result.shown = (wanted, held)
    if not same:
        _different(result, "the frames have different shapes")
        return
    _different(result, _SAMPLES)
    _count_differences(result, wanted, held)


def _count_differences(result: PixelComparison, wanted: np.ndarray, held: np.ndarray) -> None:
    import numpy as np

    wide: Any = np.float64 if wanted.dtype.kind == "f" else np.int64
    apart = np.abs(wanted.astype(wide) - held.astype(wide))
    result.max_difference = max(result.max_difference, float(np.nanmax(apart)))
    edges = [0.0, 1.0, *(float(2**power) for power in range(1, 33)), np.inf]
    counts, _ = np.histogram(np.nan_to_num(apart, nan=np.inf), bins=edges)
    for edge, count in zip(edges, counts, strict=False):
        if count:
            result.histogram[int(edge)] += int(count)


def _different(result: PixelComparison, why: str) -> PixelComparison:
    result.outcome = PixelOutcome.DIFFERENT
    result.why = result.why or why
    return result


def _undecodable(source: Dataset, cloud: Dataset, why: str) -> PixelComparison:
    """Compare the bytes of what cannot be decoded at the source."""
    if _value(source) == _value(cloud):
        return PixelComparison(PixelOutcome.UNDECODABLE, why)
    return PixelComparison(
        PixelOutcome.DIFFERENT, f"the source cannot be decoded ({why}) and the bytes differ"
    )


def _value(dataset: Dataset) -> list[object]:
    return [dataset.get_item(tag).value for tag in sorted(PIXEL_TAGS) if tag in dataset]


def _frames(dataset: Dataset) -> Iterator[np.ndarray]:
    """Yield decoded frames as they are stored, without conversion of colours.

    Raises
    ------
    _DecodeError
        With the kind of error only: decoders quote values of the header.
    """
    from pydicom.pixels import iter_pixels

    try:
        declared = (
            int(dataset.Rows)
            * int(dataset.Columns)
            * int(dataset.get("SamplesPerPixel", 1))
            * max(1, int(dataset.get("BitsAllocated", 8)) // 8)
        )
    except Exception as error:  # noqa: BLE001 - hostile values raise anything
        raise _DecodeError(type(error).__name__) from None
    if declared > MAX_FRAME_BYTES:
        raise _DecodeError("FrameTooLarge")
    frames = iter_pixels(dataset, raw=True)
    while True:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # they quote values of the header (PHI)
                frame = next(frames, None)
        except Exception as error:  # noqa: BLE001 - decoders of hostile bytes raise anything
            raise _DecodeError(type(error).__name__) from None
        if frame is None:
            return
        yield frame
