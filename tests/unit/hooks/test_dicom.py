"""The connection type `dicom`: from a form, a URI or JSON to settings, or to a named field."""

from __future__ import annotations

import json
from typing import Any

import pytest

from dicom_migration.archive.dimse import DimseSettings
from dicom_migration.errors import PermanentError, ReasonCode
from dicom_migration.hooks.dicom import FIELDS, DicomHook
from dicom_migration.provider_info import get_provider_info
from include.peers.process import free_port

SOUND = {"called_ae_title": "PACS"}
TWO = [{"ae_title": "MIGRATION1", "port": 11113}, {"ae_title": "MIGRATION2", "port": 11114}]
MOVE = {**SOUND, "retrieve_method": "C-MOVE"}


def connect(monkeypatch: pytest.MonkeyPatch, extra: object, **fields: Any) -> DicomHook:
    connection = {"conn_type": "dicom", "host": "pacs", "port": 11112, "extra": extra, **fields}
    monkeypatch.setenv("AIRFLOW_CONN_PACS_SOURCE", json.dumps(connection))
    return DicomHook()


def settings_of(hook: DicomHook) -> DimseSettings:
    with hook.get_conn() as archive:
        return archive.settings


def test_a_few_fields_are_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = settings_of(connect(monkeypatch, SOUND))
    assert settings == DimseSettings("pacs", 11112, "PACS")


def test_the_port_of_dicom_is_the_default(monkeypatch: pytest.MonkeyPatch) -> None:
    assert settings_of(connect(monkeypatch, SOUND, port=None)).port == 104


def test_every_field_arrives(monkeypatch: pytest.MonkeyPatch) -> None:
    extra = {
        "called_ae_title": "PACS",
        "calling_ae_title": "US",
        "retrieve_method": "C-MOVE",
        "move_destination_ae_title": "LANDING",
        "landing_host": "10.0.0.5",
        "landing_port": 11119,
        "landing_check_calling_ae": False,
        "landing_tls": False,
        "tls": True,
        "tls_ca_file": "/ca.pem",
        "tls_certificate_file": "/cert.pem",
        "tls_key_file": "/key.pem",
        "tls_verify": True,
        "tls_server_name": "pacs.example",
        "connection_timeout_s": 1,
        "acse_timeout_s": 2,
        "dimse_timeout_s": 3.5,
        "network_timeout_s": 4,
        "move_quiet_s": 5,
        "landing_wait_s": 6,
        "max_pdu_bytes": 65536,
        "result_cap": 500,
    }
    assert set(extra) == FIELDS - {"landings"}
    settings = settings_of(connect(monkeypatch, extra))
    tls = settings.tls
    assert tls is not None
    for name, value in extra.items():
        if name == "tls":
            continue
        owner: Any = tls if name.startswith("tls_") else settings
        assert getattr(owner, name.removeprefix("tls_")) == value, name


