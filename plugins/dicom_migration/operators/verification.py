"""Operators of the verification DAG: compare, settle, seal."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperator

from dicom_migration.operators.defaults import (
    CLEANSED_WAVE,
    LEDGER_CONN_ID,
    SOURCE_CONN_ID,
    TARGET_CONN_ID,
    VERIFIED_WAVE,
)
from dicom_migration.operators.waves import waves_asked_for

if TYPE_CHECKING:
    from airflow.sdk import Context


class WavesOperator(BaseOperator):
    """What the operators below share: the waves of the run and the three connections.

    :param waves: wave ids (templated)
    :param source_conn_id: connection of the source archive (templated)
    :param target_conn_id: connection of the target bucket (templated)
    :param ledger_conn_id: connection of the ledger (templated)
    """

    template_fields: Sequence[str] = ("waves", "source_conn_id", "target_conn_id", "ledger_conn_id")

    def __init__(
        self,
        *,
        waves: Any = (),
        source_conn_id: str = SOURCE_CONN_ID,
        target_conn_id: str = TARGET_CONN_ID,
        ledger_conn_id: str = LEDGER_CONN_ID,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.waves = waves
        self.source_conn_id = source_conn_id
        self.target_conn_id = target_conn_id
        self.ledger_conn_id = ledger_conn_id


class PlanVerificationOperator(WavesOperator):
    """Choose the waves of this run and cut them into shards.

    A wave without transferred studies keeps one empty shard: it gets its certificate too.

    :return: ``[{"wave_id", "number", "size"}, …]``; the wave ids under the key ``waves``
    """

    def execute(self, context: Context) -> list[dict[str, Any]]:
        """Skip the run when nothing awaits verification."""
        from airflow.sdk.exceptions import AirflowSkipException

        from dicom_migration.hooks.ledger import open_ledger
        from dicom_migration.policies.verification import load_verification_policy
        from dicom_migration.verification.claims import plan_shards, waves_to_verify

        policy = load_verification_policy()
        with open_ledger(self.ledger_conn_id) as ledger, ledger.read() as connection:
            waves = waves_to_verify(connection, waves_asked_for(context))
            shards = plan_shards(connection, waves, policy)
        if not waves:
            raise AirflowSkipException("No wave holds studies that await verification.")
        self.log.info("Waves %s: %d shards", ", ".join(waves), len(shards))
        context["ti"].xcom_push(key="waves", value=waves)
        return [dict(shard.as_dict()) for shard in shards]


class VerifyShardOperator(WavesOperator):
    """Verify the studies of one shard against source, receipt, manifest and cloud.

    :param shard: ``{"wave_id", "number", "size"}`` (templated)
    :return: counts by outcome, objects and bytes read
    """

    template_fields: Sequence[str] = (*WavesOperator.template_fields, "shard")

    def __init__(self, *, shard: dict[str, Any], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.shard = shard

    def execute(self, context: Context) -> dict[str, str | int]:
        """See :func:`dicom_migration.verification.shards.verify_shard`."""
        from dicom_migration.hooks.archive import open_archive
        from dicom_migration.hooks.cloud import open_store
        from dicom_migration.hooks.ledger import open_ledger
        from dicom_migration.policies.verification import load_verification_policy
        from dicom_migration.verification.claims import Shard
        from dicom_migration.verification.shards import verify_shard

        shard = Shard(
            str(self.shard["wave_id"]), int(self.shard["number"]), int(self.shard["size"])
        )
        context["wave_shard"] = f"{shard.wave_id} / {shard.number}"  # type: ignore[typeddict-unknown-key]
        task = context["ti"]
        with (
            open_ledger(self.ledger_conn_id) as ledger,
            open_archive(self.source_conn_id) as archive,
            open_store(self.target_conn_id) as store,
        ):
            summary = verify_shard(
                archive,
                store,
                ledger,
                shard,
                load_verification_policy(),
                last_try=task.try_number > task.max_tries,
            )
        self.log.info("Wave %s shard %d: %s", shard.wave_id, shard.number, summary.as_dict())
        return summary.as_dict()


class SettleMismatchesOperator(WavesOperator):
    """Send studies that did not agree back to transfer, or to a person.

    :return: ``{"redriven", "quarantined", "waves"}``: studies, and the waves to transfer again
    """

    def execute(self, context: Context) -> dict[str, Any]:
        """See :func:`dicom_migration.verification.settlement.settle_mismatches`."""
        from dicom_migration.hooks.ledger import open_ledger
        from dicom_migration.policies.verification import load_verification_policy
        from dicom_migration.verification.settlement import settle_mismatches

        policy = load_verification_policy()
        with open_ledger(self.ledger_conn_id) as ledger:
            settled = [settle_mismatches(ledger, wave, policy) for wave in self.waves]
            awaiting = [one.wave_id for one in settled if one.awaits_transfer]
        for one in settled:
            self.log.info("Settled: %s", one)
        return {
            "redriven": sum(one.redriven for one in settled),
            "quarantined": sum(one.quarantined for one in settled),
            "waves": awaiting,
        }


class SealManifestsOperator(WavesOperator):
    """Compact the manifests of each wave, judge their completeness, note images stored twice.

    :return: instances, duplicated images, whether the suite is met and the scores of
        completeness before and after, for each wave
    """

    def execute(self, context: Context) -> dict[str, dict[str, Any]]:
        """Judge the manifests as they lie in the cloud, by Great Expectations."""
        from dicom_migration.hooks.cloud import open_store
        from dicom_migration.hooks.ledger import open_ledger
        from dicom_migration.operations.duplicates import note_duplicates
        from dicom_migration.operators.completeness import judge_manifests, report_completeness
        from dicom_migration.policies.verification import load_verification_policy
        from dicom_migration.verification.compaction import compact_wave

        policy = load_verification_policy()
        told: dict[str, dict[str, Any]] = {}
        with open_ledger(self.ledger_conn_id) as ledger, open_store(self.target_conn_id) as store:
            for wave in self.waves:
                compaction = compact_wave(store, ledger, wave, policy)
                result = judge_manifests(store, ledger, compaction, policy)
                self.log.info("Wave %s: %s", wave, result.table())
                parts = [part.key for part in compaction.parts]
                twice = note_duplicates(store, ledger, wave, parts)
                self.log.info("Wave %s: %s", wave, twice)
                told[wave] = {
                    "instances": compaction.instances,
                    "duplicated_images": twice.images,
                    **result.summary(),
                    **report_completeness(store, ledger, compaction),
                }
        return told


class IssueCertificatesOperator(WavesOperator):
    """Seal what was found: a certificate a wave, as JSON and HTML beside the data.

    :return: ``{"complete": [wave], "interim": [wave], "unanswered": {wave: studies},
        "certificates": {wave: address}}``
    """

    def execute(self, context: Context) -> dict[str, Any]:
        """Refuse when the ledger was tampered with."""
        from dicom_migration.hooks.cloud import open_store
        from dicom_migration.hooks.ledger import open_ledger
        from dicom_migration.hooks.signing import signing_key
        from dicom_migration.ledger import StudyState
        from dicom_migration.ledger.events import canonical_json
        from dicom_migration.operators.reports import publish_report
        from dicom_migration.policies import policy_hash
        from dicom_migration.policies.verification import load_verification_policy
        from dicom_migration.verification.certificate import issue_certificate
        from dicom_migration.verification.certificate_report import render_certificate
        from dicom_migration.verification.signing import signed

        key = signing_key()
        if key is None:
            self.log.warning("No connection certificate_signing: the certificates are unsigned.")
        sealed_policy = policy_hash(load_verification_policy())
        told: dict[str, Any] = {"complete": [], "interim": [], "unanswered": {}, "certificates": {}}
        with open_ledger(self.ledger_conn_id) as ledger, open_store(self.target_conn_id) as store:
            for wave in self.waves:
                document = issue_certificate(ledger, wave, sealed_policy)
                document = signed(document, "certificate", key)
                body = document["certificate"]
                told[body["status"]].append(wave)
                waiting = body["counts"]["by_state"].get(StudyState.TRANSFERRED.value, 0)
                told["unanswered"] |= {wave: waiting} if waiting else {}
                address = ""
                for suffix, text in (
                    ("html", render_certificate(document)),
                    ("json", canonical_json(document)),
                ):
                    address = publish_report(
                        store, ledger, kind="certificate", subject=wave, body=text, suffix=suffix
                    )
                    self.log.info("Certificate of wave %s: %s", wave, address)
                told["certificates"][wave] = address
        return told


class RequestTransferOperator(WavesOperator):
    """Start the transfer of waves again whose studies did not agree; skipped when there are none.

    :return: the waves
    """

    def execute(self, context: Context) -> list[str]:
        """Emit the asset that starts the transfer DAG."""
        from airflow.sdk.exceptions import AirflowSkipException

        if not self.waves:
            raise AirflowSkipException("Every study agreed or waits for a person.")
        context["outlet_events"][CLEANSED_WAVE].extra = {"waves": list(self.waves)}
        return list(self.waves)


class AnnounceVerifiedOperator(WavesOperator):
    """Hand complete waves on to the retrieval benchmark; skipped when there are none.

    :return: the waves
    """

    def execute(self, context: Context) -> list[str]:
        """Emit the asset that starts the benchmark."""
        from airflow.sdk.exceptions import AirflowSkipException

        if not self.waves:
            raise AirflowSkipException("No wave is complete yet; its certificate is interim.")
        context["outlet_events"][VERIFIED_WAVE].extra = {"waves": list(self.waves)}
        return list(self.waves)


class RefuseUnansweredOperator(BaseOperator):
    """Fail the run when studies still await an answer: nothing would go on by itself.

    Wire it with ``retries=0``: it reads no study, so that trying again cannot help.

    :param unanswered: studies still ``transferred``, for each wave (templated)
    """

    template_fields: Sequence[str] = ("unanswered",)

    def __init__(self, *, unanswered: Any, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.unanswered = unanswered

    def execute(self, context: Context) -> None:
        """Name the waves, and what to do."""
        from dicom_migration.verification.settlement import refuse_unanswered

        refuse_unanswered(self.unanswered or {})
