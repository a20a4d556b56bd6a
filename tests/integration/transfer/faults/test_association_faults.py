"""What an association with a real source can do to us: each time the shard ends as it should."""

from __future__ import annotations

from dataclasses import replace

import pytest

from dicom_migration.archive.dimse import DimseArchive, DimseSettings
from dicom_migration.archive.dimse_retrieve import STUDY_ROOT_GET, STUDY_ROOT_MOVE
from dicom_migration.errors import PermanentError, ReasonCode, TransientError
from tests.integration.archive.pdu_proxy import How, PduFault, PduProxy
from tests.integration.transfer.faults.conftest import Begin
from tests.integration.transfer.faults.migration import POLICY
from tests.integration.transfer.faults.sample import FIRST, LAST, VICTIM, WHOLE

pytestmark = pytest.mark.peers

#: What passes on the wire when one study is retrieved.
RETRIEVAL = (STUDY_ROOT_GET.encode(), VICTIM.encode())
#: On the landing only the SOP Instance UIDs tell the study; ours begin with its UID.
LANDING = (VICTIM.encode() + b".1.",)


def test_an_abort_at_every_pdu_of_a_shard_costs_an_attempt_and_nothing_else(
    begin: Begin, by_get: DimseArchive, source_proxy: PduProxy
) -> None:
    undisturbed = begin((FIRST, VICTIM))
    undisturbed.run(by_get)
    by_get.close()
    pdus, expected = source_proxy.pdus, undisturbed.end()
    assert pdus > 16, "two studies of two instances, several PDUs each"
    for at in range(pdus):
        source_proxy.clear()
        source_proxy.script(PduFault("abort", at=at))
        disturbed = begin((FIRST, VICTIM))
        disturbed.run(by_get)
        by_get.close()
        assert disturbed.end() == expected, f"aborted at PDU {at}"
        tried = disturbed.attempts(FIRST) + disturbed.attempts(VICTIM)
        failed = [attempt for attempt in tried if attempt[0] != "transferred"]
        assert failed in ([], [("failed", "source_failed")]), f"aborted at PDU {at}"


@pytest.mark.parametrize("how", ["abort", "reset"])
def test_a_cut_at_every_pdu_that_lands_after_a_move_costs_an_attempt_and_nothing_else(
    begin: Begin, settings: DimseSettings, landing_proxy: PduProxy, how: How
) -> None:
    small = replace(settings, retrieve_method="C-MOVE", max_pdu_bytes=16_384)
    with DimseArchive(small) as by_move:
        landing_proxy.clear()
        undisturbed = begin((VICTIM,))
        undisturbed.run(by_move)
        pdus, expected = landing_proxy.pdus, undisturbed.end()
        assert pdus > 8, "an association, two instances, a release"
        for at in range(pdus):
            landing_proxy.clear()
            landing_proxy.script(PduFault(how, at=at))
            disturbed = begin((VICTIM,))
            disturbed.run(by_move)
            assert disturbed.end() == expected, f"cut at PDU {at}"


@pytest.mark.parametrize(
    ("how", "reason"),
    [
        ("abort", "source_failed"),
        ("reset", "source_unreachable"),
        ("close", "source_unreachable"),
        ("stall", "source_unreachable"),
    ],
)
def test_a_study_that_breaks_every_association_is_left_and_the_others_go_on(
    begin: Begin, by_get: DimseArchive, source_proxy: PduProxy, how: How, reason: str
) -> None:
    migration = begin()
    source_proxy.script(PduFault(how, at=3, naming=RETRIEVAL, times=-1))
    with pytest.raises(TransientError) as caught:
        migration.run(by_get)
    migration.check_left(VICTIM, caught.value, *[("failed", reason)] * 2)
    migration.check_moved(FIRST, LAST)
    source_proxy.clear()
    assert migration.run(by_get)["studies"] == 1
    migration.check_moved(*WHOLE)


def test_on_the_last_try_it_is_set_aside_with_the_reason(
    begin: Begin, by_get: DimseArchive, source_proxy: PduProxy
) -> None:
    migration = begin()
    source_proxy.script(PduFault("abort", at=3, naming=RETRIEVAL, times=-1))
    assert migration.run(by_get, last_try=True)["quarantined"] == 1
    migration.check_quarantined(VICTIM, "source_failed")
    migration.check_moved(FIRST, LAST)


