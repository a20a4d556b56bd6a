import pytest
from sqlalchemy import func, select, update

from dicom_migration.cleansing.waves import choose_wave
from dicom_migration.errors import PermanentError, ReasonCode
from dicom_migration.ledger import Ledger, schema
from dicom_migration.ledger.events import verify_chain
from dicom_migration.operations.resolutions import Action, Outcome, Resolution
from dicom_migration.operations.resolving import assign, resolve
from dicom_migration.operations.selecting import NOBODY, Selection, count_selected
from tests.unit.cleansing.conftest import WAVE, AddStudy
from tests.unit.operations.conftest import Settle, note, states, statuses, told

ALL = Selection(wave_id=WAVE)


def decide(
    ledger: Ledger, action: Action, selection: Selection = ALL, run: str = "run-1", most: int = 100
) -> Outcome:
    made = Resolution(action, by="ada", run_id=run, why="ticket 7", rule_id="sex-as-a-code")
    return resolve(ledger, selection, made, most)


def test_what_is_accepted_as_it_is_goes_through_cleansing_and_past_its_fault(
    ledger: Ledger, add_study: AddStudy, settle: Settle
) -> None:
    add_study(1, {})
    settle(study1=1)
    assert states(ledger) == {"1.2.1": "quarantined"}
    assert decide(ledger, Action.ACCEPT) == Outcome(chosen=1, accepted=1, studies_sent_back=1)
    assert states(ledger) == {"1.2.1": "planned"}
    read_again(ledger, "1.2.1")
    settle(study1=1)
    assert states(ledger) == {"1.2.1": "cleansed"}
    assert statuses(ledger) == ["accepted"]


def test_a_fault_that_was_not_accepted_still_keeps_the_study_back(
    ledger: Ledger, add_study: AddStudy, settle: Settle
) -> None:
    add_study(1, {})
    settle(study1=2)
    first = Selection(exception_ids=(1,))
    assert decide(ledger, Action.ACCEPT, first).studies_sent_back == 0
    assert states(ledger) == {"1.2.1": "quarantined"}
    second = Selection(exception_ids=(2,))
    assert decide(ledger, Action.ACCEPT, second, run="run-2").studies_sent_back == 1
    read_again(ledger, "1.2.1")
    settle(study1=3)
    assert states(ledger) == {"1.2.1": "quarantined"}
    assert statuses(ledger) == ["accepted", "accepted", "open"]


def test_data_that_is_not_whole_cannot_be_accepted(
    ledger: Ledger, add_study: AddStudy, settle: Settle
) -> None:
    uid = add_study(1, {})
    settle(study1=1)
    note(ledger, ReasonCode.INSTANCE_TRUNCATED, "transfer", uid)
    outcome = decide(ledger, Action.ACCEPT)
    assert outcome.not_possible == {"data_not_whole": 1}
    assert states(ledger) == {uid: "quarantined"}


def test_a_study_sent_back_is_judged_from_the_beginning(
    ledger: Ledger, add_study: AddStudy, settle: Settle
) -> None:
    uid = add_study(1, {})
    add_study(2, {})
    settle(study1=1)
    note(ledger, ReasonCode.INSTANCE_MISSING, "transfer", uid)
    with ledger.write() as connection:
        connection.execute(update(schema.wave).values(state="verified"))
    assert choose_wave(ledger, None) is None
    selection = Selection(reasons=("field_incomplete",))
    outcome = decide(ledger, Action.SEND_BACK, selection)
    assert outcome == Outcome(chosen=1, resolved=2, studies_sent_back=1)
    assert states(ledger) == {"1.2.1": "planned", "1.2.2": "cleansed"}
    chosen = choose_wave(ledger, None)
    assert chosen is not None, "cleansing takes the wave up again by itself"
    assert chosen.wave_id == WAVE
    with ledger.read() as connection:
        facts = select(func.count()).where(schema.header_fact.c.study_instance_uid == uid)
        assert connection.scalar(facts) == 0


def test_an_excluded_study_says_who_left_it_out_and_can_be_taken_back(
    ledger: Ledger, add_study: AddStudy, settle: Settle
) -> None:
    uid = add_study(1, {})
    settle(study1=2)
    outcome = decide(ledger, Action.EXCLUDE, Selection(exception_ids=(1,)))
    assert (outcome.studies_excluded, outcome.resolved) == (1, 2)
    assert states(ledger) == {uid: "excluded"}
    with ledger.read() as connection:
        rule = connection.scalar(select(schema.study.c.decision_rule))
    assert rule == "excluded-by-a-person"
    (event, *_) = told(ledger, "study.excluded")
    assert '"by":"ada"' in event
    assert '"why":"ticket 7"' in event
    again = Selection(study_instance_uids=(uid,), status="resolved")
    assert decide(ledger, Action.SEND_BACK, again, run="run-2").studies_sent_back == 1
    assert states(ledger) == {uid: "planned"}


