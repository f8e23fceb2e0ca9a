"""A part of a backup into a database: pg_restore makes a script of it, psql runs that.

In between the script passes through here, for two things. A setting that older servers don't know is taken out: the
pg_restore of 17 and later sets it, and would end at once. And the end of a transaction is written only when the whole
part has been read and was right: where anything goes wrong, or this process is killed, nothing of it stays.
"""

import contextlib
import subprocess
import tempfile
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from servicedb.errors import Problem, Retryable, Terminal
from servicedb.postgres.backups.programs import Access, Programs

_PIECE_BYTES = 1 << 18
_LINES = 20
_UNKNOWN_BEFORE_17 = b"SET transaction_timeout = 0;\n"
_END_OF_PREAMBLE = b"\nSELECT pg_catalog.set_config("
_RESTRICTED = b"\n\\restrict "
"""What makes psql run no command of its own until the end of the script: a dump's names may hold what looks like one.
Source: PostgreSQL documentation, pg_dump, "--restrict-key"."""

_CONNECTION = ("connection to server", "server closed the connection", "terminating connection", "could not connect")


@dataclass(frozen=True, slots=True)
class Scripts:
    """Runs scripts in the database that `access` leads to, as `as_role`; `server_version` as in server_version_num."""

    programs: Programs
    access: Access
    as_role: str | None
    server_version: int

    def listing(self, archive: Iterable[bytes], *sections: str) -> str:
        """What pg_restore says is in `archive`: it reads no more than the beginning."""
        said: deque[bytes] = deque(maxlen=_LINES)
        with self._process([self.programs.pg_restore, "--list", *sections]) as process:
            assert process.stdout is not None
            listener = threading.Thread(target=said.extend, args=(process.stderr,), daemon=True)
            feeding = _Feeding(archive, process)
            listener.start()
            listing = process.stdout.read()
            status = process.wait()
            listener.join()
            feeding.join()
        if status != 0:
            raise Terminal("RestoreFailed", f"pg_restore can't read the backup: {_said(said)}")
        return listing.decode("utf-8", "replace")

    def run(
        self,
        name: str,
        archive: Iterable[bytes],
        *sections: str,
        lines: Sequence[str] | None = None,
        one_transaction: bool = False,
        progress: Callable[[int], None] = lambda _: None,
        on_start: Callable[[Callable[[], None]], None] = lambda _: None,
    ) -> None:
        """Restore what `archive` holds, of it those `lines` of its list alone. Raises Problems, and what it raises.

        `on_start` is given what ends it.
        """
        with tempfile.TemporaryDirectory() as folder:
            chosen = []
            if lines is not None:
                path = Path(folder) / "list"
                path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8", errors="surrogateescape")
                chosen = [f"--use-list={path}"]
            with self._process(self._pg_restore(*sections, *chosen)) as reading, self._process(self._psql()) as running:

                def end() -> None:
                    running.kill()
                    reading.kill()

                on_start(end)
                try:
                    feeding = _Feeding(archive, reading, progress=progress, on_failure=running.kill)
                    passing = _Passing(name, reading, running)
                    passing.pass_on(feeding, one_transaction=one_transaction, without=self._unknown)
                except BaseException:
                    end()
                    raise

    @property
    def _unknown(self) -> bytes | None:
        return _UNKNOWN_BEFORE_17 if self.server_version < 17_00_00 else None

    def _pg_restore(self, *options: str) -> list[str]:
        role = [f"--role={self.as_role}"] if self.as_role else []
        kept = ("--no-owner", "--no-acl", "--no-subscriptions", "--no-security-labels", "--no-tablespaces")
        return [self.programs.pg_restore, "--format=custom", "--file=-", *kept, *role, *options]

    def _psql(self) -> list[str]:
        set_to = ("--set=ON_ERROR_STOP=1", "--set=VERBOSITY=terse", "--set=SHOW_CONTEXT=never")
        return [self.programs.psql, "--no-psqlrc", "--quiet", "--no-password", *set_to, f"--dbname={self.access.dsn}"]

    def _process(self, arguments: Sequence[str]) -> subprocess.Popen[bytes]:
        is_psql = arguments[0] == self.programs.psql
        return subprocess.Popen(  # noqa: S603 - PostgreSQL's own program, with arguments of ours
            arguments,
            env=dict(self.access.environment),
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL if is_psql else subprocess.PIPE,
            stderr=subprocess.PIPE,
            pipesize=1 << 20,
        )


