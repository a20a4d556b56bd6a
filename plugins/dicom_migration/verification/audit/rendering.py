"""Frames as small pictures for the report, windowed; none without the policy's word.

A picture may show a name that is burned into its pixels: see ``audit_report`` of the policy.
"""

from __future__ import annotations

import base64
import struct
import zlib
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from dicom_migration.header_facts import text_value
from dicom_migration.policies.verification import AuditReport
from dicom_migration.verification.audit.drawing import Stratum
from dicom_migration.verification.audit.examining import Examined

if TYPE_CHECKING:
    import numpy as np
    from pydicom import Dataset

#: Longest side of a picture, in pixels; larger frames are thinned out.
LONGEST_SIDE = 320


@dataclass(frozen=True, slots=True)
class Exhibit:
    """One instance shown: pictures as data URIs, `difference` empty when there is none."""

    sop_instance_uid: str
    stratum: Stratum
    failed: bool
    frame: int
    source: str
    cloud: str
    difference: str


@dataclass(slots=True)
class Gallery:
    """Chooses what is shown: what failed first, then one of each stratum.

    Attributes
    ----------
    withheld
        Instances with a picture that is not shown, by why.
    """

    policy: AuditReport
    failed: list[Exhibit] = field(default_factory=list)
    clean: dict[Stratum, Exhibit] = field(default_factory=dict)
    withheld: Counter[str] = field(default_factory=Counter)

    def consider(self, found: Examined) -> None:
        """Render the instance if it is to be shown, and let go of its pixels and headers."""
        datasets, pixels = found.datasets, found.pixels
        found.datasets = None
        if datasets is None or pixels is None:
            return
        shown, pixels.shown = pixels.shown, (None, None)
        if shown[0] is None or shown[1] is None or self._full(found):
            return
        if why := self._objection(*datasets):
            self.withheld[why] += 1
            return
        exhibit = _exhibit(found, (shown[0], shown[1]), datasets)
        if found.failed:
            self.failed.append(exhibit)
        else:
            self.clean[found.stratum] = exhibit

    @property
    def exhibits(self) -> list[Exhibit]:
        """Return what is shown, at most as many as the policy allows."""
        return [*self.failed, *self.clean.values()][: self.policy.max_renderings]

    def _full(self, found: Examined) -> bool:
        if found.failed:
            return len(self.failed) >= self.policy.max_renderings
        return found.stratum in self.clean or len(self.clean) >= self.policy.max_renderings

    def _objection(self, source: Dataset, cloud: Dataset) -> str:
        if self.policy.renderings == "none":
            return "the policy renders no image"
        if self.policy.renderings == "all":
            return ""
        said = {text_value(dataset, "BurnedInAnnotation") for dataset in (source, cloud)}
        if said == {"NO"}:
            return ""
        return "Burned In Annotation (0028,0301) is YES, or not said"


def _exhibit(
    found: Examined, shown: tuple[np.ndarray, np.ndarray], datasets: tuple[Dataset, Dataset]
) -> Exhibit:
    assert found.pixels is not None  # noqa: S101 - it has frames
    return Exhibit(
        found.row.sop_instance_uid,
        found.stratum,
        found.failed,
        found.pixels.first_different or 1,
        picture(shown[0], datasets[0]),
        picture(shown[1], datasets[1]),
        _difference(*shown) if found.pixels.first_different else "",
    )


def picture(frame: np.ndarray, dataset: Dataset) -> str:
    """Return a frame as a PNG in a data URI: colour as it is, grey by the header's window."""
    thin = _thinned(frame)
    if thin.ndim == 3:
        return _png(_colour(thin, dataset))
    return _png(_windowed(thin, dataset))


def _windowed(frame: np.ndarray, dataset: Dataset) -> np.ndarray:
    """Apply rescale and the first window, linear (PS3.3 C.11.1, C.11.2.1.2); else all values."""
    import numpy as np

    values = frame.astype(np.float64) * _number(dataset, "RescaleSlope", 1.0)
    values += _number(dataset, "RescaleIntercept", 0.0)
    width = _number(dataset, "WindowWidth", 0.0)
    centre = _number(dataset, "WindowCenter", 0.0)
    if width >= 1:
        low, span = centre - 0.5 - (width - 1) / 2, max(width - 1, 1e-9)
    else:
        low = float(np.nanmin(values))
        span = max(float(np.nanmax(values)) - low, 1e-9)
    grey = np.clip(np.nan_to_num((values - low) / span) * 255, 0, 255).astype(np.uint8)
    inverted = text_value(dataset, "PhotometricInterpretation") == "MONOCHROME1"
    return 255 - grey if inverted else grey


def _colour(frame: np.ndarray, dataset: Dataset) -> np.ndarray:
    import numpy as np
    from pydicom.pixels import convert_color_space

    if frame.dtype != np.uint8:
        frame = (frame.astype(np.float64) / max(float(frame.max()), 1.0) * 255).astype(np.uint8)
    interpretation = text_value(dataset, "PhotometricInterpretation") or ""
    if interpretation.startswith("YBR_FULL"):
        frame = convert_color_space(np.ascontiguousarray(frame[..., :3]), "YBR_FULL", "RGB")
    return frame[..., :3]


def _difference(source: np.ndarray, cloud: np.ndarray) -> str:
    import numpy as np

    if source.shape != cloud.shape:
        return ""
    apart = np.abs(source.astype(np.float64) - cloud.astype(np.float64))
    if apart.ndim == 3:
        apart = apart.max(axis=-1)
    step = _step(apart.shape)
    # Thinned by the largest of each block: one wrong sample must not fall through.
    rows, columns = (-(-side // step) * step for side in apart.shape)
    padded = np.zeros((rows, columns))
    padded[: apart.shape[0], : apart.shape[1]] = np.nan_to_num(apart)
    blocks = padded.reshape(rows // step, step, columns // step, step).max(axis=(1, 3))
    return _png(np.where(blocks > 0, 255, 0).astype(np.uint8))


def _thinned(frame: np.ndarray) -> np.ndarray:
    step = _step(frame.shape)
    return frame[::step, ::step]


def _step(shape: tuple[int, ...]) -> int:
    return max(1, -(-max(shape[:2]) // LONGEST_SIDE))


def _number(dataset: Dataset, keyword: str, default: float) -> float:
    """Return the first value of a decimal attribute, `default` when there is none."""
    try:
        return float((text_value(dataset, keyword) or "").split("\\")[0])
    except ValueError:
        return default


def _png(image: Any) -> str:
    """Return 8-bit grey or RGB samples as a PNG (RFC 2083) in a data URI."""
    height, width = image.shape[:2]
    kind = 2 if image.ndim == 3 else 0
    lines = b"".join(b"\0" + line.tobytes() for line in image)
    head = struct.pack(">IIBBBBB", width, height, 8, kind, 0, 0, 0)
    parts = ((b"IHDR", head), (b"IDAT", zlib.compress(lines, 6)), (b"IEND", b""))
    data = b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))
        for name, body in parts
    )
    return "data:image/png;base64," + base64.b64encode(data).decode()
