"""What stands inside a database: schemas, extensions and the privileges that new objects are born with."""

from collections.abc import Collection, Iterator, Mapping

from servicedb.errors import Terminal
from servicedb.naming import HISTORY_SCHEMA
from servicedb.plan.database import EXTENSION_SCHEMA
from servicedb.plan.observed import PUBLIC, AvailableExtension, Extension, InsideScan, Privilege, Schema
from servicedb.plan.steps import (
    ChangeSchemaOwner,
    CreateExtension,
    CreateSchema,
    GrantByDefault,
    GrantOnSchema,
    InsideStep,
    RevokeByDefault,
    RevokeOnSchema,
    UpdateExtension,
)
from servicedb.plan.wanted import Access, Wanted, WantedExtension

_READ_WRITE = {
    "SCHEMAS": ("USAGE",),
    "TABLES": ("SELECT", "INSERT", "UPDATE", "DELETE"),
    "SEQUENCES": ("SELECT", "USAGE", "UPDATE"),
    "ROUTINES": ("EXECUTE",),
}
_READ_ONLY = {"SCHEMAS": ("USAGE",), "TABLES": ("SELECT",), "SEQUENCES": ("SELECT",)}

_BY_ACCESS: Mapping[Access, Mapping[str, tuple[str, ...]]] = {
    Access.READ_WRITE: _READ_WRITE,
    Access.NAMED_TABLES: {"SCHEMAS": ("USAGE",)},
}

_OWNER_AT_BIRTH = "pg_database_owner"
"""Who owns schema public in template0 from PostgreSQL 15 on: nobody but the admin has made anything there yet."""

_SCHEMAS_OF_NO_TENANT = frozenset({EXTENSION_SCHEMA, "pg_catalog"})
"""Where an update script of an extension can't meet a tenant's objects: it runs with its schema on search_path, and,
for a trusted extension, as a superuser."""

TYPES_PUBLIC = frozenset({Privilege(PUBLIC, "USAGE")})
"""Types stay usable by everybody, as PostgreSQL makes them: without it no one could name an enum in a cast."""


AT_BIRTH = InsideScan(
    schemas={"public": Schema("public", _OWNER_AT_BIRTH, frozenset({Privilege(PUBLIC, "USAGE")}))},
    default_privileges={
        "TABLES": frozenset(),
        "SEQUENCES": frozenset(),
        "ROUTINES": frozenset({Privilege(PUBLIC, "EXECUTE")}),
        "TYPES": TYPES_PUBLIC,
        "SCHEMAS": frozenset(),
    },
    extensions={"plpgsql": Extension("plpgsql", "1.0", "pg_catalog")},
)
"""The inside of a database that was just made from template0, on every version: what a plan goes by before it is."""


def default_privileges(wanted: Wanted) -> dict[str, frozenset[Privilege]]:
    """What objects that the owner role makes carry from birth, so that no migration has to GRANT anything.

    Source: PostgreSQL documentation, ALTER DEFAULT PRIVILEGES (global, without IN SCHEMA: only so can EXECUTE be
    taken from PUBLIC).
    """
    goal = {"TYPES": TYPES_PUBLIC}
    for object_type in ("SCHEMAS", "TABLES", "SEQUENCES", "ROUTINES"):
        goal[object_type] = frozenset(
            Privilege(group.name, privilege)
            for group in wanted.all_groups
            if object_type != "TABLES" or group.overrides is None  # no moment in which a new table is open to it
            for privilege in privileges_by_access(group.access, object_type)
        )
    return goal


def privileges_by_access(access: Access, object_type: str) -> tuple[str, ...]:
    """What a group of that access holds on objects of a type (`TABLES`, `SEQUENCES`, ...), spelt as in GRANT."""
    return _BY_ACCESS.get(access, _READ_ONLY).get(object_type, ())


