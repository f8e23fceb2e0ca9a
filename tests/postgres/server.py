"""Real PostgreSQL servers for tests: started in about half a second, stopped, killed and removed like any process.

    with Server.start_new(16, directory) as server:
        with server.connect(user=server.admin.name) as connection:
            connection.execute("CREATE ROLE orders__owner")

Every server has its own port, passwords and system identifier. Statements and connections go to `log_path`, for tests
that look for passwords there. The servers end with the test run, however that ends (see guard.py).
"""

import atexit
import contextlib
import functools
import logging
import os
import random
import secrets
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from signal import SIGINT, SIGQUIT, SIGTERM
from types import TracebackType
from typing import Any, Literal, Self

import psutil
import psycopg
from psycopg import sql
from psycopg.rows import TupleRow

from tests.postgres import guard
from tests.postgres.binaries import (
    TLS_VERSIONS,
    bin_directory,
    environment,
    subprocess_user,
    unprivileged_user,
)
from tests.postgres.certificates import LIFETIME, create_certificates

logger = logging.getLogger(__name__)

SUPERUSER = "postgres"
ADMIN = "opadmin"

StopMode = Literal["smart", "fast", "immediate"]

_STOP_SIGNALS: Mapping[StopMode, int] = {"smart": SIGTERM, "fast": SIGINT, "immediate": SIGQUIT}
# Below Linux' ephemeral ports, which outgoing connections take at any time, and Kubernetes' node ports.
_PORTS = range(15_000, 30_000)
_PORT_ATTEMPTS = 20
_PATIENCE = timedelta(seconds=60)
_CHILDREN_PATIENCE = timedelta(seconds=1)
_POLL = timedelta(milliseconds=5)
# Line numbers in postmaster.pid; PostgreSQL's source, src/include/utils/pidfile.h.
_PID_LINE, _SHARED_MEMORY_LINE, _STATUS_LINE = 0, 6, 7


class ServerError(Exception):
    """A server did not start or stop as it should; the message ends with what its log says."""


class PortTakenError(ServerError):
    """Another process listens on the server's port."""


@dataclass(frozen=True, slots=True)
class Login:
    """A login with its password, which a repr (of a failed assertion, say) does not show."""

    name: str
    password: str = field(repr=False)


