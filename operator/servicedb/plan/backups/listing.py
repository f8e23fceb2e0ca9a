"""Lists that fail: what they tell stays said, and the next one is tried the later the longer it has been so."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final

from servicedb.api.common import GROUP, Condition
from servicedb.errors import Problem
from servicedb.plan.backups.progress import Ended
from servicedb.plan.backups.standing import STORAGE

LIST: Final = f"{GROUP}/list"
"""Annotation of a Job: which list it was to make."""

_SHORTEST: Final = timedelta(minutes=2)
_LONGEST: Final = timedelta(minutes=15)


def failed_list(done: Sequence[Ended]) -> Ended | None:
    """The latest Job of `done`, the oldest end first, that could not list the store."""
    failed = [
        one
        for one in done
        if one.work == "list" and one.told.problem is not None and "deletionTimestamp" not in one.job["metadata"]
    ]
    return failed[-1] if failed else None


def list_problem(failed: Ended) -> Problem:
    """What the Job says, as a Problem of the storage."""
    problem = failed.told.problem
    assert problem is not None
    return type(problem)(problem.reason, f"the store can't be listed: {problem}", condition=STORAGE)


def next_list_at(failed: Ended | None, wanted: str, storage: Condition | None) -> datetime | None:
    """When the list `wanted` is to be tried after `failed`; None: now, since nothing failed, or it was another list.

    `storage` is the schedule's condition, which says since when it has been so.
    """
    if failed is None or (failed.job["metadata"].get("annotations") or {}).get(LIST) != wanted:
        return None
    since = failed.at
    if storage is not None and storage.status == "False" and storage.last_transition_time is not None:
        since = min(since, storage.last_transition_time)
    return failed.at + min(max(failed.at - since, _SHORTEST), _LONGEST)
