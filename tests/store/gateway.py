"""A real S3-compatible server on this machine, which can be stopped, killed, filled and made read-only."""

import os
import secrets
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

from tests.cluster.harness import binaries
from tests.cluster.harness.deadline import wait_until
from tests.cluster.harness.pki import Authority

BUCKET = "backups"
READY_WITHIN = timedelta(seconds=60)
OWN_MOUNTS = ("unshare", *(("--user", "--map-root-user") if os.geteuid() else ()), "--mount")
"""Runs what follows with mounts that nobody else sees, and that go with it."""


@dataclass(slots=True)
class Gateway:
    """One server on loopback, with a bucket. `folder` is where it keeps what it holds, and the files that a mounted
    Secret would give: those in credentials/."""

    folder: Path
    tls: bool = False
    arguments: tuple[str, ...] = ()
    # In a mount namespace of its own: a file system of so few bytes, which goes with the process.
    tmpfs_bytes: int | None = None
    port: int = 0
    _process: subprocess.Popen[bytes] | None = field(default=None, repr=False)

    @classmethod
    @contextmanager
    def running(cls, folder: Path, **options: object) -> Iterator["Gateway"]:
        gateway = cls(folder, **options)  # type: ignore[arg-type]
        gateway.prepare()
        try:
            gateway.start()
            yield gateway
        finally:
            gateway.kill()

    @property
    def endpoint(self) -> str:
        return f"{'https' if self.tls else 'http'}://localhost:{self.port}"

    @property
    def credentials(self) -> Path:
        return self.folder / "credentials"

    @property
    def data(self) -> Path:
        return self.folder / "data"

    def url(self, prefix: str = "", *, bucket: str = BUCKET, endpoint: str | None = None) -> str:
        return f"s3://{bucket}/{prefix}?endpoint={endpoint or self.endpoint}"

    def prepare(self) -> None:
        self.credentials.mkdir(parents=True)
        (self.data / BUCKET).mkdir(parents=True)
        (self.credentials / "AWS_ACCESS_KEY_ID").write_text("servicedb")
        (self.credentials / "AWS_SECRET_ACCESS_KEY").write_text(secrets.token_urlsafe(24) + "\n")
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]
        if self.tls:
            authority = Authority.create("servicedb test storage")
            authority.server("localhost", ["localhost"]).write(self.folder, "server")
            (self.credentials / "ca.crt").write_bytes(authority.pair.certificate)

    def start(self) -> None:
        """Start it, or start it again with what it held."""
        program = [str(binaries.ensure(binaries.VERSITYGW)), f"--port=127.0.0.1:{self.port}", "--quiet"]
        if self.tls:
            program += [f"--cert={self.folder / 'server.crt'}", f"--key={self.folder / 'server.key'}"]
        command = [*program, *self.arguments, "posix", str(self.data)]
        if self.tmpfs_bytes is not None:
            mount = f'mount -t tmpfs -o size={self.tmpfs_bytes} none "$1" && mkdir "$1/{BUCKET}" && shift && exec "$@"'
            command = [
                *OWN_MOUNTS,
                "sh",
                "-c",
                mount,
                "sh",
                str(self.data),
                *command,
            ]
        environment = {"PATH": os.environ["PATH"]} | {
            "ROOT_ACCESS_KEY_ID": (self.credentials / "AWS_ACCESS_KEY_ID").read_text(),
            "ROOT_SECRET_ACCESS_KEY": (self.credentials / "AWS_SECRET_ACCESS_KEY").read_text().strip(),
        }
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(command, env=environment, stdout=log, stderr=log, stdin=subprocess.DEVNULL)
        if not wait_until(self._answers, READY_WITHIN):
            raise AssertionError(f"the store does not answer: {(self.folder / 'log').read_text()}")

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def uploads(self) -> list[Path]:
        """The files of uploads that were begun and came to no end."""
        return [path for path in (self.data / BUCKET / ".sgwtmp").rglob("*") if path.is_file()]

    def _answers(self) -> bool:
        assert self._process is not None
        if self._process.poll() is not None:
            raise AssertionError(f"the store ended: {(self.folder / 'log').read_text()}")
        try:
            socket.create_connection(("127.0.0.1", self.port), timeout=5).close()
        except OSError:
            return False
        return True
