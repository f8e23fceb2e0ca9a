"""One DatabaseServer: who its admin is, whether it can be used, what stands on it, and which objects are gone."""

import base64
import tempfile
import time
from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path

from pydantic import SecretStr

from servicedb import metrics
from servicedb.api.common import ACKNOWLEDGE, HANDLED_LENGTH, RECONCILE_AT, SecretReference
from servicedb.api.database_server import Adoptable, DatabaseServer
from servicedb.errors import Busy, Problem, Retryable, Terminal
from servicedb.kube import resources
from servicedb.kube.client import ApiError, Json
from servicedb.kube.resources import SERVICE_DATABASES, Key
from servicedb.plan.backup_access import backup_access
from servicedb.plan.conditions import Finding, beside, of_problem
from servicedb.plan.narrow import Narrowed, markers
from servicedb.plan.server import ServerFacts, check_server, findings
from servicedb.postgres.catalog import scan_server
from servicedb.postgres.connections import Account, Endpoint, Tls, connect, translated
from servicedb.postgres.server import look, make_lock_database, refuses_plaintext
from servicedb.postgres.session import AdminServer
from servicedb.reconcile.count import count
from servicedb.reconcile.drop import drop_what_is_due
from servicedb.reconcile.release import release_what_is_gone
from servicedb.reconcile.report import begin, report
from servicedb.reconcile.world import Server, World

ADMIN_LABEL = "servicedb.io/admin-credentials"
_LOOK_AGAIN = 30.0


async def reconcile(key: Key, world: World) -> float | None:
    """Look at one server, and have its databases looked at when it has become usable.

    Raises the Problem that keeps it from being used, after it was reported.
    """
    body = await world.kube.get(key.path)
    if body is None:
        await _forget(key, world)
        return None
    resource = DatabaseServer.parse(body)
    if resource.metadata.deletion_timestamp is not None:
        return None
    await begin(world, key, resource)
    server = world.servers.setdefault(key.name, Server(key.name, resource))
    adoptable_before = server.resource.spec.adoptable
    server.resource = resource
    was_usable = server.problem is None and server.scan is not None
    try:
        found, facts = await _bring(server, world)
    except Busy as problem:
        await report(world, key, resource, of_problem(problem))
        raise
    except Problem as problem:
        server.problem = problem
        metrics.SERVER_UP.labels(key.name).set(0)
        await report(world, key, resource, of_problem(problem))
        if was_usable:
            _wake(key.name, world)
        if isinstance(problem, Retryable):
            raise
        return min(_LOOK_AGAIN, world.settings.resync)
    server.problem = None
    metrics.SERVER_UP.labels(key.name).set(1)
    if not was_usable:
        _wake(key.name, world)
    _wake_whose_entry_changed(adoptable_before, resource.spec.adoptable, world)
    databases = count(server, world)
    await report(
        world,
        key,
        resource,
        found,
        {
            "version": facts.version.split()[0],
            "systemIdentifier": facts.system_identifier,
            "databases": databases,
            "handled": _handled(resource),
        },
    )
    server.counted = databases
    return world.settings.resync


async def _bring(server: Server, world: World) -> tuple[list[Finding], ServerFacts]:
    facts = await open_server(server, world)
    plaintext_refused: bool | str | None = None
    if server.resource.spec.tls.mode != "Disable" and server.admin is not None:
        plaintext_refused = await refuses_plaintext(
            server.admin.endpoint, server.admin.account, server.resource.spec.admin_database
        )
    found = list(findings(facts, plaintext_refused=plaintext_refused))
    held = await release_what_is_gone(server, world)
    dropped = await drop_what_is_due(server, world)
    return [beside(held, dropped) if held is not None else dropped, *found], facts


async def open_server(server: Server, world: World) -> ServerFacts:
    """Log in as the server's admin, see that it can be used, and read its shared catalogues. Raises a Problem."""
    resource = server.resource
    account = await _account(resource, world)
    endpoint = await _endpoint(server, world)
    with translated(endpoint):
        connection = await connect(endpoint, account, resource.spec.admin_database)
        async with connection:
            facts = await look(connection)
            check_server(
                facts,
                server=server.name,
                known_identifier=server.system_identifier or resource.status.system_identifier,
                acknowledged=resource.metadata.annotations.get(ACKNOWLEDGE),
            )
            await make_lock_database(connection, facts)
    await _keep_admin(server, endpoint, account)
    server.system_identifier = facts.system_identifier
    before, facts_before = server.scan, server.facts
    server.facts = facts
    await scan(server)
    if before is not None:
        _wake_what_changed(server, before, world)
    if facts_before is not None and backup_access(facts_before) != backup_access(facts):
        _wake(server.name, world)
    return facts


async def enter(server: Server, world: World) -> None:
    """Log in for somebody who only looks: nothing is made, not even the operator's own database."""
    account = await _account(server.resource, world)
    await _keep_admin(server, await _endpoint(server, world), account)
    server.system_identifier = server.resource.status.system_identifier
    await scan(server)


async def scan(server: Server) -> None:
    """Read the shared catalogues of `server` once, for all its databases."""
    assert server.admin is not None
    async with server.admin.session() as connection:
        seen = await scan_server(connection)
    server.scan = Narrowed(seen)
    server.markers = markers(seen)
    server.scanned_at = time.monotonic()


