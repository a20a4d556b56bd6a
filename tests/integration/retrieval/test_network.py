"""The network test at rest and during a migration, against a real endpoint and a real ledger."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import func, insert, select

from dicom_migration.cloud.s3_probe import PROBE_PREFIX, S3Probe
from dicom_migration.errors import PermanentError
from dicom_migration.ledger import schema, utc_now
from dicom_migration.pacing.associations import slot_name
from dicom_migration.policies.slas import NetworkTest, SlaPolicy
from dicom_migration.retrieval.network import SourceQuestions, run_network_test
from dicom_migration.retrieval.network_cost import recent_costs
from tests.integration.cloud.http_faults import Fault
from tests.integration.retrieval.test_found import proxied, small_files, verified  # noqa: F401
from tests.integration.verification.conftest import (  # noqa: F401
    all_real_instances,
    client,
    endpoint,
    ledger,
    store,
)

POLICY = NetworkTest(latency_requests=6, objects=2, object_mib=1)
SLA = SlaPolicy(network=POLICY)


def run(wave, store=None, test_id="N1"):  # noqa: F811
    store = store or wave.store
    questions = SourceQuestions(wave.archive, wave.studies[0])
    probe = S3Probe(store.access, test_id)
    return run_network_test(probe, questions, wave.ledger, POLICY, test_id, "memory", utc_now)


def transfer_at_work(wave):
    now = datetime.now(UTC)
    with wave.ledger.write() as connection:
        connection.execute(
            insert(schema.lease).values(
                kind="association",
                name=slot_name("memory", 1),
                holder="a worker",
                acquired_at=now,
                expires_at=now + timedelta(minutes=5),
            )
        )


def left_behind(client):  # noqa: F811
    return client.list_objects_v2(Bucket="archive", Prefix=PROBE_PREFIX).get("Contents", [])


def test_both_directions_and_latency_are_measured_and_nothing_stays(verified, client):  # noqa: F811
    told = run(verified)
    assert told == {"samples": 6 * 4 + 4, "failed": 0, "workers": 0, "bytes": 4 * 1024**2}
    assert left_behind(client) == []
    kinds = {cost.kind for cost in recent_costs(verified.ledger, SLA, utc_now())}
    assert kinds == {"connect", "head", "up", "down", "source", "find"}


def test_a_versioned_bucket_keeps_no_version_of_a_probe(verified, client):  # noqa: F811
    client.put_bucket_versioning(Bucket="archive", VersioningConfiguration={"Status": "Enabled"})
    try:
        run(verified)
        told = client.list_object_versions(Bucket="archive", Prefix=PROBE_PREFIX)
    finally:
        client.put_bucket_versioning(
            Bucket="archive", VersioningConfiguration={"Status": "Suspended"}
        )
    assert "Versions" not in told
    assert "DeleteMarkers" not in told


def test_what_the_migration_costs_is_the_difference_to_rest(verified, proxied):  # noqa: F811
    proxy, behind = proxied
    run(verified, behind, "N1")
    transfer_at_work(verified)
    proxy.script(Fault.slow(0.1), method="HEAD", times=-1)
    assert run(verified, behind, "N2")["workers"] == 1
    costs = {cost.kind: cost for cost in recent_costs(verified.ledger, SLA, utc_now())}
    assert costs["head"].change > 1
    assert costs["head"].is_certain
    assert costs["up"].is_rate


def test_the_probes_of_the_governor_count_as_during_a_migration(verified):  # noqa: F811
    run(verified)
    with verified.ledger.write() as connection:
        connection.execute(
            insert(schema.governor_probe),
            [
                {
                    "scope": "memory",
                    "probed_at": utc_now() - timedelta(minutes=n),
                    "echo_s": 0.5,
                    "find_s": 2.0,
                    "target_s": None,
                    "outcome": "",
                    "level": 2,
                    "decision": "hold",
                }
                for n in range(1, 9)
            ],
        )
    costs = {cost.kind: cost for cost in recent_costs(verified.ledger, SLA, utc_now())}
    assert (costs["find"].migrating.seconds, costs["find"].migrating.n) == (2.0, 8)
    assert costs["find"].rest.n == 6
    assert costs["find"].is_certain
    assert costs["head"].migrating.n == 0
    assert costs["head"].change is None


def test_probes_are_removed_when_the_store_fails_in_between(verified, proxied, client):  # noqa: F811
    proxy, behind = proxied
    proxy.script(Fault.error(403, "AccessDenied"), method="GET", path_contains="network-test")
    with pytest.raises(PermanentError):
        run(verified, behind)
    assert left_behind(client) == []


def test_a_test_that_may_not_remove_its_objects_writes_next_to_nothing(verified, proxied):  # noqa: F811
    proxy, behind = proxied
    proxy.script(Fault.error(403, "AccessDenied"), method="DELETE", times=-1)
    with pytest.raises(PermanentError):
        run(verified, behind)
    sent = [r for r in proxy.requests if r.method == "PUT"]
    assert len(sent) == 1


def test_a_request_that_fails_is_a_sample(verified, proxied):  # noqa: F811
    proxy, behind = proxied
    proxy.script(
        Fault.error(503, "SlowDown"), method="PUT", path_contains="network-test", times=30, skip=1
    )
    assert run(verified, behind)["failed"] == 2
    table = schema.network_sample.c
    with verified.ledger.read() as connection:
        query = select(func.count()).where(table.error_reason == "target_busy")
        assert connection.scalar(query) == 2
