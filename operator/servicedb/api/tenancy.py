"""spec.tenancy: a database that several tenants share, each row with the tenant that it belongs to."""

from typing import Annotated

from pydantic import Field

from servicedb.api.common import Part
from servicedb.api.schema import LIST_SET
from servicedb.api.strings import NO_CONTROL_CHARACTERS, Identifier

_Table = Annotated[str, Field(min_length=1, max_length=262, pattern=NO_CONTROL_CHARACTERS)]


class Tenancy(Part):
    """How the rows of tenants are kept apart; the condition TenantIsolation says whether they are."""

    schema_pattern: Annotated[
        Identifier | None,
        Field(
            description="Which schemas hold rows of tenants, as for LIKE, such as tenant\\_%. Left out: public, those "
            "of spec.schemas, and all others that belong to the database's owner role."
        ),
    ] = None
    column: Annotated[
        Identifier, Field(description="The column that says which tenant a row belongs to, as PostgreSQL has it.")
    ] = "tenant_id"
    setting: Annotated[
        str,
        Field(
            description="The setting by which a session says which tenant it works for; policies compare the column "
            "with it.",
            min_length=1,
            max_length=127,
            pattern=r"^[A-Za-z_][A-Za-z0-9_]*([.][A-Za-z_][A-Za-z0-9_]*)+$",
        ),
    ] = "app.current_tenant_id"
    exempt: Annotated[
        tuple[_Table, ...],
        Field(
            description="Tables and views that belong to no single tenant, such as public.plans. Without a schema: of "
            "this name in every schema.",
            max_length=200,
            json_schema_extra=LIST_SET,
        ),
    ] = ()