@dataclass(eq=False, slots=True)
class Server:
    """A PostgreSQL server of a test; `start_new` makes one.

    `admin` is the operator's kind of login: CREATEROLE and CREATEDB, no superuser. `settings` holds what is in
    postgresql.conf; a change counts from the next start. With `ca_certificate` set the server takes TLS alone.
    """

    version: int
    directory: Path
    host: str
    port: int
    superuser: Login
    admin: Login
    settings: dict[str, str]
    ca_certificate: Path | None = None
    _process: subprocess.Popen[bytes] | None = field(default=None, repr=False)

    @classmethod
    def start_new(
        cls,
        version: int,
        directory: Path,
        *,
        host: str = "127.0.0.1",
        tls: bool = False,
        settings: Mapping[str, str] | None = None,
    ) -> Self:
        """Create a server of major `version` in `directory`, which must be new or empty, and start it.

        It listens on `host` alone, without a socket file. `settings` go over the defaults in `default_settings`.
        """
        if tls and version not in TLS_VERSIONS:
            raise ValueError(f"PostgreSQL {version} for tests is built without TLS; use {sorted(TLS_VERSIONS)}")
        _prepare_directory(directory)
        server = cls(
            version=version,
            directory=directory,
            host=host,
            port=random.choice(_PORTS),
            superuser=Login(SUPERUSER, secrets.token_urlsafe(24)),
            admin=Login(ADMIN, secrets.token_urlsafe(24)),
            settings={},
        )
        template = _template(version)
        _run("cp", "-Rp", template.data_directory, server.data_directory)
        server._become_unique()
        if tls:
            server.write_certificates()
        server._write_access_rules()
        server.settings = {**server._default_settings(), **(settings or {})}
        server._start_on_free_port()
        server._create_logins(template.password)
        return server

    @property
    def data_directory(self) -> Path:
        return self.directory / "data"

    @property
    def log_path(self) -> Path:
        return self.directory / "postgresql.log"

    @property
    def bin_directory(self) -> Path:
        """The folder of this version's programs: pg_dump, pg_restore, psql and the others."""
        return bin_directory(self.version)

    @property
    def system_identifier(self) -> int:
        return int.from_bytes(_control_file(self.data_directory).read_bytes()[:8], sys.byteorder)

    @property
    def is_running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    @property
    def pid(self) -> int:
        """The postmaster's process id."""
        return self._running_process().pid

    def parameters(
        self, user: str | None = None, password: str | None = None, dbname: str = "postgres"
    ) -> dict[str, Any]:
        """Keyword arguments for psycopg's connect functions and pools; see `connect`."""
        user = user or self.superuser.name
        if password is None:
            password = {login.name: login.password for login in (self.superuser, self.admin)}.get(user)
        parameters: dict[str, Any] = {"host": self.host, "port": self.port, "user": user, "dbname": dbname}
        if password is not None:
            parameters["password"] = password
        if self.ca_certificate is not None:
            parameters |= {"sslmode": "verify-full", "sslrootcert": str(self.ca_certificate)}
        return parameters

    def connect(
        self,
        user: str | None = None,
        password: str | None = None,
        dbname: str = "postgres",
        *,
        autocommit: bool = True,
        **parameters: Any,
    ) -> psycopg.Connection[TupleRow]:
        """A connection as `user`, by default the superuser; the passwords of superuser and admin are known.

        With TLS the certificate is verified in full, unless `parameters` say otherwise.
        """
        merged = {**self.parameters(user, password, dbname), **parameters}
        return psycopg.connect(autocommit=autocommit, **merged)

    def start(self) -> None:
        """Start the server on its port and wait until it takes connections."""
        if self.is_running:
            raise ServerError(f"the server on port {self.port} is running already")
        self._write_settings()
        log_start = self.log_path.stat().st_size if self.log_path.exists() else 0
        with self.log_path.open("ab") as log:
            self._process = subprocess.Popen(
                [self.bin_directory / "postgres", "-D", self.data_directory],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd="/",
                env=environment(),
                start_new_session=True,  # a terminal's ^C is for the test run, which stops its servers itself
                **subprocess_user(),
            )
        _run_end.watch(self, self._process.pid)
        deadline = time.monotonic() + _PATIENCE.total_seconds()
        while not self._is_ready(self._process.pid):
            if self._process.poll() is not None:
                raise self._start_failure("ended while starting", log_start)
            if time.monotonic() > deadline:
                self.kill()
                raise self._start_failure(f"was not ready after {_PATIENCE}", log_start)
            time.sleep(_POLL.total_seconds())

    def stop(self, mode: StopMode = "fast") -> None:
        """Stop the server as pg_ctl's `mode` does and wait until it is gone."""
        process = self._running_process()
        process.send_signal(_STOP_SIGNALS[mode])
        try:
            process.wait(_PATIENCE.total_seconds())
        except subprocess.TimeoutExpired as error:
            raise ServerError(f"the server on port {self.port} did not stop in {_PATIENCE} (mode {mode})") from error
        _run_end.forget(self, process.pid)

    def kill(self) -> None:
        """End the server as a crash would, without any tidying, and wait until all of its processes are gone."""
        process = self._running_process()
        postmaster = psutil.Process(process.pid)
        # Stopped first: it can't fork a child that is in no list.
        postmaster.suspend()
        while postmaster.status() not in (psutil.STATUS_STOPPED, psutil.STATUS_ZOMBIE):
            time.sleep(_POLL.total_seconds())
        children = postmaster.children(recursive=True)
        process.kill()
        process.wait()
        _wait_until_gone(children)
        _run_end.forget(self, process.pid)

    def restart(self, mode: StopMode = "fast") -> None:
        self.stop(mode)
        self.start()

    def remove(self) -> None:
        """Stop the server where it runs, and remove its directory. A second call does nothing."""
        if self.is_running:
            self.stop("immediate")
        self._release_shared_memory()
        if self.directory.exists():
            shutil.rmtree(self.directory)

    def log(self) -> str:
        return self.log_path.read_text(errors="replace")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.remove()

    def _running_process(self) -> subprocess.Popen[bytes]:
        if self._process is None or not self.is_running:
            raise ServerError(f"the server on port {self.port} is not running")
        return self._process

    def _is_ready(self, pid: int) -> bool:
        # A file left by a killed server holds another pid.
        lines = _pid_file_lines(self.data_directory)
        return (
            len(lines) > _STATUS_LINE
            and lines[_PID_LINE] == str(pid)
            and lines[_STATUS_LINE].strip() in ("ready", "standby")
        )

    def _start_failure(self, what: str, log_start: int) -> ServerError:
        said = self.log_path.read_bytes()[log_start:].decode(errors="replace")
        if self._process is not None:
            _run_end.forget(self, self._process.pid)
        kind = PortTakenError if "Address already in use" in said else ServerError
        return kind(f"PostgreSQL {self.version} on {self.host} port {self.port} {what}:\n{said}")

    def _start_on_free_port(self) -> None:
        # No port is asked for and given back first: between that and the server's own bind anybody may take it.
        for port in random.sample(_PORTS, _PORT_ATTEMPTS):
            self.port = port
            self.settings["port"] = str(port)
            try:
                return self.start()
            except PortTakenError:
                self.log_path.unlink()
        raise PortTakenError(f"{_PORT_ATTEMPTS} ports of {_PORTS} on {self.host} were all taken")

    def _become_unique(self) -> None:
        """Give the copied data directory a system identifier of its own: the operator knows servers by it."""
        identifier = (int(time.time()) << 32) | secrets.randbits(32)
        with _control_file(self.data_directory).open("r+b") as control_file:
            control_file.write(identifier.to_bytes(8, sys.byteorder))
        # Writes the control file's checksum, and WAL that carries the new identifier.
        _run(self.bin_directory / "pg_resetwal", "-f", "-D", self.data_directory, **subprocess_user())

    def write_certificates(self, *, lifetime: timedelta = LIFETIME) -> None:
        """Write a new authority to `ca_certificate`, and a certificate of it that counts from the next start."""
        hosts = list(dict.fromkeys(["localhost", "127.0.0.1", self.host]))
        made = create_certificates(hosts, lifetime=lifetime)
        self.ca_certificate = self.directory / "ca.crt"
        self.ca_certificate.write_bytes(made.ca_certificate)
        (self.directory / "server.crt").write_bytes(made.certificate)
        private_key = self.directory / "server.key"
        private_key.touch(mode=0o600)
        private_key.write_bytes(made.private_key)
        _give_to_server_user(private_key)

    def _write_access_rules(self) -> None:
        kind = "host" if self.ca_certificate is None else "hostssl"
        lines = [
            f"{kind} {database} all {addresses} scram-sha-256\n"
            for database in ("all", "replication")
            for addresses in ("0.0.0.0/0", "::/0")
        ]
        self._write_data_file("pg_hba.conf", "".join(lines))

    def _default_settings(self) -> dict[str, str]:
        settings = {
            "listen_addresses": self.host,
            "unix_socket_directories": "",
            "max_connections": "200",
            "password_encryption": "scram-sha-256",
            # The machine does not crash. synchronous_commit stays on: what was committed outlives kill().
            "fsync": "off",
            # In the data directory: in /dev/shm, what a killed server leaves would outlive remove().
            "dynamic_shared_memory_type": "mmap",
            "logging_collector": "off",
            "log_statement": "all",
            "log_connections": "on",
            "log_line_prefix": "%m [%p] %q%u@%d ",
        }
        if self.ca_certificate is not None:
            settings |= {
                "ssl": "on",
                "ssl_cert_file": str(self.directory / "server.crt"),
                "ssl_key_file": str(self.directory / "server.key"),
            }
        return settings

    def _write_settings(self) -> None:
        lines = (f"{name} = '{_escaped(value)}'\n" for name, value in self.settings.items())
        self._write_data_file("postgresql.conf", "".join(lines))

    def _write_data_file(self, name: str, text: str) -> None:
        path = self.data_directory / name
        path.write_text(text)
        _give_to_server_user(path)

    def _create_logins(self, template_password: str) -> None:
        # log_statement=none: the log belongs to the tests that search it.
        with self.connect(password=template_password, options="-c log_statement=none") as connection:

            def verifier(login: Login) -> sql.Literal:
                encrypted = connection.pgconn.encrypt_password(
                    login.password.encode(), login.name.encode(), b"scram-sha-256"
                )
                return sql.Literal(encrypted.decode())

            connection.execute(
                sql.SQL("CREATE ROLE {} LOGIN CREATEROLE CREATEDB PASSWORD {}").format(
                    sql.Identifier(self.admin.name), verifier(self.admin)
                )
            )
            connection.execute(
                sql.SQL("ALTER ROLE {} PASSWORD {}").format(
                    sql.Identifier(self.superuser.name), verifier(self.superuser)
                )
            )

    def _release_shared_memory(self) -> None:
        """Release the System V segment that a killed server left; a start in the same directory would do it, too."""
        lines = _pid_file_lines(self.data_directory)
        if len(lines) > _SHARED_MEMORY_LINE and shutil.which("ipcrm") is not None:
            _, segment = lines[_SHARED_MEMORY_LINE].split()
            subprocess.run(["ipcrm", "-m", segment], capture_output=True, check=False)