@pytest.mark.parametrize("how", ["abort", "reset", "stall"])
def test_a_move_whose_instances_never_land_is_left_and_the_others_go_on(
    begin: Begin, settings: DimseSettings, landing_proxy: PduProxy, how: How
) -> None:
    migration = begin()
    landing_proxy.clear()
    landing_proxy.script(PduFault(how, at=2, naming=LANDING, times=-1))
    with DimseArchive(replace(settings, retrieve_method="C-MOVE")) as by_move:
        with pytest.raises(TransientError) as caught:
            migration.run(by_move)
        assert migration.attempts(VICTIM)[0][0] == "failed"
        migration.check_left(VICTIM, caught.value, *migration.attempts(VICTIM))
        migration.check_moved(FIRST, LAST)
        landing_proxy.clear()
        assert migration.run(by_move)["studies"] == 1
    migration.check_moved(*WHOLE)


@pytest.mark.parametrize("how", ["reset", "stall"])
def test_a_cut_move_association_is_left_and_the_others_go_on(
    begin: Begin, settings: DimseSettings, source_proxy: PduProxy, how: How
) -> None:
    migration = begin()
    naming = (STUDY_ROOT_MOVE.encode(), VICTIM.encode())
    source_proxy.script(PduFault(how, naming=naming, times=-1))
    quick = replace(settings, retrieve_method="C-MOVE", dimse_timeout_s=0.5)
    with DimseArchive(quick) as by_move:
        with pytest.raises(TransientError) as caught:
            migration.run(by_move)
        migration.check_left(VICTIM, caught.value, *[("failed", "source_unreachable")] * 2)
        migration.check_moved(FIRST, LAST)
        source_proxy.clear()
        assert migration.run(by_move)["studies"] == 1
    migration.check_moved(*WHOLE)


def test_a_source_that_is_full_for_a_moment_is_asked_again(
    begin: Begin, by_get: DimseArchive, source_proxy: PduProxy
) -> None:
    migration = begin()
    source_proxy.script(PduFault("reject for now", naming=(STUDY_ROOT_GET.encode(),)))
    assert migration.run(by_get)["transferred"] == len(WHOLE)
    assert migration.attempts(FIRST) == [("failed", "source_busy"), ("transferred", "")]
    migration.check_moved(*WHOLE)


def test_a_source_that_stays_full_blames_no_study(
    begin: Begin, by_get: DimseArchive, source_proxy: PduProxy
) -> None:
    migration = begin()
    source_proxy.script(PduFault("reject for now", naming=(STUDY_ROOT_GET.encode(),), times=-1))
    policy = POLICY.model_copy(update={"give_up_after_studies": len(WHOLE)})
    with pytest.raises(TransientError) as caught:
        migration.run(by_get, last_try=True, policy=policy)
    assert caught.value.reason is ReasonCode.SOURCE_BUSY
    assert FIRST in str(caught.value)
    for study in WHOLE:
        assert migration.state(study) == "transferring"
        assert migration.attempts(study) == [("failed", "source_busy")] * 2
        assert migration.reasons(study) == migration.manifests(study) == []
    source_proxy.clear()
    assert migration.run(by_get)["transferred"] == len(WHOLE)


def test_a_source_that_rejects_us_for_good_stops_the_task_and_blames_no_study(
    begin: Begin, by_get: DimseArchive, source_proxy: PduProxy
) -> None:
    migration = begin()
    naming = (STUDY_ROOT_GET.encode(),)
    source_proxy.script(PduFault("reject for good", at=1, naming=naming, times=-1))
    with pytest.raises(PermanentError, match="calling AE title not recognised") as caught:
        migration.run(by_get)
    assert caught.value.reason is ReasonCode.SOURCE_REJECTED
    assert "Register our calling AE title" in caught.value.next_step
    migration.check_moved(FIRST)
    assert migration.attempts(VICTIM) == [("failed", "source_rejected")]
    assert (migration.state(VICTIM), migration.state(LAST)) == ("transferring", "cleansed")
    assert migration.reasons(VICTIM) == migration.reasons(LAST) == []
    source_proxy.clear()
    assert migration.run(by_get)["transferred"] == 2
    migration.check_moved(*WHOLE)
