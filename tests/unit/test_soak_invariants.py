"""The soak's checker: it says nothing about what is right, and turns red at every fault that it is there for."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from servicedb.plan.marker import Marker, RoleNote

from tests.cluster.soak.invariants import AtRest, Look, SeenDatabase, SeenRole, always, at_rest
from tests.cluster.soak.model import Asked, Model

BYSTANDER = "fingerprint"
NOW = 1_000_000.0
ROLES = frozenset({"app", "migrator"})
LIVING, RELEASED, DELETED, DROPPED = "living", "released", "deleted", "dropped"


def model() -> Model:
    """One object that is there, one that was let go, one that waits for its drop, one that was dropped."""
    asked = {name: Asked(name, True, wanted_roles=ROLES) for name in (LIVING, RELEASED, DELETED, DROPPED)}
    for number, one in enumerate(asked.values()):
        one.seen(100 + number)
        one.rows = {"a", "b"}
    asked[RELEASED].deleted(NOW - 100)
    asked[DELETED].policy, asked[DELETED].grace = "Delete", 3600
    asked[DELETED].deleted(NOW - 100)
    asked[DROPPED].policy, asked[DROPPED].grace = "Delete", 3
    asked[DROPPED].deleted(NOW - 100)
    return Model("kyc", asked)


def roles(name: str, oid: int, *, login: bool, **let_go: Any) -> list[SeenRole]:
    marker = Marker("c", "crd", "kyc", "ns", name, "uid", oid=oid, **let_go)
    found = [SeenRole(f"{name}__owner", False, marker.comment())]
    for role in ("rw", "ro", "app_a", "app_b", "migrator_a", "migrator_b"):
        note = RoleNote(f"{name}__owner", role.partition("_")[0])
        found.append(SeenRole(f"{name}__{role}", login and role.endswith("_a"), note.comment()))
    return found


def look() -> Look:
    found = [
        *roles(LIVING, 100, login=True),
        *roles(RELEASED, 101, login=False, released="2026-01-01T00:00:00+00:00"),
        *roles(DELETED, 102, login=False, deleted_at="2026-01-01T00:00:00+00:00"),
    ]
    databases = [
        SeenDatabase(name, 100 + number, True, False) for number, name in enumerate((LIVING, RELEASED, DELETED))
    ]
    return Look(NOW, {role.name: role for role in found}, {each.name: each for each in databases}, BYSTANDER)


def rest() -> AtRest:
    return AtRest(
        ready={LIVING: True},
        secrets=frozenset({"living-app", "living-migrator"}),
        logins={"living-app": "living__rw", "living-migrator": "living__owner"},
        rows=dict.fromkeys((LIVING, RELEASED, DELETED), frozenset({"a", "b"})),
    )


def violations(seen: Look, at_the_end: AtRest, asked: Model) -> list[str]:
    return [*always(seen, asked, bystander=BYSTANDER), *at_rest(seen, at_the_end, asked)]


def test_it_has_nothing_against_what_is_right() -> None:
    assert violations(look(), rest(), model()) == []


def role(name: str, **changes: object) -> Callable[[Look], Look]:
    return lambda seen: replace(seen, roles={**seen.roles, name: replace(seen.roles[name], **changes)})  # type: ignore[arg-type]


def database(name: str, **changes: object) -> Callable[[Look], Look]:
    return lambda seen: replace(
        seen,
        databases={**seen.databases, name: replace(seen.databases[name], **changes)},  # type: ignore[arg-type]
    )


def added(name: str, comment: str | None) -> Callable[[Look], Look]:
    return lambda seen: replace(seen, roles={**seen.roles, name: SeenRole(name, False, comment)})


def without_database(name: str) -> Callable[[Look], Look]:
    return lambda seen: replace(seen, databases={key: each for key, each in seen.databases.items() if key != name})


def without_role(name: str) -> Callable[[Look], Look]:
    return lambda seen: replace(seen, roles={key: each for key, each in seen.roles.items() if key != name})


NOTE = RoleNote("living__owner", "app").comment()
UNRELEASED = Marker("c", "crd", "kyc", "ns", RELEASED, "uid", oid=101).comment()


@pytest.mark.parametrize(
    ("fault", "says"),
    [
        pytest.param(role("living__app_b", comment=None), "no marker", id="a role without its note"),
        pytest.param(added("living__readonly_a", NOTE), "nothing that was asked for", id="a role leaked from a change"),
        pytest.param(added("other__owner", NOTE), "nothing that was asked for", id="a role of nobody's"),
        pytest.param(added("dropped__app_a", NOTE), "was to be dropped", id="a role left over by a drop"),
        pytest.param(without_role("living__app_b"), "is missing", id="a role that is missing"),
        pytest.param(without_role("deleted__owner"), "its owner role is not", id="logins that lost their owner role"),
        pytest.param(role("living__rw", attributes=frozenset({"CREATEDB"})), "CREATEDB", id="an attribute"),
        pytest.param(role("living__owner", member_of_admin=True), "left a member", id="a membership of the admin's"),
        pytest.param(role("released__app_a", login=True), "is open", id="a login that was not closed"),
        pytest.param(role("deleted__app_a", sessions=1), "has sessions", id="a session that was not ended"),
        pytest.param(
            role("released__owner", comment=UNRELEASED), "does not say so", id="a marker not brought up to date"
        ),
        pytest.param(without_database(DELETED), "before it may be", id="a drop before the grace"),
        pytest.param(without_database(RELEASED), "before it may be", id="a drop of what is retained"),
        pytest.param(without_database(LIVING), "before it may be", id="a drop of what is in use"),
        pytest.param(database(LIVING, oid=999), "before it may be", id="a database replaced by an empty one"),
        pytest.param(database(LIVING, oid=999), "no marker names", id="a database that is not the marker's"),
        pytest.param(database(LIVING, public=True), "open to PUBLIC", id="a database open to PUBLIC"),
        pytest.param(lambda seen: replace(seen, bystander="other"), "somebody else", id="somebody else's database"),
    ],
)
def test_it_turns_red_at_a_fault_on_the_server(fault: Callable[[Look], Look], says: str) -> None:
    assert [each for each in violations(fault(look()), rest(), model()) if says in each]


@pytest.mark.parametrize(
    ("fault", "says"),
    [
        pytest.param({"ready": {}}, "not Ready", id="an object that does not come to be Ready"),
        pytest.param({"secrets": frozenset({"living-app"})}, "is missing", id="a Secret that was lost"),
        pytest.param({"secrets": rest().secrets | {"released-app"}}, "left over", id="a Secret that was left"),
        pytest.param({"logins": {**rest().logins, "living-app": "refused"}}, "ends in", id="a login that fails"),
        pytest.param(
            {"logins": {**rest().logins, "living-app": "living__app_a"}}, "ends in", id="a login as another role"
        ),
        pytest.param(
            {"rows": {**rest().rows, RELEASED: frozenset({"a"})}}, "what was written", id="a row that was lost"
        ),
        pytest.param({"rows": {**rest().rows, LIVING: frozenset("abc")}}, "what was written", id="a row of nobody's"),
        pytest.param({"locks": 1}, "locks are held", id="a lock that was left behind"),
    ],
)
def test_it_turns_red_at_a_fault_at_rest(fault: dict[str, object], says: str) -> None:
    seen = replace(rest(), **fault)  # type: ignore[arg-type]
    assert [each for each in violations(look(), seen, model()) if says in each]


def test_what_was_dropped_in_time_and_made_again_starts_empty() -> None:
    asked = model().asked[DROPPED]
    assert asked.may_be_gone(NOW)
    asked.made(ROLES, "Retain", 0)
    assert asked.may_be_gone(NOW)
    asked.seen(500)
    assert not asked.may_be_gone(NOW)
    assert asked.rows == set()


def test_what_was_made_again_in_time_keeps_what_was_written() -> None:
    asked = model().asked[DELETED]
    asked.made(ROLES, "Retain", 0)
    asked.seen(102)
    assert not asked.may_be_gone(NOW + 10_000)
    assert asked.rows == {"a", "b"}


def test_a_deletion_of_what_nobody_had_seen_yet_may_stay_unknown() -> None:
    asked = model()
    asked.asked[RELEASED].made(ROLES, "Delete", 3)
    asked.asked[RELEASED].deleted(NOW - 10)
    assert asked.asked[RELEASED].may_be_gone(NOW)
    assert violations(look(), rest(), asked) == []


def test_a_drop_that_was_asked_for_may_come_although_the_object_was_there_again_for_a_moment() -> None:
    asked = model().asked[DROPPED]
    asked.made(ROLES, "Delete", 3600)
    asked.deleted(NOW)
    assert asked.may_be_gone(NOW)
