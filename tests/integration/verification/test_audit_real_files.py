"""No real file is accused: byte for byte, in another encoding, and with approved corrections."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import data_store
import pytest
from sqlalchemy import select

from dicom_migration.archive.elements import encoding_of, iter_elements
from dicom_migration.datasets import (
    DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN,
    inflate,
    read_header,
)
from dicom_migration.errors import PermanentError, ReasonCode
from dicom_migration.header_facts import read_header_facts, storable, text_value
from dicom_migration.ledger import schema
from dicom_migration.policies.verification import PixelAudit, VerificationPolicy
from dicom_migration.transfer.correcting import Correction, correct_header
from dicom_migration.transfer.reencoding import (
    HeaderNotConvertibleError,
    explicit_little_endian,
)
from dicom_migration.verification.audit.allowed import Approved, not_allowed
from dicom_migration.verification.audit.headers import comparing, differences
from dicom_migration.verification.pixel_audit import audit_pixels
from tests.integration.verification.written_wave import (
    WAVE,
    Instance,
    read_instance,
    real_instances,
    write_wave,
)

EXPLICIT = "1.2.840.10008.1.2.1"
CENSUS = VerificationPolicy(
    pixel_audit=PixelAudit(defect_rate=0.0001, confidence=0.9999, max_instances=10_000)
)
WHEN = datetime(2026, 1, 2, tzinfo=UTC)


def everything() -> list[Instance]:
    """Return the instances of the pydicom wheel and of pydicom-data."""
    paths = sorted(p for p in Path(data_store.__path__[0]).rglob("*") if p.is_file())
    more = [i for p in paths if (i := read_instance(p)) is not None]
    both = [*more, *real_instances()]
    return list({i.record.sop_instance_uid: i for i in both}.values())


@pytest.fixture(scope="module")
def real() -> list[Instance]:
    return everything()


def plain(instance: Instance) -> bytes:
    """Return the dataset's elements before the pixels, not deflated."""
    data, syntax = instance.dataset, instance.identity.transfer_syntax_uid
    if syntax == DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN:
        data = inflate(data)
    end = 0
    for element in iter_elements(data, encoding_of(syntax)):
        if element.tag >= 0x7FE00000:
            break
        end = element.offset + element.length
    return data[:end]


def parsed(header: bytes, syntax: str):
    from io import BytesIO

    return read_header(BytesIO(header), syntax)


def headers(real):
    """Yield what of the real files can be taken apart: name, bytes, transfer syntax."""
    for instance in real:
        try:
            header = plain(instance)
        except ValueError:  # truncated on purpose
            continue
        yield instance, header, instance.identity.transfer_syntax_uid


def test_an_audit_of_all_real_files_accuses_none(store, ledger, real):
    wave = write_wave(store, ledger, real, state="verified")
    summary = audit_pixels(wave.archive, store, ledger, WAVE, CENSUS)
    assert (summary.different, summary.headers_different, summary.undelivered) == (0, 0, 0)
    assert summary.wanted == summary.population == summary.headers_compared == len(real) > 100
    assert summary.compared > 60
    with ledger.read() as connection:
        reasons = set(connection.scalars(select(schema.exception.c.reason)))
        states = set(connection.scalars(select(schema.study.c.state)))
    assert reasons <= {ReasonCode.PIXEL_DATA_INVALID.value}
    assert states == {"verified"}


def test_a_header_read_twice_does_not_differ_from_itself(real):
    compared = 0
    for _, header, syntax in headers(real):
        found = differences(
            parsed(header, syntax), parsed(header, syntax), comparing(syntax, syntax)
        )
        assert found == []
        compared += 1
    assert compared > 100


def test_a_header_in_another_encoding_does_not_differ(real):
    compared = 0
    for _, header, syntax in headers(real):
        source = parsed(header, syntax)
        signed = bool(source.get("PixelRepresentation", 0))
        try:
            converted = explicit_little_endian(header, syntax, signed=signed)
        except HeaderNotConvertibleError:
            continue
        if converted == header:
            continue
        found = differences(source, parsed(converted, EXPLICIT), comparing(syntax, EXPLICIT))
        assert [str(one) for one in found] == []
        compared += 1
    assert compared >= 5


@pytest.mark.parametrize("text_charset", ["", "declared"])
def test_approved_corrections_are_the_only_difference(real, text_charset):
    compared = 0
    for instance, header, syntax in headers(real):
        if syntax == DEFLATED_EXPLICIT_VR_LITTLE_ENDIAN:
            continue
        source = parsed(header, syntax)
        facts = read_header_facts(parsed(header, syntax))
        keyword, value = "StudyDescription", "CORRECTED"
        if text_charset:
            keyword, value = "SpecificCharacterSet", "ISO_IR 192"
        old = storable(str(text_value(source, keyword) or ""))
        correction = Correction("c", keyword, value, old, "r", WHEN, text_charset=text_charset)
        charset = str(facts["specific_character_set"] or "")
        if old == value:
            continue
        try:
            made = correct_header(header, syntax, charset, [correction], "memory").header
        except PermanentError:  # a text that cannot be re-encoded is refused, not changed
            continue
        cloud = parsed(made, syntax)
        how = comparing(syntax, syntax, derived=True, text_charset=text_charset or None)
        found = differences(source, cloud, how)
        approved = [Approved("c", keyword, value, "", "", text_charset)]
        assert found
        left = not_allowed(found, source, cloud, approved)
        assert [str(one) for one in left] == [], instance.record.sop_instance_uid
        assert not_allowed(found, source, cloud, []) != []
        compared += 1
    assert compared > 50
