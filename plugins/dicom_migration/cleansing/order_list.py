"""The orders of the information system in the ledger, found by their key."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from hashlib import sha256
from typing import TYPE_CHECKING

from sqlalchemy import delete, insert, select

from dicom_migration.cleansing.list_reading import csv_rows, refused
from dicom_migration.cleansing.proposals import fits
from dicom_migration.ledger import schema
from dicom_migration.ledger.events import canonical_json

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from dicom_migration.policies.identity import OrderList

_BATCH, _ASKED = 5000, 500
_ORDER = schema.ris_order.c
#: Read where the list has it: an order of another patient is no order of the study.
_CHECKED = "PatientID"


def load_orders(connection: Connection, listed: OrderList) -> int:
    """Replace what the ledger keeps of the list; returns how many orders it holds.

    Raises
    ------
    PermanentError
        ``policy_invalid``: the list is malformed, a key is empty, or a value does not fit its
        attribute; the ledger keeps what it had.
    """
    taken = (*listed.fill, *listed.correct)
    needed = {name: listed.columns.get(name, name) for name in (*listed.key, *taken)}
    optional = {_CHECKED: listed.columns.get(_CHECKED, _CHECKED)}
    connection.execute(delete(schema.ris_order))
    count, batch = 0, []
    for line, row in csv_rows(listed, needed, optional):
        key = [row[name] for name in listed.key]
        if not all(key):
            raise refused(listed, line, "a field of the key is empty")
        values = {name: row[name] for name in dict.fromkeys((*taken, _CHECKED)) if row.get(name)}
        misfit = next((name for name, value in values.items() if not fits(name, value)), None)
        if misfit:
            raise refused(listed, line, f"{misfit} cannot hold this value")
        count += 1
        batch.append(
            {"entry": count, "key_sha256": key_hash(key), "attributes": canonical_json(values)}
        )
        if len(batch) == _BATCH:
            connection.execute(insert(schema.ris_order), batch)
            batch = []
    if batch:
        connection.execute(insert(schema.ris_order), batch)
    return count


def key_hash(values: Sequence[str]) -> str:
    """Return by what an order with this key is found."""
    return sha256(canonical_json(list(values)).encode()).hexdigest()


def orders_for(
    connection: Connection, key_hashes: Iterable[str]
) -> dict[str, list[dict[str, str]]]:
    """Return the different orders of each key, values by DICOM keyword."""
    asked = sorted(set(key_hashes))
    found: dict[str, dict[str, dict[str, str]]] = {}
    for start in range(0, len(asked), _ASKED):
        rows = connection.execute(
            select(_ORDER.key_sha256, _ORDER.attributes)
            .where(_ORDER.key_sha256.in_(asked[start : start + _ASKED]))
            .order_by(_ORDER.entry)
        )
        for key, attributes in rows:
            found.setdefault(key, {})[attributes] = json.loads(attributes)
    return {key: list(orders.values()) for key, orders in found.items()}
