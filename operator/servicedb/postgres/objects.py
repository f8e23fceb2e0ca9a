"""Steps on tables, sequences, routines and types to SQL: every name as an identifier, every privilege from a list."""

from psycopg import sql

from servicedb.plan.observed import PUBLIC, ObjectName
from servicedb.plan.steps import ChangeObjectOwner, GrantOnObjects, ObjectStep, RevokeOnObjects

_KINDS = {name: sql.SQL(name) for name in ("TABLE", "SEQUENCE", "ROUTINE", "TYPE")}
"""ALTER TABLE changes the owner of views and foreign tables, too, ALTER TYPE that of domains.

Source: PostgreSQL documentation, ALTER TABLE and ALTER TYPE, "Description".
"""

_PRIVILEGES = {
    name: sql.SQL(name)
    for name in (
        "SELECT", "INSERT", "UPDATE", "DELETE", "TRUNCATE", "REFERENCES", "TRIGGER", "MAINTAIN", "USAGE", "EXECUTE",
    )
}  # fmt: skip


def object_statements(step: ObjectStep) -> list[sql.Composed]:
    """The SQL for `step`; none where it names no objects."""
    if not step.objects:
        return []
    match step:
        case ChangeObjectOwner():
            text = sql.SQL("ALTER {} {} OWNER TO {}")
            return [text.format(_KINDS[one.kind], object_name(one), sql.Identifier(step.owner)) for one in step.objects]
        case GrantOnObjects():
            text = sql.SQL("GRANT {} ON {} TO {}")
            return [text.format(_privileges(step.privileges), _on(step.objects), _grantee(step.grantee))]
        case RevokeOnObjects():
            text = sql.SQL("REVOKE {}{} ON {} FROM {} CASCADE")
            option = sql.SQL("GRANT OPTION FOR " if step.only_grant_option else "")
            privileges = _privileges(step.privileges, step.columns)
            return [text.format(option, privileges, _on(step.objects), _grantee(step.grantee))]
    raise TypeError(f"no SQL for {type(step).__name__}")


def object_name(one: ObjectName) -> sql.Composed:
    """The name with its schema; of a routine also its arguments' types, which are names as well (`"_int4"`)."""
    name = sql.Identifier(one.schema, one.name)
    if one.kind != "ROUTINE":
        return sql.Composed([name])
    return sql.SQL("{}({})").format(name, sql.SQL(", ").join(sql.Identifier(*argument) for argument in one.arguments))


def _on(objects: tuple[ObjectName, ...]) -> sql.Composed:
    names = sql.SQL(", ").join(object_name(one) for one in objects)
    return sql.SQL("{} {}").format(_KINDS[objects[0].kind], names)


def _privileges(privileges: tuple[str, ...], columns: tuple[str, ...] = ()) -> sql.Composed:
    listed = sql.SQL(" ({})").format(sql.SQL(", ").join(map(sql.Identifier, columns))) if columns else sql.SQL("")
    return sql.SQL(", ").join(_PRIVILEGES[privilege] + listed for privilege in privileges)


def _grantee(grantee: str) -> sql.Composable:
    return sql.SQL("PUBLIC") if grantee == PUBLIC else sql.Identifier(grantee)
