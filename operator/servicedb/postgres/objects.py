"""Steps on tables, sequences, routines and types to SQL: every name as an identifier, every privilege from a list."""

from psycopg import sql

from servicedb.plan.observed import PUBLIC, ObjectName
from servicedb.plan.steps import ChangeObjectOwner, GrantOnObjects, ObjectStep, RevokeOnObjects

_KINDS = {
    name: sql.SQL(name)
    for name in (
        "TABLE", "SEQUENCE", "ROUTINE", "TYPE", "COLLATION", "CONVERSION", "OPERATOR", "OPERATOR CLASS",
        "OPERATOR FAMILY", "STATISTICS", "TEXT SEARCH DICTIONARY", "TEXT SEARCH CONFIGURATION",
    )
}  # fmt: skip
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
            return [text.format(_privileges(step.privileges, step.columns), _on(step.objects), _grantee(step.grantee))]
        case RevokeOnObjects():
            text = sql.SQL("REVOKE {}{} ON {} FROM {} CASCADE")
            option = sql.SQL("GRANT OPTION FOR " if step.only_grant_option else "")
            privileges = _privileges(step.privileges, step.columns)
            return [text.format(option, privileges, _on(step.objects), _grantee(step.grantee))]
    raise TypeError(f"no SQL for {type(step).__name__}")


def object_name(one: ObjectName) -> sql.Composed:
    """The name with its schema; of a routine also its arguments' types, which are names as well (`"_int4"`), of an
    operator its operands' types, of an operator class its access method."""
    name: sql.Composable = sql.Identifier(one.schema, one.name)
    if one.kind == "OPERATOR":
        name = sql.SQL("{}.{}").format(sql.Identifier(one.schema), _operator(one.name))
    if one.method:
        return sql.SQL("{} USING {}").format(name, sql.Identifier(one.method))
    if one.kind not in ("ROUTINE", "OPERATOR"):
        return sql.Composed([name])
    types = [sql.SQL("NONE") if argument == ("", "") else sql.Identifier(*argument) for argument in one.arguments]
    return sql.SQL("{}({})").format(name, sql.SQL(", ").join(types))


def _operator(name: str) -> sql.SQL:
    """The one kind of name that can't be quoted. Source: PostgreSQL documentation, "Lexical Structure", "Operators"."""
    if not name or not {*name} <= {*"+-*/<>=~!@#%^&|`?"}:
        raise ValueError(name)
    return sql.SQL(name)


def _on(objects: tuple[ObjectName, ...]) -> sql.Composed:
    names = sql.SQL(", ").join(object_name(one) for one in objects)
    return sql.SQL("{} {}").format(_KINDS[objects[0].kind], names)


def _privileges(privileges: tuple[str, ...], columns: tuple[str, ...] = ()) -> sql.Composed:
    listed = sql.SQL(" ({})").format(sql.SQL(", ").join(map(sql.Identifier, columns))) if columns else sql.SQL("")
    return sql.SQL(", ").join(_PRIVILEGES[privilege] + listed for privilege in privileges)


def _grantee(grantee: str) -> sql.Composable:
    return sql.SQL("PUBLIC") if grantee == PUBLIC else sql.Identifier(grantee)
