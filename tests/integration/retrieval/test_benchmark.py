from __future__ import annotations

import re
import time
from datetime import date

import pytest
from sqlalchemy import func, select

from dicom_migration.errors import CONCERNS_EVERYBODY, PermanentError
from dicom_migration.ledger import schema
from dicom_migration.policies.slas import BusyHour, SlaPolicy, SlaRule
from dicom_migration.policies.slas import Sample as SampleSize
from dicom_migration.retrieval.benchmark import run_benchmark
from dicom_migration.retrieval.busy_hour import run_busy_hour
from dicom_migration.retrieval.findings import find_out
from dicom_migration.retrieval.measuring import Measurement
from dicom_migration.retrieval.report import render_retrieval_report
from dicom_migration.retrieval.results import judge_rules, record_breaches
from dicom_migration.retrieval.sample import plan_sample
from dicom_migration.retrieval.samples import load_samples
from tests.integration.verification.conftest import (  # noqa: F401
    all_real_instances,
    client,
    endpoint,
    ledger,
    store,
)
from tests.integration.verification.written_wave import write_wave

TODAY = date(2025, 3, 1)
POLICY = SlaPolicy(
    rules=(
        SlaRule(name="easy", operation="first_image", percentile=95, seconds=60),
        SlaRule(name="impossible", operation="whole_study", percentile=50, seconds=1e-9),
    ),
    sample=SampleSize(studies=4),
    busy_hour=BusyHour(arrivals_per_minute=600, duration_seconds=1, threads=4),
)


@pytest.fixture
def verified(store, ledger, all_real_instances):  # noqa: F811
    small = [i for i in all_real_instances if len(i.dataset) < 200_000][:8]
    return write_wave(store, ledger, small, state="verified")


def run(wave, policy=POLICY, benchmark_id="B1"):
    return run_benchmark(wave.archive, wave.store, wave.ledger, policy, benchmark_id, TODAY)


def test_both_sides_are_measured_and_every_sample_is_kept(verified):
    counts = run(verified)
    assert counts["studies"] == 4
    assert counts["failed"] == 0
    with verified.ledger.read() as connection:
        samples = load_samples(connection, "B1")
    in_turn = [s for s in samples if s.temperature != "busy"]
    assert len(in_turn) == 4 * 2 * 2 * 2  # studies, sides, operations, cold and warm
    assert {(s.side, s.operation, s.temperature) for s in in_turn} == {
        (side, operation, temperature)
        for side in ("cloud", "source")
        for operation in ("first_image", "whole_study")
        for temperature in ("cold", "warm")
    }
    assert {s.side for s in samples if s.temperature == "busy"} == {"cloud"}


def test_a_second_try_replaces_the_samples_of_the_first(verified):
    first = run(verified)
    assert run(verified) == first
    with verified.ledger.read() as connection:
        kept = connection.scalar(select(func.count()).select_from(schema.retrieval_sample))
    assert kept == first["samples"]


def test_a_retrieval_that_fails_is_a_sample_not_an_end(verified):
    verified.archive.instances = []
    counts = run(verified)
    assert counts["failed"] == counts["samples"] - len(
        [s for s in _samples(verified) if s.side == "cloud"]
    )


@pytest.mark.parametrize("reason", sorted(CONCERNS_EVERYBODY))
def test_an_end_that_refuses_altogether_is_no_slow_sample(verified, monkeypatch, reason):
    def refuse(*_):
        raise PermanentError("Nobody is served.", reason=reason)

    monkeypatch.setattr(verified.archive, "retrieve_instance", refuse)
    with pytest.raises(PermanentError) as caught:
        run(verified)
    assert caught.value.reason is reason
    assert _samples(verified) == []


def test_a_broken_promise_is_an_exception_once(verified):
    run(verified)
    results = judge_rules(_samples(verified), POLICY)
    assert {r.rule.name: r.outcome for r in results} == {"easy": "kept", "impossible": "breached"}
    record_breaches(verified.ledger, results, "B1")
    record_breaches(verified.ledger, results, "B2")
    with verified.ledger.read() as connection:
        rows = connection.execute(select(schema.exception.c.reason)).all()
    assert [row[0] for row in rows] == ["sla_breach"]


def test_the_report_is_self_contained_and_names_nobody(verified):
    run(verified)
    html = render_retrieval_report(find_out(verified.ledger, POLICY, "B1", 4), POLICY)
    assert html.count("<svg") >= 10
    assert "impossible" in html
    assert not re.search(r"(src|href)=", html)
    assert not [uid for uid in verified.studies if uid in html]


def test_what_needs_a_restore_is_left_out(store, ledger, all_real_instances):  # noqa: F811
    wave = write_wave(
        store, ledger, all_real_instances[:3], state="verified", storage_class="DEEP_ARCHIVE"
    )
    with ledger.read() as connection:
        plan = plan_sample(connection, POLICY.sample, TODAY)
    assert (plan.studies, plan.archived) == ((), len(wave.studies))


def test_the_budget_of_bytes_is_kept(verified):
    with verified.ledger.read() as connection:
        plan = plan_sample(connection, SampleSize(studies=100, max_mib=1), TODAY)
    assert plan.stored_bytes <= 1024**2


def test_the_busy_hour_counts_the_wait_for_a_free_thread(verified):
    class Slow:
        def measure(self, target, side, operation, temperature, *, begin):
            time.sleep(0.1)
            return Measurement(
                target.study, side, operation, temperature, None, time.perf_counter() - begin
            )

    with verified.ledger.read() as connection:
        plan = plan_sample(connection, POLICY.sample, TODAY)
    targets = [type("T", (), {"study": study})() for study in plan.studies]
    load = BusyHour(arrivals_per_minute=1800, duration_seconds=1, threads=1)
    measured = run_busy_hour(Slow(), targets, load, seed=5)
    waits = [m.seconds for m in measured]
    assert max(waits) > 0.5  # ten a second can be served, thirty arrive


def _samples(wave):
    with wave.ledger.read() as connection:
        return load_samples(connection, "B1")
