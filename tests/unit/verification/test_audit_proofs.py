"""An audit proves a study only as a whole, and only as it was read back last."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from dicom_migration.verification.audit_proofs import AuditProof

READ_BACK = datetime(2025, 3, 1, 12, tzinfo=UTC)
PAYLOAD = '{"audited":3,"headers_proved":3,"instances":3,"outcome":"verified","pixels_proved":2}'
PROOF = AuditProof.read("2025-03-01T12:00:01.000000+00:00", PAYLOAD)


def test_every_instance_with_header_and_every_image_with_pixels_is_a_proof() -> None:
    assert PROOF.covers(3, 2, READ_BACK)


@pytest.mark.parametrize(
    "lacking",
    [
        replace(PROOF, outcome="mismatched"),
        replace(PROOF, at=READ_BACK - timedelta(seconds=1)),
        replace(PROOF, instances=2),
        replace(PROOF, audited=2),
        replace(PROOF, headers_proved=2),
        replace(PROOF, pixels_proved=1),
    ],
    ids=["failed", "older", "another study size", "sampled", "a header differs", "pixels unread"],
)
def test_anything_less_is_none(lacking: AuditProof) -> None:
    assert not lacking.covers(3, 2, READ_BACK)
