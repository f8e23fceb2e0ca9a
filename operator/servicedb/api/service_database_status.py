"""How a ServiceDatabase stands: what the operator writes into its status."""

from typing import Annotated, Literal

from pydantic import AwareDatetime, Field

from servicedb.api.common import NEVER_OBSERVED, Conditions, Handled, ObservedGeneration, Part
from servicedb.api.schema import LIST_ATOMIC, list_map
from servicedb.api.strings import Identifier, Line, Number64, ObjectName

LISTED_LINES = 50
"""Most lines that `drift` and `plan` in the status hold; `truncated` says that there are more."""


class RoleStatus(Part):
    """A login as it stands in its Secret."""

    name: Annotated[
        str, Field(description="Name of the role: app, migrator, readonly, or an extra one's.", max_length=32)
    ]
    login_name: Annotated[Identifier | None, Field(description="The login that the Secret holds at this time.")] = None
    secret_name: Annotated[ObjectName | None, Field(description="The Secret with its credentials.")] = None
    rotated_at: Annotated[AwareDatetime | None, Field(description="When its password was last renewed.")] = None


class Binding(Part):
    """The Secret that a workload is bound to, as the Service Binding specification wants it."""

    name: Annotated[ObjectName, Field(description="Name of the application's Secret.")]


class BackupAccess(Part):
    """How the login for backups reads."""

    reads: Annotated[
        Literal["AllData", "AsOwner"],
        Field(
            description="AllData: everything, on its own account. AsOwner: what belongs to the database's owner role, "
            "as that role."
        ),
    ]
    message: Annotated[
        str | None, Field(description="What it does not read, and how that could be changed.", max_length=2048)
    ] = None


class RestoreStatus(Part):
    """A DatabaseRestore that targets the database."""

    name: Annotated[ObjectName, Field(description="Name of the DatabaseRestore.")]
    uid: Annotated[str, Field(description="UID of the DatabaseRestore.", max_length=64)]
    state: Annotated[
        Literal["Admitted", "Refused"],
        Field(
            description="Admitted: it has the database to itself, all other logins are closed. Refused: nothing was "
            "done for it."
        ),
    ]
    message: Annotated[str | None, Field(description="Why it was refused.", max_length=2048)] = None


class ServiceDatabaseHandled(Part):
    """The annotations that were acted on."""

    reconcile_at: Handled = None
    rotate_at: Handled = None


_Lines = Field(max_length=LISTED_LINES, json_schema_extra=LIST_ATOMIC)


class ServiceDatabaseStatus(Part):
    """What the operator found and did."""

    observed_generation: ObservedGeneration = NEVER_OBSERVED
    conditions: Conditions = ()
    applied_generation: Annotated[
        int | None,
        Field(
            description="The metadata.generation whose spec was last carried out: what differs from that was changed "
            "by hand.",
            ge=0,
            json_schema_extra={"format": "int64"},
        ),
    ] = None
    database_name: Annotated[
        Identifier | None, Field(description="Name of the database on the server. It never changes.")
    ] = None
    database_oid: Annotated[
        Number64 | None,
        Field(description="The database's OID: when another or none is found, nothing is made in its place."),
    ] = None
    system_identifier: Annotated[
        Number64 | None,
        Field(description="Identity of the server that the database is on: on another one nothing is done."),
    ] = None
    roles: Annotated[
        tuple[RoleStatus, ...],
        Field(
            description="The logins and their Secrets, without credentials.",
            max_length=64,
            json_schema_extra=list_map("name"),
        ),
    ] = ()
    binding: Annotated[
        Binding | None, Field(description="The application's Secret, for the Service Binding specification.")
    ] = None
    backup_access: Annotated[
        BackupAccess | None,
        Field(description="How the login for backups reads; left out while there is none."),
    ] = None
    restore: Annotated[
        RestoreStatus | None, Field(description="The restore that targets the database; left out where none does.")
    ] = None
    drift: Annotated[
        tuple[Line, ...], _Lines, Field(description="Changes by hand that were found and not taken back.")
    ] = ()
    plan: Annotated[
        tuple[Line, ...], _Lines, Field(description="With mode Plan: what would be done, without secrets.")
    ] = ()
    truncated: Annotated[bool | None, Field(description="Whether drift or plan had more lines than are shown.")] = None
    handled: Annotated[
        ServiceDatabaseHandled, Field(description="Annotations that were acted on, by their values.")
    ] = ServiceDatabaseHandled()
