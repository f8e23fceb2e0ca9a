"""What became of an image's files, by what Kubernetes tells of the container that copies them."""

from typing import Any

import pytest
from servicedb.errors import Problem, Retryable, Terminal
from servicedb.plan.job_status import waiting_for
from servicedb.plan.migration_image import source_image
from servicedb.plan.migration_result import result_of

FAILED: dict[str, Any] = {
    "spec": {
        "template": {
            "spec": {"initContainers": [{"image": "acme/sql:1", "command": ["cp", "-RP", "/sql/.", "/run/x"]}]},
        }
    },
    "status": {"conditions": [{"type": "Failed", "status": "True", "reason": "PodFailurePolicy", "message": "so"}]},
}


def pod(state: dict[str, Any], *, made: str = "2025-01-01T00:00:00Z", image_id: str = "") -> dict[str, Any]:
    status = {"name": "files", "image": "acme/sql:1", "imageID": image_id, "state": state}
    waiting = {"state": {"waiting": {"reason": "PodInitializing"}}}
    return {
        "metadata": {"creationTimestamp": made},
        "status": {"initContainerStatuses": [status], "containerStatuses": [waiting]},
    }


def ended(code: int, words: str = "", reason: str = "Error") -> dict[str, Any]:
    return pod({"terminated": {"exitCode": code, "reason": reason, "message": words}})


NO_CP = 'failed to create containerd task: exec: "cp": executable file not found in $PATH: unknown'
NO_CP_BY_CRUN = "executable file `cp` not found in $PATH: No such file or directory"


@pytest.mark.parametrize(
    ("found", "kind", "reason", "words"),
    [
        pytest.param(ended(128, NO_CP, "StartError"), Terminal, "ImageWithoutCopy", 'has no "cp"', id="no cp"),
        pytest.param(ended(127, NO_CP_BY_CRUN, "StartError"), Terminal, "ImageWithoutCopy", 'has no "cp"', id="crun"),
        pytest.param(ended(128, "cgroup", "StartError"), Retryable, "JobFailed", "did not begin: cgroup", id="a node"),
        pytest.param(
            ended(1, "cp: can't stat '/sql/.': No such file or directory\n"),
            Terminal,
            "ImageNotCopied",
            "in \"/sql\" of image \"acme/sql:1\" can't be copied: cp: can't stat '/sql/.': No such file or directory; ",
            id="no path",
        ),
        pytest.param(ended(1), Terminal, "ImageNotCopied", "exit code 1", id="no words"),
        pytest.param(ended(1, "\x1b[31m\nred" + "x" * 999), Terminal, "ImageNotCopied", ": [31m redxx", id="any words"),
        pytest.param(ended(137), Retryable, "JobFailed", "PodFailurePolicy", id="killed"),
    ],
)
def test_why_files_were_not_copied_is_said(found: dict[str, Any], kind: type[Problem], reason: str, words: str) -> None:
    result = result_of(FAILED, [found])
    assert (type(result.problem), result.reason) == (kind, reason)
    assert words in result.message
    assert len(result.message) < 600


@pytest.mark.parametrize(
    ("reason", "message"),
    [
        ("ErrImagePull", "rpc error: not found"),
        ("ImagePullBackOff", 'Back-off pulling image "acme/sql:1": ErrImagePull: rpc error: not found'),
    ],
)
def test_an_image_that_is_not_there_is_waited_for_in_the_same_words(reason: str, message: str) -> None:
    assert waiting_for([pod({"waiting": {"reason": reason, "message": message}})]) == (
        'image "acme/sql:1" of spec.source can\'t be pulled, which is tried again: rpc error: not found; push it, '
        "correct the reference, or name the Secret to pull it with in spec.job.imagePullSecrets"
    )


def test_what_else_the_copy_waits_for_is_said_in_kubernetes_words() -> None:
    waiting = {"waiting": {"reason": "CreateContainerConfigError", "message": "no"}}
    assert waiting_for([pod(waiting)]) == "CreateContainerConfigError: no"
    assert waiting_for([pod({"running": {}})]) is None


def test_the_image_that_ran_is_known_by_its_id() -> None:
    older = pod({}, image_id="acme/sql@sha256:1")
    newer = pod({}, image_id="acme/sql@sha256:2", made="2025-01-01T00:00:09Z")
    assert source_image([older, newer]) == "acme/sql@sha256:2"
    assert source_image([older, pod({}, made="2025-01-01T00:00:09Z")]) == "acme/sql@sha256:1"
    assert source_image([{"status": {}}]) is None
