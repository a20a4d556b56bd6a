"""Chooses presentation contexts so that the source sends every instance as it stores it.

Each context names one SOP class and one transfer syntax: given a choice, sources convert. An
association carries 128 contexts (PS3.8 section 9.3.2.2), so what does not fit goes to a further
association, always a SOP class as a whole: one that lacks the stored syntax of an instance but
offers another would be an invitation to transcode. Sources: DICOM PS3.5 Annex A, PS3.6 Annex A.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from pynetdicom.presentation import AllStoragePresentationContexts

from dicom_migration.archive.association_request import ProposedContext
from dicom_migration.uids import is_valid_uid

MAX_CONTEXTS = 128

IMPLICIT_VR_LITTLE_ENDIAN = "1.2.840.10008.1.2"
EXPLICIT_VR_LITTLE_ENDIAN = "1.2.840.10008.1.2.1"
QUERY_SYNTAXES = (EXPLICIT_VR_LITTLE_ENDIAN, IMPLICIT_VR_LITTLE_ENDIAN)

_PREFIX = "1.2.840.10008.1.2."
_STORAGE = "1.2.840.10008.5.1.4.1.1."

# Explicit first: some sources (DCMTK's) convert to the first context of a SOP class, and to
# implicit would lose the VRs of private elements.
UNCOMPRESSED = (
    EXPLICIT_VR_LITTLE_ENDIAN,
    IMPLICIT_VR_LITTLE_ENDIAN,
    _PREFIX + "2",  # explicit VR big endian, retired and still stored
    _PREFIX + "1.99",  # deflated
)
IMAGE = (
    *UNCOMPRESSED,
    _PREFIX + "1.98",  # encapsulated uncompressed
    _PREFIX + "5",  # RLE
    *(_PREFIX + f"4.{n}" for n in (50, 51, 57, 70)),  # JPEG
    *(_PREFIX + f"4.{n}" for n in (80, 81)),  # JPEG-LS
    *(_PREFIX + f"4.{n}" for n in (90, 91, 92, 93)),  # JPEG 2000
    *(_PREFIX + f"4.{n}" for n in (201, 202, 203)),  # HTJ2K
    *(_PREFIX + f"4.{n}" for n in (110, 111, 112)),  # JPEG XL
)
VIDEO = (
    *IMAGE,
    *(_PREFIX + f"4.{n}" for n in (100, 101, 102, 103, 104, 105, 106, 107, 108)),
    *(_PREFIX + f"4.{n}.1" for n in (100, 101, 102, 103, 104, 105, 106)),  # fragmentable
)
ANYTHING = (*VIDEO, *(_PREFIX + f"4.{n}" for n in range(52, 67) if n != 57))  # retired JPEG

_IMAGES_AMONG_OBJECTS = ("66.4", "66.7", "66.8", "481.1", "481.2", "481.23", "481.24")
_OBJECTS = (
    "4.2", "9", "11", "66", "67", "68", "77.1.5.3", "78", "79", "80", "88", "90", "91", "104",
    "131", "200", "481",
)  # fmt: skip
_VIDEOS = ("3", "3.1", "7", "7.4", "12.1", "77.1.1", "77.1.2", "77.1.4")
_RETIRED = ("3", "5", "6", "8", "9", "10", "11", "12.3", "77.1", "77.2")
_FREQUENT = (
    "2", "4", "1", "1.1", "7", "6.1", "3.1", "11.1", "88.59", "88.67", "1.2", "104.1", "20",
    "128", "12.1", "12.2", "2.1", "4.1", "88.11", "88.22", "88.33", "481.1", "481.2", "481.3",
    "481.5", "66.4",
)  # fmt: skip
_BY_MODALITY = {
    "CR": ("1",),
    "CT": ("2", "2.1", "2.2"),
    "DX": ("1.1", "1.1.1"),
    "ECG": ("9.1.1", "9.1.2", "9.1.3"),
    "ES": ("77.1.1", "77.1.1.1"),
    "GM": ("77.1.2", "77.1.2.1"),
    "IO": ("1.3", "1.3.1"),
    "KO": ("88.59",),
    "MG": ("1.2", "1.2.1", "13.1.3"),
    "MR": ("4", "4.1", "4.2"),
    "NM": ("20",),
    "OP": ("77.1.5.1", "77.1.5.2"),
    "OPT": ("77.1.5.4",),
    "OT": ("7", "7.4"),
    "DOC": ("104.1", "104.2"),
    "PR": ("11.1", "11.2", "11.3"),
    "PT": ("128", "130"),
    "RF": ("12.2", "12.2.1"),
    "RTDOSE": ("481.2",),
    "RTIMAGE": ("481.1",),
    "RTPLAN": ("481.5", "481.8"),
    "RTRECORD": ("481.4", "481.6", "481.7", "481.9"),
    "RTSTRUCT": ("481.3",),
    "SEG": ("66.4",),
    "SM": ("77.1.6",),
    "SR": ("88.11", "88.22", "88.33", "88.34", "88.67", "88.50"),
    "US": ("6.1", "3.1", "6.2"),
    "XA": ("12.1", "12.1.1", "13.1.1"),
    "XC": ("77.1.4", "77.1.4.1"),
}


def storage_syntaxes(sop_class_uid: str) -> tuple[str, ...]:
    """Return the transfer syntaxes in which instances of a SOP class may be stored."""
    if not sop_class_uid.startswith(_STORAGE):
        return ANYTHING
    number = sop_class_uid.removeprefix(_STORAGE)
    if _among(number, _OBJECTS) and not _among(number, _IMAGES_AMONG_OBJECTS):
        return UNCOMPRESSED
    return VIDEO if _among(number, _VIDEOS) else IMAGE


def default_sop_classes() -> tuple[str, ...]:
    """Return every public storage SOP class, those that archives are full of first."""
    known = [str(context.abstract_syntax) for context in AllStoragePresentationContexts]
    ordered = [_STORAGE + number for number in (*_FREQUENT, *_RETIRED)] + known
    return tuple(dict.fromkeys(ordered))


def likely_sop_classes(modalities: Iterable[str]) -> tuple[str, ...]:
    """Return the default SOP classes, those that the modalities of a study make likely first.

    For sources that do not tell SOP Class UID (0008,0016) at image level.
    """
    likely = [_STORAGE + n for modality in modalities for n in _BY_MODALITY.get(modality, ())]
    return tuple(dict.fromkeys([*likely, *default_sop_classes()]))


def batches(sop_class_uids: Iterable[str], reserved: int = 1) -> Iterator[list[ProposedContext]]:
    """Yield the storage contexts for as many associations as the SOP classes need.

    Parameters
    ----------
    sop_class_uids
        SOP classes in order of importance; repeated and malformed ones are left out.
    reserved
        Contexts of each association that are needed for something else.
    """
    room = MAX_CONTEXTS - reserved
    batch: list[ProposedContext] = []
    for uid in dict.fromkeys(sop_class_uids):
        if not is_valid_uid(uid):
            continue
        wanted: list[ProposedContext] = [(uid, (syntax,)) for syntax in storage_syntaxes(uid)]
        if batch and len(batch) + len(wanted) > room:
            yield batch
            batch = []
        batch.extend(wanted)
    if batch:
        yield batch


def _among(number: str, families: tuple[str, ...]) -> bool:
    return any(number == family or number.startswith(family + ".") for family in families)
