"""What a backup and a restore decide: which stream dumps what, what is said of failures, who gets which privilege."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from servicedb.errors import Retryable, Terminal
from servicedb.jobs.backup.backup import expected_without_compression
from servicedb.plan.backups.comparison import Restored, Scope, faults, notes
from servicedb.plan.backups.dump_failure import dump_failure
from servicedb.plan.backups.keys import Group, Place
from servicedb.plan.backups.manifest import Manifest, Role, Sequence, Table
from servicedb.plan.backups.objects import DefaultPrivileges, Object, Objects, Policy, Privilege
from servicedb.plan.backups.privileges import Names, changes, names, translated
from servicedb.plan.backups.relations import Relation, check_locks, check_readable, counted, data_groups
from servicedb.plan.backups.toc import by_table, entries, wanted

from tests.backups import manifest

PLACE = Place(Group("1", 5), "20261121T225300Z-01234567")


def table(oid: int, size: int = 0, **values: object) -> Relation:
    return Relation(oid, "public", f"t{oid}", "r", oid, bytes=size, **values)  # type: ignore[arg-type]


@given(st.lists(st.integers(0, 10**12)), st.integers(1, 8))
def test_every_table_is_dumped_once_and_no_group_is_empty(sizes, parallel):
    tables = [table(number, size) for number, size in enumerate(sizes, start=1)]
    groups = data_groups(tables, parallel)
    assert sorted(one.oid for group in groups for one in group) == [one.oid for one in tables]
    assert all(groups)
    assert len(groups) == min(parallel, len(tables))


def test_what_is_divided_by_hash_is_counted_as_one_and_partitioned_tables_have_no_rows():
    root = Relation(1, "public", "h", "p", 0, hash_root=1)
    ranged = Relation(4, "public", "r", "p", 0)
    tables = [root, table(2, 10, hash_root=1), table(3, 20, hash_root=1), ranged, table(5, 7)]
    assert [(one.relation.oid, one.whole, one.bytes) for one in counted(tables)] == [(1, True, 30), (5, False, 7)]
    assert [one.oid for group in data_groups(tables, 1) for one in group] == [3, 2, 5]


@pytest.mark.parametrize(
    ("seen", "reason", "words"),
    [
        (table(1, readable=False), "NoPrivilege", "public.t1"),
        (table(1, hidden=True), "RowSecurity", "or back up as the owner role"),
        (table(1, hidden=True, forced=True), "RowSecurity", "NO FORCE ROW LEVEL SECURITY"),
    ],
)
def test_a_table_that_is_not_seen_whole_is_told(seen, reason, words):
    check_readable([table(2)], reader="orders__backup_a")
    with pytest.raises(Terminal, match=words) as told:
        check_readable([table(2), seen], reader="orders__backup_a")
    assert told.value.reason == reason


def test_locks_that_have_no_room_are_told_with_the_setting_that_gives_it():
    tables = [table(number) for number in range(3200)]
    check_locks(tables, room=12_800, most=64)
    with pytest.raises(Terminal, match="set max_locks_per_transaction to 128 or more"):
        check_locks(tables, room=6_400, most=64)


@pytest.mark.parametrize(
    ("line", "kind", "reason"),
    [
        ("pg_dump: error: query failed: ERROR:  permission denied for table t", Terminal, "NoPrivilege"),
        ("pg_dump: error: ... affected by row-level security policy for table t", Terminal, "RowSecurity"),
        ("pg_dump: error: ERROR:  canceling statement due to lock timeout", Retryable, "LockTimeout"),
        ("pg_dump: error: server closed the connection unexpectedly", Retryable, "ConnectionLost"),
        ("pg_dump: error: cache lookup failed for relation 5", Retryable, "DumpFailed"),
    ],
)
def test_what_pg_dump_says_is_classed(line, kind, reason):
    told = dump_failure("data-1", 1, [line, "pg_dump: detail: Query was: SELECT secret"])
    assert (type(told), told.reason) == (kind, reason)
    assert "secret" not in told.message
    assert told.message.startswith("pg_dump of data-1 ended with status 1: ")


ROLES = [
    Role(name=name, kind=kind)
    for name, kind in [
        ("orders__owner", "owner"),
        ("orders__rw", "rw"),
        ("intern", "other"),
        ("clerk", "other"),
        ("pg_monitor", "other"),
    ]
]


def test_roles_are_those_of_the_same_purpose_and_nobody_by_a_name_alone():
    called = names(
        ROLES,
        source="orders",
        target="copy",
        owner="copy__owner",
        existing={"orders__rw", "copy__rw", "intern", "accountant", "pg_monitor"},
        given={"clerk": "accountant"},
    )
    assert {role.name: called.here(role.name) for role in ROLES} == {
        "orders__owner": "copy__owner",
        "orders__rw": "copy__rw",
        "intern": None,
        "clerk": "accountant",
        "pg_monitor": "pg_monitor",
    }
    assert called.here("") == ""


def privilege(grantee: str, word: str = "SELECT", *, grantable: bool = False) -> Privilege:
    return Privilege(grantee=grantee, privilege=word, grantable=grantable)


def test_privileges_go_by_names_of_here_and_those_of_nobody_are_told():
    acl = (privilege("old"), privilege("rw"), privilege("gone"), privilege(""))
    kept, lost = translated(acl, Names({"rw": "new_rw"}), owner="new", former="old", versions=(16, 16), seen=())
    assert kept == (privilege(""), privilege("new"), privilege("new_rw"))
    assert lost == (privilege("gone"),)


def test_an_older_server_says_nothing_of_maintain_and_a_newer_ones_is_not_asked_of_an_older():
    seen = (privilege("new", "MAINTAIN"),)
    kept, _ = translated((), Names({}), owner="new", former="old", versions=(15, 18), seen=seen)
    assert kept == seen
    kept, lost = translated(
        (privilege("old", "MAINTAIN"), privilege("rw", "MAINTAIN")),
        Names({"rw": "rw"}),
        owner="new",
        former="old",
        versions=(18, 16),
        seen=(),
    )
    assert (kept, lost) == ((), (privilege("rw", "MAINTAIN"),))


PRIVILEGES = st.sets(st.builds(privilege, st.sampled_from("abc"), st.sampled_from(["SELECT", "INSERT"])))


@given(PRIVILEGES, PRIVILEGES)
def test_the_changes_lead_from_what_is_to_what_is_wanted(needs, has):
    reached = set(has)
    for change in changes(needs, has):
        reached = reached | {change.privilege} if change.grant else reached - {change.privilege}
    assert reached == needs


LISTING = """;
; Archive created at 2026-11-21 23:07:29 UTC
;
2; 3079 16390 EXTENSION - pgcrypto
3520; 0 0 COMMENT - EXTENSION pgcrypto
6; 2615 16400 SCHEMA - extensions opadmin
7; 2615 16401 SCHEMA - app orders__owner
215; 1259 16388 TABLE public t o; DROP TABLE x orders__owner
3205; 1259 16397 INDEX public t_x_idx orders__owner
3206; 0 0 INDEX ATTACH public part_idx orders__owner
3301; 2606 16500 CONSTRAINT public u u_pkey orders__owner
3302; 2606 16501 FK CONSTRAINT public u u_fkey orders__owner
3400; 3256 16600 POLICY public t mine orders__owner
3401; 3256 16601 POLICY public t all orders__owner
3403; 0 0 COMMENT public POLICY mine ON t orders__owner
;\tdepends on: 3400
3402; 3466 16700 EVENT TRIGGER - guard postgres
"""


def policy(oid: int, role: str) -> Policy:
    return Policy(oid=oid, schema_="public", table="t", name="p", permissive=True, command="r", roles=(role,))


OBJECTS = Objects(
    objects=(
        Object(catalog=2615, oid=16400, kind="schema", identity="extensions", schema_="extensions"),
        Object(catalog=2615, oid=16401, kind="schema", identity="app", schema_="app"),
    ),
    policies=(
        Policy(
            oid=16600, schema_="public", table="t", name="mine", permissive=True, command="r", roles=("orders__rw",)
        ),
        Policy(oid=16601, schema_="public", table="t", name="all", permissive=True, command="r", roles=("",)),
    ),
)


def test_a_list_loses_what_an_admin_makes_what_is_there_and_policies_for_others():
    listed = wanted(entries(LISTING), OBJECTS, {"extensions", "public"}, Names({"orders__rw": "copy__rw"}))
    assert [entry.oid for entry in listed] == [16401, 16388, 16397, 0, 16500, 16501, 16601]
    same = wanted(entries(LISTING), OBJECTS, {"public"}, Names({"orders__rw": "orders__rw"}))
    assert {16400, 16600} <= {entry.oid for entry in same}
    assert any(entry.what.startswith("COMMENT public POLICY") for entry in same)


def test_what_is_not_compressed_is_allowed_more_room_and_no_piece_of_it_fills_the_memory():
    assert expected_without_compression(1 << 30) == 4 << 30
    assert expected_without_compression(900 << 30) == 1 << 40
    assert expected_without_compression(2 << 40) == 2 << 40


def test_indexes_of_one_table_are_made_by_one_session_and_what_needs_two_tables_comes_after():
    groups, rest = by_table(entries(LISTING)[4:], {16397: 1, 16500: 2, 16501: 2}, 4)
    assert [[entry.oid for entry in group] for group in groups] == [[16397], [16500]]
    assert [one.what.split()[0] for one in rest] == ["TABLE", "INDEX", "FK", "POLICY", "POLICY", "COMMENT", "EVENT"]


def known(**values: object) -> Manifest:
    return manifest(PLACE).model_copy(update=values)


def restored(**values: object) -> Restored:
    empty = {
        "tables": (),
        "sequences": (),
        "extensions": (),
        "objects": (),
        "large_objects": 0,
        "server_version": 180000,
    }
    return Restored(**{**empty, **values})  # type: ignore[arg-type]


def rows(count: int, fingerprint: str | None = None) -> Table:
    return Table(schema_="public", name="orders", rows=count, fingerprint=fingerprint)


def stands(at: int, *, called: bool = True) -> Sequence:
    return Sequence(schema_="public", name="ids", last_value=at, is_called=called)


@pytest.mark.parametrize(
    ("there", "here", "fault"),
    [
        pytest.param(rows(3, "hash:1"), rows(3, "hash:1"), None, id="the same"),
        pytest.param(rows(3, "hash:1"), rows(2, "hash:1"), "has 2 rows, and had 3", id="a row less"),
        pytest.param(rows(3, "hash:1"), rows(3, "hash:2"), "their fingerprint differs", id="other rows"),
        pytest.param(rows(3), rows(3, "hash:2"), None, id="no fingerprint was made"),
        pytest.param(rows(3), None, "table public.orders is missing", id="no table"),
        pytest.param(stands(5), stands(7), None, id="a sequence that ran on"),
        pytest.param(stands(5), stands(4), "stands at 4, and had come to 5", id="a sequence that went back"),
        pytest.param(stands(5), stands(5, called=False), "stands at 5", id="a number that comes twice"),
    ],
)
def test_what_is_otherwise_is_told(there, here, fault):
    kind = "tables" if isinstance(there, Table) else "sequences"
    before = known(**{"tables": (), kind: (there,)})
    found = tuple(faults(before, Objects(), restored(**{kind: (here,) if here is not None else ()}), Scope()))
    assert (not found) if fault is None else (len(found) == 1 and fault in found[0])


def test_of_some_schemas_only_their_own_policies_and_privileges_are_given_back():
    view = Object(catalog=1259, oid=1, kind="view", identity="a.v", schema_="a")
    public = Object(catalog=2615, oid=2, kind="schema", identity="public", schema_="public")
    policies = tuple(
        Policy(oid=1, schema_=schema, table="t", name="p", permissive=True, command="*", roles=("",)) for schema in "ab"
    )
    defaults = tuple(DefaultPrivileges(role="o", schema_=schema, kind="r", acl=()) for schema in ("a", "b", None))
    kept = Objects(objects=(view, public), policies=policies, default_privileges=defaults)
    assert kept.within(()) == kept
    assert kept.within({"a"}) == Objects(objects=(view,), policies=policies[:1], default_privileges=defaults[:1])


def test_definitions_are_compared_within_one_release_and_presence_always():
    view = Object(catalog=1259, oid=1, kind="view", identity="public.v", schema_="public", definition="a")
    before, objects = known(tables=(), server_version=18_00_01), Objects(objects=(view,))
    other = view.model_copy(update={"definition": "b"})
    there = restored(objects=(other,))
    assert faults(before, objects, there, Scope()) == ()
    (note,) = notes(before, objects, there, Scope())
    assert note.startswith("view public.v is there, and the server words its definition otherwise")
    assert notes(before, objects, restored(objects=(other,), server_version=19_00_00), Scope()) == ()
    assert notes(before, objects, there, Scope(frozenset({"app"}))) == ()
    assert faults(before, objects, restored(), Scope()) == ("view public.v is missing",)
    assert faults(before, objects, restored(), Scope(frozenset({"app"}))) == ()
