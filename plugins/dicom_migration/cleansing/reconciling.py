"""Corrections that the lists ask for, over those of the rules; what contradicts is kept back."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from itertools import groupby
from typing import TYPE_CHECKING, Any

from sqlalchemy import delete, insert, select

from dicom_migration.cleansing import order_matching, patient_matching
from dicom_migration.cleansing.facts import COLUMN_OF, apply_corrections, read_facts
from dicom_migration.cleansing.identity import close_unseen
from dicom_migration.cleansing.order_matching import OrderMatcher
from dicom_migration.cleansing.patient_matching import PatientMatcher
from dicom_migration.cleansing.proposals import PHASE, PROPOSED, Correction
from dicom_migration.errors import ReasonCode
from dicom_migration.ledger import EventChain, ExceptionNote, note_exceptions, schema, utc_now
from dicom_migration.ledger.exceptions import LIST_SUBJECT
from dicom_migration.policies.identity import ORDERS_RULE, PATIENTS_RULE

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from dicom_migration.ledger import Ledger
    from dicom_migration.policies.identity import IdentityPolicy

_REASONS = {
    PATIENTS_RULE: "The master patient list merged this identifier into another.",
    ORDERS_RULE: "The order of the study says so.",
}
_TABLE = schema.correction.c
_Changes = dict[tuple[int, str], tuple[str, str]]
"""(place of the header, keyword) to (new value, id of the list)."""


def reconcile_wave(
    ledger: Ledger,
    wave_id: str,
    policy: IdentityPolicy,
    ruleset_sha256: str,
    found: Sequence[Correction],
) -> list[Correction]:
    """Propose what the lists ask for, beside what the rules made (`found`).

    The lists see headers as the rules leave them, and have the last word on their attributes. A
    study that contradicts a list gets no correction from it; its exception keeps it back.

    Returns
    -------
    list of Correction
        All that is proposed for the wave by now.
    """
    with ledger.write() as connection:
        chain = EventChain(f"wave:{wave_id}/cleansing")
        if not policy.patients and not policy.orders:
            close_unseen(connection, wave_id, set(), chain, of_lists=True)
            return list(found)
        wave = _Wave(connection, wave_id, policy, ruleset_sha256, found)
        corrections = [c for rows in wave.studies for c in wave.corrections_of(rows)]
        _replace(connection, wave_id, found, corrections)
        note_exceptions(connection, wave.notes, chain)
        seen = {note.fingerprint for note in wave.notes}
        close_unseen(connection, wave_id, seen, chain, of_lists=True)
    return corrections


class _Wave:
    """The studies of a wave that are to be cleansed, with what rules and lists make of them."""

    def __init__(
        self,
        connection: Connection,
        wave_id: str,
        policy: IdentityPolicy,
        ruleset_sha256: str,
        found: Sequence[Correction],
    ) -> None:
        self.notes: list[ExceptionNote] = []
        self._wave_id = wave_id
        self._ruleset_sha256 = ruleset_sha256
        self._by_rules: dict[str, list[Correction]] = {}
        for correction in found:
            self._by_rules.setdefault(correction.study_instance_uid, []).append(correction)
        rows = read_facts(connection, wave_id, states=("planned",))
        self.studies = [
            list(members) for _, members in groupby(rows, key=lambda row: row["study_instance_uid"])
        ]
        ruled = [dict(row) for row in rows]
        apply_corrections(ruled, found)
        self._ruled = {row["sop_instance_uid"] + row["study_instance_uid"]: row for row in ruled}
        self._patients = policy.patients and PatientMatcher(
            connection, policy.patients, (str(row["patient_id"] or "") for row in ruled)
        )
        self._orders = policy.orders and OrderMatcher(connection, policy.orders, ruled)

    def corrections_of(self, rows: Sequence[Mapping[str, Any]]) -> Iterator[Correction]:
        """Yield all corrections of one study, `rows` being its headers as they are."""
        uid = str(rows[0]["study_instance_uid"])
        mine = self._by_rules.get(uid, [])
        ruled = [dict(self._ruled[row["sop_instance_uid"] + uid]) for row in rows]
        identifiers = {str(row["patient_id"] or "") for row in (*rows, *ruled)}
        changes: _Changes = self._identities(uid, ruled)
        identifiers |= {
            value for (_, keyword), (value, _) in changes.items() if keyword == "PatientID"
        }
        changes |= self._ordered(uid, ruled, identifiers)
        keywords = {keyword for _, keyword in changes}
        yield from (correction for correction in mine if correction.keyword not in keywords)
        for keyword in sorted(keywords):
            yield from self._scoped(rows, ruled, keyword, changes, mine)

    def _identities(self, uid: str, headers: Sequence[Mapping[str, Any]]) -> _Changes:
        if not self._patients:
            return {}
        matches = [self._patients.match(header) for header in headers]
        conflicts = sorted({conflict for match in matches for conflict in match.conflicts})
        for conflict in conflicts:
            told = patient_matching.CONFLICTS[conflict]
            self._note(ReasonCode.IDENTITY_CONFLICT, uid, f"patients/{conflict}", told)
        if conflicts:
            return {}
        changes: _Changes = {}
        for place, (header, match) in enumerate(zip(headers, matches, strict=True)):
            if match.survivor is None:
                continue
            wanted = {
                "PatientID": match.survivor.value,
                "IssuerOfPatientID": match.survivor.issuer,
            }
            for keyword, value in wanted.items():
                if value and value != str(header[COLUMN_OF[keyword]] or ""):
                    changes[place, keyword] = (value, PATIENTS_RULE)
        return changes

    def _ordered(
        self, uid: str, headers: Sequence[Mapping[str, Any]], patient_ids: set[str]
    ) -> _Changes:
        if not self._orders:
            return {}
        ordered = self._orders.match(headers, patient_ids)
        for conflict in ordered.conflicts:
            told = order_matching.CONFLICTS[conflict]
            self._note(ReasonCode.ORDER_CONFLICT, uid, f"orders/{conflict}", told)
        return {
            (place, keyword): (value, ORDERS_RULE)
            for place, header in enumerate(headers)
            for keyword, value in ordered.values.items()
            if self._orders.change(keyword, value, header)
        }

    def _note(self, reason: ReasonCode, uid: str, subject: str, told: tuple[str, str]) -> None:
        self.notes.append(
            ExceptionNote(
                reason,
                PHASE,
                study_instance_uid=uid,
                subject=f"{LIST_SUBJECT}{subject}",
                detail=told[0],
                suggested_fix=told[1],
            )
        )

    def _scoped(
        self,
        rows: Sequence[Mapping[str, Any]],
        ruled: Sequence[Mapping[str, Any]],
        keyword: str,
        changes: _Changes,
        by_rules: Sequence[Correction],
    ) -> Iterator[Correction]:
        """Yield one correction for the study when all its headers get the same, else one each."""
        column = COLUMN_OF[keyword]
        wanted = []
        for place, (row, after) in enumerate(zip(rows, ruled, strict=True)):
            value, rule_id = changes.get((place, keyword), (str(after[column] or ""), ""))
            wanted.append((str(row[column] or ""), value, rule_id))
        whole = len(set(wanted)) == 1
        for row, (old, new, rule_id) in zip(rows, wanted, strict=True):
            if old == new:
                continue
            rule = rule_id or _ruling(by_rules, keyword, row)
            alone = sum(r["series_instance_uid"] == row["series_instance_uid"] for r in rows) == 1
            # A header that is all that was read of its series stands for the series.
            sop = "" if alone else str(row["sop_instance_uid"])
            scope = ("", "") if whole else (str(row["series_instance_uid"]), sop)
            yield self._correction(row, scope, keyword, (old, new), rule)
            if whole:
                break

    def _correction(
        self,
        row: Mapping[str, Any],
        within: tuple[str, str],
        keyword: str,
        values: tuple[str, str],
        rule_id: str,
    ) -> Correction:
        scope = (str(row["study_instance_uid"]), *within)
        sha256 = self._ruleset_sha256
        # The values are part of it: the list may say something else the next time.
        key = "|".join((self._wave_id, *scope, keyword, rule_id, sha256, *values))
        return Correction(
            hashlib.sha256(key.encode()).hexdigest(),
            self._wave_id,
            *scope,
            keyword=keyword,
            old_value=values[0],
            new_value=values[1],
            rule_id=rule_id,
            reason=_REASONS.get(rule_id, "A rule changed it before the lists were asked."),
            ruleset_sha256=sha256,
        )


def _ruling(by_rules: Sequence[Correction], keyword: str, row: Mapping[str, Any]) -> str:
    """Return which rule made the header's value."""
    return next(
        correction.rule_id
        for correction in by_rules
        if correction.keyword == keyword
        and correction.series_instance_uid in ("", row["series_instance_uid"])
        and correction.sop_instance_uid in ("", row["sop_instance_uid"])
    )


def _replace(
    connection: Connection, wave_id: str, before: Sequence[Correction], now: Sequence[Correction]
) -> None:
    """Put the corrections into the ledger in the place of those that the rules proposed."""
    kept = {correction.correction_id for correction in now}
    gone = sorted({correction.correction_id for correction in before} - kept)
    for start in range(0, len(gone), 500):
        connection.execute(
            delete(schema.correction).where(
                _TABLE.correction_id.in_(gone[start : start + 500]), _TABLE.status == PROPOSED
            )
        )
    known = set(connection.scalars(select(_TABLE.correction_id).where(_TABLE.wave_id == wave_id)))
    rows = [
        {**asdict(correction), "updated_at": utc_now()}
        for correction in now
        if correction.correction_id not in known
    ]
    if rows:
        connection.execute(insert(schema.correction), rows)
