"""Scratch databases: their names, their room, and when they are forgotten; what is set aside, and under which name."""

from dataclasses import replace
from datetime import timedelta

import pytest
from servicedb.errors import Retryable, Terminal
from servicedb.naming import database_name_fault
from servicedb.plan.marker import Marker, Restored, RoleNote
from servicedb.plan.observed import Database, Privilege, Role
from servicedb.plan.scratch import Scratch, check_fits, is_forgotten, scratch_database, wanted_scratch
from servicedb.plan.set_aside import closing_steps, name_aside, set_aside_steps, was_set_aside
from servicedb.plan.steps import (
    CloseDatabase,
    CloseLogin,
    CommentOnRole,
    RenameDatabase,
    RenameRole,
    RevokeOnDatabase,
)

from tests.unit.given import MARKER, NOW, OWNER, RO, RW, WANTED, roles_in_sync, scan

SCRATCH = Scratch("trial", "shop", "verify-1")
GIB = 1 << 30


def test_each_job_has_a_database_of_its_own_that_no_object_can_ask_for():
    names = {scratch_database(*of) for of in (("c", "n", "j"), ("c", "n", "k"), ("c", "m", "j"), ("d", "n", "j"))}
    assert len(names) == 4
    for name in names:
        assert "is reserved" in (database_name_fault(name, ()) or "")


def test_its_marker_names_the_job_and_keeps_its_time():
    wanted = wanted_scratch(SCRATCH, "servicedb_scratch_1", MARKER, now=NOW, untrusted_allowed=frozenset())
    marker = wanted.marker
    assert (marker.job, marker.policy, marker.grace, marker.since) == ("verify-1", "Delete", "0s", NOW.isoformat())
    assert Marker.read(marker.comment()) == marker
    later = wanted_scratch(SCRATCH, "x", marker, now=NOW + timedelta(hours=1), untrusted_allowed=frozenset())
    assert later.marker == marker


@pytest.mark.parametrize(
    ("since", "forgotten"),
    [
        (NOW.isoformat(), False),
        ((NOW - timedelta(minutes=15)).isoformat(), False),
        ((NOW - timedelta(minutes=15, seconds=1)).isoformat(), True),
        (None, True),
        ("yesterday", True),
        ("2025-03-01T12:00:00", True),
    ],
)
def test_a_job_has_a_quarter_of_an_hour_to_come(since, forgotten):
    assert is_forgotten(replace(MARKER, job="verify-1", since=since), NOW) is forgotten


def test_there_has_to_be_room():
    check_fits(replace(SCRATCH, expected_bytes=GIB), 1000 * GIB)
    check_fits(replace(SCRATCH, expected_bytes=GIB, max_bytes=2 * GIB), GIB)
    with pytest.raises(Terminal, match=r"holds 1.0 GiB, .* may take 512.0 MiB"):
        check_fits(replace(SCRATCH, expected_bytes=GIB, max_bytes=GIB // 2), 0)
    with pytest.raises(Retryable, match=r"take 1.0 GiB now, and 1.5 GiB more"):
        check_fits(replace(SCRATCH, expected_bytes=GIB * 3 // 2, max_bytes=2 * GIB), GIB)


@pytest.mark.parametrize("database", ["orders", "o" * 51, "orders_" * 7 + "x"])
def test_what_is_set_aside_gets_a_name_that_an_object_may_ask_for(database):
    name = name_aside(database, "uid-1")
    assert name != name_aside(database, "uid-2")
    assert database_name_fault(name, ()) is None


def test_owner_and_groups_take_the_new_name_with_them_and_logins_stay():
    roles = roles_in_sync(WANTED)
    roles["orders_user"] = Role("orders_user", login=True, comment=RoleNote(OWNER, "etl", "s").comment())
    logins = [name for name, role in roles.items() if role.login]
    privileges = frozenset(Privilege(name, "CONNECT") for name in (OWNER, RW, "orders_user", "orders__migrator_a"))
    there = Database("orders", 16_400, "opadmin", True, privileges)
    seen = scan(roles.values(), [there])
    assert {step.name for step in closing_steps("orders", seen)} == {*logins}
    assert all(isinstance(step, CloseLogin) for step in closing_steps("orders", seen))
    marker = replace(MARKER, oid=16_400, policy="Delete")
    steps = list(set_aside_steps("orders", "orders_old_1", marker, seen, NOW))
    assert [step.privilege.grantee for step in steps if isinstance(step, RevokeOnDatabase)] == [
        "orders__migrator_a", "orders_user"
    ]  # fmt: skip
    assert [(step.name, step.new_name) for step in steps if isinstance(step, RenameRole)] == [
        (RO, "orders_old_1__ro"),
        (RW, "orders_old_1__rw"),
        (OWNER, "orders_old_1__owner"),
    ]
    notes = [RoleNote.read(step.comment) for step in steps if isinstance(step, CommentOnRole)]
    assert {note.owner for note in notes if note is not None} == {"orders_old_1__owner"}
    assert [step.name for step in steps if isinstance(step, RenameDatabase)] == ["orders_old_1"]
    assert isinstance(steps[-1], CloseDatabase)
    aside = Marker.read(steps[-1].comment)
    assert aside is not None
    assert (aside.policy, aside.let_go, aside.deleted_at, aside.aside_of) == ("Retain", True, None, "orders")
    assert was_set_aside("orders", "16400", [MARKER, aside])
    assert not was_set_aside("orders", "16401", [aside])
    assert not was_set_aside("stock", "16400", [aside])
    assert not was_set_aside("orders", None, [aside])


def test_an_outcome_stands_in_the_marker():
    marker = replace(MARKER, restored=Restored("again", "key", "sha256:1", "2025-03-01T12:00:00Z"))
    assert Marker.read(marker.comment()) == marker
    assert Marker.read(marker.comment().replace('"digest"', '"dig"')) == MARKER