@pytest.mark.parametrize("written", [TWO, json.dumps(TWO)])
def test_several_landings_can_be_chosen_from(
    written: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    hook = connect(monkeypatch, {**MOVE, "landings": written})
    first, second = hook.landings()
    assert (second.ae_title, second.port) == ("MIGRATION2", 11114)
    with hook.get_conn(second) as archive:
        assert archive.settings.destination == "MIGRATION2"
        assert archive.settings.landing_port == 11114
    assert settings_of(hook).destination == first.ae_title, "who leases none uses the first"


def test_a_single_landing_is_chosen_as_well(monkeypatch: pytest.MonkeyPatch) -> None:
    (only,) = connect(monkeypatch, {**MOVE, "landing_port": 11119}).landings()
    assert (only.ae_title, only.port, only.host) == ("DICOM_MIGRATION", 11119, "")


def test_c_get_needs_no_landing(monkeypatch: pytest.MonkeyPatch) -> None:
    assert connect(monkeypatch, {**SOUND, "landings": TWO}).landings() == ()


def test_no_timeout_of_a_probe_is_longer_than_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    opener = connect(monkeypatch, {**SOUND, "connection_timeout_s": 2}).opener(5)
    with opener() as archive:
        assert archive.settings.connection_timeout_s == 2
        assert archive.settings.acse_timeout_s == archive.settings.dimse_timeout_s == 5


def test_a_uri_says_the_same_in_text(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(
        "AIRFLOW_CONN_PACS_SOURCE",
        "dicom://pacs:11112/PACS?landing_port=11119&landing_check_calling_ae=false"
        "&dimse_timeout_s=3.5&tls=true&tls_verify=no",
    )
    settings = settings_of(DicomHook())
    assert settings.called_ae_title == "PACS"
    assert settings.landing_port == 11119
    assert settings.landing_check_calling_ae is False
    assert settings.dimse_timeout_s == 3.5
    assert settings.tls is not None
    assert settings.tls.verify is False


@pytest.mark.parametrize(
    ("extra", "field"),
    [
        ({}, "called_ae_title"),
        ({"called_ae_title": "FAR_TOO_LONG_FOR_DICOM"}, "called_ae_title"),
        ({"called_ae_title": 7}, "called_ae_title"),
        ({**SOUND, "retrieve_method": "C-STORE"}, "retrieve_method"),
        ({**SOUND, "retreive_method": "C-GET"}, "retreive_method"),
        ({**SOUND, "landing_port": "eleven"}, "landing_port"),
        ({**SOUND, "landing_port": True}, "landing_port"),
        ({**SOUND, "landing_port": 1.5}, "landing_port"),
        ({**SOUND, "dimse_timeout_s": "soon"}, "dimse_timeout_s"),
        ({**SOUND, "dimse_timeout_s": -1}, "dimse_timeout_s"),
        ({**SOUND, "tls": "perhaps"}, "tls"),
        ({**SOUND, "landings": "none"}, "landings"),
        ({**SOUND, "landings": [7]}, "landings"),
        ({**SOUND, "landings": [{"ae_title": "A", "prot": 1}]}, "prot"),
        ({**SOUND, "landings": [{"ae_title": "A", "port": "x"}]}, "landings"),
        ({**SOUND, "landings": [{"port": 1}]}, "ae_title"),
        ({**SOUND, "landings": [{"ae_title": "A", "port": 70000}]}, "port"),
        ({**SOUND, "landings": [TWO[0], TWO[0]]}, "landings"),
        ({**SOUND, "landings": TWO, "landing_port": 11119}, "landing_port"),
        ("not json", "extra"),
        ("[1, 2]", "extra"),
    ],
)
def test_a_malformed_field_is_named(
    extra: object, field: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(PermanentError, match=field) as caught:
        connect(monkeypatch, extra).get_conn()
    assert caught.value.reason is ReasonCode.CONFIGURATION_INVALID
    assert caught.value.next_step


def test_a_connection_without_a_host_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(PermanentError, match="has no host"):
        connect(monkeypatch, SOUND, host=None).get_conn()


def test_values_are_not_echoed(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(PermanentError) as caught:
        connect(monkeypatch, {**SOUND, "landing_port": "my-secret"}).get_conn()
    assert "my-secret" not in str(caught.value)


def test_the_form_offers_the_fields_that_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    types = {t["connection-type"]: t for t in get_provider_info()["connection-types"]}
    form = types["dicom"]["conn-fields"]
    assert set(form) == FIELDS
    defaults = {
        name: f["schema"]["default"] for name, f in form.items() if "default" in f["schema"]
    }
    settings = settings_of(connect(monkeypatch, {**SOUND, **defaults}))
    assert settings == DimseSettings("pacs", 11112, "PACS"), "the form's defaults are the code's"


def test_the_test_button_tells_what_is_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    hook = connect(monkeypatch, {**SOUND, "tls": False}, host="127.0.0.1", port=free_port())
    works, message = hook.test_connection()
    assert not works
    assert "cannot be reached" in message
    assert "Next step" in message
    works, message = connect(monkeypatch, {"called": "x"}).test_connection()
    assert not works
    assert "'called'" in message
