"""Faults put into the operator, one at a time, which the soak's checker has to see: a check that is never red is none.

`FAULTS[name].put_in()` changes the operator in this process; operator_launcher does so for SERVICEDB_TEST_FAULT.
"""

import re
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from psycopg import sql
from servicedb.kube import secrets
from servicedb.plan import database as plan_database
from servicedb.plan.observed import PUBLIC
from servicedb.plan.steps import (
    ChangeSetting,
    CommentOnRole,
    CreateRole,
    DropDatabase,
    DropRole,
    RevokeOnDatabase,
    SetPassword,
    Step,
)
from servicedb.postgres import apply
from servicedb.postgres.apply import Executor
from servicedb.postgres.session import AdminServer
from servicedb.reconcile import credentials, departure, drop, release, work

Series = Literal["created", "changed", "released", "deleted", "dropped"]
"""What is done while the fault is there: one object is made, and then changed or deleted (see test_soak_faults)."""


@dataclass(frozen=True, slots=True)
class Fault:
    """`says`: what the checker has to say, as a regular expression."""

    name: str
    series: Series
    says: str
    put_in: Callable[[], None]

    def is_seen(self, violations: Iterable[str]) -> bool:
        return any(re.search(self.says, violation) for violation in violations)


def _instead(of: Any, name: str, make: Callable[[Any], Any]) -> None:
    """Put what `make` gives for the present one in its place."""
    setattr(of, name, make(getattr(of, name)))


def _nothing_done(of: Any, name: str) -> None:
    async def nothing(*_: Any, **__: Any) -> None:
        return None

    setattr(of, name, nothing)


def _without(of: Any, name: str, left_out: Callable[[Any], bool]) -> None:
    """A function that gives steps gives them without those that are `left_out`."""

    def make(present: Callable[..., Iterable[Any]]) -> Callable[..., list[Any]]:
        return lambda *args, **named: [step for step in present(*args, **named) if not left_out(step)]

    _instead(of, name, make)


def _in_transactions_of_roles(change: Callable[[Step], Step | None]) -> None:
    """Each step on roles is changed before it is carried out; None leaves it out."""

    def make(present: Any) -> Any:
        async def roles(self: Executor, connection: Any, steps: Sequence[Any], passwords: Any) -> Any:
            changed = [other for step in steps if (other := change(step)) is not None]
            return await present(self, connection, changed, passwords)

        return roles

    _instead(Executor, "roles", make)


def _all_are_accepted() -> None:
    async def accepted(*_: Any, **__: Any) -> bool:
        return True

    _instead(credentials, "is_accepted", lambda _: accepted)


def _release_leaves_logins_open() -> None:
    _without(release, "release_steps", lambda step: not isinstance(step, CommentOnRole))


def _release_is_not_marked() -> None:
    _without(release, "release_steps", lambda step: isinstance(step, CommentOnRole))


def _marker_names_no_database() -> None:
    async def unchanged(_: Any, step: Any) -> Any:
        return step

    _instead(apply, "_with_oid", lambda _: unchanged)
    _instead(work, "current_marker", lambda present: lambda *args: present(*args).with_oid(None))


def _password_reaches_no_role() -> None:
    _in_transactions_of_roles(lambda step: None if isinstance(step, SetPassword) else step)
    _all_are_accepted()


def _grace_is_not_waited_for() -> None:
    _instead(drop, "is_due", lambda _: lambda marker, *_: marker.deleted_at is not None)


def _departed_login_stays() -> None:
    _without(departure, "departure_steps", lambda step: isinstance(step, DropRole))


def _secrets_are_left() -> None:
    _nothing_done(secrets, "delete")


def _public_may_connect() -> None:
    def is_it(step: Step) -> bool:
        return isinstance(step, RevokeOnDatabase) and step.privilege.grantee == PUBLIC

    _without(plan_database, "privilege_steps", is_it)


def _group_without_a_note() -> None:
    def without_note(step: Step) -> Step | None:
        match step:
            case CreateRole() if step.name.endswith("__ro"):
                return replace(step, comment="made by an operator")
            case CommentOnRole() if step.name.endswith("__ro"):
                return None
        return step

    _in_transactions_of_roles(without_note)


def _admin_stays_a_member() -> None:
    _instead(apply, "revoke", lambda _: lambda membership: sql.SQL("SELECT {}").format(membership.group))


def _another_database_is_dropped() -> None:
    def other(why: str, name: str, *args: Any) -> DropDatabase:
        number = int(name.rpartition("_")[2])
        return DropDatabase(why, f"{name.rpartition('_')[0]}_{number ^ 1:02d}", *args)

    _instead(drop, "DropDatabase", lambda _: other)


def _sessions_go_on() -> None:
    _nothing_done(release, "_end_sessions")


def _roles_of_a_dropped_database_stay() -> None:
    _nothing_done(drop, "_drop_roles")


def _logins_work_as_themselves() -> None:
    def without_role(present: Callable[..., Iterator[Step]]) -> Callable[..., list[Step]]:
        def steps(*args: Any, leaving: Collection[str] = ()) -> list[Step]:
            del leaving
            kept = present(*args)
            return [step for step in kept if not (isinstance(step, ChangeSetting) and step.parameter == "role")]

        return steps

    _instead(work, "database_steps", without_role)
    _all_are_accepted()


def _lock_is_kept() -> None:
    def make(present: Any) -> Any:
        def locked(self: AdminServer, database: str) -> Any:
            return _locked_for_good(present, self, database)

        return locked

    _instead(AdminServer, "locked", make)


class _locked_for_good:  # noqa: N801 - stands for a function
    def __init__(self, present: Any, admin: AdminServer, database: str) -> None:
        self._held = present(admin, database)

    async def __aenter__(self) -> Any:
        connection = await self._held.__aenter__()
        await connection.execute("SELECT pg_advisory_lock(1)")
        return connection

    async def __aexit__(self, *error: Any) -> Any:
        return await self._held.__aexit__(*error)


_TABLE: tuple[tuple[Series, str, Callable[[], None]], ...] = (
    ("created", r"is open, and no marker names its OID", _marker_names_no_database),
    ("created", r"a login with Secret \S+ ends in: OperationalError", _password_reaches_no_role),
    ("created", r"is open to PUBLIC", _public_may_connect),
    ("created", r"role \S+__ro carries no marker and no note", _group_without_a_note),
    ("created", r"the administrator is left a member of role", _admin_stays_a_member),
    ("created", r"a login with Secret \S+ ends in: \S+__app_a", _logins_work_as_themselves),
    ("created", r"locks are held by nobody who is at work", _lock_is_kept),
    ("changed", r"role \S+__readonly_a is left over", _departed_login_stays),
    ("released", r"login \S+ is open, and its object is gone", _release_leaves_logins_open),
    ("released", r"was let go, and its marker does not say so", _release_is_not_marked),
    ("released", r"Secret \S+ is left over", _secrets_are_left),
    ("deleted", r"is gone before it may be", _grace_is_not_waited_for),
    ("deleted", r"has sessions, and its object is gone", _sessions_go_on),
    ("dropped", r"database soak_01 \(OID \d+\) is gone before it may be", _another_database_is_dropped),
    ("dropped", r"was to be dropped with its roles, and there is", _roles_of_a_dropped_database_stay),
)

FAULTS = {
    name: Fault(name, series, says, put_in)
    for series, says, put_in in _TABLE
    for name in [put_in.__name__.removeprefix("_").replace("_", "-")]
}
