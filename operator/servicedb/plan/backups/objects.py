"""What a database held when it was dumped, object by object: the part `objects` of a backup.

A restored database is compared with it, and its privileges are given back from it: names of roles differ between
databases, so those in pg_dump's own GRANT statements are of no use.
"""

import hashlib
import json
from collections.abc import Collection
from typing import Annotated, Self

from pydantic import Field, ValidationError

from servicedb.errors import Terminal
from servicedb.plan.backups.manifest import Piece

PUBLIC = ""
"""The grantee that is everybody."""


class Privilege(Piece):
    """One entry of an access control list. `grantee` empty is PUBLIC."""

    grantee: str
    privilege: str
    grantable: bool = False


class Object(Piece):
    """An object, as pg_identify_object names it. `catalog` and `oid` are those that pg_restore's list has.

    `schema_` None: it is in none. `acl` None: it has none but the default, or its kind has none at all. `definition`
    is a digest of what the server says of it, in words that differ between major versions. `table` is the oid of the
    table that an index or a constraint belongs to.
    """

    catalog: int
    oid: int
    kind: str
    identity: str
    schema_: Annotated[str | None, Field(alias="schema")] = None
    owner: str | None = None
    acl: tuple[Privilege, ...] | None = None
    definition: str | None = None
    table: int | None = None

    @property
    def shown(self) -> str:
        return f"{self.kind} {self.identity}"


class Policy(Piece):
    """A policy of row-level security; `roles` holds an empty name for PUBLIC, `command` is as in pg_policy.polcmd."""

    oid: int
    schema_: Annotated[str, Field(alias="schema")]
    table: str
    name: str
    permissive: bool
    command: str
    roles: tuple[str, ...]
    using: str | None = None
    check: str | None = None
    comment: str | None = None


class DefaultPrivileges(Piece):
    """ALTER DEFAULT PRIVILEGES of `role`; `kind` is as in pg_default_acl.defaclobjtype."""

    role: str
    schema_: Annotated[str | None, Field(alias="schema")] = None
    kind: str
    acl: tuple[Privilege, ...]


class Objects(Piece):
    """All of them. `large_objects` is how many there are, `wrappers` are those that foreign servers need."""

    objects: tuple[Object, ...] = ()
    policies: tuple[Policy, ...] = ()
    default_privileges: tuple[DefaultPrivileges, ...] = ()
    large_objects: int = 0
    wrappers: tuple[str, ...] = ()

    def within(self, schemas: Collection[str]) -> Self:
        """Those of these `schemas` alone; none: all, with what is in no schema."""
        if not schemas:
            return self
        return self.model_copy(
            update={
                "objects": tuple(one for one in self.objects if one.schema_ in schemas),
                "policies": tuple(one for one in self.policies if one.schema_ in schemas),
                "default_privileges": tuple(one for one in self.default_privileges if one.schema_ in schemas),
                "wrappers": (),
            }
        )

    def as_bytes(self) -> bytes:
        return self.model_dump_json(by_alias=True, exclude_none=True).encode() + b"\n"

    @classmethod
    def parse(cls, content: bytes) -> Self:
        """Raises Terminal where it can't be read."""
        try:
            return cls.model_validate_json(content)
        except ValidationError as error:
            raise Terminal(
                "BackupDamaged",
                "the list of objects in the backup can't be read; it was made by another release, most likely: restore "
                "with that one",
            ) from error

    @property
    def fingerprint(self) -> str:
        """Of the schema: the same where all objects are, and are defined alike. Roles and privileges don't count."""
        facts = sorted((one.kind, one.identity, one.definition or "") for one in self.objects)
        return f"sha256:{hashlib.sha256(json.dumps(facts).encode()).hexdigest()}"
