from dicom_migration.ledger import StudyState
from dicom_migration.transfer.progress import Progress
from dicom_migration.transfer.shards import Shard
from dicom_migration.transfer.study_transfer import StudyResult


class Seconds:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def result(instances: int, size: int) -> StudyResult:
    return StudyResult("1.2", StudyState.TRANSFERRED, instances, size, size)


def test_a_long_study_is_seen_to_go_on() -> None:
    clock, under_way = Seconds(), [(0, 0)]
    progress = Progress(Shard("W1", 3), 10, 1000, lambda: under_way[0], clock)
    clock.now += 10
    under_way[0] = (250, 50_000_000)
    assert progress.line() == (
        "Wave W1 shard 3: 0 of 10 studies, 250 instances, 50.0 MB, 5.0 MB/s, 30.0 s to go"
    )


def test_what_ended_and_what_is_under_way_add_up() -> None:
    clock, under_way = Seconds(), [(5, 1_000_000)]
    progress = Progress(Shard("W1", 3), 2, 20, lambda: under_way[0], clock)
    clock.now += 10
    progress.ended(result(5, 1_000_000))
    assert "1 of 2 studies, 10 instances, 2.0 MB, 200.0 kB/s, 10.0 s to go" in progress.line()


def test_where_the_source_told_no_counts_the_studies_say_how_long() -> None:
    clock = Seconds()
    progress = Progress(Shard("W1", 3), 4, None, lambda: (0, 0), clock)
    clock.now += 10
    assert "to go" not in progress.line(), "nothing is known yet"
    progress.ended(result(1, 1))
    assert "30.0 s to go" in progress.line()
    progress.ended(None)
    assert "2 of 4 studies" in progress.line()


def test_a_source_that_promised_too_little_is_not_said_to_end_in_the_past() -> None:
    clock = Seconds()
    progress = Progress(Shard("W1", 3), 2, 5, lambda: (0, 0), clock)
    clock.now += 10
    progress.ended(result(7, 1))
    assert "to go" not in progress.line()