def session_directory() -> Path:
    """A folder of this test run that the servers' user can reach (it can't reach tmp_path); removed at exit."""
    return _run_end.directory()


@dataclass(frozen=True, slots=True)
class _Template:
    """What `initdb` made, to be copied; `password` is the superuser's."""

    data_directory: Path
    password: str


@functools.cache
def _template(version: int) -> _Template:
    started = time.monotonic()
    directory = Path(tempfile.mkdtemp(prefix=f"template-{version}-", dir=session_directory()))
    _give_to_server_user(directory)
    password = secrets.token_urlsafe(24)
    password_file = directory / "password"
    password_file.touch(mode=0o600)
    password_file.write_text(password)
    _give_to_server_user(password_file)
    template = _Template(directory / "data", password)
    _run(
        bin_directory(version) / "initdb",
        *("--pgdata", template.data_directory),
        *("--username", SUPERUSER),
        *("--pwfile", password_file),
        *("--auth", "scram-sha-256"),
        *("--encoding", "UTF8"),
        *("--locale", "C"),
        "--no-sync",
        **subprocess_user(),
    )
    password_file.unlink()
    logger.info("initdb of PostgreSQL %d took %.1f s", version, time.monotonic() - started)
    return template


class _RunEnd:
    """Knows what runs, and stops and removes it when the test run ends; the guard does so when the run is killed."""

    def __init__(self) -> None:
        self._servers: set[Server] = set()
        self._guard: subprocess.Popen[bytes] | None = None
        self._directory: Path | None = None

    def directory(self) -> Path:
        if self._directory is None:
            self._directory = Path(tempfile.mkdtemp(prefix="servicedb-postgres-"))
            self._directory.chmod(0o755)
            self._guard = subprocess.Popen(
                [sys.executable, guard.__file__, self._directory],
                stdin=subprocess.PIPE,
                cwd="/",
                start_new_session=True,
            )
            atexit.register(self._end)
        return self._directory

    def watch(self, server: Server, pid: int) -> None:
        self.directory()
        self._servers.add(server)
        self._tell_guard(f"+{pid}\n")

    def forget(self, server: Server, pid: int) -> None:
        self._servers.discard(server)
        self._tell_guard(f"-{pid}\n")

    def _tell_guard(self, line: str) -> None:
        assert self._guard is not None
        assert self._guard.stdin is not None
        self._guard.stdin.write(line.encode())
        self._guard.stdin.flush()

    def _end(self) -> None:
        for server in list(self._servers):
            with contextlib.suppress(ServerError):
                server.stop("immediate")
        assert self._guard is not None
        assert self._guard.stdin is not None
        self._guard.stdin.close()
        self._guard.wait()


