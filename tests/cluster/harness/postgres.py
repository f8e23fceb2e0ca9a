"""PostgreSQL 17 in a cluster, reached over TLS alone: Service postgres in namespace databases."""

import secrets
from dataclasses import dataclass, field
from datetime import timedelta
from hashlib import sha256
from ipaddress import IPv4Address

import yaml

from tests.cluster.harness import images
from tests.cluster.harness.cluster import Cluster
from tests.cluster.harness.deadline import wait_until
from tests.cluster.harness.errors import HarnessError
from tests.cluster.harness.objects import apply, pem, read_secret, secret_manifest
from tests.cluster.harness.paths import HARNESS
from tests.cluster.harness.pki import Authority

NAMESPACE = "databases"
SERVICE = "postgres"
HOST = f"{SERVICE}.{NAMESPACE}.svc"
PORT = 5432
POD = "postgres-0"
READY_WITHIN = "180s"
_REACHED_WITHIN = timedelta(seconds=60)


@dataclass(frozen=True, slots=True)
class Login:
    """A role that may log in, and the Secret of namespace databases (username, password) that says so."""

    username: str
    password: str = field(repr=False)
    secret: str


@dataclass(frozen=True, slots=True)
class Postgres:
    """A running server. Pods reach it as `host`; on a local cluster this machine reaches `address`."""

    cluster: Cluster
    address: str
    authority: str
    """The certificate (PEM) that vouches for the server's; verify-full holds for host and address."""
    admin: Login
    """servicedb_admin: CREATEROLE and CREATEDB, no superuser: what the operator gets."""
    superuser: Login
    host: str = HOST
    port: int = PORT

    def configure(self, **settings: str) -> None:
        """Change settings that a reload takes up, such as log_statement="all" or log_connections="on"."""
        self.psql(*(f"ALTER SYSTEM SET {name} = {_quoted(value)}" for name, value in settings.items()))
        self.psql("SELECT pg_reload_conf()")

    def psql(self, *statements: str, database: str = "postgres") -> str:
        """Run statements as superuser in the pod; unaligned rows, without headers, come back."""
        login = ["--host=/tmp", "--username=postgres", f"--dbname={database}"]
        output = ["--quiet", "--no-align", "--tuples-only", "--set=ON_ERROR_STOP=1"]
        inside = ["psql", "--no-psqlrc", *login, *output]
        text = ";\n".join(statements) + ";\n"
        return self.cluster.kubectl("exec", "--stdin", f"--namespace={NAMESPACE}", POD, "--", *inside, text=text)

    def log(self) -> str:
        """All that the server wrote since its pod was made."""
        return self.cluster.kubectl("logs", f"--namespace={NAMESPACE}", POD)


def ensure(cluster: Cluster, **settings: str) -> Postgres:
    """Start the server, or find it running, and give it `settings` (see `Postgres.configure`)."""
    archive = images.postgres()
    cluster.load_image(archive)
    manifest = (HARNESS / "manifests" / "postgres.yaml").read_text()
    namespace, service, *rest, stateful_set = yaml.safe_load_all(manifest)
    # A pod keeps the image and the settings that it began with: others make it a new one.
    made_from = sha256(f"{archive.name} {manifest}".encode()).hexdigest()[:16]
    stateful_set["spec"]["template"]["metadata"]["annotations"] = {"servicedb.io/made-from": made_from}
    apply(cluster, namespace, service)
    address = cluster.kubectl(
        "get", f"--namespace={NAMESPACE}", "service", SERVICE, "--output=jsonpath={.spec.clusterIP}"
    )
    admin = _login(cluster, "postgres-admin", "servicedb_admin")
    superuser = _login(cluster, "postgres-superuser", "postgres")
    authority = _certificates(cluster, IPv4Address(address))
    apply(cluster, *rest, stateful_set)
    cluster.kubectl(
        "rollout", "status", f"--namespace={NAMESPACE}", f"statefulset/{SERVICE}", f"--timeout={READY_WITHIN}"
    )
    if not wait_until(lambda: _is_reached(cluster, address), _REACHED_WITHIN):
        raise HarnessError(f"PostgreSQL is ready, and Service {SERVICE} ({address}) does not lead to it")
    server = Postgres(cluster, address, authority, admin, superuser)
    if settings:
        server.configure(**settings)
    return server


def _is_reached(cluster: Cluster, address: str) -> bool:
    """Whether the Service leads to the server: kube-proxy hears of a new pod some time after it is ready."""
    try:
        cluster.kubectl("exec", f"--namespace={NAMESPACE}", POD, "--", "pg_isready", f"--host={address}", "--quiet")
    except HarnessError:
        return False
    return True


def _login(cluster: Cluster, secret: str, username: str) -> Login:
    found = read_secret(cluster, NAMESPACE, secret)
    if found is None:
        found = {"username": username.encode(), "password": secrets.token_urlsafe(24).encode()}
        apply(cluster, secret_manifest(NAMESPACE, secret, found))
    return Login(found["username"].decode(), found["password"].decode(), secret)


def _certificates(cluster: Cluster, address: IPv4Address) -> str:
    """Make the authority and the server's certificate, unless they are there; gives the authority's."""
    found = read_secret(cluster, NAMESPACE, "postgres-ca")
    if found is None:
        authority = Authority.create("servicedb test databases")
        # The authority comes last: it says that the other is there.
        for secret, pair in {
            "postgres-tls": authority.server(HOST, [HOST, f"{HOST}.cluster.local", address]),
            "postgres-ca": authority.pair,
        }.items():
            apply(cluster, secret_manifest(NAMESPACE, secret, pem(pair)))
        found = pem(authority.pair)
    return found["tls.crt"].decode()


def _quoted(value: str) -> str:
    return "'" + value.replace("'", "''") + "'"
