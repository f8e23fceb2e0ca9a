"""ServiceDatabase: a database with its roles, and the Secrets that log in to it."""

from typing import Annotated, Literal

from pydantic import ConfigDict, Field

from servicedb.api.common import (
    NamespacedMetadata,
    Object,
    Part,
    ServerReference,
)
from servicedb.api.credentials import Credentials
from servicedb.api.roles import Roles
from servicedb.api.schema import (
    AGE,
    MESSAGE,
    READY,
    STATUS,
    Column,
    Resource,
    Rule,
    immutable,
    list_map,
    validations,
)
from servicedb.api.service_database_status import ServiceDatabaseStatus
from servicedb.api.strings import (
    Duration,
    Identifier,
    Parameters,
    Word,
)
from servicedb.api.tenancy import Tenancy

Mode = Literal["Apply", "Plan"]
DriftPolicy = Literal["Repair", "Report"]
DeletionPolicy = Literal["Retain", "Delete"]
LocaleProvider = Literal["Libc", "ICU", "Builtin"]
Encoding = Literal[
    "EUC_CN", "EUC_JIS_2004", "EUC_JP", "EUC_KR", "EUC_TW", "ISO_8859_5", "ISO_8859_6", "ISO_8859_7", "ISO_8859_8",
    "KOI8R", "KOI8U", "LATIN1", "LATIN2", "LATIN3", "LATIN4", "LATIN5", "LATIN6", "LATIN7", "LATIN8", "LATIN9",
    "LATIN10", "SQL_ASCII", "UTF8", "WIN866", "WIN874", "WIN1250", "WIN1251", "WIN1252", "WIN1253",
    "WIN1254", "WIN1255", "WIN1256", "WIN1257", "WIN1258",
]  # fmt: skip
"""The server encodings of PostgreSQL 15 to 18 (documentation, "Character Set Support") but MULE_INTERNAL, which no
client can ask for in Unicode."""


class Extension(Part):
    """An extension in the database."""

    name: Annotated[Word, Field(description="Name of the extension, such as pg_trgm.")]
    version: Annotated[
        Word | None,
        Field(description="Version of the extension. Left out: the server's default version when it is made."),
    ] = None
    schema_: Annotated[
        Literal["extensions", "public"] | None,
        Field(
            alias="schema",
            description="Where its objects stand. extensions: a schema of the admin's on the database's search_path. "
            "public: possible only for an extension that is there from the database's first day. "
            "Left out: extensions.",
        ),
    ] = None


class Schema(Part):
    """A schema in the database."""

    name: Annotated[Identifier, Field(description="Name of the schema. Dropping it from the list never drops it.")]


class Deletion(Part):
    """What becomes of the database when this object is deleted."""

    policy: Annotated[
        DeletionPolicy,
        Field(
            description="Retain: the database stays, its logins are closed. "
            "Delete: they are closed, and after gracePeriod the database and its roles are dropped."
        ),
    ] = "Retain"
    grace_period: Annotated[
        Duration,
        Field(description="With Delete: time in which the object made again undoes its deletion, such as 7d."),
    ] = Duration("7d")


