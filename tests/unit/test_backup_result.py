"""What a Job of backups has come to, by its pods and by its own end."""

import json
from typing import Any

import pytest
from servicedb.errors import Retryable, Terminal
from servicedb.plan.backups.result import told_by

AWAY = {"outcome": "Retryable", "reason": "ServerUnreachable", "message": "the server is away"}
DAMAGED = {"outcome": "Terminal", "reason": "BackupDamaged", "message": "a part is cut off"}
WELL = {"outcome": "Succeeded", "reason": "BackedUp", "message": "done", "key": "k"}


def job(reason: str | None, kind: str = "Failed") -> dict[str, Any]:
    condition = {"type": kind, "status": "True", "reason": reason, "message": "so it is"}
    return {"metadata": {"name": "a-job"}, "status": {"conditions": [condition]}}


def pod(said: Any = None, *, reason: str = "Error", code: int = 1, number: int = 0) -> dict[str, Any]:
    ended = {"exitCode": code, "reason": reason, "message": json.dumps(said) if said is not None else ""}
    return {
        "metadata": {"creationTimestamp": f"2026-03-01T12:0{number}:00Z"},
        "status": {"containerStatuses": [{"state": {"terminated": ended}}]},
    }


OUT_OF_MEMORY = pod(reason="OOMKilled", code=137)


@pytest.mark.parametrize(
    ("ended", "pods", "kind", "reason"),
    [
        pytest.param(job("DeadlineExceeded"), [], Terminal, "DeadlineExceeded", id="its time was over"),
        pytest.param(
            job("DeadlineExceeded"), [pod(AWAY)], Terminal, "DeadlineExceeded", id="its time was over, after a retry"
        ),
        pytest.param(
            job("DeadlineExceeded"), [pod(DAMAGED)], Terminal, "BackupDamaged", id="a pod knew better than its time"
        ),
        pytest.param(
            job("BackoffLimitExceeded"),
            [OUT_OF_MEMORY, OUT_OF_MEMORY, OUT_OF_MEMORY],
            Terminal,
            "OutOfMemory",
            id="each pod was too large",
        ),
        pytest.param(
            job("BackoffLimitExceeded"), [OUT_OF_MEMORY, pod(code=137)], Retryable, "JobFailed", id="one pod was killed"
        ),
        pytest.param(
            job("BackoffLimitExceeded"),
            [OUT_OF_MEMORY, pod(AWAY, number=1)],
            Retryable,
            "ServerUnreachable",
            id="one pod was too large, another had no server",
        ),
        pytest.param(job("BackoffLimitExceeded"), [pod(AWAY)], Retryable, "ServerUnreachable", id="no server"),
        pytest.param(job("BackoffLimitExceeded"), [], Retryable, "JobFailed", id="nothing is known"),
        pytest.param(job(None, "Complete"), [], Retryable, "ResultLost", id="well, and the message is lost"),
    ],
)
def test_a_job_that_would_end_alike_again_is_not_begun_again(
    ended: dict[str, Any], pods: list[dict[str, Any]], kind: type[Exception], reason: str
) -> None:
    problem = told_by(ended, pods).problem
    assert problem is not None
    assert (type(problem), problem.reason) == (kind, reason)


def test_what_was_done_in_the_last_moment_is_done() -> None:
    told = told_by(job("DeadlineExceeded"), [pod(WELL, code=0)])
    assert (told.problem, told.text("key")) == (None, "k")
