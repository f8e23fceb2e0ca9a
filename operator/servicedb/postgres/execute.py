"""Steps to SQL: the one place where statements that change a server are written."""

from psycopg import sql

from servicedb.plan.observed import PUBLIC, Membership
from servicedb.plan.steps import (
    AlterRole,
    ChangeDatabaseOwner,
    ChangeSchemaOwner,
    ChangeSetting,
    CloseDatabase,
    CloseLogin,
    CommentOnRole,
    CreateDatabase,
    CreateExtension,
    CreateRole,
    CreateSchema,
    DropDatabase,
    DropOwned,
    DropRole,
    EndSessions,
    Grant,
    GrantByDefault,
    GrantOnDatabase,
    GrantOnSchema,
    NoteGranted,
    NoteOnLogin,
    ObjectStep,
    OpenDatabase,
    OpenLogin,
    RenameDatabase,
    RenameRole,
    ResetRoleSetting,
    Revoke,
    RevokeByDefault,
    RevokeOnDatabase,
    RevokeOnSchema,
    Step,
    UpdateExtension,
)
from servicedb.postgres.objects import object_statements

_NEW_ROLE = sql.SQL("NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION")
_ROLE_OPTIONS = frozenset(
    "LOGIN NOLOGIN INHERIT NOINHERIT NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION NOBYPASSRLS BYPASSRLS".split()
)

_END_SESSIONS = sql.SQL(
    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename IN ({}) AND pid <> pg_backend_pid()"
)


def statements(step: Step, *, server_version: int) -> list[sql.Composed]:
    """The SQL for `step` on a server of `server_version` (as in server_version_num), without any password.

    OpenDatabase needs the database's OID and SetPassword a verifier: apply.py sees to those.
    """
    match step:
        case CreateRole():
            return [_create_role(step), comment_on_role(step.name, step.comment)]
        case AlterRole():
            options = sql.SQL(" ").join(_role_option(option) for option in step.options)
            return [sql.SQL("ALTER ROLE {} {}").format(sql.Identifier(step.name), options)]
        case OpenLogin() | CloseLogin():
            login = sql.SQL("LOGIN" if isinstance(step, OpenLogin) else "NOLOGIN")
            return [sql.SQL("ALTER ROLE {} {}").format(sql.Identifier(step.name), login)]
        case CommentOnRole() | NoteOnLogin() | NoteGranted():
            return [comment_on_role(step.name, step.comment)]
        case RenameRole():
            text = sql.SQL("ALTER ROLE {} RENAME TO {}")
            return [text.format(sql.Identifier(step.name), sql.Identifier(step.new_name))]
        case RenameDatabase():
            text = sql.SQL("ALTER DATABASE {} RENAME TO {}")
            return [text.format(sql.Identifier(step.database), sql.Identifier(step.name))]
        case DropRole():
            return [sql.SQL("DROP ROLE {}").format(sql.Identifier(step.name))]
        case Grant():
            return [grant(step.membership, server_version=server_version)]
        case Revoke():
            return [revoke(step.membership) + sql.SQL(" CASCADE")]
        case ResetRoleSetting():
            return [sql.SQL("ALTER ROLE {} RESET {}").format(sql.Identifier(step.name), sql.Identifier(step.parameter))]
        case CreateDatabase():
            return [_create_database(step)]
        case ChangeDatabaseOwner():
            text = sql.SQL("ALTER DATABASE {} OWNER TO {}")
            return [text.format(sql.Identifier(step.database), sql.Identifier(step.owner))]
        case GrantOnDatabase(privilege=p) | RevokeOnDatabase(privilege=p):
            on = sql.SQL("DATABASE {}").format(sql.Identifier(step.database))
            return [_privilege(isinstance(step, GrantOnDatabase), p.privilege, on, p.grantee)]
        case GrantOnSchema(privilege=p) | RevokeOnSchema(privilege=p):
            on = sql.SQL("SCHEMA {}").format(sql.Identifier(step.schema))
            return [_privilege(isinstance(step, GrantOnSchema), p.privilege, on, p.grantee)]
        case GrantByDefault(privilege=p) | RevokeByDefault(privilege=p):
            change = _privilege(isinstance(step, GrantByDefault), p.privilege, _OBJECTS[step.object_type], p.grantee)
            return [sql.SQL("ALTER DEFAULT PRIVILEGES FOR ROLE {} {}").format(sql.Identifier(step.owner), change)]
        case ChangeSetting():
            return [_change_setting(step)]
        case OpenDatabase():
            allow = sql.SQL("ALTER DATABASE {} WITH ALLOW_CONNECTIONS true").format(sql.Identifier(step.database))
            return [comment_on_role(step.owner_role, step.comment), allow]
        case CreateSchema(owner=None):
            return [sql.SQL("CREATE SCHEMA {}").format(sql.Identifier(step.name))]
        case CreateSchema(owner=str(owner)):
            text = sql.SQL("CREATE SCHEMA {} AUTHORIZATION {}")
            return [text.format(sql.Identifier(step.name), sql.Identifier(owner))]
        case ChangeSchemaOwner():
            text = sql.SQL("ALTER SCHEMA {} OWNER TO {}")
            return [text.format(sql.Identifier(step.name), sql.Identifier(step.owner))]
        case ObjectStep():
            return object_statements(step)
        case CreateExtension():
            return [_create_extension(step)]
        case UpdateExtension():
            text = sql.SQL("ALTER EXTENSION {} UPDATE TO {}")
            return [text.format(sql.Identifier(step.name), sql.Literal(step.version))]
        case CloseDatabase():
            close = sql.SQL("ALTER DATABASE {} WITH ALLOW_CONNECTIONS false").format(sql.Identifier(step.database))
            return [comment_on_role(step.owner_role, step.comment), close]
        case EndSessions():
            return [_END_SESSIONS.format(sql.SQL(", ").join(map(sql.Literal, step.roles)))]
        case DropDatabase():
            drop = sql.SQL("DROP DATABASE {}").format(sql.Identifier(step.name))
            return [drop + sql.SQL(" WITH (FORCE)") if step.force else drop]
        case DropOwned():
            return [sql.SQL("DROP OWNED BY {}").format(sql.Identifier(step.role))]
    raise TypeError(f"no SQL for {type(step).__name__}")


