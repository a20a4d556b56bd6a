"""What a wave's certificate states, gathered from the ledger."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

from sqlalchemy import Connection, func, select

from dicom_migration.errors import PermanentError, ReasonCode
from dicom_migration.ledger import StudyState, schema
from dicom_migration.ledger.events import chain_names, verify_chain
from dicom_migration.verification.claims import studies_hash, verified_claims
from dicom_migration.verification.merkle import CONSTRUCTION
from dicom_migration.verification.receipts import AS_COUNTS, receipts_of
from dicom_migration.verification.sealed_events import (
    AUDIT_EVENT,
    COMPACTED_EVENT,
    audit_chain,
    compaction_chain,
    last_event,
)
from dicom_migration.verification.verdicts import last_verdicts

_SETTLED = frozenset({StudyState.VERIFIED, StudyState.EXCLUDED, StudyState.QUARANTINED})


def gather(connection: Connection, wave_id: str) -> dict[str, Any]:
    """Return the certificate's body without its date: JSON-able, no PHI.

    Raises
    ------
    PermanentError
        ``ledger_tampered``: a chain of the wave or of its plan does not fit, or lost events that
        an earlier certificate sealed. ``state_forbidden``: the manifests were not compacted yet.
    """
    wave = _wave(connection, wave_id)
    chains = _sealed_chains(connection, wave_id, str(wave["plan_id"]))
    exceptions = _exceptions(connection, wave_id)
    receipts = receipts_of(connection, wave_id)
    studies = [
        {
            **study,
            "receipt": receipts.get(study["study_instance_uid"], AS_COUNTS)
            if study["outcome"]
            else "",
            "exceptions": exceptions.get(study["study_instance_uid"], {}),
        }
        for study in _studies(connection, wave_id)
    ]
    open_by_reason: Counter[str] = Counter()
    for reasons in exceptions.values():
        open_by_reason.update(reasons)
    states = Counter(study["state"] for study in studies)
    verified = [s for s in studies if s["state"] == StudyState.VERIFIED.value]
    return {
        "format": "dicom-migration-certificate/1",
        "wave": wave,
        "status": "complete" if states.keys() <= _SETTLED else "interim",
        "counts": {
            "studies": len(studies),
            "by_state": dict(sorted(states.items())),
            "instances": sum(s["instances"] for s in verified),
            "bytes_received": sum(s["bytes_received"] for s in verified),
            "bytes_stored": sum(s["bytes_stored"] for s in verified),
            "objects_read": sum(s["objects_read"] for s in verified),
            "objects_not_read": sum(max(0, s["instances"] - s["objects_read"]) for s in verified),
            "bytes_read": sum(s["bytes_read"] for s in verified),
        },
        "methods": dict(sorted(Counter(s["method"] for s in verified).items())),
        "receipts": dict(sorted(Counter(s["receipt"] for s in verified).items())),
        "objects": _objects(connection, wave_id),
        "pixel_audit": last_event(connection, audit_chain(wave_id), AUDIT_EVENT),
        "completeness": _completeness(connection, wave_id),
        "exceptions": dict(sorted(open_by_reason.items())),
        "chains": chains,
        "studies": studies,
    }


def _sealed_chains(connection: Connection, wave_id: str, plan_id: str) -> list[dict[str, Any]]:
    plan = f"plan/{plan_id}"  # who decided over every study, and who approved that
    names = [name for name in chain_names(connection, plan) if name == plan]
    names += [
        name
        for name in chain_names(connection, f"wave:{wave_id}")
        if name == f"wave:{wave_id}" or name.startswith(f"wave:{wave_id}/")
    ]
    heads = [verify_chain(connection, name) for name in names]
    _check_earlier_seals(connection, wave_id)
    return [{"chain": h.chain, "sequence": h.sequence, "hash": h.hash} for h in heads]


def _check_earlier_seals(connection: Connection, wave_id: str) -> None:
    """Find events that were cut off: what an earlier certificate sealed must still be there."""
    bodies = connection.scalars(
        select(schema.certificate.c.body).where(schema.certificate.c.wave_id == wave_id)
    ).all()
    table = schema.event.c
    for head in (head for body in bodies for head in json.loads(body)["certificate"]["chains"]):
        found = connection.scalar(
            select(table.hash).where(
                table.chain == head["chain"], table.sequence == head["sequence"]
            )
        )
        if found != head["hash"]:
            raise PermanentError(
                f"Chain {head['chain']} no longer holds event {head['sequence']} as an earlier "
                "certificate sealed it: the ledger was changed.",
                reason=ReasonCode.LEDGER_TAMPERED,
                next_step="Compare the ledger with a backup and with the stored certificate.",
            )


def _wave(connection: Connection, wave_id: str) -> dict[str, Any]:
    wave, plan = schema.wave.c, schema.plan.c
    row = connection.execute(
        select(
            wave.wave_id,
            wave.plan_id,
            wave.ruleset_sha256,
            wave.approved_by.label("cleansing_approved_by"),
            plan.content_sha256.label("plan_sha256"),
            plan.approved_by.label("plan_approved_by"),
            plan.approved_at.label("plan_approved_at"),
        )
        .outerjoin(schema.plan, plan.plan_id == wave.plan_id)
        .where(wave.wave_id == wave_id)
    ).one()
    return {
        key: value.isoformat() if hasattr(value, "isoformat") else value or ""
        for key, value in row._asdict().items()
    }


def _studies(connection: Connection, wave_id: str) -> list[dict[str, Any]]:
    study, verdict = schema.study.c, schema.verification.c
    latest = last_verdicts(wave_id)
    rows = connection.execute(
        select(
            study.study_instance_uid,
            study.state,
            study.verified_instances,
            study.bytes_received,
            study.bytes_stored,
            study.manifest_sha256,
            verdict.method,
            verdict.outcome,
            verdict.reason,
            verdict.objects_read,
            verdict.bytes_read,
        )
        .outerjoin(latest, latest.c.study_instance_uid == study.study_instance_uid)
        .outerjoin(schema.verification, verdict.verification_id == latest.c.verification_id)
        .where(study.wave_id == wave_id)
        .order_by(study.study_instance_uid)
    )
    return [
        {
            "study_instance_uid": row.study_instance_uid,
            "state": row.state,
            "instances": row.verified_instances,
            "bytes_received": row.bytes_received,
            "bytes_stored": row.bytes_stored,
            "manifest_sha256": row.manifest_sha256,
            "method": row.method or "",
            "outcome": row.outcome or "",
            "reason": row.reason or "",
            "objects_read": row.objects_read or 0,
            "bytes_read": row.bytes_read or 0,
        }
        for row in rows
    ]


def _objects(connection: Connection, wave_id: str) -> dict[str, Any]:
    compaction = last_event(connection, compaction_chain(wave_id), COMPACTED_EVENT)
    current = studies_hash(verified_claims(connection, wave_id))
    if not compaction or compaction["studies_sha256"] != current:
        raise PermanentError(
            f"The manifests of wave {wave_id} were not compacted since its last change.",
            reason=ReasonCode.STATE_FORBIDDEN,
            next_step="Run the verification DAG for this wave again.",
        )
    parts = [
        {"key": key, "sha256": digest, "rows": rows} for key, digest, rows in compaction["parts"]
    ]
    return {
        "merkle_root": compaction["merkle_root"],
        "merkle_construction": CONSTRUCTION,
        "instances": compaction["instances"],
        "bytes": compaction["object_bytes"],
        "manifest_parts": parts,
    }


def _completeness(connection: Connection, wave_id: str) -> dict[str, Any]:
    table = schema.quality_result.c
    text = connection.scalar(
        select(table.summary)
        .where(table.subject == wave_id, table.phase == "verification")
        .order_by(table.result_id.desc())
        .limit(1)
    )
    if not text:
        return {}
    report = json.loads(text)
    unmet = [finding for finding in report["findings"] if not finding["success"]]
    return {
        "suite": report["suite"],
        "rows_judged": report["rows"],
        "success": report["success"],
        "unmet": [
            {key: finding[key] for key in ("title", "severity", "unexpected", "evaluated")}
            for finding in unmet
        ],
    }


def _exceptions(connection: Connection, wave_id: str) -> dict[str, dict[str, int]]:
    """Return how many exceptions are open, by study and reason."""
    study, table = schema.study.c, schema.exception.c
    rows = connection.execute(
        select(table.study_instance_uid, table.reason, func.count())
        .join(schema.study, study.study_instance_uid == table.study_instance_uid)
        .where(study.wave_id == wave_id, table.status == "open")
        .group_by(table.study_instance_uid, table.reason)
        .order_by(table.study_instance_uid, table.reason)
    )
    counted: dict[str, dict[str, int]] = {}
    for uid, reason, count in rows:
        counted.setdefault(uid, {})[reason] = int(count)
    return counted
