"""What a source says of its own work, and what arrived."""

from __future__ import annotations

from dicom_migration.archive import InstanceFailure, InstanceRecord, RetrieveOutcome
from dicom_migration.archive.dimse_command import Field
from dicom_migration.archive.dimse_identifier import encode_identifier
from dicom_migration.archive.records import FAILED_SOP_INSTANCE_UID_LIST
from dicom_migration.archive.sub_operations import SubOperations, settle
from dicom_migration.errors import ReasonCode

EXPLICIT = "1.2.840.10008.1.2.1"
CT = "1.2.840.10008.5.1.4.1.1.2"


def operations(status: int, **counters: int) -> SubOperations:
    account = SubOperations()
    fields = {Field[name.upper()]: value for name, value in counters.items()}
    account.update({Field.STATUS: status, **fields})
    return account


def test_absent_counters_stay_unknown() -> None:
    outcome = RetrieveOutcome(delivered=["1.1"])
    settle(outcome, [operations(0x0000)], (), frozenset())
    assert outcome.reported_completed is None
    assert outcome.reported_failed is None
    assert outcome.failures == []


def test_warnings_count_as_sent() -> None:
    outcome = RetrieveOutcome(delivered=["1.1", "1.2"])
    settle(outcome, [operations(0xB000, completed=1, warning=1, failed=0)], (), frozenset())
    assert outcome.reported_completed == 2
    assert outcome.reported_failed == 0


def test_failures_that_are_only_counted_are_listed_without_a_uid() -> None:
    outcome = RetrieveOutcome(delivered=["1.1"])
    settle(outcome, [operations(0xB000, completed=1, failed=2)], (), frozenset())
    assert [f.sop_instance_uid for f in outcome.failures] == ["", ""]
    assert outcome.reported_failed == 2


def test_a_failure_that_the_sink_caused_is_not_told_twice() -> None:
    refused = InstanceFailure("1.2", ReasonCode.INSTANCE_CONFLICT.value)
    outcome = RetrieveOutcome(delivered=["1.1"], failures=[refused])
    account = operations(0xB000, completed=1, failed=1)
    account.failed_uids = ["1.2"]
    settle(outcome, [account], (), frozenset({CT}))
    assert outcome.failures == [refused]


def test_what_one_association_could_not_carry_another_did() -> None:
    outcome = RetrieveOutcome(delivered=["1.1", "1.2"])
    first = operations(0xB000, completed=1, failed=1)
    first.failed_uids = ["1.2"]
    second = operations(0xB000, completed=1, failed=1)
    second.failed_uids = ["1.1"]
    settle(outcome, [first, second], (), frozenset(), disjoint=False)
    assert outcome.failures == []
    assert outcome.reported_completed == 2
    assert outcome.reported_failed == 0


def test_operations_that_asked_for_different_instances_add_up() -> None:
    outcome = RetrieveOutcome(delivered=["1.1", "1.2"])
    both = [operations(0x0000, completed=2, failed=0), operations(0xB000, completed=0, failed=1)]
    settle(outcome, both, (), frozenset(), disjoint=True)
    assert (outcome.reported_completed, outcome.reported_failed) == (2, 1)
    assert len(outcome.failures) == 1


def test_a_class_that_was_not_accepted_is_the_reason() -> None:
    outcome = RetrieveOutcome()
    account = operations(0xA702, failed=1)
    account.failed_uids = ["1.3"]
    expected = (InstanceRecord("1", "1.0", "1.3", CT),)
    settle(outcome, [account], expected, frozenset())
    assert [f.reason for f in outcome.failures] == ["sop_class_refused"]


def test_the_failed_list_is_read_and_hostile_entries_left_out() -> None:
    listed = encode_identifier({FAILED_SOP_INSTANCE_UID_LIST: "1.2\\../x\\1.3"}, EXPLICIT)
    account = operations(0xB000)
    account.read_failed(listed, EXPLICIT)
    assert account.failed_uids == ["1.2", "1.3"]
