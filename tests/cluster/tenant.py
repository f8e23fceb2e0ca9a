"""A team's namespace with a DatabaseServer on a real PostgreSQL server, seen as its users see it."""

import base64
import contextlib
import json
import secrets
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Self

import psycopg
from psycopg.rows import TupleRow
from servicedb.naming import RoleNames
from servicedb.plan.marker import Marker

from tests.api.examples import Manifest, changed
from tests.cluster.objects import Objects, Refused, condition, wait_for
from tests.postgres.server import Login, Server

OPERATOR_NAMESPACE: Final = "servicedb-system"
_LABEL: Final = {"servicedb.io/admin-credentials": "true"}


@dataclass(frozen=True, slots=True)
class Tenant:
    """`name` is the namespace's and that of the first DatabaseServer, which means `server`."""

    objects: Objects
    name: str
    server: Server
    made: list[tuple[str, str, str | None]] = field(default_factory=list)

    @classmethod
    @contextlib.contextmanager
    def on(cls, objects: Objects, server: Server, changes: Mapping[str, Any] | None = None) -> Iterator[Self]:
        """One with a namespace and a DatabaseServer of its own. What it made is removed afterwards."""
        tenant = cls(objects, f"t-{secrets.token_hex(4)}", server)
        with contextlib.suppress(Refused):  # the operator's namespace: it is there already
            objects.create({"kind": "Namespace", "metadata": {"name": OPERATOR_NAMESPACE}})
        tenant.make_namespace()
        tenant.add_server(tenant.name, changes=changes)
        try:
            yield tenant
        finally:
            for kind, name, namespace in reversed(tenant.made):
                objects.delete(kind, name, namespace)
            objects.delete("Namespace", tenant.name)

    # What a team and its admins write

    def make_namespace(self) -> str:
        """Make the namespace; gives its UID."""
        made = self.objects.create({"kind": "Namespace", "metadata": {"name": self.name}})
        return str(made["metadata"]["uid"])

    def drop_namespace(self) -> None:
        """Delete the namespace and wait until it is gone."""
        self.objects.delete("Namespace", self.name)
        wait_for(
            f"the end of namespace {self.name}",
            lambda: self.objects.get("Namespace", self.name) is None,
            told=lambda: json.dumps(self.objects.get("Namespace", self.name)),
        )

    def add_server(self, name: str, *, server: Server | None = None, changes: Mapping[str, Any] | None = None) -> str:
        """A DatabaseServer `name` that means `server`, with an admin Secret of its own of the same name."""
        server = server or self.server
        self.add_admin_secret(name, server.admin)
        manifest = {
            "apiVersion": "servicedb.io/v1alpha1",
            "kind": "DatabaseServer",
            "metadata": {"name": name},
            "spec": {
                "host": server.host,
                "port": server.port,
                "tls": {"mode": "Disable"},
                "adminSecretRef": {"namespace": OPERATOR_NAMESPACE, "name": name},
                "allowedNamespaces": {"from": "Names", "names": [self.name]},
            },
        }
        self.objects.create(changed(manifest, dict(changes or {})))
        self.made.append(("DatabaseServer", name, None))
        return name

    def add_admin_secret(self, name: str, admin: Login, *, labels: Mapping[str, str] | None = None) -> None:
        self.add_secret(
            name,
            {"username": admin.name, "password": admin.password},
            namespace=OPERATOR_NAMESPACE,
            labels=_LABEL if labels is None else labels,
        )

    def add_secret(
        self,
        name: str,
        values: Mapping[str, str],
        *,
        namespace: str | None = None,
        labels: Mapping[str, str] | None = None,
    ) -> None:
        namespace = namespace or self.name
        metadata = {"name": name, "namespace": namespace, "labels": dict(labels or {})}
        self.objects.create({"kind": "Secret", "metadata": metadata, "stringData": dict(values)})
        self.made.append(("Secret", name, namespace))

    def manifest(self, name: str, changes: Mapping[str, Any] | None = None) -> Manifest:
        """A ServiceDatabase for the application alone, on the first DatabaseServer, with `changes` to it."""
        base = {
            "apiVersion": "servicedb.io/v1alpha1",
            "kind": "ServiceDatabase",
            "metadata": {"name": name, "namespace": self.name},
            "spec": {"serverRef": {"name": self.name}, "roles": {"app": {"secretName": f"{name}-app"}}},
        }
        return changed(base, dict(changes or {}))

    def create(self, name: str, changes: Mapping[str, Any] | None = None) -> Manifest:
        return self.objects.create(self.manifest(name, changes))

    def change(self, name: str, change: dict[str, Any]) -> Manifest:
        return self.objects.patch("ServiceDatabase", name, change, self.name)

    def annotate(self, name: str, annotation: str, value: str) -> None:
        self.change(name, {"metadata": {"annotations": {f"servicedb.io/{annotation}": value}}})

    def change_server(self, change: dict[str, Any], name: str | None = None) -> Manifest:
        return self.objects.patch("DatabaseServer", name or self.name, change)

    def annotate_server(self, annotation: str, value: str) -> None:
        self.change_server({"metadata": {"annotations": {f"servicedb.io/{annotation}": value}}})

    def delete(self, name: str) -> None:
        self.objects.delete("ServiceDatabase", name, self.name)

    # What they see

    def get(self, name: str) -> Manifest | None:
        return self.objects.get("ServiceDatabase", name, self.name)

    def get_server(self, name: str | None = None) -> Manifest | None:
        return self.objects.get("DatabaseServer", name or self.name)

    def wait_ready(self, *names: str, within: float = 60.0) -> None:
        """Wait until each is Ready for its present generation, as `kubectl wait` does."""
        for name in names:
            wait_for(
                f"{name} Ready",
                lambda name=name: _has(self.get(name), status="True", reason="Ready"),  # type: ignore[misc]
                within=within,
                told=lambda name=name: shown(self.get(name)),  # type: ignore[misc]
            )

    def wait_server_ready(self, name: str | None = None) -> None:
        wait_for(
            "the server Ready",
            lambda: _has(self.get_server(name), status="True", reason="Ready"),
            told=lambda: shown(self.get_server(name)),
        )

    def wait_reason(
        self,
        name: str,
        reason: str,
        *,
        status: str = "False",
        beside: str | None = None,
        says: str = "",
        within: float = 60.0,
    ) -> dict[str, Any]:
        """Wait until Ready has `reason` for the present generation and `says` in its message; gives Ready.

        `beside` names a condition that has to say the same: Stalled where only a person can go on, else Reconciling.
        """

        def so() -> bool:
            return _is_so(self.get(name), status, reason, says, beside)

        wait_for(f"{name} {reason}: {says}", so, within=within, told=lambda: shown(self.get(name)))
        return condition(self.get(name)) or {}

    def wait_server_reason(
        self,
        reason: str,
        *,
        status: str = "False",
        beside: str | None = None,
        says: str = "",
        name: str | None = None,
        within: float = 60.0,
    ) -> dict[str, Any]:
        """As `wait_reason`, for a DatabaseServer."""

        def so() -> bool:
            return _is_so(self.get_server(name), status, reason, says, beside)

        wait_for(f"the server {reason}: {says}", so, within=within, told=lambda: shown(self.get_server(name)))
        return condition(self.get_server(name)) or {}

    def secret(self, name: str) -> dict[str, str] | None:
        """The Secret's values, or None where there is no such Secret."""
        found = self.objects.get("Secret", name, self.name)
        return None if found is None else _decoded(found)

    def secrets(self) -> dict[str, dict[str, str]]:
        """All Secrets of the namespace."""
        return {one["metadata"]["name"]: _decoded(one) for one in self.objects.listed("Secret", self.name)}

    def log_in(self, secret: str) -> psycopg.Connection[TupleRow]:
        """A session with nothing but what stands in the Secret's uri."""
        values = self.secret(secret)
        assert values is not None, f"there is no Secret {secret}"
        return psycopg.connect(values["uri"], autocommit=True)

    def works_as(self, secret: str) -> str:
        """The role that a session with the Secret works as."""
        with self.log_in(secret) as connection:
            row = connection.execute("SELECT current_user").fetchone()
        assert row is not None
        return str(row[0])


