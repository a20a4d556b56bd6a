"""What a failing sink means, for one instance and for all that follow."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from dicom_migration.archive import InstanceIdentity
from dicom_migration.archive.instance_receiver import PIECE_BYTES, Delivery, InstanceReceiver
from dicom_migration.errors import PermanentError, ReasonCode, TransientError
from tests.integration.archive.recording_sink import RecordingSink

SYNTAX = "1.2.840.10008.1.2.1"
REFUSAL = PermanentError("conflict", reason=ReasonCode.INSTANCE_CONFLICT)
FULL = PermanentError("full", reason=ReasonCode.DISK_FULL)


def identity(uid: str) -> InstanceIdentity:
    return InstanceIdentity("1.2.840.10008.5.1.4.1.1.2", uid, SYNTAX)


def broken(data: bytes) -> Iterator[bytes]:
    yield data
    raise TransientError("the connection broke")


def test_a_whole_instance_is_committed() -> None:
    sink = RecordingSink()
    receiver = InstanceReceiver(sink)
    assert receiver.receive(identity("1.1"), [b"ab", b"cd"]) is Delivery.COMMITTED
    assert sink.committed == [(identity("1.1"), b"abcd")]
    assert receiver.outcome.delivered == ["1.1"]


@pytest.mark.parametrize("where", ["open", "write", "commit"])
def test_a_refusal_of_one_instance_lets_the_next_come(where: str) -> None:
    sink = RecordingSink(fail_on={"1.1": REFUSAL}, fail_at=where)  # type: ignore[arg-type]
    receiver = InstanceReceiver(sink)
    assert receiver.receive(identity("1.1"), [b"ab"]) is Delivery.REFUSED
    assert receiver.receive(identity("1.2"), [b"cd"]) is Delivery.COMMITTED
    assert [f.reason for f in receiver.outcome.failures] == ["instance_conflict"]
    assert receiver.sink_error is None
    assert sink.aborted == ([] if where == "open" else ["1.1"])


@pytest.mark.parametrize("where", ["open", "write", "commit"])
@pytest.mark.parametrize("error", [FULL, OSError("I/O"), TransientError("S3 slow")])
def test_any_other_error_stops_the_sink_for_good(where: str, error: Exception) -> None:
    sink = RecordingSink(fail_on={"1.1": error}, fail_at=where)  # type: ignore[arg-type]
    receiver = InstanceReceiver(sink)
    assert receiver.receive(identity("1.1"), [b"ab"]) is Delivery.STOPPED
    assert receiver.receive(identity("1.2"), [b"cd"]) is Delivery.STOPPED
    assert sink.opened == ["1.1"]
    with pytest.raises(type(error)) as caught:
        receiver.raise_sink_error()
    assert caught.value is error


def test_all_pieces_are_consumed_even_when_nobody_wants_them() -> None:
    sink = RecordingSink(fail_on={"1.1": REFUSAL})
    pieces = iter([b"ab", b"cd"])
    InstanceReceiver(sink).receive(identity("1.1"), pieces)
    assert list(pieces) == []


def test_a_broken_connection_aborts_the_instance_and_is_raised() -> None:
    sink = RecordingSink()
    receiver = InstanceReceiver(sink)
    with pytest.raises(TransientError, match="broke"):
        receiver.receive(identity("1.1"), broken(b"ab"))
    assert sink.aborted == ["1.1"]
    assert receiver.outcome.delivered == []
    assert receiver.receive(identity("1.1"), [b"ab"]) is Delivery.COMMITTED


def test_what_was_not_asked_for_is_not_let_in() -> None:
    sink = RecordingSink()
    receiver = InstanceReceiver(sink, only=frozenset({"1.1"}))
    assert receiver.receive(identity("1.2"), [b"ab"]) is Delivery.UNEXPECTED
    assert sink.opened == []
    assert [f.reason for f in receiver.outcome.failures] == ["instance_unexpected"]


def test_a_malformed_uid_reaches_neither_sink_nor_account() -> None:
    sink = RecordingSink()
    receiver = InstanceReceiver(sink)
    receiver.receive(identity("../1.2"), [b"ab"])
    assert sink.opened == []
    assert [(f.sop_instance_uid, f.reason) for f in receiver.outcome.failures] == [
        ("", "uid_invalid")
    ]


def test_large_pieces_are_cut() -> None:
    sizes: list[int] = []

    class Sizes(RecordingSink):
        def trip(self, at: str, identity: InstanceIdentity) -> None:
            if at == "write":
                sizes.append(1)

    sink = Sizes()
    InstanceReceiver(sink).receive(identity("1.1"), [bytes(3 * PIECE_BYTES + 1)])
    assert len(sizes) == 4
    assert len(sink.committed[0][1]) == 3 * PIECE_BYTES + 1