_run_end = _RunEnd()


def _prepare_directory(directory: Path) -> None:
    directory.mkdir(exist_ok=True)
    if any(directory.iterdir()):
        raise ValueError(f"{directory} is not empty; give a new folder for each server")
    directory.chmod(0o755)
    reached = subprocess.run(["test", "-x", directory], cwd="/", check=False, **subprocess_user())
    if reached.returncode != 0:
        raise ValueError(f"the servers' user can't reach {directory}; use a folder in session_directory()")


def _control_file(data_directory: Path) -> Path:
    """Its first eight bytes are the system identifier (PostgreSQL's source, src/include/catalog/pg_control.h)."""
    return data_directory / "global" / "pg_control"


def _pid_file_lines(data_directory: Path) -> list[str]:
    try:
        return (data_directory / "postmaster.pid").read_text().splitlines()
    except FileNotFoundError:
        return []


def _wait_until_gone(processes: list[psutil.Process]) -> None:
    """Wait for children of a dead postmaster, which end by themselves, and kill those that are too busy to notice."""
    deadline = time.monotonic() + _CHILDREN_PATIENCE.total_seconds()
    left = processes
    while left := [process for process in left if guard.is_alive(process)]:
        if time.monotonic() > deadline:
            for process in left:
                with contextlib.suppress(psutil.NoSuchProcess):
                    process.kill()
        time.sleep(_POLL.total_seconds())


def _give_to_server_user(path: Path) -> None:
    user = unprivileged_user()
    if user is not None:
        os.chown(path, user.uid, user.gid)


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace("'", "''")


def _run(*command: str | Path, **arguments: Any) -> None:
    done = subprocess.run(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        cwd="/",
        env=environment(),
        check=False,
        **arguments,
    )
    if done.returncode != 0:
        raise ServerError(f"{' '.join(map(str, command))} ended with status {done.returncode}:\n{done.stdout}")