def comment_on_role(name: str, comment: str) -> sql.Composed:
    return sql.SQL("COMMENT ON ROLE {} IS {}").format(sql.Identifier(name), sql.Literal(comment))


def set_verifier(name: str, verifier: str) -> sql.Composed:
    """Give a role its password as a SCRAM verifier, so that no plaintext ever stands in a server log."""
    return sql.SQL("ALTER ROLE {} PASSWORD {}").format(sql.Identifier(name), sql.Literal(verifier))


def grant(membership: Membership, *, server_version: int) -> sql.Composed:
    """Source: PostgreSQL documentation, GRANT, "GRANT on Roles"."""
    group, member = sql.Identifier(membership.group), sql.Identifier(membership.member)
    if server_version < 16_00_00:
        return sql.SQL("GRANT {} TO {}").format(group, member)
    inherit, set_role = _boolean(membership.inherit), _boolean(membership.set_role)
    return sql.SQL("GRANT {} TO {} WITH INHERIT {}, SET {}").format(group, member, inherit, set_role)


def revoke(membership: Membership) -> sql.Composed:
    return sql.SQL("REVOKE {} FROM {}").format(sql.Identifier(membership.group), sql.Identifier(membership.member))


def _create_role(step: CreateRole) -> sql.Composed:
    login = sql.SQL("LOGIN" if step.login else "NOLOGIN")
    inherit = sql.SQL("INHERIT" if step.inherit else "NOINHERIT")
    limit = sql.SQL("CONNECTION LIMIT {}").format(sql.Literal(step.connection_limit))
    row_security = sql.SQL("BYPASSRLS" if step.bypassrls else "NOBYPASSRLS")
    options = sql.SQL(" ").join([login, inherit, _NEW_ROLE, row_security, limit])
    return sql.SQL("CREATE ROLE {} WITH {}").format(sql.Identifier(step.name), options)


