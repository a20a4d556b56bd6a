"""Which instances of a study have their headers read, by policy."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dicom_migration.archive import InstanceRecord
    from dicom_migration.policies.cleansing import CleansingPolicy

_DRAWS = 2**32


def chosen_instances(
    instances: Sequence[InstanceRecord], policy: CleansingPolicy
) -> Iterator[InstanceRecord]:
    """Yield the instances to read, by series and UID.

    Every series has at least one. A sample is drawn by hashing seed and SOP Instance UID: it is
    the same for every try and every order, and a larger fraction holds the smaller one's.
    """
    ordered = sorted(instances, key=lambda item: (item.series_instance_uid, item.sop_instance_uid))
    if policy.headers == "all":
        yield from ordered
        return
    for _, series in groupby(ordered, key=lambda item: item.series_instance_uid):
        members = list(series)
        if policy.headers == "first_of_series":
            yield members[0]
            continue
        drawn = {item.sop_instance_uid: _draw(item, policy.sample_seed) for item in members}
        limit = max(policy.sample_fraction, min(drawn.values()))
        yield from (item for item in members if drawn[item.sop_instance_uid] <= limit)


def _draw(instance: InstanceRecord, seed: int) -> float:
    """Return a number from 0 up to 1 that is the instance's own."""
    digest = hashlib.sha256(f"{seed}:{instance.sop_instance_uid}".encode()).digest()
    return int.from_bytes(digest[:4], "big") / _DRAWS
