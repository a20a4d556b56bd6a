import contextlib
from collections.abc import Callable, Iterator

import pytest

from dicom_migration.ledger import Ledger
from dicom_migration.pacing.leases import Leases, new_holder
from tests.unit.pacing.conftest import Clock

Worker = Callable[[str], Leases]


@pytest.fixture
def worker(ledger: Ledger, clock: Clock) -> Worker:
    return lambda name: Leases(ledger, name, seconds=60, clock=clock)


def test_what_one_holds_no_other_gets(worker: Worker) -> None:
    one, two = worker("one"), worker("two")
    assert one.acquire("landing", ["a"]) == "a"
    assert two.acquire("landing", ["a"]) is None
    assert one.holds("landing", "a")
    assert not two.holds("landing", "a")


def test_the_first_that_is_free_is_taken(worker: Worker) -> None:
    one, two, three = worker("one"), worker("two"), worker("three")
    names = ["a", "b"]
    assert [w.acquire("landing", names) for w in (one, two, three)] == ["a", "b", None]


def test_taking_again_what_one_holds_is_no_conflict(worker: Worker) -> None:
    one = worker("one")
    assert one.acquire("study", ["1.2"]) == one.acquire("study", ["1.2"]) == "1.2"


def test_kinds_have_nothing_to_do_with_one_another(worker: Worker) -> None:
    assert worker("one").acquire("study", ["a"]) == "a"
    assert worker("two").acquire("landing", ["a"]) == "a"


def test_given_back_it_is_free_at_once(worker: Worker) -> None:
    one, two = worker("one"), worker("two")
    one.acquire("landing", ["a"])
    one.release("landing", "a")
    assert not one.holds("landing", "a")
    assert two.acquire("landing", ["a"]) == "a"


def test_nobody_gives_back_what_another_holds(worker: Worker) -> None:
    one, two = worker("one"), worker("two")
    one.acquire("landing", ["a"])
    two.release("landing", "a")
    assert two.acquire("landing", ["a"]) is None


def test_a_killed_holders_lease_runs_out_and_is_taken_over(worker: Worker, clock: Clock) -> None:
    killed, next_one = worker("killed"), worker("next")
    killed.acquire("landing", ["a"])
    clock.advance(59)
    assert next_one.acquire("landing", ["a"]) is None
    clock.advance(1)
    assert next_one.acquire("landing", ["a"]) == "a"
    assert killed.renew() == [("landing", "a")], "should it live after all, it is told"
    assert not killed.holds("landing", "a")
    assert next_one.holds("landing", "a")


def test_renewed_in_time_it_lasts(worker: Worker, clock: Clock) -> None:
    one, two = worker("one"), worker("two")
    one.acquire("landing", ["a"])
    for _ in range(5):
        clock.advance(40)
        assert one.renew() == []
        assert two.acquire("landing", ["a"]) is None
    assert one.holds("landing", "a")


def test_not_renewed_in_time_the_holder_itself_does_not_rely_on_it(
    worker: Worker, clock: Clock
) -> None:
    one = worker("one")
    one.acquire("study", ["1.2"])
    clock.advance(60)
    assert not one.holds("study", "1.2")
    one.renew()  # and nobody had taken it
    assert one.holds("study", "1.2")


def test_one_can_be_exchanged_for_the_next(worker: Worker) -> None:
    one, two = worker("one"), worker("two")
    one.acquire("study", ["1.1"])
    assert one.acquire("study", ["1.2"], release=["1.1"]) == "1.2"
    assert two.acquire("study", ["1.1", "1.2"]) == "1.1"


def test_what_was_exchanged_is_not_told_as_lost_by_a_renewal_meanwhile(
    worker: Worker, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = worker("one")
    one.acquire("study", ["1.1"])
    lost: list[tuple[str, str]] = []
    write = ledger.write

    @contextlib.contextmanager
    def and_the_beat_comes_right_after() -> Iterator[object]:
        with write() as connection:
            yield connection
        monkeypatch.setattr(ledger, "write", write)
        lost.extend(one.renew())

    monkeypatch.setattr(ledger, "write", and_the_beat_comes_right_after)
    assert one.acquire("study", ["1.2"], release=["1.1"]) == "1.2"
    assert lost == []
    assert one.holds("study", "1.2")


def test_only_those_that_last_are_counted(worker: Worker, clock: Clock) -> None:
    one, two = worker("one"), worker("two")
    one.acquire("association", ["pacs_#001"])
    clock.advance(30)
    two.acquire("association", ["pacs_#002"])
    two.acquire("association", ["pacsX#001"])
    assert two.active("association") == 3
    assert two.active("association", "pacs_#") == 2, "an underscore stands for itself"
    clock.advance(30)
    assert two.active("association", "pacs_#") == 1


def test_at_the_end_everything_is_given_back(worker: Worker) -> None:
    one, two = worker("one"), worker("two")
    one.acquire("landing", ["a"])
    one.acquire("study", ["1.2"])
    one.release_all()
    assert two.acquire("landing", ["a"]) == "a"
    assert two.acquire("study", ["1.2"]) == "1.2"


def test_no_two_holders_are_named_alike() -> None:
    assert new_holder() != new_holder()
    assert len(new_holder()) <= 128
