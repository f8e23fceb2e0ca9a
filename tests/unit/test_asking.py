"""What schedules, orders and restores ask of ServiceDatabases, as far as their bodies can be read."""

from typing import Any

import pytest
from servicedb.plan.asking import Asking, asked_by_backup, asked_by_policy, asked_by_restore, asked_by_schedule, in_turn

METADATA = {"name": "one", "uid": "uid-1", "creationTimestamp": "2025-03-01T12:00:00Z"}
ORDERS = {"databaseRef": {"name": "orders"}}


def body(spec: Any, status: Any = None, **metadata: Any) -> dict[str, Any]:
    return {"metadata": {**METADATA, **metadata}, "spec": spec, "status": status}


def succeeded(status: str) -> dict[str, Any]:
    return {"conditions": [{"type": "Ready", "status": "True"}, {"type": "Succeeded", "status": status}]}


@pytest.mark.parametrize(
    ("spec", "labels", "concerned"),
    [
        pytest.param({"databaseRefs": [{"name": "stock"}, {"name": "orders"}]}, {}, True, id="named"),
        pytest.param({"databaseRefs": [{"name": "stock"}]}, {}, False, id="another named"),
        pytest.param({"selector": {"matchLabels": {"a": "1"}}}, {"a": "1", "b": "2"}, True, id="selected"),
        pytest.param({"selector": {"matchLabels": {"a": "1", "b": "1"}}}, {"a": "1"}, False, id="not all labels"),
        pytest.param({"selector": {"matchLabels": {}}}, {"a": "1"}, False, id="an empty selector selects nobody"),
        pytest.param({}, {}, False, id="nothing"),
        pytest.param(None, {}, False, id="no spec"),
    ],
)
def test_a_schedule_asks_for_what_it_names_or_selects(spec, labels, concerned):
    asking = asked_by_schedule(body(spec))
    assert asking is not None
    assert asking.concerns("orders", labels) is concerned


@pytest.mark.parametrize(
    ("spec", "status", "asks"),
    [
        pytest.param(ORDERS, None, True, id="new"),
        pytest.param(ORDERS, succeeded("Unknown"), True, id="at work"),
        pytest.param(ORDERS, succeeded("True"), False, id="done"),
        pytest.param(ORDERS, succeeded("False"), False, id="failed"),
        pytest.param({**ORDERS, "key": "k"}, None, False, id="an entry of the catalogue"),
        pytest.param({"key": "k"}, None, False, id="an entry without a database"),
        pytest.param(None, None, False, id="no spec"),
    ],
)
def test_an_order_asks_until_it_has_ended(spec, status, asks):
    assert (asked_by_backup(body(spec, status)) is not None) is asks


@pytest.mark.parametrize(
    ("status", "asks", "failed"),
    [
        pytest.param(None, False, False, id="before its backup is found"),
        pytest.param({"key": "k"}, True, False, id="new"),
        pytest.param({"key": "k", **succeeded("Unknown")}, True, False, id="at work"),
        pytest.param({"key": "k", **succeeded("True")}, False, False, id="done"),
        pytest.param({"key": "k", **succeeded("False")}, True, True, id="failed"),
    ],
)
def test_a_restore_asks_from_its_backup_on_until_it_has_succeeded(status, asks, failed):
    asking = asked_by_restore(body({"target": ORDERS, "overwrite": "RenameOld"}, status))
    assert (asking is not None) is asks
    if asking is not None:
        assert (asking.names, asking.rename_old, asking.failed) == (frozenset({"orders"}), True, failed)


@pytest.mark.parametrize("read", [asked_by_schedule, asked_by_backup, asked_by_restore])
def test_what_is_being_deleted_asks_for_nothing(read):
    spec = {"databaseRefs": [{"name": "orders"}], **ORDERS, "target": ORDERS}
    assert read(body(spec, {"key": "k"}, deletionTimestamp="2025-03-01T12:00:00Z")) is None


def test_who_asked_first_comes_first_and_of_the_same_second_always_the_same():
    first, second, third = (
        Asking("restore", uid="c", since="2025-03-01T12:00:00Z"),
        Asking("restore", uid="a", since="2025-03-01T12:00:01Z"),
        Asking("restore", uid="b", since="2025-03-01T12:00:01Z"),
    )
    assert in_turn([third, second, first]) == [first, second, third]


def test_a_policy_asks_for_the_tables_of_its_rules_as_far_as_they_are_names():
    rules = [{"table": "public.sessions"}, {"table": 'app."Old Logs"'}, {"table": "nowhere"}, {"table": "a.b.c"}, {}]
    asking = asked_by_policy(body({"databaseRef": {"name": "orders"}, "rules": rules, "suspend": True}))
    assert asking is not None
    assert asking.concerns("orders", {})
    assert asking.tables == {("public", "sessions"), ("app", "Old Logs")}
    assert asked_by_policy(body({"databaseRef": {"name": "orders"}}, deletionTimestamp="2025-03-02T12:00:00Z")) is None
    assert asked_by_policy(body({})) is None
