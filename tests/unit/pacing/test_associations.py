import logging
from collections.abc import Callable

import pytest
from sqlalchemy import text

from dicom_migration.errors import PermanentError, ReasonCode, TransientError
from dicom_migration.ledger import Ledger
from dicom_migration.pacing import associations
from dicom_migration.pacing.associations import AssociationTurns, slot_name, slot_prefix
from dicom_migration.pacing.leases import Leases
from dicom_migration.pacing.stopping import StopFlag
from tests.unit.pacing.conftest import Clock

Turns = Callable[[str], AssociationTurns]


@pytest.fixture(autouse=True)
def without_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(associations, "POLL_S", 0)


class Level:
    def __init__(self, value: int) -> None:
        self.value = value


@pytest.fixture
def level() -> Level:
    return Level(2)


@pytest.fixture
def turns(ledger: Ledger, clock: Clock, level: Level) -> Turns:
    def make(holder: str) -> AssociationTurns:
        leases = Leases(ledger, holder, clock=clock)
        return AssociationTurns(leases, "dimse:PACS", lambda: level.value, StopFlag())

    return make


def asked(times: int) -> Callable[[], bool]:
    """Return a `may_go_on` that says no after so many times."""
    answers = iter([True] * times)
    return lambda: next(answers, False)


def test_as_many_as_are_allowed_get_their_turn(turns: Turns) -> None:
    one, two, three = turns("one"), turns("two"), turns("three")
    assert one.wait(asked(1))
    assert two.wait(asked(1))
    assert not three.wait(asked(3)), "the third waits until it may no longer"
    one.let_go()
    assert three.wait(asked(3))


def test_who_has_its_turn_keeps_it_from_study_to_study(turns: Turns) -> None:
    one = turns("one")
    assert all(one.wait(asked(1)) for _ in range(5))
    assert not one.wait(asked(0)), "but not when the window has closed"


def test_when_fewer_are_allowed_the_last_lets_go_between_studies(
    turns: Turns, level: Level
) -> None:
    one, two = turns("one"), turns("two")
    assert one.wait(asked(1))
    assert two.wait(asked(1))
    level.value = 1
    assert one.wait(asked(1))
    assert not two.wait(asked(3))
    level.value = 2
    assert two.wait(asked(3)), "and comes back when more are allowed again"


def test_who_was_last_takes_the_place_of_one_that_left(turns: Turns, level: Level) -> None:
    one, two = turns("one"), turns("two")
    one.wait(asked(1))
    two.wait(asked(1))
    one.let_go()
    level.value = 1
    assert two.wait(asked(1))


def test_a_stop_ends_the_waiting(ledger: Ledger, level: Level) -> None:
    stop = StopFlag()
    AssociationTurns(Leases(ledger, "one"), "s", lambda: 1, stop).wait(asked(1))
    waiting = AssociationTurns(Leases(ledger, "two"), "s", lambda: 1, stop)

    def stop_at_the_third_time() -> bool:
        polled.append(None)
        stop.is_set = len(polled) >= 3
        return True

    polled: list[None] = []
    assert not waiting.wait(stop_at_the_third_time)


def test_a_ledger_that_refuses_for_good_is_not_waited_for(ledger: Ledger, turns: Turns) -> None:
    with ledger.write() as connection:
        connection.execute(text("DROP TABLE lease"))
    with pytest.raises(PermanentError, match="refused"):
        turns("one").wait(asked(3))


def test_a_ledger_that_is_away_is_waited_for_and_told_once(
    ledger: Ledger,
    turns: Turns,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    def away() -> None:
        raise TransientError("No answer.", reason=ReasonCode.LEDGER_UNAVAILABLE)

    one = turns("one")
    with monkeypatch.context() as outage:
        outage.setattr(ledger, "write", away)
        with caplog.at_level(logging.WARNING):
            assert not one.wait(asked(20))
    assert len(caplog.records) == 1
    assert one.wait(asked(1))


def test_sources_do_not_share_their_slots_however_long_their_names() -> None:
    long = "dicomweb:https://" + "x" * 200
    assert len(slot_name(long, 1)) <= 128
    assert slot_prefix(long + "a") != slot_prefix(long + "b")
    assert slot_name(long, 7).startswith(slot_prefix(long))
