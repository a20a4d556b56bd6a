"""DICOM over TLS: trusted, untrusted, and asked of a port that does not speak it."""

from __future__ import annotations

import datetime
import ipaddress
import ssl
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from pynetdicom import AE, evt
from pynetdicom.sop_class import (
    StudyRootQueryRetrieveInformationModelFind,
    StudyRootQueryRetrieveInformationModelGet,
    Verification,
)

from dicom_migration.archive.dimse import DimseArchive, DimseSettings, TlsSettings
from dicom_migration.archive.dimse_landing import Landing
from dicom_migration.archive.instance_receiver import InstanceReceiver
from dicom_migration.errors import PermanentError, ReasonCode, TransientError
from tests.integration.archive.recording_sink import RecordingSink
from tests.integration.archive.scripted_source import echo

EPOCH = datetime.datetime(2020, 1, 1, tzinfo=datetime.UTC)


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Return a self-signed certificate for 127.0.0.1 and its key, as PEM files."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "source under test")])
    address = x509.IPAddress(ipaddress.ip_address("127.0.0.1"))
    signed = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(EPOCH)
        .not_valid_after(EPOCH + datetime.timedelta(days=36_500))
        .add_extension(x509.SubjectAlternativeName([address]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    folder = tmp_path_factory.mktemp("tls")
    (folder / "certificate.pem").write_bytes(signed.public_bytes(serialization.Encoding.PEM))
    (folder / "key.pem").write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return folder / "certificate.pem", folder / "key.pem"


def serve(tls: ssl.SSLContext | None) -> Any:
    entity = AE(ae_title="PACS")
    for context in (
        Verification,
        StudyRootQueryRetrieveInformationModelFind,
        StudyRootQueryRetrieveInformationModelGet,
    ):
        entity.add_supported_context(context)
    handlers = [(evt.EVT_C_ECHO, lambda event: 0x0000)]
    return entity.start_server(
        ("127.0.0.1", 0), block=False, evt_handlers=handlers, ssl_context=tls
    )


@pytest.fixture
def tls_port(certificate: tuple[Path, Path]) -> Iterator[int]:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(*certificate)
    server = serve(context)
    yield int(server.server_address[1])
    server.shutdown()


@pytest.fixture
def plain_port() -> Iterator[int]:
    server = serve(None)
    yield int(server.server_address[1])
    server.shutdown()


def source(port: int, tls: TlsSettings | None) -> DimseSettings:
    return DimseSettings(
        "127.0.0.1", port, "PACS", tls=tls, connection_timeout_s=2, acse_timeout_s=2
    )


def test_a_trusted_certificate_is_accepted(tls_port: int, certificate: tuple[Path, Path]) -> None:
    check = DimseArchive(source(tls_port, TlsSettings(ca_file=str(certificate[0])))).check()
    assert check.facts["tls"] == "yes"
    assert check.facts["verification"] != "not accepted"


def test_an_untrusted_certificate_is_for_a_person(tls_port: int) -> None:
    with pytest.raises(PermanentError, match="not trusted") as caught:
        DimseArchive(source(tls_port, TlsSettings())).check()
    assert caught.value.reason is ReasonCode.SOURCE_REJECTED
    assert "tls_ca_file" in caught.value.next_step


def test_a_certificate_of_another_host_is_for_a_person(
    tls_port: int, certificate: tuple[Path, Path]
) -> None:
    other = TlsSettings(ca_file=str(certificate[0]), server_name="pacs.hospital.example")
    with pytest.raises(PermanentError, match="not trusted"):
        DimseArchive(source(tls_port, other)).check()


def test_verification_can_be_turned_off(tls_port: int) -> None:
    assert DimseArchive(source(tls_port, TlsSettings(verify=False))).check().facts["tls"] == "yes"


def test_tls_to_a_plain_port_is_found_out(plain_port: int) -> None:
    with pytest.raises((PermanentError, TransientError), match="TLS") as caught:
        DimseArchive(source(plain_port, TlsSettings())).check()
    assert "this port speaks TLS" in str(caught.value)


def test_plain_dicom_to_a_tls_port_is_found_out(tls_port: int) -> None:
    with pytest.raises((PermanentError, TransientError)) as caught:
        DimseArchive(source(tls_port, None)).check()
    assert caught.value.reason in (
        ReasonCode.SOURCE_ANSWER_INVALID,
        ReasonCode.SOURCE_UNREACHABLE,
    )


def test_a_missing_tls_file_is_named_as_such() -> None:
    with pytest.raises(PermanentError, match="TLS file") as caught:
        DimseArchive(source(104, TlsSettings(ca_file="/nowhere/ca.pem"))).check()
    assert "tls_ca_file" in caught.value.next_step


def test_the_landing_speaks_tls_where_the_source_does(certificate: tuple[Path, Path]) -> None:
    files = [str(path) for path in certificate]
    tls = TlsSettings(ca_file=files[0], certificate_file=files[0], key_file=files[1])
    settings = replace(source(104, tls), landing_host="127.0.0.1", landing_port=0)
    with Landing(settings, InstanceReceiver(RecordingSink())) as landing:
        sender = DimseSettings(
            "127.0.0.1", landing.port, "DICOM_MIGRATION", calling_ae_title="PACS", tls=tls
        )
        assert echo(sender) == 0x0000
        with pytest.raises((PermanentError, TransientError)):
            echo(replace(sender, tls=None, acse_timeout_s=2))
        without = TlsSettings(ca_file=files[0])
        with pytest.raises((PermanentError, TransientError)):
            echo(replace(sender, tls=without, acse_timeout_s=2))


def test_a_landing_without_a_certificate_does_not_fall_back_to_plain() -> None:
    settings = replace(source(104, TlsSettings()), landing_host="127.0.0.1", landing_port=0)
    with pytest.raises(PermanentError, match="without a certificate"):
        Landing(settings, InstanceReceiver(RecordingSink()))
