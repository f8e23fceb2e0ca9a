"""What became of the copy of an image's files, as Kubernetes tells it of the container that made it."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from servicedb.errors import Problem, Retryable, Terminal
from servicedb.plan.migration_job import SIGNALLED
from servicedb.plan.migration_pod import COPIES

_PULLING = frozenset({"ErrImagePull", "ImagePullBackOff"})
_CAUSE = "ErrImagePull: "
_LONGEST = 300

_ADVICE = "correct spec.source.image, or the image and annotate servicedb.io/reconcile-at"


def source_image(pods: Sequence[Mapping[str, Any]]) -> str | None:
    """The ID of the image that the files of the newest pod came from; None where none was copied."""
    ids = [str(status.get("imageID") or "") for status in _copies(pods)]
    return next((one for one in ids if one), None)


def copy_problem(job: Mapping[str, Any], pods: Sequence[Mapping[str, Any]]) -> Problem | None:
    """Why the files could not be copied; None where they were, or where nothing is known of that.

    A reason that is not the image's, a kill say, is Retryable.
    """
    for status in _copies(pods):
        ended = (status.get("state") or {}).get("terminated") or {}
        code, words = ended.get("exitCode"), _one_line(str(ended.get("message") or ""))
        if not code:
            continue
        image, path = _image_and_path(job)
        if ended.get("reason") == "StartError" and not _is_missing(words):
            return Retryable(
                "JobFailed", f'the container that copies the files of image "{image}" did not begin: {words}'
            )
        if ended.get("reason") == "StartError":
            return Terminal(
                "ImageWithoutCopy",
                f'image "{image}" has no "cp", by which its files are copied; build it from one that has, such as '
                f"busybox or alpine, and {_ADVICE}",
            )
        if code not in SIGNALLED:
            return Terminal(
                "ImageNotCopied",
                f'the files in "{path}" of image "{image}" can\'t be copied: {words or f"exit code {code}"}; {_ADVICE}',
            )
    return None


def pull_problem(pod: Mapping[str, Any]) -> str | None:
    """A sentence on why the image of the source is not there yet; None where it is no matter of that."""
    for status in (pod.get("status") or {}).get("initContainerStatuses") or ():
        waiting = (status.get("state") or {}).get("waiting") or {}
        if waiting.get("reason") in _PULLING:
            # The words of the second try are those of the first, and what Kubernetes does meanwhile.
            words = _one_line(str(waiting.get("message") or "").rpartition(_CAUSE)[2])
            return (
                f'image "{status.get("image")}" of spec.source can\'t be pulled, which is tried again: {words}; push '
                "it, correct the reference, or name the Secret to pull it with in spec.job.imagePullSecrets"
            )
    return None


def _copies(pods: Sequence[Mapping[str, Any]]) -> Iterator[Mapping[str, Any]]:
    """The states of the containers that copy, the newest pod's first."""
    for pod in sorted(pods, key=lambda one: str((one.get("metadata") or {}).get("creationTimestamp")), reverse=True):
        for status in (pod.get("status") or {}).get("initContainerStatuses") or ():
            if status.get("name") == COPIES:
                yield status


def _image_and_path(job: Mapping[str, Any]) -> tuple[str, str]:
    (container,) = job["spec"]["template"]["spec"]["initContainers"]
    return container["image"], str(container["command"][2]).removesuffix("/.")


def _is_missing(words: str) -> bool:
    """As runc and crun say it of a program."""
    return "not found" in words or "no such file" in words.lower()


def _one_line(words: str) -> str:
    """The words of an image are anybody's: one line of them, without what a terminal would act on."""
    line = " ".join("".join(letter if letter.isprintable() else " " for letter in words).split())
    return line if len(line) <= _LONGEST else line[: _LONGEST - 1] + "…"
