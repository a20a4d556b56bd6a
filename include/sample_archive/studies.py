"""What was performed: a protocol's series, and one study of one patient at one time."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime

from pydicom.uid import UID

from include.sample_archive.patients import Patient


@dataclass(frozen=True)
class SeriesPlan:
    """One series of a protocol.

    Attributes
    ----------
    description : str
        (0008,103E).
    region : str
        The phantom to draw and (0018,0015) Body Part Examined.
    variant : str
        What distinguishes the series: the MR weighting, the view of a projection, or ``CLIP``.
    images : int
        Number of instances; of frames if `variant` is ``CLIP``, which is one instance.
    laterality : str
        ``L``, ``R`` or empty for unpaired anatomy.
    """

    description: str
    region: str
    variant: str = ""
    images: int = 1
    laterality: str = ""


@dataclass(frozen=True)
class Protocol:
    """A kind of examination: its modality, its (0008,1030) description and its series."""

    modality: str
    description: str
    series: tuple[SeriesPlan, ...]

    def shortened(self, images: int) -> Protocol:
        """Return the protocol with at most `images` images a series."""
        series = tuple(replace(plan, images=min(plan.images, images)) for plan in self.series)
        return replace(self, series=series)


@dataclass(frozen=True)
class Study:
    """One planned study; what its files contain follows from it alone.

    Attributes
    ----------
    seed : int
        The archive's seed.
    number : int
        Its place in the plan, unique in the archive.
    performed : datetime.datetime
        The hospital's clock, whole seconds.
    defects : tuple of str
        Codes from `defects.py` to plant, in this order.
    partner : Study or None
        The study that a defect across two studies refers to.
    run_length_encoded : bool
        Whether the pixels are stored with RLE Lossless.
    """

    seed: int
    number: int
    uid: UID
    patient: Patient
    protocol: Protocol
    performed: datetime
    accession_number: str
    study_id: str
    defects: tuple[str, ...] = ()
    partner: Study | None = None
    run_length_encoded: bool = False


@dataclass(frozen=True)
class Place:
    """Where an instance stands: its study, its series and its number in the series (from 1)."""

    study: Study
    series_number: int
    plan: SeriesPlan
    number: int

    @property
    def depth(self) -> float:
        """Position in the series, 0 to 1."""
        return (self.number - 1) / max(1, self.plan.images - 1)


def places(study: Study) -> Iterator[Place]:
    """Yield the place of every instance of the study, series by series."""
    for series_number, plan in enumerate(study.protocol.series, start=1):
        count = 1 if plan.variant == "CLIP" else plan.images
        for number in range(1, count + 1):
            yield Place(study, series_number, plan, number)


CT_HEAD = Protocol("CT", "CT HEAD WITHOUT CONTRAST", (SeriesPlan("AXIAL 5MM", "HEAD", images=14),))
CT_CHEST = Protocol("CT", "CT CHEST WITH CONTRAST", (SeriesPlan("AXIAL 5MM", "CHEST", images=13),))
CT_ABDOMEN = Protocol("CT", "CT ABDOMEN", (SeriesPlan("AXIAL 5MM", "ABDOMEN", images=12),))
MR_BRAIN = Protocol(
    "MR",
    "MR BRAIN",
    (
        SeriesPlan("LOCALISER", "BRAIN", "T1", 3),
        SeriesPlan("AXIAL T1", "BRAIN", "T1", 19),
        SeriesPlan("AXIAL T2", "BRAIN", "T2", 19),
    ),
)
MR_KNEE = Protocol(
    "MR",
    "MR KNEE LEFT",
    (
        SeriesPlan("SAGITTAL PD", "KNEE", "PD", 18, "L"),
        SeriesPlan("SAGITTAL T2", "KNEE", "T2", 18, "L"),
    ),
)
CR_CHEST = Protocol(
    "CR",
    "XR CHEST 2 VIEWS",
    (SeriesPlan("CHEST PA", "CHEST", "PA"), SeriesPlan("CHEST LATERAL", "CHEST", "LL")),
)
CR_HAND = Protocol("CR", "XR HAND RIGHT", (SeriesPlan("HAND PA", "HAND", "PA", 1, "R"),))
MG_SCREENING = Protocol(
    "MG",
    "MAMMOGRAPHY SCREENING",
    tuple(
        SeriesPlan(f"{side} {view}", "BREAST", view, 1, side)
        for view in ("CC", "MLO")
        for side in "RL"
    ),
)
US_ABDOMEN = Protocol("US", "US ABDOMEN", (SeriesPlan("ABDOMEN", "ABDOMEN", images=8),))
US_HEART = Protocol(
    "US",
    "US HEART",
    tuple(SeriesPlan(f"FOUR CHAMBER {n}", "HEART", "CLIP", 12) for n in (1, 2)),
)
