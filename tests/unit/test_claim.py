"""Claims: a database is ours only when the server says so, and what was ours is never silently made anew."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from servicedb.errors import NeedsDecision, Problem, Retryable, Terminal
from servicedb.plan.claim import claim
from servicedb.plan.marker import Marker
from servicedb.plan.observed import Role, ServerScan
from servicedb.plan.wanted import Wanted

from tests.unit.given import (
    APP,
    APP_A,
    FIXED,
    MARKER,
    ONLY_FIXED,
    OWNER,
    RW,
    STRANGER,
    WANTED,
    database,
    note,
    roles_in_sync,
    scan,
)

OID = 16_400
OURS = MARKER.with_oid(OID)
KNOWN = replace(WANTED, known_oid=str(OID))
UNMARKED_DATABASE = database(oid=999, owner=STRANGER)


def marked(marker: Marker = OURS, *bases: object, wanted: Wanted = WANTED) -> ServerScan:
    return scan(roles_in_sync(wanted, marker=marker).values(), bases)  # type: ignore[arg-type]


def with_role(seen: ServerScan, name: str, comment: str | None) -> ServerScan:
    return replace(seen, roles={**seen.roles, name: Role(name, login=True, comment=comment)})


def without_role(seen: ServerScan, name: str) -> ServerScan:
    return replace(seen, roles={key: role for key, role in seen.roles.items() if key != name})


CLOSED, OPEN = database(is_open=False), database()
UNOPENED = MARKER.with_oid(None)


@pytest.mark.parametrize(
    ("wanted", "seen", "marker"),
    [
        pytest.param(WANTED, scan(), None, id="free"),
        pytest.param(WANTED, scan(databases=[database("invoices")]), None, id="free, others there"),
        pytest.param(ONLY_FIXED, scan(), None, id="free, fixed login"),
        pytest.param(
            ONLY_FIXED,
            scan([Role("orders_user", login=False, comment=note(FIXED))]),
            None,
            id="free, fixed login left from before",
        ),
        pytest.param(WANTED, marked(UNOPENED), UNOPENED, id="roles made, database not yet"),
        pytest.param(WANTED, marked(UNOPENED, CLOSED), UNOPENED, id="database made, not opened yet"),
        pytest.param(KNOWN, marked(OURS, OPEN), OURS, id="ours"),
        pytest.param(WANTED, marked(OURS, OPEN), OURS, id="ours, the status was lost"),
        pytest.param(KNOWN, marked(OURS, CLOSED), OURS, id="ours, closed by hand"),
        pytest.param(
            KNOWN, marked(replace(OURS, uid="object-0"), OPEN), replace(OURS, uid="object-0"), id="object made again"
        ),
        pytest.param(KNOWN, marked(replace(OURS, crd="crd-0"), OPEN), replace(OURS, crd="crd-0"), id="CRD made again"),
        pytest.param(
            KNOWN,
            marked(replace(OURS, released="2025-01-01T00:00:00+00:00"), OPEN),
            replace(OURS, released="2025-01-01T00:00:00+00:00"),
            id="released, the object is back",
        ),
        pytest.param(KNOWN, with_role(marked(OURS, OPEN), APP_A, None), OURS, id="a login lost its note"),
        pytest.param(KNOWN, with_role(marked(OURS, OPEN), STRANGER, None), OURS, id="strangers about"),
        pytest.param(
            replace(ONLY_FIXED, known_oid=str(OID)),
            marked(OURS, OPEN, wanted=ONLY_FIXED),
            OURS,
            id="ours, with a fixed login",
        ),
        pytest.param(replace(KNOWN, recreate=str(OID)), marked(OURS), OURS, id="dropped, to be made anew"),
        pytest.param(replace(KNOWN, recreate=str(OID)), scan(), None, id="dropped with its roles, to be made anew"),
        pytest.param(
            replace(KNOWN, recreate=str(OID)), marked(UNOPENED), UNOPENED, id="made anew, killed before the database"
        ),
        pytest.param(
            replace(KNOWN, recreate=str(OID)),
            marked(UNOPENED, database(oid=777, is_open=False)),
            UNOPENED,
            id="made anew, killed before it was opened",
        ),
        pytest.param(
            replace(KNOWN, recreate=str(OID)),
            marked(MARKER.with_oid(777), database(oid=777)),
            MARKER.with_oid(777),
            id="made anew, killed before the status",
        ),
    ],
)
def test_a_database_that_may_be_had(wanted, seen, marker):
    assert claim(wanted, seen, server="main") == marker


OTHERS = replace(OURS, namespace="billing", namespace_uid="namespace-9", name="orders", uid="object-9")


@pytest.mark.parametrize(
    ("wanted", "seen", "reason", "sentence"),
    [
        pytest.param(
            WANTED, scan(databases=[UNMARKED_DATABASE]), "Conflict", "was not made by servicedb", id="foreign database"
        ),
        pytest.param(
            KNOWN, scan(databases=[UNMARKED_DATABASE]), "Conflict", "was not made by servicedb",
            id="foreign database, where ours was",
        ),
        pytest.param(
            replace(KNOWN, recreate=str(OID)), scan(databases=[UNMARKED_DATABASE]), "Conflict",
            "was not made by servicedb", id="foreign database, recreate does not help",
        ),
        pytest.param(WANTED, with_role(scan(), RW, None), "Conflict", f'role "{RW}"', id="foreign group"),
        pytest.param(WANTED, with_role(scan(), APP_A, None), "Conflict", f'role "{APP_A}"', id="foreign login"),
        pytest.param(WANTED, with_role(scan(), APP_A, "by hand"), "Conflict", f'role "{APP_A}"', id="login with prose"),
        pytest.param(
            WANTED, with_role(scan(), APP_A, note(APP, owner="invoices__owner")), "Conflict",
            'belongs to the database of role "invoices__owner"', id="another database's login",
        ),
        pytest.param(WANTED, with_role(scan(), OWNER, None), "Conflict", f'role "{OWNER}"', id="foreign owner role"),
        pytest.param(
            WANTED, with_role(scan(), OWNER, '{"servicedb":1,"cluster":"cluster-1"}'), "Conflict", f'role "{OWNER}"',
            id="forged marker",
        ),
        pytest.param(
            WANTED, marked(replace(OURS, cluster="cluster-9"), OPEN), "Conflict",
            "belongs to ServiceDatabase shop/orders (uid object-1, cluster cluster-9)", id="other cluster",
        ),
        pytest.param(
            WANTED, marked(OTHERS, OPEN), "Conflict", "belongs to ServiceDatabase billing/orders", id="other object"
        ),
        pytest.param(
            WANTED, marked(replace(OTHERS, released="2025-01-01T00:00:00+00:00"), OPEN), "Conflict",
            "was released by ServiceDatabase billing/orders", id="other object's, released",
        ),
        pytest.param(
            KNOWN, marked(replace(OURS, namespace_uid="namespace-0"), OPEN), "ReleasedByOther",
            "(namespace uid namespace-0)", id="the namespace of before",
        ),
        pytest.param(
            ONLY_FIXED, with_role(scan(), "orders_user", None), "Conflict", 'role "orders_user"', id="squatted login"
        ),
        pytest.param(
            ONLY_FIXED, with_role(marked(OURS, OPEN, wanted=ONLY_FIXED), "orders_user", None), "Conflict",
            'role "orders_user"', id="squatted login of a database that is ours",
        ),
        pytest.param(
            ONLY_FIXED,
            with_role(marked(OURS, OPEN, wanted=ONLY_FIXED), "orders_user", note(FIXED, owner="invoices__owner")),
            "Conflict", "choose another loginName", id="a login name that another database of ours has",
        ),
        pytest.param(
            ONLY_FIXED, with_role(scan(), "orders_user", OTHERS.comment()), "Conflict", 'role "orders_user"',
            id="fixed login with a marker on it",
        ),
        pytest.param(
            KNOWN, without_role(marked(OURS, OPEN), OWNER), "MarkerLost", "its owner role", id="owner role gone"
        ),
        pytest.param(
            KNOWN, with_role(marked(OURS, OPEN), OWNER, None), "MarkerLost", "is no marker", id="marker lost"
        ),
        pytest.param(
            KNOWN, with_role(marked(OURS, OPEN), OWNER, OURS.comment()[:-1]), "MarkerLost", "is no marker",
            id="marker truncated",
        ),
        pytest.param(
            WANTED, marked(UNOPENED, OPEN), "Conflict", "made by somebody else while servicedb",
            id="opened by somebody else",
        ),
        pytest.param(
            WANTED, marked(UNOPENED, database(is_open=False, owner=STRANGER)), "Conflict",
            "made by somebody else while servicedb", id="made by somebody else",
        ),
    ],
)  # fmt: skip
def test_what_somebody_else_holds_is_left_to_him(wanted, seen, reason, sentence):
    with pytest.raises(Terminal) as raised:
        claim(wanted, seen, server="main")
    assert raised.value.reason == reason
    assert sentence in raised.value.message
    assert '"main"' in raised.value.message
    assert raised.value.condition is not None


RENAMED = database("orders_old")


@pytest.mark.parametrize(
    ("wanted", "seen", "reason", "sentence"),
    [
        pytest.param(KNOWN, marked(OURS), "DatabaseMissing", f'recreate="{OID}"', id="dropped"),
        pytest.param(WANTED, marked(OURS), "DatabaseMissing", f'recreate="{OID}"', id="dropped, the status was lost"),
        pytest.param(KNOWN, scan(), "DatabaseMissing", f'recreate="{OID}"', id="dropped with its roles"),
        pytest.param(KNOWN, marked(UNOPENED), "DatabaseMissing", f'recreate="{OID}"', id="dropped, no OID noted"),
        pytest.param(
            replace(KNOWN, recreate="1"), marked(OURS), "DatabaseMissing", f'recreate="{OID}"', id="another recreate"
        ),
        pytest.param(
            replace(WANTED, known_oid="777", recreate=str(OID)), marked(MARKER.with_oid(777)), "DatabaseMissing",
            'recreate="777"', id="recreate is good once",
        ),
        pytest.param(KNOWN, marked(OURS, RENAMED), "DatabaseRenamed", 'ALTER DATABASE "orders_old"', id="renamed"),
        pytest.param(
            replace(KNOWN, recreate=str(OID)), marked(OURS, RENAMED), "DatabaseRenamed", '"orders_old" (OID 16400)',
            id="renamed, recreate does not help",
        ),
        pytest.param(
            KNOWN, scan(databases=[RENAMED]), "DatabaseRenamed", '"orders_old"', id="renamed, the roles dropped"
        ),
        pytest.param(
            KNOWN, marked(OURS, database(oid=777)), "DatabaseReplaced", "has OID 777, not 16400", id="replaced"
        ),
        pytest.param(
            KNOWN, marked(OURS, database(oid=777), RENAMED), "DatabaseReplaced", "has OID 777", id="both"
        ),
        pytest.param(
            replace(KNOWN, recreate=str(OID)), marked(OURS, database(oid=777)), "DatabaseReplaced", "has OID 777",
            id="replaced, recreate does not help",
        ),
    ],
)  # fmt: skip
def test_what_was_ours_is_not_made_anew_unless_somebody_says_so(wanted, seen, reason, sentence):
    with pytest.raises(NeedsDecision) as raised:
        claim(wanted, seen, server="main")
    assert raised.value.reason == reason
    assert sentence in raised.value.message
    assert raised.value.condition == "DatabaseReady"


ADOPTABLE = replace(WANTED, adoptable=True)
LET_GO = [
    pytest.param({"released": "2025-01-01T00:00:00+00:00"}, id="released"),
    pytest.param({"deleted_at": "2025-01-01T00:00:00+00:00", "policy": "Delete"}, id="deleted"),
]
FORMER_HOLDERS = [
    pytest.param(OTHERS, id="another object's"),
    pytest.param(replace(OURS, cluster="cluster-9", namespace_uid="namespace-9"), id="another cluster's"),
    pytest.param(replace(OURS, namespace_uid="namespace-0"), id="the namespace of before"),
]


@pytest.mark.parametrize("state", LET_GO)
@pytest.mark.parametrize("holder", FORMER_HOLDERS)
def test_what_somebody_has_let_go_is_had_by_who_is_listed(holder, state):
    marker = replace(holder, **state)
    assert claim(ADOPTABLE, marked(marker, OPEN), server="main") == marker
    with pytest.raises(Terminal) as raised:
        claim(WANTED, marked(marker, OPEN), server="main")
    entry = "{databaseName: orders, namespace: shop, name: orders}"
    assert f"adds {entry} to spec.adoptable of DatabaseServer main" in raised.value.message


@pytest.mark.parametrize("holder", FORMER_HOLDERS)
def test_what_belongs_to_a_living_object_is_never_handed_over(holder):
    with pytest.raises(Terminal) as raised:
        claim(ADOPTABLE, marked(holder, OPEN), server="main")
    assert raised.value.reason in ("Conflict", "ReleasedByOther")


@pytest.mark.parametrize("comment", [None, "by hand", OURS.comment()[:-1]])
@pytest.mark.parametrize("wanted", [ADOPTABLE, replace(KNOWN, adoptable=True)], ids=["unknown", "known"])
def test_a_lost_marker_is_written_again_for_who_is_listed(wanted, comment):
    assert claim(wanted, with_owner(marked(OURS, OPEN), comment=comment), server="main") == OURS


def with_owner(seen: ServerScan, **changes: object) -> ServerScan:
    return replace(seen, roles={**seen.roles, OWNER: replace(seen.roles[OWNER], **changes)})  # type: ignore[arg-type]


LOST = with_owner(marked(OURS, OPEN), comment=None)
FOREIGN_DATABASE = database(owner=STRANGER)


@pytest.mark.parametrize(
    ("wanted", "seen"),
    [
        pytest.param(ADOPTABLE, replace(LOST, databases={}), id="no database"),
        pytest.param(ADOPTABLE, without_role(LOST, OWNER), id="no owner role"),
        pytest.param(ADOPTABLE, without_role(LOST, RW), id="no group"),
        pytest.param(ADOPTABLE, with_role(LOST, RW, None), id="a group without its note"),
        pytest.param(ADOPTABLE, with_role(LOST, RW, note(APP, owner="invoices__owner")), id="another's group"),
        pytest.param(ADOPTABLE, with_owner(LOST, login=True), id="an owner role that logs in"),
        pytest.param(
            ADOPTABLE, replace(LOST, databases={"orders": database(owner=STRANGER)}), id="somebody else's database"
        ),
        pytest.param(replace(ADOPTABLE, known_oid="777"), LOST, id="another OID than the object knows"),
        pytest.param(WANTED, scan(databases=[FOREIGN_DATABASE]), id="not listed"),
        pytest.param(
            replace(ADOPTABLE, known_oid="777"), scan(databases=[FOREIGN_DATABASE]), id="a known one was lost"
        ),
        pytest.param(
            ADOPTABLE, scan(databases=[replace(FOREIGN_DATABASE, allow_connections=False)]), id="a closed database"
        ),
        pytest.param(
            ADOPTABLE, scan(databases=[replace(FOREIGN_DATABASE, enterable=False)]), id="the admin may not connect"
        ),
        pytest.param(
            ADOPTABLE, scan([Role(RW, login=False)], [FOREIGN_DATABASE]), id="a role with the name of a group"
        ),
    ],
)
def test_a_database_that_was_never_ours_is_not_taken_over_so(wanted, seen):
    with pytest.raises(Problem):
        claim(wanted, seen, server="main")


def test_a_database_that_servicedb_never_made_may_be_adopted_by_who_is_listed():
    seen = scan(databases=[FOREIGN_DATABASE])
    assert claim(ADOPTABLE, seen, server="main") is None
    with pytest.raises(Terminal, match=r"let this object adopt it, who adds \{databaseName: orders, namespace: shop"):
        claim(WANTED, seen, server="main")


DROPPING = replace(OURS, deleted_at="2025-01-01T00:00:00+00:00", dropping="2025-01-08T00:00:00+00:00", policy="Delete")


@pytest.mark.parametrize("wanted", [WANTED, KNOWN, ADOPTABLE])
@pytest.mark.parametrize("bases", [[], [replace(CLOSED, valid=False)]], ids=["gone", "half gone"])
def test_while_the_last_of_it_is_being_dropped_a_new_one_waits(wanted, bases):
    with pytest.raises(Retryable) as raised:
        claim(wanted, marked(DROPPING, *bases), server="main")
    assert raised.value.reason == "BeingDropped"


def test_a_drop_that_has_not_reached_the_data_is_undone():
    assert claim(WANTED, marked(DROPPING, CLOSED), server="main") == DROPPING


def test_a_deleted_database_that_somebody_dropped_by_hand_is_missed():
    with pytest.raises(NeedsDecision) as raised:
        claim(WANTED, marked(replace(DROPPING, dropping=None)), server="main")
    assert raised.value.reason == "DatabaseMissing"


COMMENTS = st.sampled_from([None, "by hand", OURS.comment(), UNOPENED.comment(), OTHERS.comment(), note(APP)])
OTHER_COMMENTS = st.sampled_from([None, "by hand", OTHERS.comment(), replace(OURS, cluster="c9").comment()])


def scans(owner_comments: st.SearchStrategy[str | None]) -> st.SearchStrategy[ServerScan]:
    bases = st.builds(
        database,
        st.just("orders"),
        oid=st.sampled_from([OID, 777]),
        is_open=st.booleans(),
        owner=st.sampled_from(["opadmin", STRANGER]),
    )
    owner = st.builds(Role, st.just(OWNER), st.just(False), comment=owner_comments)
    others = st.builds(Role, st.sampled_from([RW, APP_A, "orders_user"]), st.booleans(), comment=COMMENTS)
    return st.builds(
        lambda owners, roles, bases: scan([*roles, *owners], bases),
        st.lists(owner, min_size=1, max_size=1),
        st.lists(others, max_size=2),
        st.lists(bases, max_size=1),
    )


WANTEDS = st.builds(
    replace,
    st.sampled_from([WANTED, ONLY_FIXED]),
    known_oid=st.sampled_from([None, str(OID), "777"]),
    recreate=st.sampled_from([None, str(OID), "777"]),
)


@given(WANTEDS, scans(OTHER_COMMENTS))
def test_without_our_marker_on_the_owner_role_nothing_is_ever_ours(wanted, seen):
    with pytest.raises(Problem):
        claim(wanted, seen, server="main")


@given(WANTEDS, scans(COMMENTS))
def test_an_open_database_is_ours_only_by_its_oid(wanted, seen):
    try:
        marker = claim(wanted, seen, server="main")
    except Problem:
        return
    there = seen.databases.get("orders")
    if there is not None and there.allow_connections:
        assert marker is not None
        assert marker.oid == there.oid
    if there is None and wanted.known_oid is not None:
        assert wanted.recreate is not None
