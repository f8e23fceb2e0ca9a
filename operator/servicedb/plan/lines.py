"""Differences as people read them: one line each, in status.drift and in events."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from servicedb.api.service_database_status import LISTED_LINES
from servicedb.plan.observed import ObjectName
from servicedb.plan.steps import (
    AlterRole,
    ChangeDatabaseOwner,
    ChangeObjectOwner,
    ChangeSchemaOwner,
    ChangeSetting,
    CloseLogin,
    CommentOnRole,
    CreateDatabase,
    CreateExtension,
    CreateRole,
    CreateSchema,
    DropRole,
    Grant,
    GrantByDefault,
    GrantOnDatabase,
    GrantOnObjects,
    GrantOnSchema,
    NoteGranted,
    NoteOnLogin,
    OpenDatabase,
    OpenLogin,
    RenameDatabase,
    RenameRole,
    ResetRoleSetting,
    Revoke,
    RevokeByDefault,
    RevokeOnDatabase,
    RevokeOnObjects,
    RevokeOnSchema,
    SetPassword,
    Step,
    UpdateExtension,
)

_LONGEST = 1024
_NAMED = 3


@dataclass(frozen=True, slots=True)
class Listed:
    """As many lines as a status holds; `truncated` where there were more."""

    lines: tuple[str, ...]
    truncated: bool

    @classmethod
    def of(cls, lines: Iterable[str]) -> "Listed":
        shown = [one_line(line) for line in lines]
        return cls(tuple(shown[:LISTED_LINES]), len(shown) > LISTED_LINES)


def one_line(text: str) -> str:
    """`text` without line breaks and other control characters: names on a server may hold any."""
    plain = "".join(character if character.isprintable() else " " for character in text)
    return plain if len(plain) <= _LONGEST else plain[: _LONGEST - 1] + "…"


def drift_line(step: Step) -> str:
    """What differs where `step` is needed, such as `membership: orders__app_a is missing from orders__rw`."""
    match step:
        case Grant(membership=m) if step.reason == "missing":
            return f"membership: {m.member} is missing from {m.group}"
        case Grant(membership=m):
            return f"membership: {m.member} is in {m.group} with other options"
        case Revoke(membership=m) if step.reason == "could be passed on":
            return f"membership: {m.member} may pass on {m.group}"
        case Revoke(membership=m):
            return f"membership: {m.member} is in {m.group}"
        case CreateRole():
            return f"role: {step.name} is missing"
        case AlterRole():
            return f"role: {step.name} is not {', '.join(step.options)}"
        case OpenLogin() | CloseLogin():
            return f"role: {step.name} is not {'LOGIN' if isinstance(step, OpenLogin) else 'NOLOGIN'}"
        case CommentOnRole() | NoteOnLogin() | NoteGranted():
            return f"comment: that of role {step.name} is another"
        case RenameRole():
            return f"role: {step.name} is not named {step.new_name}"
        case RenameDatabase():
            return f"database: {step.database} is not named {step.name}"
        case DropRole():
            return f"role: {step.name} is no longer needed"
        case SetPassword():
            return f"password: {step.half} has another one"
        case ResetRoleSetting():
            return f"setting: {step.parameter} is set for role {step.name} in every database"
        case ChangeSetting():
            where = f"database {step.database}" + (f" for role {step.role}" if step.role is not None else "")
            is_not = f"is not {step.value}" if step.value is not None else "is set"
            return f"setting: {step.parameter} {is_not} in {where}"
        case CreateDatabase():
            return f"database: {step.name} is missing"
        case ChangeDatabaseOwner():
            return f"database: {step.database} belongs to {step.present_owner}, not to {step.owner}"
        case OpenDatabase():
            return f"database: {step.database} takes no connections"
        case GrantOnDatabase(privilege=p):
            return f"database: {p.grantee} lacks {p.privilege}"
        case RevokeOnDatabase(privilege=p):
            return f"database: {p.grantee} holds {p.privilege}{_option(p.grantable)}"
        case _:
            return _inside(step)


def _inside(step: Step) -> str:
    match step:
        case CreateExtension():
            return f"extension: {step.name} is missing"
        case UpdateExtension():
            return f"extension: {step.name} is not of version {step.version}"
        case CreateSchema():
            return f"schema: {step.name} is missing"
        case ChangeSchemaOwner():
            return f"schema: {step.name} does not belong to {step.owner}"
        case GrantOnSchema(privilege=p):
            return f"schema: {p.grantee} lacks {p.privilege} on {step.schema}"
        case RevokeOnSchema(privilege=p):
            return f"schema: {p.grantee} holds {p.privilege}{_option(p.grantable)} on {step.schema}"
        case GrantByDefault(privilege=p):
            return f"default privileges: {p.grantee} lacks {p.privilege} on new {step.object_type.lower()}"
        case RevokeByDefault(privilege=p):
            return f"default privileges: {p.grantee} holds {p.privilege}{_option(p.grantable)} on new " + (
                step.object_type.lower()
            )
        case ChangeObjectOwner():
            return f"{_objects(step.objects)}: owned by {step.present_owner}, not by {step.owner}"
        case GrantOnObjects():
            columns = f" on column {', '.join(step.columns)}" if step.columns else ""
            return f"{_objects(step.objects)}: {step.grantee} lacks {', '.join(step.privileges)}{columns}"
        case RevokeOnObjects():
            columns = f" on column {', '.join(step.columns)}" if step.columns else ""
            held = f"{', '.join(step.privileges)}{_option(step.only_grant_option)}{columns}"
            return f"{_objects(step.objects)}: {step.grantee} holds {held}"
    raise TypeError(f"no words for {type(step).__name__}")


def _option(grantable: bool) -> str:
    return " with grant option" if grantable else ""


def _objects(objects: Sequence[ObjectName]) -> str:
    names = ", ".join(f"{one.schema}.{one.name}" for one in objects[:_NAMED])
    more = f" and {len(objects) - _NAMED} more" if len(objects) > _NAMED else ""
    return f"{objects[0].kind.lower()} {names}{more}"
