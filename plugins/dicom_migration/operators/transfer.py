"""Operators of the transfer DAG: check both ends, wait for the window, cut, move, sum up."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperator

from dicom_migration.operators.defaults import (
    LEDGER_CONN_ID,
    SOURCE_CONN_ID,
    TARGET_CONN_ID,
    TRANSFERRED_WAVE,
)
from dicom_migration.operators.waves import waves_asked_for
from dicom_migration.pacing.stopping import StopFlag

if TYPE_CHECKING:
    from airflow.sdk import Context


class TransferPreflightOperator(BaseOperator):
    """Check policies, source, target and ledger before anything is moved.

    :param source_conn_id: connection of the source archive (templated)
    :param target_conn_id: connection of the target bucket (templated)
    :param ledger_conn_id: connection of the ledger (templated)
    :return: latency in seconds and description of both ends
    """

    template_fields: Sequence[str] = ("source_conn_id", "target_conn_id", "ledger_conn_id")

    def __init__(
        self,
        *,
        source_conn_id: str = SOURCE_CONN_ID,
        target_conn_id: str = TARGET_CONN_ID,
        ledger_conn_id: str = LEDGER_CONN_ID,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.source_conn_id = source_conn_id
        self.target_conn_id = target_conn_id
        self.ledger_conn_id = ledger_conn_id

    def execute(self, context: Context) -> dict[str, Any]:
        """Fail at once when one of them will not do."""
        from dicom_migration.hooks.archive import open_archive
        from dicom_migration.hooks.cloud import open_store
        from dicom_migration.hooks.ledger import open_ledger
        from dicom_migration.policies.throttle import load_throttle_policy
        from dicom_migration.policies.transfer import load_transfer_policy
        from dicom_migration.policies.windows import load_window_policy

        load_transfer_policy()
        load_throttle_policy()
        load_window_policy()
        with open_ledger(self.ledger_conn_id) as ledger:
            ledger.upgrade()
        with open_archive(self.source_conn_id) as archive:
            check = archive.check()
        with open_store(self.target_conn_id) as store:
            facts = store.check()
        self.log.info("Source: %s (%.3f s). Target: %s", check.description, check.latency_s, facts)
        return {"source": check.description, "latency_s": check.latency_s, "target": facts}


class WaitForWindowOperator(BaseOperator):
    """Wait, without holding a worker slot, until the site's migration window is open.

    Windows are those of ``include/policies/windows.yaml``, in the site's time zone.
    """

    def execute(self, context: Context) -> str:
        """Return at once when a window is open, else defer until the next one opens."""
        from datetime import UTC, datetime

        from airflow.providers.standard.triggers.temporal import DateTimeTrigger

        from dicom_migration.policies.windows import load_window_policy

        policy = load_window_policy()
        now = datetime.now(UTC)
        if policy.is_open(now):
            return now.isoformat(timespec="seconds")
        opening = policy.next_opening(now)
        self.log.info("No window is open; waiting until %s", opening.isoformat())
        self.defer(trigger=DateTimeTrigger(moment=opening), method_name="resume")
        raise AssertionError("unreachable: defer() leaves the task")

    def resume(self, context: Context, event: Any = None) -> str:
        """Look again after the wait: the policy may have changed meanwhile."""
        return self.execute(context)


class CutShardsOperator(BaseOperator):
    """Cut the waves of this run into shards, the inputs of the mapped transfer task.

    :param ledger_conn_id: connection of the ledger (templated)
    :return: ``[{"wave_id", "number"}, …]``, empty when every study is moved already
    """

    template_fields: Sequence[str] = ("ledger_conn_id",)

    def __init__(self, *, ledger_conn_id: str = LEDGER_CONN_ID, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.ledger_conn_id = ledger_conn_id

    def execute(self, context: Context) -> list[dict[str, Any]]:
        """Return the shards."""
        from dataclasses import asdict

        from dicom_migration.hooks.ledger import open_ledger
        from dicom_migration.policies.transfer import load_transfer_policy
        from dicom_migration.transfer.shards import cut_shards, waves_to_move

        policy = load_transfer_policy()
        with open_ledger(self.ledger_conn_id) as ledger:
            waves = waves_to_move(ledger, waves_asked_for(context))
            shards = [shard for wave in waves for shard in cut_shards(ledger, wave, policy)]
        self.log.info("Waves %s: %d shards", ", ".join(waves) or "(none)", len(shards))
        context["ti"].xcom_push(key="waves", value=waves)
        return [asdict(shard) for shard in shards]


class TransferShardOperator(BaseOperator):
    """Retrieve, correct, hash, store and record the studies of one shard.

    :param shard: ``{"wave_id", "number"}`` (templated)
    :param source_conn_id: connection of the source archive (templated)
    :param target_conn_id: connection of the target bucket (templated)
    :param ledger_conn_id: connection of the ledger (templated)
    :return: counts, bytes and seconds
    """

    template_fields: Sequence[str] = (
        "shard",
        "source_conn_id",
        "target_conn_id",
        "ledger_conn_id",
    )

    def __init__(
        self,
        *,
        shard: dict[str, Any],
        source_conn_id: str = SOURCE_CONN_ID,
        target_conn_id: str = TARGET_CONN_ID,
        ledger_conn_id: str = LEDGER_CONN_ID,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.shard = shard
        self._stop = StopFlag()
        self.source_conn_id = source_conn_id
        self.target_conn_id = target_conn_id
        self.ledger_conn_id = ledger_conn_id

    def execute(self, context: Context) -> dict[str, Any]:
        """Move the shard's studies while the window is open, and wait for the next one.

        See :func:`dicom_migration.transfer.shard_transfer.transfer_shard`.
        """
        from datetime import UTC, datetime

        from airflow.providers.standard.triggers.temporal import DateTimeTrigger

        from dicom_migration.operators.shard_task import Connections, transfer_in_task
        from dicom_migration.policies.windows import load_window_policy
        from dicom_migration.transfer.shards import Shard

        windows = load_window_policy()
        shard = Shard(str(self.shard["wave_id"]), int(self.shard["number"]))
        context["wave_shard"] = f"{shard.wave_id} / {shard.number}"  # type: ignore[typeddict-unknown-key]
        task = context["ti"]
        summary = transfer_in_task(
            shard,
            Connections(self.source_conn_id, self.target_conn_id, self.ledger_conn_id),
            self._stop,
            last_try=task.try_number > task.max_tries,
            may_go_on=lambda: windows.is_open(datetime.now(UTC)),
        )
        if summary["left"]:
            opening = windows.next_opening(datetime.now(UTC))
            self.log.info("%d studies wait for the window at %s", summary["left"], opening)
            self.defer(trigger=DateTimeTrigger(moment=opening), method_name="resume")
        return summary

    def resume(self, context: Context, event: Any = None) -> dict[str, Any]:
        """Go on with the studies that are left."""
        return self.execute(context)

    def on_kill(self) -> None:
        """End cleanly: Airflow calls this from its signal handler and kills some seconds later."""
        self._stop.set()


class CloseTransferOperator(BaseOperator):
    """Sum up the waves of this run and hand them on to verification.

    :param cut_task_id: the task that named the waves
    :param ledger_conn_id: connection of the ledger (templated)
    :return: studies by state, for each wave
    """

    template_fields: Sequence[str] = ("ledger_conn_id",)

    def __init__(
        self, *, cut_task_id: str, ledger_conn_id: str = LEDGER_CONN_ID, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.cut_task_id = cut_task_id
        self.ledger_conn_id = ledger_conn_id

    def execute(self, context: Context) -> dict[str, dict[str, int]]:
        """Close each wave in the ledger and emit the asset that starts verification."""
        from airflow.sdk.exceptions import AirflowSkipException

        from dicom_migration.hooks.ledger import open_ledger
        from dicom_migration.transfer.shards import close_wave

        waves = context["ti"].xcom_pull(task_ids=self.cut_task_id, key="waves") or []
        if not waves:
            raise AirflowSkipException("No wave is waiting for its transfer.")
        with open_ledger(self.ledger_conn_id) as ledger:
            states = {wave: close_wave(ledger, wave) for wave in waves}
        for wave, counts in states.items():
            self.log.info("Wave %s: %s", wave, counts)
        context["outlet_events"][TRANSFERRED_WAVE].extra = {"waves": waves}
        return states