async def _keep_admin(server: Server, endpoint: Endpoint, account: Account) -> None:
    """Sessions go on as they are while endpoint and account do; else they are made anew."""
    if server.admin is not None and (server.admin.endpoint, server.admin.account) == (endpoint, account):
        return
    if server.admin is not None:
        await server.admin.close()
    server.admin = AdminServer(endpoint, account, connections=server.resource.spec.limits.operator_connections)


async def _account(resource: DatabaseServer, world: World) -> Account:
    reference = resource.spec.admin_secret_ref
    secret = await _admin_secret(reference, world)
    return Account(
        _value(secret, reference, reference.username_key).strip("\n"),  # `echo` and editors add one
        SecretStr(_value(secret, reference, reference.password_key).strip("\n")),
    )


async def _endpoint(server: Server, world: World) -> Endpoint:
    """Where the operator connects; notes where applications do, and the CA that both believe."""
    spec = server.resource.spec
    ca_file = ca_certificate = None
    if spec.tls.ca_secret_ref is not None:
        reference = spec.tls.ca_secret_ref
        certificate = _value(await _admin_secret(reference, world), reference, reference.key)
        ca_certificate = certificate.strip("\n") + "\n"  # how many there were is no reason to write Secrets anew
        ca_file = _file_of(ca_certificate)
    server.ca_certificate = ca_certificate  # at once: who looks meanwhile would take the server for one without a CA
    tls = Tls(spec.tls.mode, ca_file, spec.tls.min_version)
    client = spec.client_endpoint
    server.client_endpoint = Endpoint(
        server.name,
        client.host if client is not None else spec.host,
        (client.port if client is not None else None) or spec.port,
        tls,
    )
    return Endpoint(server.name, spec.host, spec.port, tls)


async def _admin_secret(reference: SecretReference, world: World) -> Json:
    """A Secret that a DatabaseServer may name: labelled, and in a namespace that the settings allow."""
    where = f'Secret "{reference.name}" in namespace "{reference.namespace}"'
    if not world.settings.admin_secret_allowed(reference.namespace):
        raise Terminal(
            "SecretNotAllowed",
            f"{where} may not be named by a DatabaseServer: the operator's settings allow other namespaces "
            "(SERVICEDB_ADMIN_NAMESPACES); put the Secret there",
            condition="Reachable",
        )
    try:
        body = await world.kube.get(resources.secret(reference.namespace, reference.name))
    except ApiError as error:
        raise Terminal(
            "SecretNotAllowed", f"{where} may not be read by the operator: {error.message}", condition="Reachable"
        ) from None
    if body is None:
        raise Retryable("SecretMissing", f"{where} is not there; create it", condition="Reachable")
    if (body["metadata"].get("labels") or {}).get(ADMIN_LABEL) != "true":
        raise Terminal(
            "SecretNotLabelled",
            f'{where} lacks the label {ADMIN_LABEL}: "true", without which no DatabaseServer may use it; add the label',
            condition="Reachable",
        )
    return body


def _value(secret: Json, reference: SecretReference, key: str) -> str:
    encoded = (secret.get("data") or {}).get(key)
    if not encoded:
        raise Terminal(
            "SecretIncomplete",
            f'Secret "{reference.name}" in namespace "{reference.namespace}" has no key "{key}"; add it',
            condition="Reachable",
        )
    return base64.b64decode(encoded).decode(errors="replace")


def _file_of(certificate: str) -> str:
    """libpq reads certificates from files only; one file a certificate, named by its content."""
    folder = Path(tempfile.gettempdir()) / "servicedb-ca"
    folder.mkdir(mode=0o700, exist_ok=True)
    path = folder / f"{sha256(certificate.encode()).hexdigest()[:32]}.crt"
    if not path.exists():
        with tempfile.NamedTemporaryFile("w", dir=folder, delete=False) as file:
            file.write(certificate)
        Path(file.name).rename(path)
    return str(path)


async def _forget(key: Key, world: World) -> None:
    server = world.servers.pop(key.name, None)
    if server is not None and server.admin is not None:
        await server.admin.close()
    _wake(key.name, world)


def _wake_what_changed(server: Server, before: Narrowed, world: World) -> None:
    """Have those databases looked at now of which this scan shows something else than the one before."""
    assert server.scan is not None
    for database, marker in server.markers.items():
        key = Key(SERVICE_DATABASES, marker.namespace, marker.name)
        if marker.cluster == world.cluster_uid and key in world.databases and server.scan.differs(before, database):
            world.enqueue(key)


def _wake_whose_entry_changed(before: Sequence[Adoptable], now: Sequence[Adoptable], world: World) -> None:
    """Have those looked at now that may take a database over, or are to have theirs for themselves."""
    for entry in (*before, *now):
        key = Key(SERVICE_DATABASES, entry.namespace, entry.name)
        if (entry in before) != (entry in now) and key in world.databases:
            world.enqueue(key)


def _wake(server: str, world: World) -> None:
    for key in world.of_server(server):
        world.enqueue(key)


def _handled(resource: DatabaseServer) -> dict[str, str]:
    value = resource.metadata.annotations.get(RECONCILE_AT)
    return {"reconcileAt": value[:HANDLED_LENGTH]} if value is not None else {}
