"""Releases: only what is gone for certain is let go, and never much of it at once."""

from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from servicedb.api.strings import Percent
from servicedb.plan.marker import Marker, RoleNote
from servicedb.plan.observed import Role
from servicedb.plan.release import Absence, CrdState, LiveObject, is_gone, marker_of_gone, releases
from servicedb.plan.steps import AlterRole, CommentOnRole
from servicedb.reconcile.release import release_steps

from tests.unit.given import APP_A, APP_B, MARKER, MIGRATOR, MIGRATOR_A, NAMES, NOW, OWNER, note, roles_in_sync, scan
from tests.unit.simulated import Simulated

SERVER, OTHER_SERVER = "7300000000000000001", "7300000000000000002"
CRD = CrdState("crd-1", established=True, terminating=False)
HERE = LiveObject(SERVER, "orders")
CONFIRMATION = timedelta(minutes=5)


def gone(
    marker: Marker = MARKER,
    crd: CrdState | None = CRD,
    namespace_uid: str | None = "namespace-1",
    live: LiveObject | None = None,
) -> bool:
    return is_gone(
        "orders", marker, server=SERVER, cluster="cluster-1", crd=crd, namespace_uid=namespace_uid, live=live
    )


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        pytest.param({}, True, id="no object of that name"),
        pytest.param({"namespace_uid": None}, True, id="no namespace"),
        pytest.param({"namespace_uid": "namespace-2"}, True, id="another namespace of that name"),
        pytest.param({"namespace_uid": "namespace-2", "live": HERE}, True, id="its namesake in another namespace"),
        pytest.param({"live": HERE}, False, id="there"),
        pytest.param({"live": LiveObject(SERVER, "invoices")}, True, id="it stands for another database"),
        pytest.param({"live": LiveObject(OTHER_SERVER, "orders")}, True, id="it stands on another server"),
        pytest.param({"live": LiveObject(None, "orders")}, False, id="its server is not known"),
        pytest.param({"live": LiveObject(None, "")}, False, id="it can't be read"),
        pytest.param({"crd": None}, False, id="no CRD"),
        pytest.param({"crd": replace(CRD, established=False)}, False, id="CRD not established"),
        pytest.param({"crd": replace(CRD, terminating=True)}, False, id="CRD terminating"),
        pytest.param({"crd": replace(CRD, uid="crd-2")}, False, id="CRD made again"),
        pytest.param({"crd": None, "namespace_uid": None}, False, id="no CRD, no namespace"),
        pytest.param({"marker": replace(MARKER, cluster="cluster-2")}, False, id="another cluster's"),
        pytest.param({"marker": replace(MARKER, released="2025-01-01T00:00:00+00:00")}, True, id="released already"),
        pytest.param({"marker": replace(MARKER, deleted_at="2025-01-01T00:00:00+00:00")}, True, id="deleted already"),
    ],
)
def test_when_an_object_is_gone(changes, expected):
    assert gone(**changes) is expected


STATES = st.none() | st.builds(CrdState, st.sampled_from(["crd-1", "crd-2"]), st.booleans(), st.booleans())
LIVES = st.none() | st.builds(
    LiveObject, st.sampled_from([None, SERVER, OTHER_SERVER]), st.sampled_from(["orders", "invoices"])
)
UIDS = st.sampled_from([None, "namespace-1", "namespace-2"])


@given(STATES, UIDS, LIVES)
def test_nothing_is_gone_while_the_crd_is_not_there_for_good(crd, namespace_uid, live):
    if gone(crd=crd, namespace_uid=namespace_uid, live=live):
        assert crd == CRD


@given(STATES, LIVES)
def test_an_object_that_may_be_here_is_not_gone(crd, live):
    if live is not None and live.server in (None, SERVER) and live.database == "orders":
        assert not gone(crd=crd, live=live)


def markers_of(*crds: str) -> dict[str, Marker]:
    return {f"d{number}": replace(MARKER, crd=crd) for number, crd in enumerate(crds)}


@pytest.mark.parametrize(("acknowledged", "believed"), [(None, False), ("crd-1", False), ("crd-2", True)])
def test_what_went_with_an_earlier_crd_is_gone_only_when_somebody_says_so(acknowledged, believed):
    anew = CrdState("crd-2", established=True, terminating=False)
    assert MARKER.crd == "crd-1"
    assert (
        is_gone(
            "orders",
            MARKER,
            server=SERVER,
            cluster="cluster-1",
            crd=anew,
            namespace_uid="namespace-1",
            live=None,
            acknowledged=acknowledged,
        )
        is believed
    )


def absences(count: int, *, since: timedelta = CONFIRMATION) -> list[Absence]:
    return [Absence(f"d{number:03}", replace(MARKER, uid=f"u{number}"), NOW - since) for number in range(count)]


