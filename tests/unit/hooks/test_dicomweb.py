"""The connection type `dicomweb`."""

from __future__ import annotations

import json
from typing import Any

import pytest

from dicom_migration.archive.dicomweb import DicomWebSettings
from dicom_migration.errors import PermanentError, ReasonCode
from dicom_migration.hooks.dicomweb import FIELDS, DicomWebHook
from dicom_migration.provider_info import get_provider_info


def connect(monkeypatch: pytest.MonkeyPatch, **fields: Any) -> DicomWebHook:
    connection = {"conn_type": "dicomweb", "host": "https://pacs/dicom-web", **fields}
    monkeypatch.setenv("AIRFLOW_CONN_DICOMWEB_SOURCE", json.dumps(connection))
    return DicomWebHook()


def settings_of(hook: DicomWebHook) -> DicomWebSettings:
    with hook.get_conn() as archive:
        return archive.settings


@pytest.mark.parametrize(
    ("fields", "url"),
    [
        ({}, "https://pacs/dicom-web"),
        ({"host": "pacs"}, "https://pacs"),
        (
            {"host": "http://pacs", "port": 8042, "schema": "dicom-web"},
            "http://pacs:8042/dicom-web",
        ),
        ({"host": "pacs", "schema": "/a/b/"}, "https://pacs/a/b"),
    ],
)
def test_the_url_may_come_in_pieces(
    fields: dict[str, Any], url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert settings_of(connect(monkeypatch, **fields)).root == url


def test_a_uri_says_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(
        "AIRFLOW_CONN_DICOMWEB_SOURCE", "dicomweb://http://u:p@pacs:8042/dicom-web?page_size=50"
    )
    settings = settings_of(DicomWebHook())
    assert settings.root == "http://pacs:8042/dicom-web"
    assert (settings.username, settings.password) == ("u", "p")
    assert settings.page_size == 50


def test_every_field_arrives(monkeypatch: pytest.MonkeyPatch) -> None:
    extra = {
        "token": "t0k3n",
        "verify": False,
        "ca_file": "/ca.pem",
        "connection_timeout_s": 1,
        "read_timeout_s": 2,
        "page_size": 50,
    }
    assert set(extra) == FIELDS
    settings = settings_of(connect(monkeypatch, extra=extra))
    assert {name: getattr(settings, name) for name in extra} == extra


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"host": "ftp://pacs"}, "base_url"),
        ({"host": ""}, "host"),
        ({"extra": {"page_size": 0}}, "page_size"),
        ({"extra": {"page_size": "many"}}, "page_size"),
        ({"extra": {"read_timeout": 3}}, "read_timeout"),
        ({"login": "u", "extra": {"token": "t"}}, "token"),
    ],
)
def test_a_malformed_field_is_named(
    fields: dict[str, Any], named: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(PermanentError, match=named) as caught:
        connect(monkeypatch, **fields).get_conn()
    assert caught.value.reason is ReasonCode.CONFIGURATION_INVALID


def test_a_missing_ca_file_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(PermanentError, match="CA file"):
        connect(monkeypatch, extra={"ca_file": "/nowhere.pem"}).get_conn()


def test_the_form_offers_the_fields_that_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    types = {t["connection-type"]: t for t in get_provider_info()["connection-types"]}
    form = types["dicomweb"]["conn-fields"]
    assert set(form) == FIELDS
    defaults = {
        name: f["schema"]["default"] for name, f in form.items() if "default" in f["schema"]
    }
    settings = settings_of(connect(monkeypatch, extra=defaults))
    assert settings == DicomWebSettings("https://pacs/dicom-web")