class _Feeding:
    """A thread that gives an archive to a process, until it takes no more. `failure` is what the archive raised."""

    def __init__(
        self,
        archive: Iterable[bytes],
        process: subprocess.Popen[bytes],
        *,
        progress: Callable[[int], None] = lambda _: None,
        on_failure: Callable[[], None] = lambda: None,
    ) -> None:
        self.failure: BaseException | None = None
        self._archive = archive
        self._process = process
        self._progress = progress
        self._on_failure = on_failure
        self._thread = threading.Thread(target=self._feed, name="feed", daemon=True)
        self._thread.start()

    def join(self) -> None:
        """Wait for its end. Raises what the archive raised."""
        self._thread.join()
        if self.failure is not None:
            raise self.failure

    def _feed(self) -> None:
        assert self._process.stdin is not None
        try:
            for chunk in self._archive:
                self._process.stdin.write(chunk)
                self._progress(len(chunk))
        except BrokenPipeError:
            pass  # it has ended, and says why itself
        except BaseException as error:  # noqa: BLE001 - raised again where it is waited for
            self.failure = error
            self._on_failure()
            self._process.kill()
        finally:
            _close(self._process.stdin)


@dataclass(slots=True)
class _Passing:
    """From pg_restore to psql."""

    name: str
    reading: subprocess.Popen[bytes]
    running: subprocess.Popen[bytes]

    def pass_on(self, feeding: _Feeding, *, one_transaction: bool, without: bytes | None) -> None:
        """Raises what `feeding` met, and Problems of either program."""
        assert self.reading.stdout is not None
        read_said: deque[bytes] = deque(maxlen=_LINES)
        run_said: deque[bytes] = deque(maxlen=_LINES)
        listeners = [
            threading.Thread(target=said.extend, args=(pipe,), daemon=True)
            for said, pipe in ((read_said, self.reading.stderr), (run_said, self.running.stderr))
        ]
        for thread in listeners:
            thread.start()
        begun = self._write(b"BEGIN;\n" if one_transaction else b"")
        taken = begun and all(self._write(piece) for piece in _prepared(self.reading.stdout, without))
        if not taken:  # psql has ended: who feeds is not to wait for anybody
            self.reading.kill()
        status = self.reading.wait()
        try:
            feeding.join()
            if taken and status == 0:
                self._write(b"COMMIT;\n" if one_transaction else b"")
            elif taken:
                self.running.kill()
        finally:
            _close(self.running.stdin)
            ended = self.running.wait()
            for thread in listeners:
                thread.join()
        if taken and status != 0:
            raise Terminal("RestoreFailed", f"pg_restore can't read part {self.name}: {_said(read_said)}")
        if ended != 0:
            raise _problem(self.name, run_said)

    def _write(self, piece: bytes) -> bool:
        """Whether psql took it."""
        assert self.running.stdin is not None
        try:
            self.running.stdin.write(piece)
            self.running.stdin.flush()
        except BrokenPipeError:
            return False
        return True


def _close(pipe: IO[bytes] | None) -> None:
    assert pipe is not None
    with contextlib.suppress(BrokenPipeError):
        pipe.close()


def _prepared(script: IO[bytes], without: bytes | None) -> Iterator[bytes]:
    """The script, without the line `without` in its preamble. Raises Terminal where it does not guard itself."""
    head = b""
    while _END_OF_PREAMBLE not in head and (piece := script.read(_PIECE_BYTES)):
        head += piece
    preamble, end, rest = head.partition(_END_OF_PREAMBLE)
    if head and _RESTRICTED not in preamble:
        raise Terminal(
            "PgRestoreTooOld",
            "this pg_restore writes scripts in which psql would run commands that a name holds; take one of the minor "
            "releases since August 2025",
        )
    head = (preamble if without is None else preamble.replace(without, b"")) + end + rest
    yield head
    while piece := script.read(_PIECE_BYTES):
        yield piece


def _problem(name: str, lines: Iterable[bytes]) -> Problem:
    said = _said(lines)
    message = f"part {name} could not be restored: {said or 'psql was ended'}"
    if any(words in said for words in _CONNECTION):
        return Retryable("ConnectionLost", message)
    return Terminal("RestoreFailed", message)


def _said(lines: Iterable[bytes]) -> str:
    texts = (line.decode("utf-8", "replace").strip().removeprefix("pg_restore: ") for line in lines)
    return " ".join(text for text in texts if text)[:400]