def decide(found: list[Absence], *, total: int = 10, share: str = "10%", acknowledged: str | None = None):
    return releases(
        found,
        total=total,
        max_releases=Percent(share),
        acknowledged=acknowledged,
        now=NOW,
        confirmation=CONFIRMATION,
    )


@pytest.mark.parametrize(
    ("count", "total", "share", "held"),
    [
        pytest.param(0, 10, "10%", False, id="none"),
        pytest.param(3, 3, "0%", False, id="three are always believed"),
        pytest.param(4, 10, "10%", True, id="four of ten are not"),
        pytest.param(4, 40, "10%", False, id="four of forty are"),
        pytest.param(5, 49, "10%", True, id="the share is rounded down"),
        pytest.param(50, 50, "100%", False, id="all, where that is allowed"),
        pytest.param(4, 500, "0%", True, id="no share"),
    ],
)
def test_more_than_the_guard_allows_are_held(count, total, share, held):
    found = absences(count)
    decision = decide(found, total=total, share=share)
    assert decision.due == (() if held else tuple(found))
    assert decision.held == (tuple(found) if held else ())
    assert bool(decision.token) is held


def test_what_is_held_goes_when_it_is_acknowledged():
    found = absences(5)
    token = decide(found).token
    assert decide(found, acknowledged=token).due == tuple(found)
    assert decide(list(reversed(found)), acknowledged=token).due == tuple(reversed(found))


@pytest.mark.parametrize(
    "others",
    [
        pytest.param(absences(6), id="one more"),
        pytest.param(absences(4), id="one less"),
        pytest.param([replace(a, database=a.database + "x") for a in absences(5)], id="other names"),
        pytest.param([replace(a, marker=replace(a.marker, uid="x")) for a in absences(5)], id="other objects"),
    ],
)
def test_an_acknowledgement_is_good_for_these_alone(others):
    assert decide(others, acknowledged=decide(absences(5)).token).due == ()


def test_what_is_not_confirmed_yet_does_not_count():
    late, early = absences(3), absences(50, since=CONFIRMATION - timedelta(seconds=1))
    assert decide(late + early).due == tuple(late)


@given(
    st.lists(st.timedeltas(timedelta(0), 3 * CONFIRMATION), max_size=30),
    st.integers(0, 60),
    st.integers(0, 100),
    st.none() | st.text(max_size=12),
)
def test_nothing_is_released_before_its_confirmation_nor_beyond_the_guard(ages, total, share, acknowledged):
    found = [replace(a, since=NOW - age) for a, age in zip(absences(len(ages)), ages, strict=True)]
    decision = decide(found, total=total, share=f"{share}%", acknowledged=acknowledged)
    assert all(NOW - absence.since >= CONFIRMATION for absence in (*decision.due, *decision.held))
    assert not (decision.due and decision.held)
    assert len(decision.due) <= max(3, total * share // 100)


RELEASED = replace(MARKER, released=NOW.isoformat())


@pytest.mark.parametrize(
    ("policy", "expected"),
    [
        pytest.param("Retain", RELEASED, id="Retain"),
        pytest.param("Delete", replace(MARKER, policy="Delete", deleted_at=NOW.isoformat()), id="Delete"),
        pytest.param("delete", replace(RELEASED, policy="delete"), id="a word that is not known keeps it"),
    ],
)
def test_what_the_policy_makes_of_a_database_whose_object_is_gone(policy, expected):
    assert marker_of_gone(replace(MARKER, policy=policy), NOW) == expected
    assert expected.let_go


def test_a_release_notes_itself_then_closes_every_login_of_the_database():
    roles = {
        **roles_in_sync(active=[APP_A, APP_B, MIGRATOR_A]),
        "orders_old": Role("orders_old", login=True, comment=note(MIGRATOR)),
        "orders__intern": Role("orders__intern", login=True),
        "invoices__app_a": Role("invoices__app_a", login=True, comment=RoleNote("invoices__owner", "app").comment()),
    }
    steps = release_steps(scan(roles.values()), NAMES, RELEASED)
    assert steps[0] == CommentOnRole("its object is gone", OWNER, RELEASED.comment())
    assert steps[1:] == [
        AlterRole("its object is gone", name, ("NOLOGIN",)) for name in (APP_A, APP_B, MIGRATOR_A, "orders_old")
    ]
    server = Simulated(scan(roles.values()))
    server.apply_all(steps)
    assert Marker.read(server.roles[OWNER].comment) == RELEASED
    assert {role.name for role in server.roles.values() if role.login} == {"orders__intern", "invoices__app_a"}


def test_the_notes_stay_so_that_the_secrets_can_be_found():
    roles = roles_in_sync()
    touched = {
        step.name for step in release_steps(scan(roles.values()), NAMES, RELEASED) if isinstance(step, CommentOnRole)
    }
    assert touched == {OWNER}