def inside_steps(
    wanted: Wanted, seen: InsideScan, *, admin: str, admin_superuser: bool, former: Collection[str] = ()
) -> Iterator[InsideStep]:
    """Yield what leads from `seen` to `wanted`. Raises Terminal for an extension that can't be had. The groups in
    `former` keep what they have.

    The steps before that are to be carried out all the same: extensions come last, so that one that can't be had holds
    up nothing else; but where one is to go into public, that is handed over after it.
    """
    for object_type, goal in default_privileges(wanted).items():  # first: schemas made below are born with them
        there = seen.default_privileges[object_type]
        for privilege in sorted(there - goal):
            yield RevokeByDefault("not in the spec", wanted.names.owner, object_type, privilege)
        for privilege in sorted(goal - there):
            yield GrantByDefault("missing", wanted.names.owner, object_type, privilege)
    yield from _extension_schema_steps(wanted, seen, admin=admin, admin_superuser=admin_superuser, former=former)
    schemas = [
        step
        for name in dict.fromkeys(("public", *wanted.schemas))
        for step in _schema_steps(wanted, name, seen.schemas.get(name), former)
    ]
    others = [seen.schemas[name] for name in sorted({*seen.schemas} - {"public", EXTENSION_SCHEMA, *wanted.schemas})]
    for schema in others:
        if schema.owner == wanted.names.owner:
            schemas += _strangers_in_schema(wanted, schema, former)
        elif schema.owner in (wanted.shared_with or ()) and not schema.of_extension:
            schemas += _schema_steps(wanted, schema.name, schema, former)
    held_back = _at_birth(seen) and any(extension.schema == "public" for extension in wanted.extensions)
    if not held_back:
        yield from schemas
    for extension in wanted.extensions:
        yield from _extension(wanted, extension, seen, admin_superuser=admin_superuser)
    if held_back:
        yield from schemas


def following_schemas(wanted: Wanted, seen: InsideScan) -> Iterator[ChangeSchemaOwner]:
    """Yield what keeps the schemas that belong to whoever owns the database from following it, when that changes hands
    and the owner of before is to keep what it could do there."""
    for name, schema in sorted(seen.schemas.items()):
        if schema.owner == _OWNER_AT_BIRTH and name != EXTENSION_SCHEMA:
            yield ChangeSchemaOwner("owned by whoever owns the database", name, wanted.names.owner, schema.owner)


def _at_birth(seen: InsideScan) -> bool:
    """Whether schema public is as template0 has it: no tenant has been in this database."""
    public = seen.schemas.get("public")
    return public is not None and public.owner == _OWNER_AT_BIRTH


def _schema_steps(wanted: Wanted, name: str, seen: Schema | None, former: Collection[str]) -> Iterator[InsideStep]:
    owner = wanted.names.owner
    groups = frozenset(Privilege(group, "USAGE") for group in wanted.groups if name != HISTORY_SCHEMA)
    if seen is None:
        yield CreateSchema("missing", name, owner)
        return  # born with USAGE for the groups: the owner role's default privileges
    if seen.owner != owner:
        take_up = not seen.reached
        yield ChangeSchemaOwner("owned by another role", name, owner, seen.owner, take_up)
    for privilege in sorted(seen.privileges - groups):
        kept = wanted.shared_with is not None and privilege.grantee not in wanted.role_names
        if privilege.grantee not in (owner, seen.owner, *former) and not kept:
            yield RevokeOnSchema("not in the spec", name, privilege)
    for privilege in sorted(groups - seen.privileges):
        yield GrantOnSchema("missing", name, privilege)


def _strangers_in_schema(wanted: Wanted, seen: Schema, former: Collection[str]) -> Iterator[InsideStep]:
    """Of a schema that a migration made, the groups' privileges are the migration's decision."""
    if wanted.shared_with is not None:
        return
    own = {*wanted.role_names, *former}
    for privilege in sorted(seen.privileges):
        if privilege.grantee not in own:
            yield RevokeOnSchema("held by a role that is not of this database", seen.name, privilege)


