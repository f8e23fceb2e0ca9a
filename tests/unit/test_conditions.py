"""Conditions: what happened, as kubectl wait, Argo CD and Flux read it."""

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from servicedb.api.common import Condition
from servicedb.errors import Busy, NeedsDecision, Problem, Retryable, Terminal
from servicedb.plan.conditions import Finding, beside, condition_of, merged, of_problem

from tests.unit.given import NOW

BEFORE = NOW - timedelta(hours=1)


def condition(kind: str, status: str = "True", reason: str = "Well", generation: int = 1) -> Condition:
    return Condition.model_validate(
        {
            "type": kind,
            "status": status,
            "reason": reason,
            "lastTransitionTime": BEFORE.isoformat(),
            "observedGeneration": generation,
        }
    )


@pytest.mark.parametrize(
    ("problem", "expected"),
    [
        pytest.param(
            Retryable("ServerAway", "wait"),
            [("Ready", "False"), ("Reconciling", "True")],
            id="goes on by itself",
        ),
        pytest.param(
            Retryable("ServerAway", "wait", condition="Reachable", ready="Unknown"),
            [("Ready", "Unknown"), ("Reachable", "Unknown"), ("Reconciling", "True")],
            id="not known",
        ),
        pytest.param(Busy("LockBusy", "wait"), [("Reconciling", "True")], id="busy says nothing about Ready"),
        pytest.param(
            Terminal("Conflict", "choose", condition="DatabaseReady"),
            [("Ready", "False"), ("DatabaseReady", "False"), ("Stalled", "True")],
            id="a person changes the spec",
        ),
        pytest.param(
            NeedsDecision("DatabaseMissing", "choose"), [("Ready", "False"), ("Stalled", "True")], id="a person chooses"
        ),
    ],
)
def test_a_problem_turns_conditions(problem, expected):
    found = of_problem(problem)
    assert [(finding.type, finding.status) for finding in found] == expected
    assert {(finding.reason, finding.message) for finding in found} == {(problem.reason, problem.message)}


def test_a_problem_says_its_sentence():
    assert str(Problem("Conflict", "choose another name")) == "choose another name"


def test_a_transition_time_moves_with_the_status_alone():
    seen = [condition("Ready", "False"), condition("InSync")]
    ready, in_sync = merged(
        seen, [Finding("Ready", "True", "Ready"), Finding("InSync", "True", "Other", "m")], generation=2, now=NOW
    )
    assert (ready.last_transition_time, in_sync.last_transition_time) == (NOW, BEFORE)
    assert (in_sync.reason, in_sync.message) == ("Other", "m")
    assert {ready.observed_generation, in_sync.observed_generation} == {2}


def test_a_time_has_whole_seconds():
    (ready,) = merged([], [Finding("Ready", "True", "Ready")], generation=1, now=NOW.replace(microsecond=5))
    assert ready.last_transition_time == NOW


@pytest.mark.parametrize("kind", ["Reconciling", "Stalled"])
def test_reconciling_and_stalled_stand_only_while_they_are_found(kind):
    seen = [condition("Ready"), condition(kind)]
    assert [c.type for c in merged(seen, [], generation=1, now=NOW)] == ["Ready"]
    found = merged(seen, [Finding(kind, "True", "Well")], generation=1, now=NOW)
    assert [(c.type, c.last_transition_time) for c in found] == [("Ready", BEFORE), (kind, BEFORE)]


def test_what_is_not_found_stays_with_its_own_generation():
    seen = [condition("Ready", generation=1)]
    found = merged(seen, [Finding("Reconciling", "False", "Suspended")], generation=2, now=NOW)
    assert [(c.type, c.observed_generation) for c in found] == [("Ready", 1), ("Reconciling", 2)]


def test_ready_comes_first_then_what_goes_on_then_the_rest_by_name():
    kinds = ["RolesReady", "Stalled", "InSync", "Ready", "DatabaseReady", "Reconciling"]
    found = merged([], [Finding(kind, "True", "Why") for kind in kinds], generation=1, now=NOW)
    assert [c.type for c in found] == ["Ready", "Reconciling", "Stalled", "DatabaseReady", "InSync", "RolesReady"]


def test_the_last_word_on_a_condition_counts():
    words = [Finding("Ready", "False", "First"), Finding("Ready", "True", "Last")]
    assert [c.reason for c in merged([], words, generation=1, now=NOW)] == ["Last"]


def test_a_long_message_is_cut_to_what_the_api_server_takes():
    (ready,) = merged([], [Finding("Ready", "False", "Long", "x" * 10_000)], generation=1, now=NOW)
    assert len(ready.message) == 8192


def test_a_condition_is_found_by_its_type():
    seen = [condition("Ready"), condition("InSync")]
    assert condition_of(seen, "InSync") is seen[1]
    assert condition_of(seen, "Stalled") is None


KINDS = st.sampled_from(["Ready", "Reconciling", "Stalled", "InSync", "RolesReady"])
STATUSES = st.sampled_from(["True", "False", "Unknown"])
FINDINGS = st.lists(st.builds(Finding, KINDS, STATUSES, st.just("Why"), st.text(max_size=5)), max_size=6)


@given(FINDINGS, FINDINGS)
def test_finding_the_same_again_changes_nothing(before, found):
    once = merged(merged([], before, generation=1, now=BEFORE), found, generation=2, now=NOW)
    again = merged(once, found, generation=2, now=NOW + timedelta(hours=1))
    assert again == once
    assert len({c.type for c in once}) == len(once)


@pytest.mark.parametrize(
    ("first", "second", "message"),
    [("held", "blocked", "held; blocked"), ("held", "", "held"), ("", "blocked", "blocked")],
)
def test_what_comes_first_hides_nothing_of_the_other(first, second, message):
    found = beside(Finding("Ready", "True", "ReleasesHeld", first), Finding("Ready", "True", "DropBlocked", second))
    assert found == Finding("Ready", "True", "ReleasesHeld", message)
