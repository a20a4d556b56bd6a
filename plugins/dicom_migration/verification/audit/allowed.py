"""What a header may differ in: the corrections that the ledger holds as approved, and no more."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy import Connection, select

from dicom_migration.header_facts import storable, text_value
from dicom_migration.ledger import schema
from dicom_migration.manifest import ManifestRow
from dicom_migration.verification.audit.headers import Difference

if TYPE_CHECKING:
    from pydicom import Dataset

_ORIGINAL_ATTRIBUTES = 0x04000561
_MODIFIED_ATTRIBUTES = 0x04000550
NOT_APPLIED = "lacks an approved correction"
NOT_RECORDED = "does not record what was there before"


@dataclass(frozen=True, slots=True)
class Approved:
    """One approved correction: `keyword` becomes `value` ("" = empty)."""

    correction_id: str
    keyword: str
    value: str
    series_instance_uid: str
    sop_instance_uid: str
    text_charset: str

    def concerns(self, row: ManifestRow) -> bool:
        """Tell whether it was for this instance, and the manifest says that it was made."""
        return (
            self.correction_id in row.corrections
            and self.series_instance_uid in ("", row.series_instance_uid)
            and self.sop_instance_uid in ("", row.sop_instance_uid)
        )


def approved_corrections(connection: Connection, wave_id: str) -> dict[str, list[Approved]]:
    """Return the approved corrections of a wave's studies, whichever wave they were made in."""
    table, study = schema.correction.c, schema.study.c
    rows = connection.execute(
        select(
            table.study_instance_uid,
            table.correction_id,
            table.keyword,
            table.new_value,
            table.series_instance_uid,
            table.sop_instance_uid,
            table.text_charset,
        )
        .join(schema.study, study.study_instance_uid == table.study_instance_uid)
        .where(study.wave_id == wave_id, table.status == "approved")
        .order_by(table.correction_id)
    )
    found: dict[str, list[Approved]] = {}
    for uid, *values in rows:
        found.setdefault(uid, []).append(Approved(*(value or "" for value in values)))
    return found


def not_allowed(
    found: Sequence[Difference], source: Dataset, cloud: Dataset, approved: Sequence[Approved]
) -> list[Difference]:
    """Return the differences that `approved` does not explain, and corrections that are not there.

    A correction explains its own attribute when the cloud has exactly the approved value, and one
    more item of the Original Attributes Sequence (0400,0561) when it names that attribute.
    """
    made = {}
    left = []
    for one in approved:
        tag = _tag(one.keyword)
        made[tag] = storable(text_value(cloud, one.keyword) or "") == one.value.rstrip(" \0")
        if not made[tag]:
            left.append(Difference((tag,), NOT_APPLIED))
    if made and not _recorded(source, cloud, set(made)):
        left.append(Difference((_ORIGINAL_ATTRIBUTES,), NOT_RECORDED))
    for one_difference in found:
        whole = len(one_difference.path) == 1
        tag = one_difference.path[0]
        explained = made.get(tag, False) or (bool(made) and tag == _ORIGINAL_ATTRIBUTES)
        if not (whole and explained):
            left.append(one_difference)
    return left


def _recorded(source: Dataset, cloud: Dataset, tags: set[int]) -> bool:
    """Tell whether exactly one item was added that names every corrected attribute."""
    before, after = (_items(dataset, _ORIGINAL_ATTRIBUTES) for dataset in (source, cloud))
    if len(after) != len(before) + 1:
        return False
    named = {int(tag) for item in _items(after[-1], _MODIFIED_ATTRIBUTES) for tag in item.keys()}  # noqa: SIM118 - a Dataset yields elements
    return tags <= named


def _items(dataset: Dataset, tag: int) -> Sequence[Dataset]:
    try:
        return list(dataset[tag].value) if tag in dataset else []
    except Exception:  # noqa: BLE001 - hostile bytes raise anything in a parser
        return []


def _tag(keyword: str) -> int:
    from pydicom.datadict import tag_for_keyword

    return tag_for_keyword(keyword) or 0
