"""What the order of a study says of its attributes; contradictions, no guesses."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from sqlalchemy import func, select

from dicom_migration.cleansing.facts import COLUMN_OF
from dicom_migration.cleansing.order_list import key_hash, orders_for
from dicom_migration.ledger import schema

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from dicom_migration.policies.identity import OrderList

#: Keys that name one study, or an order that may be of several; all others must find one study.
_OWN = frozenset({"StudyInstanceUID", "AccessionNumber"})
#: Why a person must decide: the detail and the suggested fix of the exception.
CONFLICTS = {
    "two-orders": (
        "The order list has different orders under the key of this study.",
        "Have the list made anew with one order a key; then send the study back.",
    ),
    "other-patient": (
        "The order that the key finds is of another patient.",
        "Compare order and study; correct the list, or the study at the source.",
    ),
    "several-studies": (
        "The key of the order finds several studies: it cannot be told which was ordered.",
        "Use a key that tells them apart (include/policies/identity.yaml).",
    ),
}


@dataclass(frozen=True, slots=True)
class Ordered:
    """What the order says, by DICOM keyword, or why a person must decide."""

    values: Mapping[str, str] = field(default_factory=dict)
    conflicts: tuple[str, ...] = ()


class OrderMatcher:
    """Finds the orders of studies; holds those that concern `headers`."""

    def __init__(
        self, connection: Connection, listed: OrderList, headers: Iterable[Mapping[str, Any]]
    ) -> None:
        self._connection = connection
        self._listed = listed
        self._studies: dict[str, set[str]] = {}
        for header in headers:
            if key := self._key(header):
                self._studies.setdefault(key, set()).add(str(header["study_instance_uid"]))
        self._orders = orders_for(connection, self._studies)

    def match(self, headers: Sequence[Mapping[str, Any]], patient_ids: Iterable[str]) -> Ordered:
        """Return what the order of one study says.

        Parameters
        ----------
        headers
            All of the study's, values by column of ``header_fact``.
        patient_ids
            What identifiers its patient has: before and after reconciliation.
        """
        keys = {key for header in headers if (key := self._key(header)) in self._orders}
        orders = {tuple(sorted(order.items())) for key in keys for order in self._orders[key]}
        if not orders:
            return Ordered()
        if len(orders) > 1:
            return Ordered(conflicts=("two-orders",))
        values = dict(orders.pop())
        patient_id, known = values.pop("PatientID", ""), {*patient_ids} - {""}
        if patient_id and known and patient_id not in known:
            return Ordered(conflicts=("other-patient",))
        if any(self._finds_several(key) for key in keys) or self._is_known_twice(headers[0]):
            return Ordered(conflicts=("several-studies",))
        return Ordered(values)

    def change(self, keyword: str, value: str, header: Mapping[str, Any]) -> bool:
        """Tell whether `value` of an order is taken into this header."""
        current = str(header.get(COLUMN_OF[keyword]) or "")
        return current != value and (keyword in self._listed.correct or not current)

    def _key(self, header: Mapping[str, Any]) -> str:
        values = [_value(header, keyword) for keyword in self._listed.key]
        return key_hash(values) if all(values) else ""

    def _finds_several(self, key: str) -> bool:
        return not _OWN & set(self._listed.key) and len(self._studies[key]) > 1

    def _is_known_twice(self, header: Mapping[str, Any]) -> bool:
        """Tell whether the inventory knows another study with the same key."""
        columns = [COLUMN_OF.get(keyword, "") for keyword in self._listed.key]
        if _OWN & set(self._listed.key) or not all(c in schema.study.c for c in columns):
            return False
        study = schema.study.c
        same = [study[column] == str(header.get(column) or "") for column in columns]
        others = self._connection.scalar(
            select(func.count())
            .select_from(schema.study)
            .where(study.study_instance_uid != header["study_instance_uid"], *same)
        )
        return bool(others)


def _value(header: Mapping[str, Any], keyword: str) -> str:
    return str(header.get(COLUMN_OF.get(keyword, "study_instance_uid")) or "")
