"""DatabaseServer: a PostgreSQL server that servicedb provisions databases on, and who may use it."""

from typing import Annotated, Literal

from pydantic import ConfigDict, Field

from servicedb.api.common import (
    NEVER_OBSERVED,
    AdminSecretReference,
    CASecretReference,
    Conditions,
    Handled,
    Metadata,
    Object,
    ObservedGeneration,
    Part,
)
from servicedb.api.namespaces import AllowedNamespaces
from servicedb.api.schema import (
    AGE,
    LIST_SET,
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
from servicedb.api.strings import Host, Identifier, Namespace, Number64, ObjectName, Percent, Port, Word

Engine = Literal["PostgreSQL"]
TlsMode = Literal["Disable", "Require", "VerifyCA", "VerifyFull"]
Naming = Literal["Name", "NamespaceName"]


class Tls(Part):
    """How the connection is secured."""

    model_config = ConfigDict(
        json_schema_extra=validations(
            Rule(
                "self.mode != 'VerifyCA' || has(self.caSecretRef)",
                "spec.tls.mode VerifyCA needs spec.tls.caSecretRef: without host names, any certificate of any public "
                "authority would do; name the CA's Secret or choose VerifyFull",
            ),
            Rule(
                "self.mode in ['VerifyCA', 'VerifyFull'] || !has(self.caSecretRef)",
                "spec.tls.caSecretRef is used by the modes VerifyCA and VerifyFull only: "
                "set spec.tls.mode to VerifyFull, or remove the reference",
            ),
        )
    )

    mode: Annotated[
        TlsMode,
        Field(
            description="Disable: plaintext. Require: encrypted, any certificate. VerifyCA: a certificate of the CA. "
            "VerifyFull: a certificate of the CA for this host name."
        ),
    ] = "VerifyFull"
    ca_secret_ref: Annotated[
        CASecretReference | None,
        Field(
            description="Secret with the CA's certificates, which also goes into the databases' Secrets as ca.crt. "
            "Left out: the authorities that the system trusts, with VerifyFull only."
        ),
    ] = None
    min_version: Annotated[Literal["1.2", "1.3"], Field(description="Oldest version of TLS that is accepted.")] = "1.2"


class ClientEndpoint(Part):
    """The address that applications use."""

    host: Annotated[Host, Field(description="Host name or address that the databases' Secrets name.")]
    port: Annotated[Port | None, Field(description="Port that the databases' Secrets name. Left out: spec.port.")] = (
        None
    )


class LoginNames(Part):
    """The fixed login names that a namespace may claim."""

    namespace: Annotated[Namespace, Field(description="The namespace that may claim them.")]
    names: Annotated[
        tuple[Identifier, ...],
        Field(
            description="Login names that ServiceDatabases of the namespace may give as a role's loginName.",
            min_length=1,
            max_length=100,
            json_schema_extra=LIST_SET,
        ),
    ]


class AllowedExtensions(Part):
    """Which extensions ServiceDatabases may ask for."""

    allowed: Annotated[
        tuple[Word, ...],
        Field(
            description="Extensions that may be used besides those that PostgreSQL marks as trusted. "
            "An untrusted one is made only where the admin is a superuser.",
            max_length=200,
            json_schema_extra=LIST_SET,
        ),
    ] = ()


class Adoptable(Part):
    """A database that somebody may take over."""

    database_name: Annotated[
        Identifier,
        Field(description="A database on the server that carries no mark of servicedb, or was released, or lost it."),
    ]
    namespace: Annotated[Namespace, Field(description="Namespace of the ServiceDatabase that may take it over.")]
    name: Annotated[ObjectName, Field(description="Name of the ServiceDatabase that may take it over.")]

    def lets(self, namespace: str, name: str, *, take_over: str) -> bool:
        """Whether this lets the ServiceDatabase `name` of `namespace` take over the database `take_over`."""
        return (self.database_name, self.namespace, self.name) == (take_over, namespace, name)


class Limits(Part):
    """How much the server may be asked for."""

    max_databases: Annotated[
        int, Field(description="Most databases that servicedb makes on this server.", ge=1, le=100_000)
    ] = 500
    max_databases_per_namespace: Annotated[
        int, Field(description="Most databases of one namespace on this server.", ge=1, le=100_000)
    ] = 50
    operator_connections: Annotated[
        int, Field(description="Most connections that the operator holds to this server at once.", ge=2, le=1000)
    ] = 24


class DeletionGuard(Part):
    """How many deleted ServiceDatabases are believed at once."""

    max_releases: Annotated[
        Percent,
        Field(
            description="Share of the server's databases, in percent. When more than this and more than 3 lose their "
            "ServiceDatabase at once, all releases are held until the annotation servicedb.io/acknowledge says "
            "what the condition's message asks for, or the ServiceDatabases are back."
        ),
    ] = Percent("10%")


class DatabaseServerSpec(Part):
    """The server, how the operator reaches it, and who may use it."""

    model_config = ConfigDict(
        json_schema_extra=validations(
            immutable(
                "engine", "spec.engine cannot be changed: make another DatabaseServer for a server of another engine"
            ),
            immutable(
                "naming",
                "spec.naming cannot be changed, since databases are named by it: make another DatabaseServer, "
                "or give spec.databaseName in each ServiceDatabase that wants another name",
            ),
        )
    )

    engine: Annotated[Engine, Field(description="The kind of database server. It cannot be changed.")] = "PostgreSQL"
    host: Annotated[Host, Field(description="Host name or address of the server, as the operator reaches it.")]
    port: Annotated[Port, Field(description="Port of the server.")] = 5432
    admin_database: Annotated[
        Identifier, Field(description="Database that the operator connects to for work on the whole server.")
    ] = "postgres"
    admin_secret_ref: Annotated[
        AdminSecretReference,
        Field(
            description="Secret with the admin's name and password: a superuser, or a role with CREATEROLE and "
            "CREATEDB. It is read again at each resync and after a failed login."
        ),
    ]
    tls: Annotated[
        Tls,
        Field(
            description="How connections to the server are secured, those of the operator and of applications. "
            "Left out: VerifyFull with the authorities that the system trusts."
        ),
    ] = Tls()
    client_endpoint: Annotated[
        ClientEndpoint | None,
        Field(
            description="The address for applications, where it differs from host and port: it goes into the "
            "databases' Secrets, and the operator tries each login through it. Left out: host and port."
        ),
    ] = None
    allowed_namespaces: Annotated[
        AllowedNamespaces | None,
        Field(description="The namespaces whose ServiceDatabases are served here. Left out: none."),
    ] = None
    naming: Annotated[
        Naming,
        Field(
            description="Names of databases whose ServiceDatabase gives none. Name: its name, as in orders. "
            "NamespaceName: its namespace and name, as in shop_orders. It cannot be changed."
        ),
    ] = "Name"
    login_names: Annotated[
        tuple[LoginNames, ...],
        Field(
            description="Fixed login names, and the namespace that may claim them. Left out: none may be claimed.",
            max_length=500,
            json_schema_extra=list_map("namespace"),
        ),
    ] = ()
    extensions: Annotated[
        AllowedExtensions,
        Field(description="Which extensions ServiceDatabases may ask for. Left out: those that PostgreSQL trusts."),
    ] = AllowedExtensions()
    adoptable: Annotated[
        tuple[Adoptable, ...],
        Field(
            description="Databases that exist already, and the ServiceDatabase that may take each over. As long as one "
            "that servicedb did not make is listed, nothing is taken from the roles that used it before. "
            "Left out: a database that servicedb did not make is never touched.",
            max_length=500,
            json_schema_extra=list_map("databaseName"),
        ),
    ] = ()
    limits: Annotated[Limits, Field(description="How much the server may be asked for.")] = Limits()
    deletion_guard: Annotated[
        DeletionGuard, Field(description="Protection against many ServiceDatabases being deleted by mistake.")
    ] = DeletionGuard()


class DatabaseServerHandled(Part):
    """The annotations that were acted on."""

    reconcile_at: Handled = None


class DatabaseServerStatus(Part):
    """What the operator found."""

    observed_generation: ObservedGeneration = NEVER_OBSERVED
    conditions: Conditions = ()
    version: Annotated[str | None, Field(description="The server's version, such as 17.5.", max_length=63)] = None
    system_identifier: Annotated[
        Number64 | None,
        Field(description="The server's identity, made by initdb: when it changes, nothing more is done here."),
    ] = None
    databases: Annotated[
        int | None, Field(description="Databases on the server that carry this cluster's mark.", ge=0)
    ] = None
    handled: Annotated[DatabaseServerHandled, Field(description="Annotations that were acted on, by their values.")] = (
        DatabaseServerHandled()
    )


class DatabaseServer(Object):
    metadata: Metadata
    spec: DatabaseServerSpec
    status: DatabaseServerStatus = DatabaseServerStatus()


RESOURCE = Resource(
    kind="DatabaseServer",
    plural="databaseservers",
    short_name="dbserver",
    namespaced=False,
    description="A PostgreSQL server that servicedb makes databases on: how it is reached, by which admin, and which "
    "namespaces may have databases there. ServiceDatabases name it as spec.serverRef.",
    columns=(
        READY,
        STATUS,
        Column("Version", ".status.version", "Version of PostgreSQL"),
        Column("Databases", ".status.databases", "Databases of this cluster on the server", "integer"),
        AGE,
        Column("Host", ".spec.host", "Host that the operator connects to", wide=True),
        Column("Port", ".spec.port", "Port that the operator connects to", "integer", wide=True),
        Column("TLS", ".spec.tls.mode", "How connections are secured", wide=True),
        MESSAGE,
    ),
)
