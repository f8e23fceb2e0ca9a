"""From a ServiceDatabase and its DatabaseServer to what is wanted in PostgreSQL's terms, or to why not."""

from collections.abc import Mapping

from servicedb.api.common import RECREATE
from servicedb.api.database_server import DatabaseServer
from servicedb.api.namespaces import NamespaceSelector
from servicedb.api.roles import APP, MIGRATOR, AppRole, ExtraRole, ReadOnlyRole
from servicedb.api.service_database import ServiceDatabase
from servicedb.errors import Terminal
from servicedb.naming import RoleNames, database_name_fault, default_database_name, login_name_fault
from servicedb.plan.guests import NOBODY, Guests, guest_logins
from servicedb.plan.identifiers import parsed_name, parsed_table
from servicedb.plan.marker import Marker
from servicedb.plan.parameters import checked_parameters
from servicedb.plan.wanted import Access, Login, Tenancy, Wanted, WantedExtension, works_as


def database_name(sdb: ServiceDatabase, server: DatabaseServer) -> str:
    """The database that the object stands for: what its status says, else its spec, else its name."""
    if sdb.status.database_name is not None:
        return sdb.status.database_name
    if sdb.spec.database_name is not None:
        return sdb.spec.database_name
    return default_database_name(namespace=sdb.metadata.namespace, name=sdb.metadata.name, style=server.spec.naming)


def namespace_allowed(server: DatabaseServer, namespace: str, labels: Mapping[str, str]) -> bool:
    """Whether `namespace`, which carries `labels`, may have databases on `server`."""
    allowed = server.spec.allowed_namespaces
    if allowed is None:
        return False
    match allowed.from_:
        case "All":
            return True
        case "Names":
            return namespace in (allowed.names or ())
        case "Selector":
            return allowed.selector is not None and _selects(allowed.selector, labels)


def _selects(selector: NamespaceSelector, labels: Mapping[str, str]) -> bool:
    """Source: Kubernetes documentation, "Labels and Selectors", "Set-based requirement"."""
    for key, value in selector.match_labels.items():
        if labels.get(key) != value:
            return False
    for expression in selector.match_expressions:
        value_in = labels.get(expression.key) in expression.values
        met = {
            "In": value_in,
            "NotIn": not value_in,
            "Exists": expression.key in labels,
            "DoesNotExist": expression.key not in labels,
        }
        if not met[expression.operator]:
            return False
    return True


def resolve(sdb: ServiceDatabase, server: DatabaseServer, marker: Marker, guests: Guests = NOBODY) -> Wanted:
    """What `sdb` asks for on `server`, with the logins of its `guests`. Raises Terminal where it can't be had."""
    database = database_name(sdb, server)
    names = RoleNames(database)
    logins = _logins(sdb, server, names)
    logins += guest_logins(names, sdb.metadata.name, guests, {login.secret_name for login in logins})
    made = {name for login in logins for name in (*login.halves, login.works_as) if "__" in name}
    fault = database_name_fault(database, tuple(sorted(made)))
    if fault is not None:
        raise Terminal("InvalidName", fault, condition="DatabaseReady")
    return Wanted(
        database=database,
        names=names,
        logins=logins,
        marker=marker,
        schemas=_search_path(tuple(schema.name for schema in sdb.spec.schemas)),
        extensions=tuple(
            WantedExtension(extension.name, extension.schema_ or "extensions", extension.version)
            for extension in sdb.spec.extensions
        ),
        untrusted_allowed=frozenset(server.spec.extensions.allowed),
        parameters=checked_parameters(sdb.spec.parameters, where="spec.parameters", condition="DatabaseReady"),
        encoding=sdb.spec.encoding,
        locale=sdb.spec.locale,
        locale_provider=sdb.spec.locale_provider,
        known_oid=sdb.status.database_oid,
        recreate=sdb.metadata.annotations.get(RECREATE),
        adoptable=is_adoptable(database, sdb, server),
        tenancy=_tenancy(sdb),
    )


def is_adoptable(database: str, sdb: ServiceDatabase, server: DatabaseServer) -> bool:
    """Whether spec.adoptable of `server` lets `sdb` take over `database`."""
    namespace, name = sdb.metadata.namespace, sdb.metadata.name
    return any(entry.lets(namespace, name, take_over=database) for entry in server.spec.adoptable)


def _search_path(schemas: tuple[str, ...]) -> tuple[str, ...]:
    for schema in schemas:
        if not schema.isascii() or not schema.replace("_", "a").isalnum() or schema.startswith("pg_"):
            raise Terminal(
                "InvalidName",
                f'spec.schemas names "{ascii(schema)[1:-1]}"; use letters, digits and _ only, and no pg_ in front',
                condition="DatabaseReady",
            )
        if schema in ("extensions", "information_schema") or schema != schema.lower():
            raise Terminal(
                "InvalidName",
                f'spec.schemas names "{schema}", which is taken or not in lower case; choose another',
                condition="DatabaseReady",
            )
    return schemas if "public" in schemas else (*schemas, "public")