def test_each_resolution_is_an_event_with_a_name_in_a_chain_of_the_wave(
    ledger: Ledger, add_study: AddStudy, settle: Settle
) -> None:
    add_study(1, {})
    settle(study1=2)
    decide(ledger, Action.APPLY_RULE)
    events = told(ledger, "exception.resolved")
    assert len(events) == 2
    assert all('"by":"ada"' in event and '"rule":"sex-as-a-code"' in event for event in events)
    with ledger.read() as connection:
        assert verify_chain(connection, f"wave:{WAVE}/exceptions").sequence == 3
        rows = connection.execute(select(schema.exception)).all()
    assert {row.resolved_by for row in rows} == {"ada"}


def test_a_run_that_is_cleared_does_nothing_twice(
    ledger: Ledger, add_study: AddStudy, settle: Settle
) -> None:
    add_study(1, {})
    settle(study1=1)
    first = decide(ledger, Action.SEND_BACK)
    settle(study1=1)
    assert decide(ledger, Action.SEND_BACK) == first
    assert len(told(ledger, "study.planned")) == 1


def test_more_than_expected_changes_nothing(
    ledger: Ledger, add_study: AddStudy, settle: Settle
) -> None:
    add_study(1, {})
    settle(study1=2)
    with pytest.raises(PermanentError, match="More than 1"):
        decide(ledger, Action.SEND_BACK, most=1)
    assert statuses(ledger) == ["open", "open"]


def test_a_decision_of_nobody_or_without_its_reason_is_refused() -> None:
    with pytest.raises(PermanentError) as refused:
        Resolution(Action.ACCEPT, by=" ", run_id="r")
    assert refused.value.reason is ReasonCode.APPROVAL_MISSING
    with pytest.raises(PermanentError, match="takes a reason"):
        Resolution(Action.EXCLUDE, by="ada", run_id="r")
    with pytest.raises(PermanentError, match="takes its id"):
        Resolution(Action.APPLY_RULE, by="ada", run_id="r")


def test_what_concerns_no_study_is_accepted_until_it_comes_back(ledger: Ledger) -> None:
    note(ledger, ReasonCode.WINDOW_CAPPED, "discovery")
    selection = Selection(reasons=("window_capped",))
    assert decide(ledger, Action.SEND_BACK, selection).not_possible == {"concerns_no_study": 1}
    assert decide(ledger, Action.ACCEPT, selection, run="run-2").resolved == 1
    note(ledger, ReasonCode.WINDOW_CAPPED, "discovery")
    assert statuses(ledger) == ["open"]


def test_a_study_that_has_gone_on_or_has_no_wave_stays_where_it_is(
    ledger: Ledger, add_study: AddStudy, settle: Settle
) -> None:
    uid = add_study(1, {})
    add_study(2, {}, wave="")
    settle()
    note(ledger, ReasonCode.SOURCE_CHANGED, "discovery", uid)
    note(ledger, ReasonCode.STUDY_VANISHED, "discovery", "1.2.2")
    selection = Selection(phases=("discovery",))
    outcome = decide(ledger, Action.SEND_BACK, selection)
    assert outcome.not_possible == {"study_not_held_back": 1, "study_in_no_wave": 1}
    gone = decide(ledger, Action.EXCLUDE, Selection(study_instance_uids=(uid,)), run="run-2")
    assert gone.not_possible == {"study_has_gone_on": 1}
    assert states(ledger) == {"1.2.1": "cleansed", "1.2.2": "planned"}


def test_exceptions_are_given_to_a_person_and_found_by_the_name(
    ledger: Ledger, add_study: AddStudy, settle: Settle
) -> None:
    add_study(1, {})
    settle(study1=2)
    outcome = assign(ledger, Selection(exception_ids=(1,)), "bob", "ada", "run-1", 100)
    assert outcome == Outcome(chosen=1, assigned=1)
    assert count_selected(ledger, Selection(assigned_to="bob")) == {"field_incomplete": 1}
    assert count_selected(ledger, Selection(assigned_to=NOBODY)) == {"field_incomplete": 1}
    (event,) = told(ledger, "exception.assigned")
    assert '"by":"ada"' in event
    assert '"to":"bob"' in event


def test_a_filter_that_cannot_be_is_refused_and_not_repeated() -> None:
    for filters in ({"reasons": ("MUSTERMANN",)}, {"study_instance_uids": ("MUSTERMANN",)}):
        with pytest.raises(PermanentError) as refused:
            Selection(**filters)
        assert "MUSTERMANN" not in str(refused.value)


def read_again(ledger: Ledger, uid: str) -> None:
    """Leave what collecting leaves of a study that was read once more."""
    with ledger.write() as connection:
        connection.execute(
            schema.header_fact.insert().values(
                study_instance_uid=uid,
                series_instance_uid=f"{uid}.1",
                sop_instance_uid=f"{uid}.1.1",
            )
        )