def _extension_schema_steps(
    wanted: Wanted, seen: InsideScan, *, admin: str, admin_superuser: bool, former: Collection[str]
) -> Iterator[InsideStep]:
    schema = seen.schemas.get(EXTENSION_SCHEMA)
    groups = frozenset(Privilege(role, "USAGE") for role in (wanted.names.owner, *wanted.groups))
    if schema is None:
        yield CreateSchema("the administrator's own, for extensions", EXTENSION_SCHEMA, None)
    elif schema.owner != admin and schema.reached and schema.of_role_maker and not admin_superuser:
        yield ChangeSchemaOwner("of an earlier admin", EXTENSION_SCHEMA, admin)
    elif schema.owner != admin:
        raise Terminal(
            "ExtensionSchemaTaken",
            f'schema "{EXTENSION_SCHEMA}" in database "{wanted.database}" belongs to role "{schema.owner}", not to '
            f'the admin "{admin}"; an extension installed there could be captured: have a DBA rename it, or, if '
            f"nothing of a tenant's is in it, run "
            f'ALTER SCHEMA "{EXTENSION_SCHEMA}" OWNER TO "{admin}" in that database',
            condition="DatabaseReady",
        )
    there = schema.privileges if schema else frozenset()
    for privilege in sorted(there - groups):
        if schema is not None and privilege.grantee not in (schema.owner, admin, *former):
            yield RevokeOnSchema("not in the spec", EXTENSION_SCHEMA, privilege)
    for privilege in sorted(groups - there):
        yield GrantOnSchema("missing", EXTENSION_SCHEMA, privilege)


def _extension(
    wanted: Wanted, extension: WantedExtension, seen: InsideScan, *, admin_superuser: bool
) -> Iterator[InsideStep]:
    installed = seen.extensions.get(extension.name)
    if installed is not None and extension.version in (None, installed.version):
        return
    version = _checked_version(wanted, extension, seen.available, admin_superuser=admin_superuser)
    if installed is not None:
        if installed.schema not in _SCHEMAS_OF_NO_TENANT:
            raise _refused(
                wanted,
                extension,
                f'stands in schema "{installed.schema}" with version {installed.version}; an update there could be '
                "captured by what a tenant has put beside it: leave out its version, or have a DBA see to it",
            )
        yield UpdateExtension(f"version {installed.version} is installed", extension.name, version)
        return
    if extension.schema == "public" and not _at_birth(seen):
        raise _refused(
            wanted,
            extension,
            "can be put into schema public only when the database is made; leave out its schema, and it goes to "
            f'schema "{EXTENSION_SCHEMA}", which is on the search_path',
        )
    yield CreateExtension("missing", extension.name, extension.schema, extension.version)


def misplaced_extensions(wanted: Wanted, seen: InsideScan) -> Iterator[str]:
    """A line for each extension in another schema than the spec says: moving it could break what uses it."""
    for extension in wanted.extensions:
        installed = seen.extensions.get(extension.name)
        if installed is not None and installed.schema != extension.schema:
            yield f"extension: {extension.name} stands in schema {installed.schema}, not in {extension.schema}"


def check_extensions(wanted: Wanted, available: Mapping[str, AvailableExtension], *, admin_superuser: bool) -> None:
    """Raise Terminal for the first extension that could not be had in a database made now, whoever installed it.

    One that a DBA has to install keeps no database from being made: it is to be installed there.
    """
    for extension in wanted.extensions:
        by_anybody = admin_superuser or extension.schema != "public"
        _checked_version(wanted, extension, available, admin_superuser=by_anybody)


def _checked_version(
    wanted: Wanted,
    extension: WantedExtension,
    on_server: Mapping[str, AvailableExtension],
    *,
    admin_superuser: bool,
) -> str:
    available = on_server.get(extension.name)
    if available is None:
        raise _refused(wanted, extension, "is not installed on the server; have an admin install its package there")
    version = extension.version or available.default_version
    if version not in available.trusted:
        versions = ", ".join(sorted(available.trusted))
        raise _refused(wanted, extension, f'has no version "{version}" on the server; there are: {versions}')
    if not available.trusted[version]:
        if extension.name not in wanted.untrusted_allowed:
            raise _refused(
                wanted,
                extension,
                "is not one that PostgreSQL marks as trusted; have an admin list it under spec.extensions.allowed "
                "of the DatabaseServer",
            )
        if not admin_superuser:
            raise _refused(
                wanted,
                extension,
                "is not trusted, so only a superuser can install it, and the server's admin is none; have a DBA run "
                f'CREATE EXTENSION "{extension.name}" SCHEMA "{EXTENSION_SCHEMA}" in that database',
            )
    return version


def _refused(wanted: Wanted, extension: WantedExtension, why: str) -> Terminal:
    return Terminal(
        "ExtensionUnavailable",
        f'extension "{ascii(extension.name)[1:-1]}" for database "{wanted.database}" {why}',
        condition="DatabaseReady",
    )
