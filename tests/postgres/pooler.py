"""A PgBouncer before a server, as a test needs it: Debian's, or the machine's own."""

import atexit
import contextlib
import functools
import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

from psycopg.conninfo import conninfo_to_dict, make_conninfo

from tests.postgres.binaries import environment, subprocess_user, unprivileged_user

_PACKAGES = ("pgbouncer", "libc-ares2", "libevent-2.1-7")


@functools.cache
def _program() -> tuple[str, str]:
    """The program, and where its libraries are. Unpacked instead of installed: Debian would start it as a service."""
    if (own := shutil.which("pgbouncer", path=f"{os.environ.get('PATH', '')}:/usr/sbin")) is not None:
        return own, ""
    if shutil.which("apt-get") is None or shutil.which("dpkg") is None:
        raise RuntimeError("PgBouncer for tests is missing; install it")
    folder = Path(tempfile.mkdtemp(prefix="servicedb-pgbouncer-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    folder.chmod(0o755)
    if os.geteuid() == 0:
        subprocess.run(["apt-get", "-q", "update"], check=True, capture_output=True)
    subprocess.run(["apt-get", "-q", "download", *_PACKAGES], cwd=folder, check=True, capture_output=True)
    for package in folder.glob("*.deb"):
        subprocess.run(["dpkg", "-x", package, folder / "root"], check=True)
    (folder / "root").chmod(0o755)
    (libraries,) = {path.parent for path in (folder / "root").rglob("libcares.so.2")}
    return str(folder / "root" / "usr" / "sbin" / "pgbouncer"), str(libraries)


@contextlib.contextmanager
def pooled(dsn: str, mode: str) -> Iterator[str]:
    """A connection string that leads to the same database through a PgBouncer in `mode`."""
    program, libraries = _program()
    target = conninfo_to_dict(dsn)
    with tempfile.TemporaryDirectory(prefix="servicedb-pooler-") as name, socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        taken.close()
        folder = Path(name)
        (folder / "users").write_text(f'"{target["user"]}" "{target["password"]}"\n')
        (folder / "ini").write_text(
            f"[databases]\n{target['dbname']} = host={target['host']} port={target['port']}\n"
            f"[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\nunix_socket_dir =\n"
            f"auth_type = plain\nauth_file = {folder / 'users'}\npool_mode = {mode}\n"
        )
        if (user := unprivileged_user()) is not None:
            for path in (folder, *folder.iterdir()):
                os.chown(path, user.uid, user.gid)
        process = subprocess.Popen(
            [program, folder / "ini"],
            env={**environment(), "LD_LIBRARY_PATH": libraries},
            stderr=subprocess.PIPE,
            text=True,
            **subprocess_user(),
        )
        try:
            for line in process.stderr or ():
                if "process up" in line:
                    break
            yield make_conninfo(dsn, host="127.0.0.1", port=port)
        finally:
            process.kill()
            process.communicate()
