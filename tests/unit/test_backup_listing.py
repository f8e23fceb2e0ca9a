"""A store that can't be listed: what is said meanwhile, and when it is tried again."""

from datetime import datetime, timedelta
from typing import Any

import pytest
from servicedb.api.common import Condition
from servicedb.plan.backups.listing import LIST, failed_list, list_problem, next_list_at
from servicedb.plan.backups.progress import ended

from tests.unit.test_backup_entries import FAILED, NOW, TOLD, job, pod


def storage(status: Any, since: datetime) -> Condition:
    return Condition(type="StorageReachable", status=status, reason="StorageRefused", last_transition_time=since)


def test_what_a_list_that_failed_told_is_said_until_another_one_ends() -> None:
    jobs = [job("a", "list"), job("b", "list", at=NOW + timedelta(minutes=2)), job("c", "list", state="")]
    failed = failed_list(ended(jobs, [pod("a", FAILED), pod("b", FAILED), pod("c", None)]))
    assert failed is not None
    assert failed.name == "b"
    problem = list_problem(failed)
    assert (problem.reason, problem.condition) == ("StorageRefused", "StorageReachable")
    assert failed_list(ended([job("a", "list"), job("b", "backup")], [pod("a", TOLD), pod("b", FAILED)])) is None


def test_one_that_is_being_deleted_says_nothing_any_more() -> None:
    going = job("a", "list")
    going["metadata"]["deletionTimestamp"] = NOW.isoformat()
    assert failed_list(ended([going], [pod("a", FAILED)])) is None


@pytest.mark.parametrize(
    ("of", "minutes_false", "after"),
    [
        pytest.param("wanted", None, timedelta(minutes=2), id="the first time"),
        pytest.param("wanted", 1, timedelta(minutes=2), id="just now"),
        pytest.param("wanted", 6, timedelta(minutes=6), id="as long as it has been so"),
        pytest.param("wanted", 600, timedelta(minutes=15), id="the longest"),
        pytest.param("another", 600, None, id="the spec was changed, or a person asks"),
    ],
)
def test_the_next_one_is_tried_the_later_the_longer_it_fails(
    of: str, minutes_false: int | None, after: timedelta | None
) -> None:
    failed = failed_list(ended([job("a", "list", note={LIST: of})], [pod("a", FAILED)]))
    before = storage("False", NOW - timedelta(minutes=minutes_false)) if minutes_false is not None else None
    assert next_list_at(failed, "wanted", before) == (NOW + after if after is not None else None)


def test_nothing_failed() -> None:
    assert next_list_at(None, "wanted", storage("True", NOW)) is None
