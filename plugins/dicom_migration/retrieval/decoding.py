"""Decoding the first frame: the last thing that happens before a clinician sees an image."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable
from io import BytesIO
from typing import TYPE_CHECKING

from dicom_migration.datasets import DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN, parse_dataset

if TYPE_CHECKING:
    from pydicom import Dataset

#: A larger instance is not decoded: a viewer would not wait for it as a whole either.
MOST_BYTES = 512 * 1024**2
#: Group 0002, which names the transfer syntax, is within these.
_META_BYTES = 1024


def load_decoders() -> None:
    """Import what decoding needs, so that no retrieval's clock runs meanwhile."""
    import pydicom.pixels  # noqa: F401 - for its effect


def decode_part10(data: bytes) -> float | None:
    """Decode the first frame of a stored object; see :func:`decode_dataset`."""

    def read() -> Dataset:
        from pydicom import dcmread

        return dcmread(BytesIO(data))

    deflated = DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN.encode() in data[:_META_BYTES]
    return None if deflated or len(data) > MOST_BYTES else _decoded(read)


def decode_dataset(data: bytes, transfer_syntax_uid: str) -> float | None:
    """Decode the first frame of a dataset as a source sends it.

    Returns
    -------
    float or None
        Seconds; None when there is no image in it, it is deflated (which has no bound), or it
        cannot be decoded here.
    """

    def read() -> Dataset:
        from pydicom.dataset import FileMetaDataset
        from pydicom.uid import UID

        dataset = parse_dataset(data, transfer_syntax_uid, stop_before_pixels=False)
        dataset.file_meta = FileMetaDataset()
        dataset.file_meta.TransferSyntaxUID = UID(transfer_syntax_uid)
        return dataset

    if transfer_syntax_uid == DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN or len(data) > MOST_BYTES:
        return None
    return _decoded(read)


def _decoded(read: Callable[[], Dataset]) -> float | None:
    from pydicom.pixels import pixel_array

    began = time.perf_counter()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # their text quotes values, which may be PHI
            pixel_array(read(), index=0)
    except Exception:  # noqa: BLE001 - hostile bytes raise anything in a decoder
        return None
    return time.perf_counter() - began
