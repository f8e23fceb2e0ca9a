"""Whether the tenants that share a database are kept apart by row-level security.

What is found is said and never changed: row-level security that is turned on under a running application hides every
row from it. Source: PostgreSQL documentation, "Row Security Policies", and CREATE POLICY, "Policies Applied by Command
Type".
"""

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum

from servicedb.plan.conditions import Finding
from servicedb.plan.observed import PUBLIC
from servicedb.plan.wanted import Access, Tenancy, Wanted

CONDITION = "TenantIsolation"

LISTED_TABLES = 20
"""Most tables that a sentence names."""

_COMMANDS = ("SELECT", "INSERT", "UPDATE", "DELETE")
_LITERAL = re.compile(r"'(?:[^']|'')*'")


class Kind(StrEnum):
    """Of what holds rows, or shows them."""

    TABLE = "table"
    FOREIGN_TABLE = "foreign table"
    VIEW = "view"
    MATERIALIZED_VIEW = "materialized view"


@dataclass(frozen=True, slots=True)
class Policy:
    """A row of pg_policy; `command` is ALL or one of those that it can be for, `using` and `check` are as PostgreSQL
    writes them. `called` are the bodies of the functions that they call."""

    name: str
    command: str
    permissive: bool
    roles: frozenset[str]
    using: str | None = None
    check: str | None = None
    called: str = ""

    def covers(self, command: str) -> bool:
        return self.command in ("ALL", command)

    def conditions(self, command: str) -> tuple[str, ...]:
        """What rows have to meet that `command` is to see, and those that it is to leave behind."""
        using, check = self.using or "", self.check if self.check is not None else self.using or ""
        return {"INSERT": (check,), "UPDATE": (using, check)}.get(command, (using,))


@dataclass(frozen=True, slots=True)
class TenantTables:
    """Tables or views that are alike in all that counts here; `names` (schema and name) are the first of `count`.

    `enabled` and `forced`: row-level security is. `passed_over`: a view that is read as an owner whom the row-level
    security of what stands below it does not hold.
    """

    kind: Kind
    has_column: bool
    enabled: bool
    forced: bool
    policies: tuple[Policy, ...]
    names: tuple[tuple[str, str], ...]
    count: int = 1
    passed_over: bool = False


def isolation_faults(wanted: Wanted, tenancy: Tenancy, seen: Iterable[TenantTables]) -> list[str]:
    """A sentence for each thing that keeps tenants from being kept apart, with the tables that it is true of."""
    names: defaultdict[str, list[tuple[str, str]]] = defaultdict(list)
    counts: defaultdict[str, int] = defaultdict(int)
    for tables in seen:
        for fault in _faults(wanted, tenancy, tables):
            names[fault] += tables.names
            counts[fault] += tables.count
    return [f"{fault}: {_listed(found, counts[fault])}" for fault, found in names.items()]


def isolation_finding(faults: Sequence[str] | None) -> Finding:
    """The condition that `faults` make; None: they could not be looked for."""
    if faults is None:
        return Finding(
            CONDITION,
            "Unknown",
            "NotLookedAt",
            "the policies could not be read: a migration holds a table, or the admin can't enter the database; looked "
            "at again at the next resync",
        )
    if not faults:
        return Finding(CONDITION, "True", "Isolated")
    return Finding(CONDITION, "False", "NotIsolated", "; ".join(faults))


def _listed(names: Sequence[tuple[str, str]], count: int) -> str:
    shown = [f"{schema}.{name}" for schema, name in sorted(names)[:LISTED_TABLES]]
    more = [f"and {count - len(shown)} more"] if count > len(shown) else []
    return " ".join([", ".join(shown), *more])


def _faults(wanted: Wanted, tenancy: Tenancy, tables: TenantTables) -> Iterator[str]:
    if tables.kind is Kind.VIEW:
        if tables.passed_over:
            yield "read as its owner, whom row-level security passes over (set security_invoker)"
    elif tables.kind is not Kind.TABLE:
        yield f"a {tables.kind} has no row-level security"
    elif not tables.has_column:
        yield f'no column "{tenancy.column}"'
    elif not tables.enabled:
        yield "row-level security is not enabled"
    else:
        yield from _policy_faults(wanted, tenancy, tables.policies)
        owners = [login.role for login in wanted.logins if login.access is Access.OWNER and login.role != "migrator"]
        if owners and not tables.forced:
            yield f"row-level security is not forced, and {', '.join(owners)} works as the owner"


def _policy_faults(wanted: Wanted, tenancy: Tenancy, policies: Sequence[Policy]) -> Iterator[str]:
    """Of those policies that hold for the application. What one gives another role by its name is meant so."""
    application = {PUBLIC, *(name for login in wanted.logins if login.role == "app" for name in login.halves)}
    application |= {login.works_as for login in wanted.logins if login.role == "app"}
    own = [policy for policy in policies if policy.roles & application]
    if not any(
        _is_bound(policy, command, tenancy) for policy in own for command in _COMMANDS if policy.covers(command)
    ):
        yield f'no policy compares "{tenancy.column}" with {tenancy.setting}'
        return
    open_ones = {policy.name for command in _COMMANDS for policy in _open(own, command, tenancy)}
    for name in sorted(open_ones):
        yield f'policy "{name}" does not compare "{tenancy.column}" with {tenancy.setting}'


def _open(policies: Sequence[Policy], command: str, tenancy: Tenancy) -> Iterator[Policy]:
    """Those that let `command` have rows of any tenant: one of many permissive ones is enough, one restrictive one
    holds for all."""
    covering = [policy for policy in policies if policy.covers(command)]
    if any(not policy.permissive and _is_bound(policy, command, tenancy) for policy in covering):
        return
    yield from (policy for policy in covering if policy.permissive and not _is_bound(policy, command, tenancy))


def _is_bound(policy: Policy, command: str, tenancy: Tenancy) -> bool:
    """Whether all that `policy` asks for names the column, and the setting, if only in a function that it calls."""
    return all(
        _names_column(condition, tenancy.column)
        and (_names_setting(condition, tenancy.setting) or _names_setting(policy.called, tenancy.setting))
        for condition in policy.conditions(command)
    )


def _names_column(condition: str, column: str) -> bool:
    words = _LITERAL.sub("''", condition)
    quoted = '"{}"'.format(column.replace('"', '""'))
    return quoted in words or re.search(rf'(?<![\w$"]){re.escape(column)}(?![\w$"])', words) is not None


def _names_setting(text: str, setting: str) -> bool:
    return f"'{setting.lower()}'" in text.lower()
