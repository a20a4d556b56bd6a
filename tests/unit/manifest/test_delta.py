"""What became of a study since its copy, as an event keeps it and as a person reads it."""

from dicom_migration.manifest import StudyDelta, delta_of_lists


def test_equal_lists_are_no_delta() -> None:
    assert not delta_of_lists(["1.2", "1.1"], ["1.1", "1.2"])


def test_added_and_gone_are_told_and_changed_is_not_claimed() -> None:
    delta = delta_of_lists(["1.1", "1.2"], ["1.2", "1.3"])
    assert delta.words() == "1 added (1.3), 1 gone (1.1)"
    assert delta.as_payload() == {
        "added": 1,
        "added_uids": ["1.3"],
        "gone": 1,
        "gone_uids": ["1.1"],
    }


def test_many_are_counted_and_the_first_are_named() -> None:
    delta = delta_of_lists([], [f"1.{number}" for number in range(100, 200)])
    assert delta.words() == "100 added (1.100, 1.101, 1.102, 1.103, 1.104, …), 0 gone"
    payload = delta.as_payload()
    assert payload["added"] == 100
    assert payload["added_uids"] == [f"1.{number}" for number in range(100, 120)]


def test_nothing_changed_is_said_where_it_is_known() -> None:
    assert StudyDelta((), (), ()).words() == "0 added, 0 gone, 0 changed"
