"""What a migration needs of headers beyond the standard's tables, suite by suite."""

from __future__ import annotations

from typing import Any

from include.expectations.iods import MODALITIES

Check = dict[str, Any]
#: Attributes that a check below asks more of than their type does.
COVERED = {
    "general": {
        "AccessionNumber",
        "Modality",
        "PatientBirthDate",
        "PatientID",
        "PatientName",
        "SeriesNumber",
        "SpecificCharacterSet",
        "StudyDate",
    }
}
_PIXEL_COLUMNS = [
    "rows",
    "columns",
    "samples_per_pixel",
    "bits_allocated",
    "number_of_frames",
    "photometric_interpretation",
    "pixel_bytes",
]
_FIX_DATE = "Take the date from the order or the report and correct it at the source."
_FIX_UID = "Correct the identifier at the source."


def check(
    kind: str,
    severity: str,
    title: str,
    reason: str = "field_invalid",
    fix: str = "",
    **kwargs: Any,
) -> Check:
    """Return an expectation as a suite holds it."""
    meta = {"title": title, "reason_code": reason}
    if fix:
        meta["suggested_fix"] = fix
    return {"type": f"expect_{kind}", "kwargs": kwargs, "severity": severity, "meta": meta}


def present(column: str, severity: str, title: str, fix: str = "") -> Check:
    """Return the expectation that a column has a value, whatever the attribute's type."""
    kind = "column_values_to_not_be_null"
    return check(kind, severity, f"{title} is present", "field_incomplete", fix, column=column)


def fits(column: str, vr: str, limit: int, severity: str, name: str, fix: str = "") -> Check:
    """Return the expectation that no value is longer than its VR allows."""
    title = f"{name} has at most {limit} characters ({vr})"
    return check("column_values_to_fit_vr", severity, title, fix=fix, column=column, vr=vr)


def one_of(column: str, severity: str, title: str, values: list[Any], **more: str) -> Check:
    """Return the expectation that values come from a set."""
    kind = "column_values_to_be_in_set"
    return check(kind, severity, title, column=column, value_set=values, **more)


def _uid(column: str, name: str) -> Check:
    kind = "column_values_to_be_uids"
    return check(kind, "critical", f"{name} is well-formed", "uid_invalid", _FIX_UID, column=column)


def _name(column: str, severity: str, name: str) -> Check:
    title = f"{name} has the form of a person name (PN)"
    return check("column_values_to_be_person_names", severity, title, column=column)


_PATIENT = [
    present(
        "patient_id",
        "critical",
        "Patient ID (0010,0020)",
        "Assign the study to a patient at the source.",
    ),
    fits("patient_id", "LO", 64, "critical", "Patient ID", _FIX_UID),
    present("patient_name", "warning", "Patient's Name (0010,0010)"),
    _name("patient_name", "warning", "Patient's Name"),
    present("patient_birth_date", "warning", "Patient's Birth Date (0010,0030)"),
    one_of(
        "birth_date_is",
        "warning",
        "Patient's Birth Date is a date between 1850 and today",
        ["plausible"],
    ),
    one_of("patient_sex", "warning", "Patient's Sex (0010,0040) is M, F or O", ["M", "F", "O"]),
]
_STUDY = [
    present(
        "study_date",
        "critical",
        "Study Date (0008,0020)",
        "Take the date from the order or the report and enter it at the source.",
    ),
    one_of(
        "study_date_is",
        "critical",
        "Study Date is a date between 1900 and today",
        ["plausible"],
        fix=_FIX_DATE,
    ),
    check(
        "dicom_dates_to_be_ordered",
        "critical",
        "The patient was born before the study",
        fix="One of the two dates is wrong, or the study belongs to somebody else: "
        "ask the master patient index.",
        column_A="patient_birth_date",
        column_B="study_date",
    ),
    present("accession_number", "warning", "Accession Number (0008,0050)"),
    fits("accession_number", "SH", 16, "warning", "Accession Number"),
    check(
        "identifier_to_name_one_owner",
        "warning",
        "An Accession Number belongs to one patient",
        "identity_conflict",
        "Compare the studies with their orders.",
        column_A="accession_number",
        column_B="patient_id",
    ),
    fits("study_id", "SH", 16, "warning", "Study ID"),
    fits("study_description", "LO", 64, "warning", "Study Description"),
    fits("series_description", "LO", 64, "warning", "Series Description"),
    present("institution_name", "info", "Institution Name (0008,0080)"),
    fits("institution_name", "LO", 64, "warning", "Institution Name"),
    fits("body_part_examined", "CS", 16, "warning", "Body Part Examined"),
    _name("referring_physician_name", "info", "Referring Physician's Name"),
]
_INSTANCE = [
    present("modality", "critical", "Modality (0008,0060)", "Enter the modality at the source."),
    check(
        "column_values_to_conform_to_vr",
        "warning",
        "Modality is a code string (CS)",
        column="modality",
        vr="CS",
    ),
    check(
        "modality_to_suit_sop_class",
        "warning",
        "Modality is one that makes the SOP Class",
        fix="Compare the images with the modality; correct it at the source or by a rule.",
        column_A="sop_class_uid",
        column_B="modality",
        modalities={str(uid): list(allowed) for uid, allowed in MODALITIES.items()},
    ),
    check(
        "character_set_to_decode_text",
        "critical",
        "Specific Character Set (0008,0005) explains the text",
        fix="Add a rule that declares the character set the device used.",
        column_A="specific_character_set",
        column_B="text_encoding",
    ),
    check(
        "attributes_to_conform_to_vr",
        "warning",
        "Attributes have the form of their value representation",
        column="attributes",
    ),
    present("series_number", "info", "Series Number (0020,0011)"),
    present("instance_number", "info", "Instance Number (0020,0013)"),
    _uid("study_instance_uid", "Study Instance UID"),
    _uid("series_instance_uid", "Series Instance UID"),
    _uid("sop_instance_uid", "SOP Instance UID"),
    check(
        "column_values_to_be_unique",
        "warning",
        "SOP Instance UID is unique",
        "instance_conflict",
        "Compare the instances; the exceptions say which are equal.",
        column="sop_instance_uid",
    ),
]

CHECKS: dict[str, list[Check]] = {
    "general": [*_PATIENT, *_STUDY, *_INSTANCE],
    "image": [
        check(
            "pixel_length_to_be_consistent",
            "warning",
            "Native pixel data is as long as rows, columns, samples, bits and frames make it",
            "pixel_data_invalid",
            "Look at the image at the source; restore it, or exclude it.",
            column_list=_PIXEL_COLUMNS,
        ),
    ],
    "ct": [
        one_of("samples_per_pixel", "warning", "A CT image has one sample a pixel", [1]),
        one_of("bits_allocated", "warning", "A CT image is allocated 16 bits", [16]),
    ],
    "mr": [one_of("samples_per_pixel", "warning", "An MR image has one sample a pixel", [1])],
    "cr": [present("body_part_examined", "info", "Body Part Examined (0018,0015)")],
    "dx": [present("body_part_examined", "info", "Body Part Examined (0018,0015)")],
    "breast_side": [
        one_of(
            "laterality_known",
            "critical",
            "Laterality (0020,0060) or Image Laterality (0020,0062) is present",
            [True],
            reason="field_incomplete",
            fix="Read the side from the image's marker and enter it at the source.",
        ),
        one_of(
            "image_laterality",
            "critical",
            "Image Laterality is L, R or B",
            ["L", "R", "B"],
            fix="Correct the side at the source.",
        ),
    ],
}
