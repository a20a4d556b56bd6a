"""The certificate as an auditor reads it: one self-contained HTML file."""

from __future__ import annotations

from typing import Any

from dicom_migration.reporting import render_report
from dicom_migration.verification.signing import key_id


def render_certificate(document: dict[str, Any]) -> str:
    """Return the HTML of a certificate document; it holds UIDs, counts and hashes, no PHI."""
    return render_report(
        "certificate.html.j2",
        body=document["certificate"],
        sha256=document["sha256"],
        signature=document.get("signature", {}),
        key_id=key_id(document),
    )
