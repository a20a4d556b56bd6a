"""Which layout is cheaper for a study: one object an instance, or its series packed.

Packing saves the requests that create the objects, and what a storage class charges for small
ones. It is never dearer in money, but an instance alone is simpler to get at: packing has to save
a part of the cost that is worth it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from dicom_migration.units import GB

StoredLayout = Literal["instance", "series-zip"]


@dataclass(frozen=True, slots=True)
class ObjectPrices:
    """What a storage class charges; money in any one currency.

    Attributes
    ----------
    gb_month, put_1000
        A month of 10^9 bytes; a thousand requests that create an object.
    min_billable_bytes, overhead_bytes
        Charged at least, and charged on top, for every object.
    """

    gb_month: float
    put_1000: float
    min_billable_bytes: int = 0
    overhead_bytes: int = 0

    def cost(self, objects: int, total_bytes: int, months: int) -> float:
        """Return what `objects` that are equally large cost to create and to keep for `months`."""
        if not objects:
            return 0.0
        size = max(total_bytes / objects, self.min_billable_bytes) + self.overhead_bytes
        stored = objects * size / GB * self.gb_month * months
        return stored + objects / 1000 * self.put_1000


def cheaper_layout(
    prices: ObjectPrices,
    *,
    instances: int,
    series: int,
    total_bytes: int,
    months: int = 12,
    worth: float = 0.1,
) -> StoredLayout:
    """Return ``series-zip`` when packing saves at least the part `worth` of the cost.

    Parameters
    ----------
    instances, series, total_bytes
        Of the study.
    months
        How long the storage is counted.
    worth
        0 to 1; 0.1 is a tenth of what one object an instance would cost.
    """
    apart = prices.cost(instances, total_bytes, months)
    packed = prices.cost(min(series, instances), total_bytes, months)
    return "series-zip" if apart > packed and apart - packed >= worth * apart else "instance"


def packing_pays_below(prices: ObjectPrices, *, months: int = 12, worth: float = 0.1) -> int:
    """Return the mean size of an instance (bytes) below which packing pays by `worth`.

    For conditions in SQL: what :func:`cheaper_layout` says of a study of many instances in few
    series, as one number a storage class.
    """
    byte = prices.gb_month * months / GB
    if not byte:
        return 0
    each = prices.overhead_bytes * byte + prices.put_1000 / 1000
    large = each * (1 - worth) / (worth * byte)
    if large >= prices.min_billable_bytes:
        return int(large)
    small = (prices.min_billable_bytes * byte + each) * (1 - worth) / byte
    return int(min(small, prices.min_billable_bytes))
