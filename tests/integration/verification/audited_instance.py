"""A wave of one real instance, whose source then delivers something else to the audit."""

from __future__ import annotations

import dataclasses
import io
from pathlib import Path

from pydicom import Dataset, dcmread
from pydicom.data import get_testdata_file
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_dataset
from sqlalchemy import select

from dicom_migration.ledger import schema
from dicom_migration.policies.verification import VerificationPolicy
from dicom_migration.verification.pixel_audit import audit_pixels
from tests.integration.verification.written_wave import (
    WAVE,
    Instance,
    part10,
    read_instance,
    write_wave,
)

POLICY = VerificationPolicy()
IMPLICIT = "1.2.840.10008.1.2"
PADDING = 0xFFFCFFFC  # Data Set Trailing Padding, which some of the real files have


def instance_of(name: str) -> Instance:
    found = read_instance(Path(get_testdata_file(name)))
    assert found is not None
    return found


def parsed(instance: Instance) -> Dataset:
    return dcmread(io.BytesIO(part10(instance)))


def rewritten(instance: Instance, dataset: Dataset) -> Instance:
    """Return the instance with another dataset, in its own transfer syntax."""
    buffer = DicomBytesIO()
    buffer.is_implicit_VR = instance.identity.transfer_syntax_uid == IMPLICIT
    buffer.is_little_endian = True
    write_dataset(buffer, dataset)
    return dataclasses.replace(instance, dataset=buffer.getvalue())


class Audited:
    """A wave of one instance, whose source then delivers something else."""

    def __init__(self, store, ledger, held: Instance) -> None:
        self.store, self.ledger = store, ledger
        self.wave = write_wave(store, ledger, [held], state="verified")
        self.pages: list[str] = []

    def against(self, delivered: Instance, policy: VerificationPolicy = POLICY):
        self.wave.archive.instances = [delivered]
        return audit_pixels(
            self.wave.archive,
            self.store,
            self.ledger,
            WAVE,
            policy,
            publish=lambda page: self.pages.append(page) or "s3://reports/page",
        )

    @property
    def exceptions(self) -> list[tuple[str, str]]:
        with self.ledger.read() as connection:
            table = schema.exception.c
            return [tuple(row) for row in connection.execute(select(table.reason, table.detail))]

    @property
    def state(self) -> str:
        with self.ledger.read() as connection:
            return connection.scalar(select(schema.study.c.state))


def rewritten_without_padding(name: str) -> Instance:
    """Return an instance as our own writer writes it, so that only a planted fault differs."""
    held = instance_of(name)
    dataset = parsed(held)
    dataset.pop(PADDING, None)
    return rewritten(held, dataset)
