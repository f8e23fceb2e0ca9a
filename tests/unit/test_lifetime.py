"""Whatever becomes of a spec over time, nobody who holds a password is cut off early, and nothing is left over."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from functools import partial

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from servicedb.plan.marker import RoleNote
from servicedb.plan.rotation import Schedule
from servicedb.plan.wanted import Access, Login, Wanted, works_as

from tests.unit.given import APP, FIXED, MIGRATOR, NAMES, ONLY_APP, OVERLAP, OWNER, READER
from tests.unit.lifetime import Lifetime, after

ETL = Login("etl", NAMES.pair("etl"), Access.READ_WRITE, NAMES.read_write, "orders-etl")


def killed(lifetime: Lifetime, count: int) -> None:
    lifetime.reconcile(killed_after=count)


def rotate(lifetime: Lifetime) -> None:
    lifetime.schedule = Schedule(asked=f"{int(lifetime.schedule.asked or 0) + 1}")


def add(lifetime: Lifetime, login: Login) -> None:
    there = {name for one in lifetime.wanted.logins for name in (one.role, one.secret_name)}
    if not there & {login.role, login.secret_name}:
        lifetime.change(replace(lifetime.wanted, logins=(*lifetime.wanted.logins, login)))


def remove(lifetime: Lifetime, role: str) -> None:
    logins = tuple(login for login in lifetime.wanted.logins if login.role != role)
    lifetime.change(replace(lifetime.wanted, logins=logins))


def alter(lifetime: Lifetime, role: str, change: Callable[[Login], Login]) -> None:
    logins = tuple(change(login) if login.role == role else login for login in lifetime.wanted.logins)
    if len({login.secret_name for login in logins}) == len(logins):  # as the CRD demands
        lifetime.change(replace(lifetime.wanted, logins=logins))


def with_access(login: Login, access: Access) -> Login:
    return replace(login, access=access, works_as=works_as(NAMES, access))


def with_secret(login: Login, name: str) -> Login:
    return replace(login, secret_name=name)


def with_other_name(login: Login) -> Login:
    return replace(login, halves=FIXED.halves if login.halves == APP.halves else APP.halves)


def swap_secrets(lifetime: Lifetime) -> None:
    names = [login.secret_name for login in lifetime.wanted.logins]
    logins = zip(lifetime.wanted.logins, [*names[1:], names[0]], strict=True)
    lifetime.change(replace(lifetime.wanted, logins=tuple(with_secret(login, name) for login, name in logins)))


EVENTS: Mapping[str, Callable[[Lifetime], None]] = {
    **{f"killed after {count}": partial(killed, count=count) for count in range(8)},
    "reconciled": partial(killed, count=1000),
    "rotation asked for": rotate,
    **{f"{login.role} added": partial(add, login=login) for login in (MIGRATOR, READER, ETL)},
    **{f"{role} removed": partial(remove, role=role) for role in ("migrator", "readonly", "etl")},
    **{
        f"etl with access {access}": partial(alter, role="etl", change=partial(with_access, access=access))
        for access in Access
        if access is not Access.ALL_DATA  # no spec can ask for it, and it is taken back at once
    },
    "app reads": partial(alter, role="app", change=partial(with_access, access=Access.READ_ONLY)),
    "app writes": partial(alter, role="app", change=partial(with_access, access=Access.READ_WRITE)),
    **{
        f"app in {name}": partial(alter, role="app", change=partial(with_secret, name=name))
        for name in ("orders-app", "moved", "moved-again")
    },
    "etl in Secret other": partial(alter, role="etl", change=partial(with_secret, name="other")),
    "app under another loginName": partial(alter, role="app", change=with_other_name),
    "Secrets swapped": swap_secrets,
    "a moment later": partial(after, time=OVERLAP / 10),
    "half an overlap later": partial(after, time=OVERLAP / 2),
    "two overlaps later": partial(after, time=2 * OVERLAP),
}


def settled(lifetime: Lifetime) -> None:
    """Let time pass until there is nothing more to do."""
    for _ in range(12):
        lifetime.reconcile()
        if lifetime.is_settled():
            return
        after(lifetime, OVERLAP)
    raise AssertionError(lifetime.reconcile())


def check_nothing_is_left(lifetime: Lifetime) -> None:
    wanted: Wanted = lifetime.wanted
    assert set(lifetime.server.roles) == set(wanted.role_names)
    # One that was prepared just before its name was changed holds what no role was ever given: nobody knows of it.
    with_password = {name for name, secret in lifetime.secrets.items() if secret.password is not None}
    assert with_password == {login.secret_name for login in wanted.logins}
    for login in wanted.logins:
        state, secret = lifetime.states[login.role], lifetime.secrets[login.secret_name]
        assert state.pending is None
        assert secret.password is not None
        assert lifetime.works(state.active, secret.password.get_secret_value())
        assert [half for half in login.halves if lifetime.server.roles[half].login] == [state.active]
        assert secret.rotate_at == lifetime.schedule.asked
        for half in login.halves:
            note = RoleNote.read(lifetime.server.roles[half].comment)
            assert note is not None
            assert (note.owner, note.retire_at, note.left) == (OWNER, None, ())
            groups = {m.group for m in lifetime.server.memberships if m.member == half}
            assert groups == {login.works_as}


def lived(events: Iterable[str]) -> None:
    lifetime = Lifetime(ONLY_APP)
    for event in events:
        EVENTS[event](lifetime)
    settled(lifetime)
    check_nothing_is_left(lifetime)


@settings(max_examples=600)
@given(st.lists(st.sampled_from(sorted(EVENTS)), max_size=16))
def test_nobody_is_cut_off_early_and_nothing_is_left(events):
    lived(events)


@pytest.mark.parametrize(
    "events",
    [
        # A login is not closed before the one in its place is in use, however long that takes.
        "reconciled, app under another loginName, killed after 2, two overlaps later, killed after 2",
        # A Secret stays for its overlap, although the half that it is noted on besides has left already.
        "reconciled, rotation asked for, reconciled, half an overlap later, app in moved, reconciled, "
        "half an overlap later, reconciled",
        # The rest were found by chance.
        "killed after 5, app reads, killed after 2, app in moved",
        "killed after 2, migrator added, Secrets swapped, killed after 6, Secrets swapped",
        "killed after 2, migrator added, Secrets swapped, killed after 6, app in moved",
        "killed after 5, app in moved-again, killed after 4, two overlaps later, killed after 1, app in moved",
        "killed after 2, app in moved, killed after 2, app in orders-app",
        "killed after 1, app in moved, killed after 5, app in orders-app",
        "migrator added, killed after 3, app in moved, killed after 2, app in orders-app, Secrets swapped, app reads",
        "etl added, killed after 6, rotation asked for, killed after 1, app in moved, killed after 3, Secrets swapped",
        "app under another loginName, killed after 5, app reads, killed after 1, app under another loginName",
    ],
)
def test_lives_that_are_easily_got_wrong(events):
    lived(events.split(", "))
