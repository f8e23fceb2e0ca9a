"""What a Job has come to: from its pod's last message, and from what Kubernetes says where there is none."""

import json
from typing import Any

import pytest
from servicedb.errors import NeedsDecision, Problem, Retryable, Terminal
from servicedb.jobs.migrate.result import Done, Result
from servicedb.plan.job_status import is_at_work, job_state, last_words, waiting_for
from servicedb.plan.migration_result import result_of
from servicedb.plan.migrations.problems import Place


def job(kind: str | None = None) -> dict[str, Any]:
    conditions = [] if kind is None else [{"type": kind, "status": "True", "reason": "Why", "message": "so"}]
    return {"status": {"conditions": conditions}}


def pod(state: dict[str, Any], *, made: str = "2025-01-01T00:00:00Z") -> dict[str, Any]:
    return {"metadata": {"creationTimestamp": made}, "status": {"containerStatuses": [{"state": state}]}}


def ended(code: int, message: str = "", **more: Any) -> dict[str, Any]:
    return pod({"terminated": {"exitCode": code, "reason": "Error", "message": message}}, **more)


def message(problem: Problem | None = None, place: Place | None = None) -> str:
    result = Result("Up", "default", reason="Applied", from_version="1", version="2", pending=["3"])
    result.applied.append(Done("2", "names", "sha256:2", 7))
    if problem is not None:
        result.failed_with(problem, place)
    return result.termination_message()


def test_a_result_is_read_as_the_pod_wrote_it() -> None:
    found = result_of(job("Complete"), [ended(0, message())])
    assert (found.reason, found.problem, found.from_version, found.version, found.pending) == (
        "Applied",
        None,
        "1",
        "2",
        1,
    )
    assert found.applied == ({"version": "2", "name": "names", "checksum": "sha256:2", "milliseconds": 7},)


@pytest.mark.parametrize("kind", [Retryable, Terminal, NeedsDecision])
def test_a_problem_keeps_its_class_its_words_and_its_place(kind: type[Problem]) -> None:
    place = Place("3", "V3__x.sql", 7, "23502", None)
    found = result_of(job("Failed"), [ended(1, message(kind("MigrationFailed", "V3__x.sql, line 7: ..."), place))])
    assert type(found.problem) is kind
    assert (found.reason, found.message) == ("MigrationFailed", "V3__x.sql, line 7: ...")
    assert found.failed == {"version": "3", "file": "V3__x.sql", "line": 7, "sqlstate": "23502"}


def test_the_newest_message_counts() -> None:
    older = ended(75, message(Retryable("ConnectionLost", "gone")), made="2025-01-01T00:00:00Z")
    newer = ended(0, message(), made="2025-01-01T00:00:10Z")
    assert result_of(job("Complete"), [newer, older]).problem is None


@pytest.mark.parametrize(
    "text", ["", "Traceback", "[]", "{}", '{"outcome": "Fine", "reason": "", "message": ""}', "7", '{"outcome": []}']
)
def test_what_is_no_message_is_no_result(text: str) -> None:
    assert isinstance(result_of(job("Complete"), [ended(0, text)]).problem, Retryable)
    assert result_of(job("Complete"), [ended(0, text)]).reason == "ResultLost"


@pytest.mark.parametrize(
    ("pods", "reason", "kind"),
    [
        pytest.param([], "JobFailed", Retryable, id="no pod"),
        pytest.param([ended(137)], "JobFailed", Retryable, id="killed"),
        pytest.param([ended(1)], "JobFailed", Retryable, id="a fault of ours"),
        pytest.param([ended(2)], "JobRefused", Terminal, id="another release"),
    ],
)
def test_a_job_without_a_message_is_tried_again_unless_it_was_not_understood(
    pods: list[dict[str, Any]], reason: str, kind: type[Problem]
) -> None:
    found = result_of(job("Failed"), pods)
    assert (found.reason, type(found.problem)) == (reason, kind)


def test_how_a_pod_ended_is_said() -> None:
    assert "exit code 137 (Error)" in result_of(job("Failed"), [ended(137)]).message
    assert "Why: so" in result_of(job("Failed"), []).message
    assert "Why: so; its container" in result_of(job("Failed"), [ended(137)]).message


def test_why_a_pod_was_replaced_is_said_while_the_next_is_at_work() -> None:
    older = ended(75, message(Retryable("ConnectionLost", "the connection was lost")))
    assert last_words([older, pod({"running": {}}, made="2025-01-01T00:00:10Z")]) == "the connection was lost"
    assert last_words([pod({"running": {}})]) is None


@pytest.mark.parametrize(("kind", "state"), [(None, "Running"), ("Complete", "Complete"), ("Failed", "Failed")])
def test_a_job_has_ended_when_it_says_so(kind: str | None, state: str) -> None:
    assert job_state(job(kind)) == state
    assert job_state({"status": {"conditions": [{"type": "FailureTarget", "status": "True"}]}}) == "Running"


UNSCHEDULABLE = {
    "metadata": {"creationTimestamp": "2025"},
    "status": {
        "conditions": [{"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/1"}]
    },
}


@pytest.mark.parametrize(
    ("pods", "words"),
    [
        pytest.param([], None, id="none yet"),
        pytest.param([pod({"running": {}})], None, id="at work"),
        pytest.param([pod({"waiting": {"reason": "ContainerCreating"}})], None, id="beginning"),
        pytest.param(
            [pod({"waiting": {"reason": "ErrImagePull", "message": "no such image"}})],
            "ErrImagePull: no such image",
            id="no image",
        ),
        pytest.param([UNSCHEDULABLE], "Unschedulable: 0/1", id="no node"),
    ],
)
def test_what_keeps_a_pod_from_beginning_is_said_in_kubernetes_words(
    pods: list[dict[str, Any]], words: str | None
) -> None:
    assert waiting_for(pods) == words


def test_only_a_running_container_may_be_in_the_middle() -> None:
    assert is_at_work([pod({"running": {}})])
    assert not is_at_work([pod({"waiting": {}}), ended(0), {"status": {}}])


def test_a_long_message_still_is_one() -> None:
    result = Result("Up", "default", reason="Applied")
    result.applied = [Done(str(number), "n" * 200, "sha256:" + "0" * 64, 7) for number in range(100)]
    text = result.termination_message()
    assert len(text) <= 4096
    assert json.loads(text)["applied_count"] == 100
    assert result_of(job("Complete"), [ended(0, text)]).problem is None


@pytest.mark.parametrize("letter", ["n", "é", "漢", "😀", '"', "\\", "\n", "\udcff"])
def test_a_long_message_in_any_script_still_is_one(letter: str) -> None:
    result = Result("Up", "default")
    result.failed_with(Terminal("MigrationFailed", letter * 9000), Place("3", letter * 200 + ".sql", 7, "23502", None))
    text = result.termination_message()
    assert len(text.encode()) <= 4096
    found = result_of(job("Failed"), [ended(1, text)])
    assert (type(found.problem), found.reason) == (Terminal, "MigrationFailed")
    assert len(found.message) > 100


def test_names_without_end_leave_the_outcome_and_the_reason() -> None:
    result = Result("Up", "s" * 3000)
    result.failed_with(Terminal("MigrationFailed", "why"), Place("3", "f" * 5000, 7, "23502", "c" * 63))
    text = result.termination_message()
    assert len(text.encode()) <= 4096
    assert result_of(job("Failed"), [ended(1, text)]).reason == "MigrationFailed"
