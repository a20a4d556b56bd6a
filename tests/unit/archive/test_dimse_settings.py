"""Settings of a source are checked where they are written, and the field is named."""

from __future__ import annotations

from typing import Any

import pytest

from dicom_migration.archive import result_cap_of
from dicom_migration.archive.dicomweb import DicomWebSettings
from dicom_migration.archive.dimse import DimseArchive, DimseSettings
from dicom_migration.errors import PermanentError, ReasonCode

SOUND: dict[str, Any] = {"host": "pacs", "port": 104, "called_ae_title": "PACS"}


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("host", " "),
        ("port", 0),
        ("port", 70_000),
        ("called_ae_title", ""),
        ("called_ae_title", "SEVENTEEN_LETTERS"),
        ("calling_ae_title", "A\\B"),
        ("calling_ae_title", "UMLAUTÄ"),
        ("move_destination_ae_title", " PADDED"),
        ("retrieve_method", "C-STORE"),
        ("landing_port", -1),
        ("landing_wait_s", 0),
        ("dimse_timeout_s", 0),
        ("max_pdu_bytes", 100),
        ("result_cap", 0),
    ],
)
def test_a_wrong_field_is_named(field: str, value: object) -> None:
    with pytest.raises(PermanentError, match=field) as caught:
        DimseSettings(**{**SOUND, field: value})
    assert caught.value.reason is ReasonCode.CONFIGURATION_INVALID


def test_the_move_destination_is_ourselves_unless_said_otherwise() -> None:
    assert DimseSettings(**SOUND, calling_ae_title="US").destination == "US"
    landing = DimseSettings(**SOUND, move_destination_ae_title="LANDING")
    assert landing.destination == "LANDING"


def test_the_cap_of_the_connection_is_the_archives() -> None:
    assert result_cap_of(DimseArchive(DimseSettings(**SOUND, result_cap=500))) == 500
    assert result_cap_of(DimseArchive(DimseSettings(**SOUND))) is None


@pytest.mark.parametrize(
    "changes",
    [
        {"base_url": "ftp://pacs"},
        {"base_url": "pacs/dicom-web"},
        {"base_url": "https://user:secret@pacs/dicom-web"},
        {"base_url": "https://pacs:port/"},
        {"token": "t", "username": "u"},
        {"page_size": 0},
        {"read_timeout_s": 0},
    ],
)
def test_a_wrong_dicomweb_setting_is_named_and_not_echoed(changes: dict[str, Any]) -> None:
    with pytest.raises(PermanentError, match=next(iter(changes))) as caught:
        DicomWebSettings(**{"base_url": "https://pacs", **changes})
    assert "secret" not in str(caught.value)


def test_secrets_are_not_shown() -> None:
    settings = DicomWebSettings("https://pacs", username="u", password="hidden-1")
    assert "hidden-1" not in repr(settings)
    assert "hidden-2" not in repr(DicomWebSettings("https://pacs", token="hidden-2"))
