"""One pg_dump, and the way of what it writes to every location: as it flows, and whole or not at all."""

import contextlib
import os
import subprocess
import threading
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from pyrage import x25519

from servicedb.errors import Problem, Retryable
from servicedb.jobs.encoding import Written, encode
from servicedb.jobs.handover import Abandoned, Handover
from servicedb.plan.backups.dump_failure import dump_failure
from servicedb.store.interface import Store

_PIPE_BYTES = 1 << 20
_LINES = 20


@dataclass(slots=True)
class Location:
    """A store that a backup goes to. `failure` is what a copy met: the backup goes on without it."""

    store: Store
    is_copy: bool = False
    failure: Problem | None = None


class Failure:
    """The first failure of any thread, by which all of them end."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._ends: list[Callable[[], None]] = []
        self.first: BaseException | None = None

    def on_failure(self, end: Callable[[], None]) -> None:
        """Call `end` when something fails; at once where it has already."""
        with self._lock:
            if self.first is None:
                self._ends.append(end)
                return
        end()

    def set(self, error: BaseException) -> None:
        with self._lock:
            if self.first is not None:
                return
            self.first = error
            ends, self._ends = self._ends, []
        for end in ends:
            end()

    @property
    def is_set(self) -> bool:
        return self.first is not None

    def check(self) -> None:
        """Raises the first failure."""
        if self.first is not None:
            raise self.first


@dataclass(slots=True)
class Encoding:
    """How parts are stored: zstd's level (0: not compressed), and whom they are encrypted to."""

    level: int
    recipients: Sequence[x25519.Recipient] = ()


@dataclass(slots=True, kw_only=True)
class Part:
    """What a stream makes: an object under `key`, of about `expected_bytes`. `written` grows with it."""

    name: str
    key: str
    expected_bytes: int = 0
    written: Written = field(default_factory=Written)


class Upload:
    """Pieces of one part to every location at once, each by a thread of its own."""

    def __init__(self, part: Part, locations: Sequence[Location], failure: Failure) -> None:
        self._failure = failure
        self._ways = [(location, Handover()) for location in locations if location.failure is None]
        self._threads = [
            threading.Thread(target=self._put, args=(part, location, way), name=f"put-{part.name}", daemon=True)
            for location, way in self._ways
        ]
        for thread in self._threads:
            thread.start()

    def give(self, piece: bytes) -> None:
        """Raises Abandoned where the first location takes no more."""
        for location, way in self._ways:
            try:
                way.give(piece)
            except Abandoned:
                if not location.is_copy:
                    raise

    def end(self) -> None:
        """All was given: wait until it is stored."""
        for _, way in self._ways:
            way.end()
        self._join()

    def fail(self, error: BaseException) -> None:
        """What was given is not whole: nothing of it is to stand anywhere."""
        for _, way in self._ways:
            way.fail(error)
        self._join()

    def _join(self) -> None:
        for thread in self._threads:
            thread.join()

    def _put(self, part: Part, location: Location, way: Handover) -> None:
        try:
            location.store.put(part.key, way, expected_bytes=part.expected_bytes)
        except BaseException as error:  # noqa: BLE001 - whatever it was, the others have to end, too
            if location.is_copy and isinstance(error, Problem) and not self._failure.is_set:
                location.failure = location.failure or error
            else:
                self._failure.set(error)
        finally:
            way.abandon()


@dataclass(slots=True, kw_only=True)
class Command:
    """A pg_dump to run. What it is to dump comes by standard input where there is much of it."""

    arguments: Sequence[str]
    environment: Mapping[str, str]
    input: bytes | None = None


class Stream:
    """A pg_dump at work. `holds_locks` is set once it has written something: it has all of its locks then."""

    def __init__(
        self,
        part: Part,
        command: Command,
        encoding: Encoding,
        locations: Sequence[Location],
        failure: Failure,
        progress: Callable[[int], None],
    ) -> None:
        self.part = part
        self.holds_locks = threading.Event()
        self._command = command
        self._encoding = encoding
        self._locations = locations
        self._failure = failure
        self._progress = progress
        self._thread = threading.Thread(target=self._run, name=f"dump-{part.name}", daemon=True)
        self._thread.start()

    def join(self) -> None:
        self._thread.join()

    def _run(self) -> None:
        try:
            upload = Upload(self.part, self._locations, self._failure)
            try:
                encode(
                    self._dumped(),
                    upload.give,
                    level=self._encoding.level,
                    to=self._encoding.recipients,
                    written=self.part.written,
                )
            except BaseException as error:
                upload.fail(error)
                raise
            upload.end()
        except Abandoned:
            self._failure.set(Retryable("StoreAway", "the store took no more"))  # it has said why already
        except BaseException as error:  # noqa: BLE001 - whatever it was, the others have to end, too
            self._failure.set(error)
        finally:
            self.holds_locks.set()

    def _dumped(self) -> Iterator[bytes]:
        """What pg_dump writes. It ends only where pg_dump did so well; raises the reason where not."""
        with (
            _given(self._command.input) as given,
            subprocess.Popen(  # noqa: S603 - PostgreSQL's own program, with arguments of ours
                self._command.arguments,
                env=dict(self._command.environment),
                stdin=given,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                pipesize=_PIPE_BYTES,
            ) as process,
        ):
            self._failure.on_failure(process.kill)
            lines: deque[str] = deque(maxlen=_LINES)
            reader = threading.Thread(target=_keep_lines, args=(process, lines), daemon=True)
            reader.start()
            try:
                assert process.stdout is not None
                while chunk := process.stdout.read1(_PIPE_BYTES):  # type: ignore[attr-defined]
                    self.holds_locks.set()
                    self._progress(len(chunk))
                    yield chunk
                status = process.wait()
                reader.join()
            except BaseException:
                process.kill()
                raise
        self._failure.check()
        if status != 0:
            raise dump_failure(self.part.name, status, lines)


@contextlib.contextmanager
def _given(content: bytes | None) -> Iterator[int]:
    """A file to read `content` from."""
    if content is None:
        yield subprocess.DEVNULL
        return
    reading, writing = os.pipe()
    feeder = threading.Thread(target=_feed, args=(writing, content), daemon=True)
    feeder.start()
    try:
        yield reading
    finally:
        os.close(reading)
        feeder.join()


def _feed(writing: int, content: bytes) -> None:
    with contextlib.suppress(BrokenPipeError), os.fdopen(writing, "wb") as pipe:
        pipe.write(content)


def _keep_lines(process: subprocess.Popen[bytes], lines: deque[str]) -> None:
    assert process.stderr is not None
    for line in process.stderr:
        lines.append(line.decode("utf-8", "replace"))
