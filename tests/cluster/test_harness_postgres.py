"""The harness's PostgreSQL, as tests and the demo meet it."""

import secrets
from pathlib import Path

import psycopg
import pytest

from tests.cluster.harness import Cluster, docker, postgres
from tests.cluster.harness.postgres import Postgres

pytestmark = pytest.mark.skipif(docker.usable(), reason="kind runs the cluster: this machine does not reach Services")


@pytest.fixture(scope="module")
def server(cluster: Cluster) -> Postgres:
    return postgres.ensure(cluster)


@pytest.fixture(scope="module")
def authority(server: Postgres, tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("postgres") / "ca.crt"
    file.write_text(server.authority)
    return file


@pytest.mark.parametrize("by", ["name", "address"])
def test_the_admin_logs_in_over_verified_tls_and_is_no_superuser(server: Postgres, authority: Path, by: str) -> None:
    with psycopg.connect(
        host=server.host if by == "name" else server.address,
        hostaddr=server.address,
        dbname="postgres",
        user=server.admin.username,
        password=server.admin.password,
        sslmode="verify-full",
        sslrootcert=str(authority),
    ) as connection:
        role = connection.execute(
            "SELECT rolname, rolsuper, rolcreaterole, rolcreatedb FROM pg_roles WHERE rolname = current_user"
        ).fetchone()
    assert role == ("servicedb_admin", False, True, True)


def test_plaintext_is_refused(server: Postgres) -> None:
    with pytest.raises(psycopg.OperationalError, match="no encryption"):
        psycopg.connect(
            host=server.address, user="postgres", password=server.superuser.password, sslmode="disable"
        ).close()


def test_what_is_logged_follows_the_settings(server: Postgres) -> None:
    quiet, loud = (f"canary_{secrets.token_hex(8)}" for _ in range(2))
    server.configure(log_statement="none")
    server.psql(f"SELECT '{quiet}'")
    server.configure(log_statement="all")
    server.psql(f"SELECT '{loud}'")
    server.configure(log_statement="none")
    log = server.log()
    assert quiet not in log
    assert loud in log


def test_its_own_passwords_are_in_no_log(server: Postgres) -> None:
    log = server.log()
    assert server.admin.password not in log
    assert server.superuser.password not in log
    verifiers = "SELECT count(*) FROM pg_authid WHERE rolpassword LIKE 'SCRAM-SHA-256$%'"
    assert int(server.psql(verifiers)) >= 2
