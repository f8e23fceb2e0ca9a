"""Differences in words: each kind of step has some, and they stay on one line."""

import pytest
from servicedb.api.service_database_status import LISTED_LINES
from servicedb.plan.lines import Listed, drift_line, one_line
from servicedb.plan.observed import PUBLIC, Membership, ObjectName, Privilege
from servicedb.plan.steps import (
    AlterRole,
    BackupStep,
    ChangeObjectOwner,
    CloseDatabase,
    DeleteSecret,
    DropDatabase,
    DropOwned,
    EndSessions,
    Grant,
    GrantOnObjects,
    MigrationStep,
    Revoke,
    RevokeOnSchema,
    SecretStep,
    SetPassword,
)

from tests.unit.test_execute import TABLE, kinds

GOODS = tuple(ObjectName("TABLE", "public", name) for name in ("a", "b", "c", "d", "e"))
APP = Membership("orders__rw", "orders__app_a", inherit=True, set_role=True)


@pytest.mark.parametrize(
    ("step", "line"),
    [
        (Grant("missing", APP), "membership: orders__app_a is missing from orders__rw"),
        (Grant("granted with other options", APP), "membership: orders__app_a is in orders__rw with other options"),
        (Revoke("not in the spec", APP), "membership: orders__app_a is in orders__rw"),
        (AlterRole("", "r", ("LOGIN", "CONNECTION LIMIT 5")), "role: r is not LOGIN, CONNECTION LIMIT 5"),
        (RevokeOnSchema("", "app", Privilege(PUBLIC, "CREATE")), "schema: PUBLIC holds CREATE on app"),
        (
            GrantOnObjects("", GOODS, "orders__ro", ("SELECT",)),
            "table public.a, public.b, public.c and 2 more: orders__ro lacks SELECT",
        ),
        (ChangeObjectOwner("", GOODS[:1], "o", "p", False), "table public.a: owned by p, not by o"),
    ],
)
def test_a_difference_reads_so(step, line):
    assert drift_line(step) == line


LETTING_GO = CloseDatabase | DeleteSecret | DropDatabase | DropOwned | EndSessions
"""Never a difference from a spec: there is none any more."""


@pytest.mark.parametrize(
    "step", [row[0] for row in TABLE if not isinstance(row[0], LETTING_GO)], ids=lambda step: type(step).__name__
)
def test_each_kind_of_step_that_changes_a_server_has_words(step):
    assert ": " in drift_line(step)


def test_the_table_has_all_kinds():
    assert {type(row[0]).__name__ for row in TABLE} >= {
        kind.__name__
        for kind in kinds()
        if not issubclass(kind, SecretStep | SetPassword | DeleteSecret | MigrationStep | BackupStep)
    }


def test_names_with_line_breaks_stay_on_one_line():
    line = one_line("role: a\nb\x1b[31m is missing")
    assert line == "role: a b [31m is missing"
    assert len(one_line("x" * 5000)) == 1024


def test_more_lines_than_a_status_holds_are_cut_and_it_is_said():
    assert Listed.of(["x"] * LISTED_LINES) == Listed(("x",) * LISTED_LINES, truncated=False)
    assert Listed.of(["x"] * (LISTED_LINES + 1)) == Listed(("x",) * LISTED_LINES, truncated=True)