def _role_option(option: str) -> sql.Composable:
    if option in _ROLE_OPTIONS:
        return sql.SQL(option)
    if option == "VALID UNTIL infinity":
        return sql.SQL("VALID UNTIL 'infinity'")
    words, _, number = option.rpartition(" ")
    if words != "CONNECTION LIMIT":
        raise ValueError(option)
    return sql.SQL("CONNECTION LIMIT {}").format(sql.Literal(int(number)))


def _create_database(step: CreateDatabase) -> sql.Composed:
    parts: list[sql.Composable] = [
        sql.SQL("CREATE DATABASE {} TEMPLATE template0").format(sql.Identifier(step.name)),
        sql.SQL("ENCODING {}").format(sql.Literal(step.encoding)),
    ]
    if step.locale_provider:
        parts.append(sql.SQL("LOCALE_PROVIDER {}").format(sql.Identifier(step.locale_provider.lower())))
    if step.locale:
        keyword = {"icu": "ICU_LOCALE", "builtin": "BUILTIN_LOCALE"}.get((step.locale_provider or "").lower(), "LOCALE")
        parts.append(sql.SQL("{} {}").format(sql.SQL(keyword), sql.Literal(step.locale)))
    parts.append(sql.SQL("ALLOW_CONNECTIONS false"))
    return sql.SQL(" ").join(parts)


def _create_extension(step: CreateExtension) -> sql.Composed:
    create = sql.SQL("CREATE EXTENSION {} SCHEMA {}").format(sql.Identifier(step.name), sql.Identifier(step.schema))
    return create if step.version is None else create + sql.SQL(" VERSION {}").format(sql.Literal(step.version))


def _change_setting(step: ChangeSetting) -> sql.Composed:
    if step.role is None:
        target = sql.SQL("ALTER DATABASE {}").format(sql.Identifier(step.database))
    else:
        text = sql.SQL("ALTER ROLE {} IN DATABASE {}")
        target = text.format(sql.Identifier(step.role), sql.Identifier(step.database))
    name = sql.Identifier(step.parameter)
    if step.value is None:
        return sql.SQL("{} RESET {}").format(target, name)
    if step.parameter == "search_path":  # a list: as one literal it would be one schema with commas in its name
        value: sql.Composable = sql.SQL(", ").join(sql.Literal(schema) for schema in step.value.split(", "))
    else:
        value = sql.Literal(step.value)
    return sql.SQL("{} SET {} TO {}").format(target, name, value)


def _privilege(granted: bool, privilege: str, on: sql.Composable, grantee: str) -> sql.Composed:
    """CASCADE: what a grantee has passed on goes with its own; without, PostgreSQL refuses to take that away."""
    role = sql.SQL("PUBLIC") if grantee == PUBLIC else sql.Identifier(grantee)
    text = sql.SQL("GRANT {} ON {} TO {}" if granted else "REVOKE {} ON {} FROM {} CASCADE")
    return text.format(_PRIVILEGES[privilege], on, role)


_PRIVILEGES = {
    name: sql.SQL(name)
    for name in (
        "SELECT", "INSERT", "UPDATE", "DELETE", "TRUNCATE", "REFERENCES", "TRIGGER", "MAINTAIN",
        "CREATE", "CONNECT", "TEMPORARY", "EXECUTE", "USAGE",
    )
}  # fmt: skip

_OBJECTS = {name: sql.SQL(name) for name in ("TABLES", "SEQUENCES", "ROUTINES", "TYPES", "SCHEMAS")}
"""What ALTER DEFAULT PRIVILEGES speaks of."""


def _boolean(value: bool) -> sql.SQL:
    return sql.SQL("TRUE" if value else "FALSE")
