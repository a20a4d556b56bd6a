"""The inventory, window by window; the same call goes on where a killed one stopped."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from sqlalchemy import select, update

from dicom_migration.archive import ImageArchive
from dicom_migration.discovery.completing import StudyCompletion
from dicom_migration.discovery.counts import InventoryCounts
from dicom_migration.discovery.finding import WindowSearch
from dicom_migration.discovery.pacing import paced
from dicom_migration.discovery.sizes import read_sizes
from dicom_migration.discovery.window_inventory import Tools, WindowInventory
from dicom_migration.discovery.windows import DONE, read_window
from dicom_migration.ledger import schema

if TYPE_CHECKING:
    from dicom_migration.ledger import Ledger
    from dicom_migration.policies.discovery import DiscoveryPolicy

__all__ = ["InventoryCounts", "take_inventory"]


def _always() -> bool:
    return True


def take_inventory(
    ledger: Ledger,
    archive: ImageArchive,
    window_ids: Sequence[str],
    policy: DiscoveryPolicy,
    may_go_on: Callable[[], bool] = _always,
) -> InventoryCounts:
    """Take the inventory of these windows, all of one inventory; those done are passed over.

    Parameters
    ----------
    may_go_on
        Asked before each window; when it says no, the windows that are left are counted.

    Raises
    ------
    TransientError
        The source is down, or fails; windows that are done stay done.
    PermanentError
        It refuses us, or does not speak DICOM.
    """
    total = InventoryCounts()
    each_second = policy.requests_per_second
    source = paced(archive, each_second and each_second / policy.parallel_tasks)
    search, completion = WindowSearch(source, policy), StudyCompletion(source, policy)
    sizes = read_sizes(ledger, archive.name, policy.bytes_per_instance)
    tools: Tools | None = None
    for number, window_id in enumerate(window_ids):
        window, inventory_id, state = read_window(ledger, window_id)
        if state == DONE:
            total.windows_skipped += 1
            continue
        if not may_go_on():
            total.windows_left = len(window_ids) - number
            break
        if tools is None:
            is_first = _begin(ledger, inventory_id, archive.name)
            tools = Tools(ledger, source.name, inventory_id, search, completion, sizes, is_first)
        total.add(WindowInventory(window, tools).take())
    return total


def _begin(ledger: Ledger, inventory_id: str, source: str) -> bool:
    """Write the source's name to the inventory; tell whether it is the first of this source.

    What a first inventory finds is new without saying: a million events would tell nothing.
    """
    table = schema.inventory.c
    with ledger.write() as connection:
        connection.execute(
            update(schema.inventory)
            .where(table.inventory_id == inventory_id, table.source == "")
            .values(source=source)
        )
        earlier = connection.scalar(
            select(table.inventory_id)
            .where(table.source == source, table.closed_at.is_not(None))
            .limit(1)
        )
    return earlier is None