def _tenancy(sdb: ServiceDatabase) -> Tenancy | None:
    asked = sdb.spec.tenancy
    if asked is None:
        return None
    pattern = asked.schema_pattern
    if pattern is not None and (len(pattern) - len(pattern.rstrip("\\"))) % 2:
        raise Terminal(
            "InvalidTenancy",
            f'spec.tenancy.schemaPattern "{ascii(pattern)[1:-1]}" ends with a backslash, which for LIKE means the '
            "character after it; add that, or write two",
        )
    exempt = set()
    for text in asked.exempt:
        if (name := parsed_name(text)) is None:
            raise Terminal(
                "InvalidTenancy",
                f'spec.tenancy.exempt has "{ascii(text)[1:-1]}", which is no name of a table; write it as public.plans '
                'or plans, with double quotes around what holds other characters or capitals, as in app."Plans"',
            )
        exempt.add(name)
    return Tenancy(asked.column, asked.setting, pattern, frozenset(exempt))


def _logins(sdb: ServiceDatabase, server: DatabaseServer, names: RoleNames) -> tuple[Login, ...]:
    limits = _connection_limits(sdb)
    claimable = {
        login for entry in server.spec.login_names if entry.namespace == sdb.metadata.namespace for login in entry.names
    }
    logins = []
    for role, spec in sdb.spec.roles.named():
        access = _access(role, spec)
        overrides = _overrides(role, spec, access)
        if spec.login_name is not None:
            _check_login_name(spec.login_name, claimable, sdb, server)
        logins.append(
            Login(
                role=role,
                halves=(spec.login_name,) if spec.login_name is not None else names.pair(role),
                access=access,
                works_as=works_as(names, access) if overrides is None else names.own_group(role),
                secret_name=spec.secret_name,
                connection_limit=limits[role],
                parameters=checked_parameters(
                    spec.parameters, where=f"parameters of spec.roles {role}", condition="RolesReady"
                ),
                overrides=overrides,
            )
        )
    return tuple(logins)


def _access(role: str, spec: object) -> Access:
    if role == MIGRATOR:
        return Access.OWNER
    if isinstance(spec, AppRole | ExtraRole):
        return Access(spec.access)
    return Access.READ_ONLY


def _overrides(role: str, spec: object, access: Access) -> dict[tuple[str, str], frozenset[str]] | None:
    """Schema and name of a table -> all that the role may do with it; None where there are no overrides."""
    if not isinstance(spec, AppRole | ReadOnlyRole | ExtraRole) or not spec.overrides:
        return None
    where = f"overrides of spec.roles {role}"
    if access is Access.OWNER:
        raise Terminal(
            "InvalidOverride",
            f"{where}: a role with access Owner owns every table, so nothing can be taken from it; leave them out, or "
            "choose another access",
            condition="RolesReady",
        )
    tables: dict[tuple[str, str], frozenset[str]] = {}
    for override in spec.overrides:
        table = parsed_table(override.table, where=where)
        if table in tables:
            raise Terminal(
                "InvalidOverride",
                f'{where} name the table "{ascii(override.table)[1:-1]}" twice; leave one of them out',
                condition="RolesReady",
            )
        tables[table] = frozenset(override.privileges)
    return tables


def _check_login_name(login: str, claimable: set[str], sdb: ServiceDatabase, server: DatabaseServer) -> None:
    fault = login_name_fault(login)
    if fault is not None:
        raise Terminal("InvalidName", fault, condition="RolesReady")
    if login not in claimable:
        raise Terminal(
            "LoginNameNotAllowed",
            f'loginName "{login}" is not listed for namespace "{sdb.metadata.namespace}" under spec.loginNames of '
            f"DatabaseServer {server.metadata.name}; have an admin list it, or leave loginName out",
            condition="RolesReady",
        )


def _connection_limits(sdb: ServiceDatabase) -> dict[str, int]:
    """Role -> its limit, -1 for none: those with a limit of their own take it off the whole, the rest share equally."""
    limits = {role: spec.connection_limit for role, spec in sdb.spec.roles.named()}
    total = sdb.spec.connection_limit
    if total is None:
        return {role: limit if limit is not None else -1 for role, limit in limits.items()}
    sharing = [role for role, limit in limits.items() if limit is None]
    left = total - sum(limit for limit in limits.values() if limit is not None)
    if left < len(sharing):
        raise Terminal(
            "InvalidConnectionLimit",
            f"spec.connectionLimit is {total}: after the roles with a limit of their own {max(left, 0)} are left for "
            f"{len(sharing)} others ({', '.join(sharing) or 'none'}); raise it, or lower theirs",
            condition="RolesReady",
        )
    share = left // len(sharing) if sharing else 0
    return {role: limit if limit is not None else share for role, limit in limits.items()}


def app_secret(sdb: ServiceDatabase) -> str:
    """The Secret that the Service Binding specification calls the binding."""
    return next(role.secret_name for name, role in sdb.spec.roles.named() if name == APP)
