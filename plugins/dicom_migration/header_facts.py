"""The header attributes that completeness is judged on, and how they are read from a dataset.

One list serves the ledger's ``header_fact`` table, the manifest's columns and the expectation
suites, so that "complete" means the same before and after the migration.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pydicom import Dataset
    from pydicom.tag import BaseTag

#: (column name, DICOM keyword); the order is the order of the manifest's columns.
TEXT_FACTS: tuple[tuple[str, str], ...] = (
    ("specific_character_set", "SpecificCharacterSet"),
    ("modality", "Modality"),
    ("patient_id", "PatientID"),
    ("issuer_of_patient_id", "IssuerOfPatientID"),
    ("patient_name", "PatientName"),
    ("patient_birth_date", "PatientBirthDate"),
    ("patient_sex", "PatientSex"),
    ("study_date", "StudyDate"),
    ("study_time", "StudyTime"),
    ("study_id", "StudyID"),
    ("accession_number", "AccessionNumber"),
    ("study_description", "StudyDescription"),
    ("referring_physician_name", "ReferringPhysicianName"),
    ("institution_name", "InstitutionName"),
    ("manufacturer", "Manufacturer"),
    ("series_date", "SeriesDate"),
    ("acquisition_date", "AcquisitionDate"),
    ("content_date", "ContentDate"),
    ("series_number", "SeriesNumber"),
    ("series_description", "SeriesDescription"),
    ("body_part_examined", "BodyPartExamined"),
    ("laterality", "Laterality"),
    ("image_laterality", "ImageLaterality"),
    ("instance_number", "InstanceNumber"),
    ("photometric_interpretation", "PhotometricInterpretation"),
)
INTEGER_FACTS: tuple[tuple[str, str], ...] = (
    ("rows", "Rows"),
    ("columns", "Columns"),
    ("bits_allocated", "BitsAllocated"),
    ("samples_per_pixel", "SamplesPerPixel"),
    ("number_of_frames", "NumberOfFrames"),
)
KEYWORD_OF_COLUMN = dict((*TEXT_FACTS, *INTEGER_FACTS))
#: DICOM keyword to column.
COLUMN_OF_KEYWORD = {keyword: column for column, keyword in KEYWORD_OF_COLUMN.items()}
#: How the text of the header is really encoded, whatever it declares; see `text_encoding`.
TEXT_ENCODING = "text_encoding"
TEXT_COLUMNS: tuple[str, ...] = (*(column for column, _ in TEXT_FACTS), TEXT_ENCODING)
INTEGER_COLUMNS: tuple[str, ...] = tuple(column for column, _ in INTEGER_FACTS)


def read_header_facts(dataset: Dataset) -> dict[str, str | int | None]:
    """Return the facts of `dataset`, one key a column; absent and empty are None.

    Values are as written (multi-valued ones joined by a backslash, PS3.5 section 6.4), so that
    a suite sees over-long and malformed values too. Never raises on a malformed value: what
    cannot be decoded reads as None and fails completeness.
    """
    facts: dict[str, str | int | None] = {TEXT_ENCODING: text_encoding(dataset)}
    for column in KEYWORD_OF_COLUMN:
        facts[column] = header_fact(dataset, column)
    return facts


def header_fact(dataset: Dataset, column: str) -> str | int | None:
    """Return one of the facts of :func:`read_header_facts` that a single element tells."""
    keyword = KEYWORD_OF_COLUMN[column]
    return _integer(dataset, keyword) if column in INTEGER_COLUMNS else text_value(dataset, keyword)


def text_value(dataset: Dataset, keyword: str) -> str | None:
    """Return a value as text, None when it is absent, empty or cannot be decoded."""
    try:
        value = dataset.get(keyword)
        if value is None:
            return None
        if (
            not isinstance(value, str)
            and hasattr(value, "__iter__")
            and not hasattr(value, "components")
        ):
            value = "\\".join(str(part) for part in value)
        return str(value).rstrip("\0 ") or None
    except Exception:  # noqa: BLE001 - hostile bytes raise anything in a decoder
        return None


#: What a NUL inside a value becomes where NUL cannot be kept (PostgreSQL's text).
NUL_SHOWN = "\N{SYMBOL FOR NULL}"


def storable(value: str) -> str:
    """Return text as the ledger keeps it: NUL shown as a symbol, lone surrogates as ``?``."""
    return value.replace("\0", NUL_SHOWN).encode("utf-8", "replace").decode()


#: More than any attribute here can mean, and what every column can hold.
_LARGEST = 2**31 - 1


def _integer(dataset: Dataset, keyword: str) -> int | None:
    try:
        value = dataset.get(keyword)
        number = None if value is None or value == "" else int(value)
        return number if number is None or abs(number) <= _LARGEST else None
    except Exception:  # noqa: BLE001 - as above
        return None


#: Value representations whose encoding Specific Character Set (0008,0005) governs (PS3.5 6.1.2.2).
TEXT_VRS = frozenset({"SH", "LO", "ST", "LT", "UC", "UT", "PN"})


def text_encoding(dataset: Dataset) -> str:
    """Tell how the top-level text of `dataset` is encoded, from its bytes.

    Call it before any text element is read: pydicom replaces the bytes by what it decoded.

    Returns
    -------
    str
        ``ascii``: nothing else occurs; ``declared``: Specific Character Set (0008,0005) explains
        the bytes; ``utf-8``: they are UTF-8, which is not what is declared; ``8-bit``: something
        else that is not declared.
    """
    texts = [_raw_text(dataset, tag) for tag in list(dataset.keys())]
    return encoding_of_texts(texts, text_value(dataset, "SpecificCharacterSet") or "")


def encoding_of_texts(texts: Iterable[bytes], declared_charset: str) -> str:
    """Tell how `texts`, as written, are encoded; see :func:`text_encoding`."""
    texts = list(texts)
    together = b"".join(texts)
    if together.isascii() and b"\x1b" not in together:
        return "ascii"
    foreign = [raw for raw in texts if not raw.isascii() or b"\x1b" in raw]
    declared = declared_charset.split("\\")
    utf8 = all(_decodes(raw, "utf-8") for raw in foreign)
    if declared in (["ISO_IR 192"], ["GB18030"], ["GBK"]):
        named = all(_decodes(raw, _WHOLE_CODES[declared[0]]) for raw in foreign)
        return "declared" if named else ("utf-8" if utf8 else "8-bit")
    escaped = any(b"\x1b" in raw for raw in foreign)
    if utf8 and not escaped:
        return "utf-8"
    explained = any(term.strip() not in ("", "ISO_IR 6", "ISO 2022 IR 6") for term in declared)
    return "declared" if explained else "8-bit"


_WHOLE_CODES = {"ISO_IR 192": "utf-8", "GB18030": "gb18030", "GBK": "gbk"}


def _decodes(raw: bytes, codec: str) -> bool:
    try:
        raw.decode(codec)
    except UnicodeDecodeError:
        return False
    return True


def _raw_text(dataset: Dataset, tag: BaseTag) -> bytes:
    """Return the bytes of a text element, empty for anything else."""
    from pydicom.datadict import dictionary_VR

    try:
        element = dataset.get_item(tag)
        vr = element.VR or dictionary_VR(tag)
    except Exception:  # noqa: BLE001 - a stray delimiter, or a private element of an implicit dataset
        return b""
    if vr not in TEXT_VRS:
        return b""
    value = getattr(element.value, "original_string", element.value)
    if isinstance(value, str):  # decoded already, or set by a program: it is what is declared
        return b""
    return value if isinstance(value, bytes) else b""