def _has(manifest: Manifest | None, *, status: str, reason: str) -> bool:
    found = condition(manifest)
    return (
        manifest is not None
        and found is not None
        and (found["status"], found["reason"]) == (status, reason)
        and found["observedGeneration"] == manifest["metadata"]["generation"]
    )


def _is_so(manifest: Manifest | None, status: str, reason: str, says: str, beside: str | None) -> bool:
    other = condition(manifest, beside) if beside is not None else None
    return (
        _has(manifest, status=status, reason=reason)
        and says in (condition(manifest) or {})["message"]
        and (beside is None or (other is not None and (other["status"], other["reason"]) == ("True", reason)))
    )


def shown(manifest: Manifest | None) -> str:
    return json.dumps((manifest or {}).get("status"), indent=1)


def _decoded(secret: Manifest) -> dict[str, str]:
    return {key: base64.b64decode(value).decode() for key, value in (secret.get("data") or {}).items()}


# What stands on the server


def expected_roles(database: str, *roles: str) -> set[str]:
    """Every role of a database with logins for `roles`: no more, no less."""
    names = RoleNames(database)
    return {names.owner, names.read_write, names.read_only, *(half for role in roles for half in names.pair(role))}


def roles_of(server: Server, database: str) -> set[str]:
    with server.connect() as connection:
        rows = connection.execute(
            "SELECT rolname FROM pg_roles WHERE starts_with(rolname, %s)", (f"{database}__",)
        ).fetchall()
    return {row[0] for row in rows}