class ServiceDatabaseSpec(Part):
    """The database that is wanted."""

    model_config = ConfigDict(
        json_schema_extra=validations(
            immutable(
                "serverRef",
                "spec.serverRef cannot be changed: make another ServiceDatabase on that server and move the data",
            ),
            immutable(
                "encoding",
                "spec.encoding cannot be changed, a database is made with it: make another ServiceDatabase",
            ),
            immutable(
                "locale",
                "spec.locale cannot be changed, added or removed, a database is made with it: "
                "make another ServiceDatabase",
            ),
            immutable(
                "localeProvider",
                "spec.localeProvider cannot be changed, added or removed, a database is made with it: "
                "make another ServiceDatabase",
            ),
            Rule(
                "!has(self.localeProvider) || self.localeProvider == 'Libc' || has(self.locale)",
                "spec.localeProvider ICU or Builtin needs spec.locale: add it, such as en-US or C.UTF-8",
            ),
        )
    )

    server_ref: Annotated[
        ServerReference,
        Field(description="The DatabaseServer that the database is on. It cannot be changed."),
    ]
    database_name: Annotated[
        Identifier | None,
        Field(
            description="Name of the database: a-z, 0-9 and _, with a letter first, without __ and not ending in _. "
            "Left out: this object's name, or its namespace and name, as the DatabaseServer's spec.naming says. "
            "It cannot be changed; once the database is made it may be set to status.databaseName."
        ),
    ] = None
    mode: Annotated[Mode, Field(description="Apply: do it. Plan: only write what would be done to status.plan.")] = (
        "Apply"
    )
    suspend: Annotated[
        bool,
        Field(description="true: change nothing any more, but for ending what a rotation began. Logins go on working."),
    ] = False
    drift_policy: Annotated[
        DriftPolicy,
        Field(
            description="What is done about changes by hand. Repair: they are taken back. "
            "Report: they are listed in status.drift and the condition InSync is False."
        ),
    ] = "Repair"
    environment: Annotated[
        Word | None,
        Field(
            description="What the database is for, in a word of your own, such as Production or dev: seeds that are "
            "not marked for it are refused. Left out: all seeds are refused."
        ),
    ] = None
    encoding: Annotated[
        Encoding, Field(description="Character set of the database, as PostgreSQL calls it. It cannot be changed.")
    ] = "UTF8"
    locale: Annotated[
        str | None,
        Field(
            description="Locale of the database, such as C, en_US.UTF-8 or, for ICU, en-US. "
            "Left out: that of the server's template0. It cannot be changed.",
            min_length=1,
            max_length=63,
            pattern=r"^[-_.@=;A-Za-z0-9]+$",
        ),
    ] = None
    locale_provider: Annotated[
        LocaleProvider | None,
        Field(
            description="Who sorts text: Libc, ICU, or Builtin (PostgreSQL 17 and newer). "
            "Left out: that of the server's template0. It cannot be changed."
        ),
    ] = None
    connection_limit: Annotated[
        int | None,
        Field(
            description="Most connections of the database's logins at once: roles with a limit of their own take it "
            "off, the rest share equally. Left out: no limit.",
            ge=1,
            le=262_143,
        ),
    ] = None
    parameters: Annotated[
        Parameters,
        Field(
            description="Settings of PostgreSQL for the database, such as statement_timeout: 30s. "
            "Only those that servicedb allows."
        ),
    ] = Field(default_factory=dict)
    extensions: Annotated[
        tuple[Extension, ...],
        Field(
            description="Extensions: those that PostgreSQL marks as trusted, and those that the DatabaseServer "
            "allows. Taking one off the list never drops it.",
            max_length=64,
            json_schema_extra=list_map("name"),
        ),
    ] = ()
    schemas: Annotated[
        tuple[Schema, ...],
        Field(
            description="Schemas to make besides public. Left out: public alone.",
            max_length=64,
            json_schema_extra=list_map("name"),
        ),
    ] = ()
    roles: Annotated[Roles, Field(description="The logins, and the Secrets that they are written to.")]
    tenancy: Annotated[Tenancy | None, Field(description="How the tenants that share it are kept apart.")] = None
    credentials: Annotated[Credentials, Field(description="How credentials are renewed and written.")] = Credentials()
    deletion: Annotated[Deletion, Field(description="What becomes of the database when this object is deleted.")] = (
        Deletion()
    )


class ServiceDatabase(Object):
    # The root's rules alone can read the status.
    model_config = ConfigDict(
        json_schema_extra=validations(
            Rule(
                "!has(oldSelf.spec.databaseName) || "
                "(has(self.spec.databaseName) && self.spec.databaseName == oldSelf.spec.databaseName)",
                "spec.databaseName cannot be changed or removed: put the old name back, "
                "or delete this ServiceDatabase and make another",
                "'spec.databaseName cannot be changed or removed: put ' + oldSelf.spec.databaseName + "
                "' back, or delete this ServiceDatabase and make another'",
            ),
            Rule(
                "has(oldSelf.spec.databaseName) || !has(self.spec.databaseName) || "
                "(has(oldSelf.status) && has(oldSelf.status.databaseName) && "
                "self.spec.databaseName == oldSelf.status.databaseName)",
                "spec.databaseName may only be set to the name that the database has, status.databaseName: "
                "leave it out, or set it to that",
            ),
        )
    )

    metadata: NamespacedMetadata
    spec: ServiceDatabaseSpec
    status: ServiceDatabaseStatus = ServiceDatabaseStatus()


RESOURCE = Resource(
    kind="ServiceDatabase",
    plural="servicedatabases",
    short_name="sdb",
    namespaced=True,
    description="A database on a DatabaseServer, with least-privilege roles and Secrets that log in to it.",
    columns=(
        READY,
        STATUS,
        Column("Server", ".spec.serverRef.name", "The DatabaseServer"),
        Column("Database", ".status.databaseName", "Name of the database on the server"),
        AGE,
        Column("Secret", ".status.binding.name", "The application's Secret", wide=True),
        Column("Mode", ".spec.mode", "Apply or Plan", wide=True),
        Column("Suspended", ".spec.suspend", "Whether changes are suspended", "boolean", wide=True),
        MESSAGE,
    ),
    selectable_fields=(".spec.serverRef.name", ".status.databaseName"),
    labels=(("servicebinding.io/provisioned-service", "true"),),
)
