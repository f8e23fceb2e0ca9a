"""Which databases have to be looked at, by two looks at their whole server."""

from collections.abc import Callable
from dataclasses import replace

import pytest
from servicedb.plan.memberships import wanted_memberships
from servicedb.plan.narrow import Narrowed
from servicedb.plan.observed import Membership, ServerScan

from tests.unit.given import APP_A, RW, WANTED, database, roles_in_sync, scan

OTHERS = Membership("other__rw", "other__app_a", inherit=True, set_role=True)


def with_role(seen: ServerScan, name: str, **changes: object) -> ServerScan:
    role = replace(seen.roles[name], **changes)  # type: ignore[arg-type]
    return replace(seen, roles={**seen.roles, name: role})


def with_database(seen: ServerScan, **changes: object) -> ServerScan:
    database = replace(seen.databases["orders"], **changes)  # type: ignore[arg-type]
    return replace(seen, databases={**seen.databases, "orders": database})


@pytest.mark.parametrize(
    ("change", "differs"),
    [
        pytest.param(lambda seen: seen, False, id="nothing"),
        pytest.param(lambda seen: with_role(seen, APP_A, connection_limit=3), True, id="an attribute"),
        pytest.param(lambda seen: with_role(seen, RW, comment="by hand"), True, id="a note"),
        pytest.param(lambda seen: with_database(seen, changes=("", 99)), True, id="the counter of changes"),
        pytest.param(lambda seen: with_database(seen, privileges=frozenset()), True, id="ACL"),
        pytest.param(lambda seen: replace(seen, memberships=frozenset()), True, id="memberships"),
        pytest.param(lambda seen: replace(seen, settings={("orders", ""): {"work_mem": "1MB"}}), True, id="settings"),
        pytest.param(lambda seen: replace(seen, memberships=seen.memberships | {OTHERS}), False, id="a neighbour's"),
    ],
)
def test_what_differs_is_looked_at(change: Callable[[ServerScan], ServerScan], differs: bool) -> None:
    seen = scan(roles_in_sync().values(), [database()], memberships=wanted_memberships(WANTED))
    assert Narrowed(change(seen)).differs(Narrowed(seen), "orders") is differs
