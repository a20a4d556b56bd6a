"""One transfer task put together: ends, leases, pacing, governor, shard."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dicom_migration.archive import ImageArchive
    from dicom_migration.cloud import CloudStore
    from dicom_migration.ledger import Ledger
    from dicom_migration.pacing.metrics import Metrics
    from dicom_migration.pacing.stopping import StopFlag
    from dicom_migration.policies.throttle import ThrottlePolicy
    from dicom_migration.transfer.shards import Shard


@dataclass(frozen=True, slots=True)
class Connections:
    """Airflow connection ids of source, target and ledger."""

    source: str
    target: str
    ledger: str


def transfer_in_task(
    shard: Shard,
    connections: Connections,
    stop: StopFlag,
    *,
    last_try: bool,
    may_go_on: Callable[[], bool],
) -> dict[str, int | float]:
    """Transfer a shard as one of many workers; see ``transfer_shard``.

    Whatever happens, landing, turn and claims are given back at the end; those of a killed task
    run out.
    """
    from dicom_migration.hooks.archive import landings_of, open_archive
    from dicom_migration.hooks.cloud import open_store
    from dicom_migration.hooks.ledger import open_ledger
    from dicom_migration.operators.stats import AirflowMetrics
    from dicom_migration.pacing.landings import wait_for_landing
    from dicom_migration.pacing.leases import Leases, new_holder
    from dicom_migration.pacing.task_pacing import TaskPacing
    from dicom_migration.policies.throttle import load_throttle_policy
    from dicom_migration.policies.transfer import load_transfer_policy
    from dicom_migration.transfer.shard_transfer import transfer_shard

    throttle, metrics = load_throttle_policy(), AirflowMetrics()
    with contextlib.ExitStack() as stack:
        ledger = stack.enter_context(open_ledger(connections.ledger))
        with open_archive(connections.source) as source:
            scope = source.name
        leases = Leases(ledger, new_holder(), seconds=throttle.lease_seconds)
        pacing = stack.enter_context(TaskPacing(ledger, throttle, scope, leases, stop, metrics))
        landings = landings_of(connections.source)
        landing = wait_for_landing(leases, landings, stop, may_go_on) if landings else None
        archive = stack.enter_context(open_archive(connections.source, landing))
        store = stack.enter_context(open_store(connections.target))
        stack.enter_context(
            _governing(ledger, throttle, archive, store, shard, connections.source, metrics)
        )
        return transfer_shard(
            archive,
            store,
            ledger,
            shard,
            load_transfer_policy(),
            last_try=last_try,
            may_go_on=may_go_on,
            pacing=pacing,
        )


def _governing(
    ledger: Ledger,
    throttle: ThrottlePolicy,
    archive: ImageArchive,
    store: CloudStore,
    shard: Shard,
    conn_id: str,
    metrics: Metrics,
) -> contextlib.AbstractContextManager[Any]:
    """Probe beside the shard, where the policy wants it and the source can be disturbed."""
    from dicom_migration.hooks.archive import probe_opener
    from dicom_migration.pacing.leases import Leases, new_holder
    from dicom_migration.pacing.probing import Governor, office_seconds
    from dicom_migration.pacing.repeating import Repeating
    from dicom_migration.transfer.shards import some_study

    policy = throttle.governor
    known = some_study(ledger, shard)
    opener = probe_opener(conn_id, policy.answer_within_s)
    if not policy.enabled or known is None or opener is None:
        return contextlib.nullcontext()
    governor = Governor(
        ledger=ledger,
        scope=archive.name,
        policy=throttle,
        leases=Leases(ledger, new_holder(), seconds=office_seconds(policy)),
        open_archive=opener,
        store=store,
        study_instance_uid=known,
        metrics=metrics,
    )
    stack = contextlib.ExitStack()
    stack.callback(governor.leases.release_all)
    stack.enter_context(Repeating("governor", policy.probe_every_s, governor.turn))
    return stack