def logins_of(server: Server, database: str) -> set[str]:
    """Those of its roles that may log in."""
    with server.connect() as connection:
        rows = connection.execute(
            "SELECT rolname FROM pg_roles WHERE rolcanlogin AND starts_with(rolname, %s)", (f"{database}__",)
        ).fetchall()
    return {row[0] for row in rows}


def marker_of(server: Server, database: str) -> Marker | None:
    with server.connect() as connection:
        row = connection.execute(
            "SELECT shobj_description(oid, 'pg_authid') FROM pg_roles WHERE rolname = %s", (f"{database}__owner",)
        ).fetchone()
    return Marker.read(row[0]) if row is not None else None


def open_unmarked_databases(server: Server) -> set[str]:
    """Databases that take connections and whose owner role's marker does not name them."""
    with server.connect() as connection:
        rows = connection.execute("SELECT datname, oid::bigint FROM pg_database WHERE datallowconn").fetchall()
    own = {"postgres", "template1", "servicedb"}
    return {name for name, oid in rows if name not in own and getattr(marker_of(server, name), "oid", None) != oid}


def everything_about_roles(server: Server) -> list[Any]:
    """All that a change to any role, database, setting or comment would show in."""
    with server.connect() as connection:
        return [
            connection.execute(query).fetchall()
            for query in (
                "SELECT to_jsonb(a) FROM pg_authid a ORDER BY oid",
                "SELECT to_jsonb(m) FROM pg_auth_members m ORDER BY roleid, member, grantor",
                "SELECT to_jsonb(d) - 'datfrozenxid' - 'datminmxid' FROM pg_database d ORDER BY oid",
                "SELECT to_jsonb(s) FROM pg_shdescription s ORDER BY objoid, classoid",
                "SELECT to_jsonb(s) FROM pg_db_role_setting s ORDER BY setdatabase, setrole",
            )
        ]
