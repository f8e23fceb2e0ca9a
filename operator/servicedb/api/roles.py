"""The logins that a ServiceDatabase asks for."""

from collections.abc import Iterator
from typing import Annotated, Final, Literal

from pydantic import ConfigDict, Field

from servicedb.api.common import Part
from servicedb.api.schema import LIST_SET, Rule, list_map, validations
from servicedb.api.strings import NO_CONTROL_CHARACTERS, Identifier, ObjectName, Parameters

Access = Literal["ReadWrite", "Owner", "ReadOnly"]
Privilege = Literal["SELECT", "INSERT", "UPDATE", "DELETE", "TRUNCATE", "REFERENCES", "TRIGGER"]

APP: Final = "app"
MIGRATOR: Final = "migrator"
READ_ONLY: Final = "readonly"
RESERVED: Final = (APP, MIGRATOR, READ_ONLY, "owner", "rw", "ro", "backup", "retain", "partition", "restore")
"""Role names that servicedb gives itself: no extra role has one."""

_ACCESS: Final = (
    "ReadWrite: reads and writes data, uses sequences, calls functions. ReadOnly: reads data. "
    "Owner: works as the owner from login on, for frameworks that migrate at start."
)


class Override(Part):
    """What a role may do with one table, instead of what its access gives."""

    table: Annotated[
        str,
        Field(
            description="The table or view, with its schema, as in public.audit_log_entries.",
            min_length=3,
            max_length=127,
            pattern=NO_CONTROL_CHARACTERS,
        ),
    ]
    privileges: Annotated[
        tuple[Privilege, ...],
        Field(
            description="All that the role may do with the table; an empty list takes everything away.",
            max_length=7,
            json_schema_extra=LIST_SET,
        ),
    ]


Overrides = Annotated[
    tuple[Override, ...],
    Field(
        description="Tables where the role's privileges differ from what its access gives. "
        "They are applied after each MigrationRun; a table that does not exist yet is waited for.",
        max_length=100,
        json_schema_extra=list_map("table"),
    ),
]


class Login(Part):
    """A login, and the Secret that it is written to."""

    secret_name: Annotated[
        ObjectName,
        Field(
            description="Secret in this namespace that the credentials are written to; one that servicedb did not "
            "make is never overwritten. After a change the old Secret is kept for spec.credentials.overlap."
        ),
    ]
    login_name: Annotated[
        Identifier | None,
        Field(
            description="Fixed name of the login, which the DatabaseServer has to list under spec.loginNames. A "
            "rotation then changes its password in place. Left out: two logins alternate, so that none ever fails."
        ),
    ] = None
    connection_limit: Annotated[
        int | None,
        Field(
            description="Most connections of this login at once. Left out: an equal share of what is left of "
            "spec.connectionLimit, or no limit where that is left out, too.",
            ge=1,
            le=262_143,
        ),
    ] = None
    parameters: Annotated[
        Parameters,
        Field(
            description="Settings of PostgreSQL for this login in this database, such as statement_timeout: 5s. "
            "Only those that servicedb allows."
        ),
    ] = Field(default_factory=dict)


class AppRole(Login):
    access: Annotated[Access, Field(description=_ACCESS)] = "ReadWrite"
    overrides: Overrides = ()


class MigratorRole(Login):
    """It works as the owner, so that what it makes belongs to the owner."""


class ReadOnlyRole(Login):
    overrides: Overrides = ()


class ExtraRole(Login):
    name: Annotated[
        str,
        Field(
            description="Name of the role: its logins are called <database>__<name>_a and _b.",
            min_length=1,
            max_length=32,
            pattern=r"^[a-z][a-z0-9]*$",
            json_schema_extra=validations(
                Rule(
                    f"!(self in {list(RESERVED)!r})",
                    f"{', '.join(RESERVED[:-1])} and {RESERVED[-1]} are taken: choose another name for the extra role",
                )
            ),
        ),
    ]
    access: Annotated[Access, Field(description=_ACCESS)]
    overrides: Overrides = ()


def _used_once(field: str) -> str:
    """CEL on `roles`: no two of them have the same `field`."""
    fixed = " + ".join(
        f"(has(self.{role}) && has(self.{role}.{field}) ? [self.{role}.{field}] : [])"
        for role in ("app", "migrator", "readOnly")
    )
    extra = f"(has(self.extra) ? self.extra.filter(r, has(r.{field})).map(r, r.{field}) : [])"
    return f"[{fixed} + {extra}].all(names, names.all(n, names.exists_one(m, m == n)))"


class Roles(Part):
    """The logins of the database."""

    model_config = ConfigDict(
        json_schema_extra=validations(
            Rule(
                _used_once("secretName"),
                "two of spec.roles have the same secretName: each role needs a Secret of its own, rename one",
            ),
            Rule(
                _used_once("loginName"),
                "two of spec.roles have the same loginName: each role needs a login of its own, rename one",
            ),
        )
    )

    app: Annotated[AppRole, Field(description="The login of the application itself.")]
    migrator: Annotated[
        MigratorRole | None,
        Field(
            description="A login that works as the owner, for migrations: what it makes is readable and writable for "
            "the others at once. Left out: not made, and MigrationRuns have to wait."
        ),
    ] = None
    read_only: Annotated[
        ReadOnlyRole | None, Field(description="A login that only reads, for reports and people. Left out: not made.")
    ] = None
    extra: Annotated[
        tuple[ExtraRole, ...],
        Field(
            description="Further logins, each with a name, an access and a Secret of its own.",
            max_length=16,
            json_schema_extra=list_map("name"),
        ),
    ] = ()

    def named(self) -> Iterator[tuple[str, AppRole | MigratorRole | ReadOnlyRole | ExtraRole]]:
        """Each login that is wanted, with the name that its role bears in PostgreSQL."""
        yield APP, self.app
        if self.migrator is not None:
            yield MIGRATOR, self.migrator
        if self.read_only is not None:
            yield READ_ONLY, self.read_only
        for role in self.extra:
            yield role.name, role
