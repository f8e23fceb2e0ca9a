"""Logins of guests: their names, what they read, and who is kept out meanwhile."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from servicedb.errors import Terminal
from servicedb.plan.backup_access import backup_access
from servicedb.plan.credentials import LoginState
from servicedb.plan.database import database_privileges, wanted_settings
from servicedb.plan.guests import Guests, guest_logins, secret_name
from servicedb.plan.inside import default_privileges
from servicedb.plan.memberships import wanted_memberships
from servicedb.plan.observed import Membership, Privilege
from servicedb.plan.roles import earlier_access, role_steps
from servicedb.plan.server import ServerFacts
from servicedb.plan.steps import AlterRole, CloseLogin, CreateRole
from servicedb.plan.wanted import Access

from tests.unit.given import MARKER, NAMES, NOW, ONLY_APP, OVERLAP, OWNER, roles_in_sync

A, B = NAMES.pair("backup")
FACTS = ServerFacts(18_00_00, "18.0", False, "73", "opadmin", superuser=False, createrole=True, createdb=True)
MAY = {"may_grant_read_all_data": True, "may_grant_bypassrls": True, "may_set_lo_compat_privileges": True}


def logins(guests: Guests):
    return guest_logins(NAMES, "orders", guests, {"orders-app"})


def with_guests(guests: Guests):
    return replace(ONLY_APP, logins=(*ONLY_APP.logins, *logins(guests)))


@pytest.mark.parametrize(
    ("changes", "reads", "said"),
    [
        pytest.param({**MAY}, "AllData", "", id="all that is needed"),
        pytest.param({"superuser": True}, "AllData", "", id="superuser"),
        pytest.param({**MAY, "public_databases": ("postgres",)}, "AsOwner", "may connect to postgres", id="public"),
        pytest.param(
            {"superuser": True, "public_databases": ("a", "b", "c", "d")}, "AsOwner", "a, b, c, ...", id="many"
        ),
        pytest.param({**MAY, "may_grant_bypassrls": False}, "AsOwner", "not give away BYPASSRLS;", id="no bypass"),
        pytest.param(
            {**MAY, "may_set_lo_compat_privileges": False}, "AsOwner", "lo_compat_privileges", id="no objects"
        ),
        pytest.param({"version_number": 15_00_18}, "AsOwner", "PostgreSQL 15 leaves to superusers", id="15"),
    ],
)
def test_backups_read_everything_only_where_that_reaches_no_other_database(changes, reads, said):
    found = backup_access(replace(FACTS, **changes))
    assert found.reads == reads
    assert said in found.message
    assert bool(found.message) == (reads == "AsOwner")


def test_who_reads_everything_works_as_itself_and_bypasses_row_security():
    wanted = with_guests(Guests(Access.ALL_DATA))
    assert Membership("pg_read_all_data", A, inherit=True, set_role=True) in wanted_memberships(wanted)
    assert {Privilege(A, "CONNECT"), Privilege(B, "CONNECT")} <= database_privileges(wanted)
    assert {"default_transaction_read_only": "on", "lo_compat_privileges": "on"}.items() <= wanted_settings(wanted)[
        A
    ].items()
    assert "role" not in wanted_settings(wanted)[A]
    steps = role_steps(wanted, MARKER, {}, {}, now=NOW, overlap=OVERLAP)
    made = {step.name: step.bypassrls for step in steps if isinstance(step, CreateRole)}
    assert {name for name, bypasses in made.items() if bypasses} == {A, B}


def test_who_reads_as_the_owner_has_nothing_that_holds_elsewhere():
    wanted = with_guests(Guests(Access.OWNER))
    assert {m.group for m in wanted_memberships(wanted) if m.member in (A, B)} == {OWNER}
    assert wanted_settings(wanted)[A] == {
        "default_transaction_read_only": "on",
        "role": OWNER,
    }


def test_what_holds_in_every_database_is_taken_back_at_once():
    before, after = with_guests(Guests(Access.ALL_DATA)), with_guests(Guests(Access.OWNER))
    roles = roles_in_sync(before)
    roles = {name: replace(role, bypassrls=name in (A, B)) for name, role in roles.items()}
    states = {login.role: LoginState(login.halves[0], None) for login in after.logins}
    assert earlier_access(after, states, roles) == {}
    found = list(role_steps(after, MARKER, states, roles, now=NOW, overlap=OVERLAP))
    assert [step for step in found if isinstance(step, AlterRole)] == [
        AlterRole("its attributes differ", half, ("NOINHERIT", "NOBYPASSRLS")) for half in (A, B)
    ]
    assert earlier_access(before, states, roles_in_sync(after)) == {A: Access.OWNER}  # the other way has time


def test_while_it_is_restored_into_all_others_are_closed_and_keep_what_their_notes_say():
    wanted = with_guests(Guests(Access.OWNER, "uid-1"))
    roles = roles_in_sync(wanted)
    states = {login.role: LoginState(login.halves[0], None) for login in wanted.logins}
    found = list(role_steps(wanted, MARKER, states, roles, now=NOW, overlap=OVERLAP))
    closed = [step.name for step in found if isinstance(step, CloseLogin)]
    assert closed == ["orders__app_a", A]
    assert {getattr(step, "name", None) for step in found} - {*closed} == {*NAMES.pair("restore")}  # asked_by is noted


def test_who_deletes_rows_holds_the_named_tables_and_no_others():
    wanted = with_guests(Guests(retain=frozenset({("public", "sessions")})))
    (group,) = [group for group in wanted.all_groups if group.name == "orders__retain_grp"]
    assert group.overrides == {("public", "sessions"): {"SELECT", "DELETE"}}
    a, _ = NAMES.pair("retain")
    assert {m.group for m in wanted_memberships(wanted) if m.member == a} == {group.name}
    assert wanted_settings(wanted)[a]["role"] == group.name
    born = default_privileges(wanted)
    assert {kind for kind, held in born.items() if any(one.grantee == group.name for one in held)} == {"SCHEMAS"}
    partition, _ = NAMES.pair("partition")
    assert {m.group for m in wanted_memberships(wanted) if m.member == partition} == {OWNER}


def test_a_secret_of_the_specs_is_not_taken():
    with pytest.raises(Terminal, match=r'Secret "orders-backup" is named in spec\.roles'):
        guest_logins(NAMES, "orders", Guests(Access.OWNER), {"orders-backup"})


@given(
    st.from_regex(r"[a-z]([-a-z0-9]{0,60}[a-z0-9])?(\.[a-z]{1,60}){0,4}", fullmatch=True).filter(
        lambda n: len(n) <= 253
    )
)
def test_a_secrets_name_is_one(name):
    found = secret_name(name, "restore")
    assert len(found) <= 253
    assert found.endswith("-restore")
    assert ".-" not in found
