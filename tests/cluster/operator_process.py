"""The operator as a process on this machine: started, killed, paused and listened to like any other."""

import contextlib
import json
import os
import random
import secrets
import signal
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final, Literal, Self

import psutil

from tests.cluster.objects import wait_for

ROOT: Final = Path(__file__).parents[2]
RESYNC: Final = 3
_STOPS_WITHIN: Final = 40.0
_DIES_WITHIN: Final = 30.0
_SHOWN_LINES: Final = 30
_NOT_ITS_OWN: Final = ("PG", "SERVICEDB_", "PYTHONDONTWRITEBYTECODE")


@dataclass(frozen=True, slots=True)
class Point:
    """Where an operator is hit: right before the `occurrence`-th step of a class in the work on `object`.

    `object` is as in the log (servicedatabases/NAMESPACE/NAME), `step` the name of a class of plan.steps, or
    operator_launcher.REPORT. SIGKILL ends it there, SIGSTOP holds it there until SIGCONT.
    """

    object: str
    step: str
    occurrence: int = 1
    signal: Literal["SIGKILL", "SIGSTOP"] = "SIGKILL"
    mark: str = field(default_factory=lambda: f"hit-{secrets.token_hex(6)}")


@dataclass(slots=True)
class OperatorProcess:
    """`servicedb run` as a child of the tests. Its log and its points are files in `folder`."""

    kubeconfig: Path
    folder: Path
    environment: Mapping[str, str] = field(default_factory=dict)
    resync: int = RESYNC
    points: list[Point] = field(default_factory=list)
    _process: subprocess.Popen[bytes] | None = None
    _address: str = ""

    @classmethod
    @contextlib.contextmanager
    def running(cls, kubeconfig: Path, folder: Path, **arguments: Any) -> Iterator[Self]:
        """One that runs; at the end it is stopped, and its log is looked through for faults."""
        operator = cls(kubeconfig, folder, **arguments)
        operator.start()
        try:
            yield operator
            if operator.is_running:
                operator.stop()
            faults = operator.faults()
            assert not faults, "\n".join(faults)
        finally:
            operator.end()

    @property
    def log_path(self) -> Path:
        return self.folder / "operator.log"

    @property
    def is_running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def start(self) -> None:
        assert not self.is_running
        self.folder.mkdir(parents=True, exist_ok=True)
        self._write_points()
        # An address of its own instead of a port: between asking for a free one and its use, anybody may take it.
        self._address = f"127.{random.randrange(1, 255)}.{random.randrange(256)}.{random.randrange(1, 255)}"
        environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith(_NOT_ITS_OWN)},
            "PYTHONPYCACHEPREFIX": str(self.folder.parent / "bytecode"),  # or each start compiles for two seconds
            "PYTHONPATH": os.pathsep.join((str(ROOT), str(ROOT / "operator"))),
            "SERVICEDB_RESYNC": str(self.resync),
            "SERVICEDB_HTTP_HOST": self._address,
            "SERVICEDB_HTTP_PORT": "8080",
            "SERVICEDB_LOG_LEVEL": "DEBUG",
            "SERVICEDB_TEST_POINTS": str(self._points_file),
            **self.environment,
        }
        module = "tests.cluster.operator_launcher" if self.points else "servicedb"
        with self.log_path.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", module, "run", "--kubeconfig", str(self.kubeconfig)],
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self.folder,
                start_new_session=True,  # a terminal's ^C is for the test run, which ends its operators itself
            )

    def arm(self, point: Point) -> Point:
        """Add a point to those of an operator that was started with at least one."""
        self.points.append(point)
        self._write_points()
        return point

    def was_hit(self, point: Point) -> bool:
        return (self.folder / point.mark).exists()

    def wait_hit(self, point: Point) -> None:
        """Wait until it has been hit; with SIGSTOP, until it stands still: a SIGCONT before that would be lost."""
        process = psutil.Process(self.pid)
        stands = psutil.STATUS_STOPPED

        def hit() -> bool:
            return self.was_hit(point) and (point.signal != "SIGSTOP" or process.status() == stands)

        wait_for(f"the operator at {point}", hit, told=self.last_lines)

    def stop(self) -> None:
        """End it as Kubernetes does, by SIGTERM; it has to end in good order."""
        self.terminate()
        self.resume()
        self.wait_stopped()

    def terminate(self) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGTERM)

    def wait_stopped(self) -> None:
        """Wait until it has ended in good order."""
        assert self._process is not None
        status = self._process.wait(_STOPS_WITHIN)
        assert status == 0, f"status {status}\n{self.last_lines()}"

    def kill(self) -> None:
        assert self._process is not None
        self._process.kill()
        assert self._process.wait(_DIES_WITHIN) == -signal.SIGKILL

    def wait_killed(self) -> None:
        """Wait until a point has killed it."""
        assert self._process is not None
        try:
            status = self._process.wait(60)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"the operator was not killed\n{self.last_lines()}") from None
        assert status == -signal.SIGKILL, self.last_lines()

    def resume(self) -> None:
        """Let it go on after SIGSTOP."""
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    def end(self) -> None:
        """Make sure that it is gone, however it fares."""
        if self._process is not None and self.is_running:
            self._process.kill()
            self._process.wait()

    def wait_serving(self) -> None:
        """Wait until /readyz says that all objects have been listed."""
        wait_for("an operator that is ready", lambda: self.answer("/readyz")[0] == 200, told=self.last_lines)

    def answer(self, page: str) -> tuple[int, str]:
        """Status and text of a page; 0 where nobody answers."""
        try:
            with urllib.request.urlopen(f"http://{self._address}:8080{page}", timeout=5) as response:
                return response.status, response.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()
        except OSError:
            return 0, ""

    def scans(self) -> float:
        """How many rounds of work on the DatabaseServers it has finished."""
        line = 'servicedb_reconcile_total{kind="DatabaseServer"'
        page = self.answer("/metrics")[1]
        return sum(float(each.rpartition(" ")[2]) for each in page.splitlines() if each.startswith(line))

    def log(self) -> str:
        return self.log_path.read_text(errors="replace")

    def entries(self) -> list[dict[str, Any]]:
        """The log's lines; one that is no JSON becomes an entry of level RAW."""
        return [_entry(line) for line in self.log().splitlines() if line.strip()]

    def faults(self) -> list[str]:
        """What nothing in the world outside excuses: a traceback, an error, a line that is no JSON."""
        return [json.dumps(entry) for entry in self.entries() if _is_fault(entry)]

    def said(self, words: str) -> bool:
        return any(words in str(entry.get("message")) for entry in self.entries())

    def last_lines(self) -> str:
        return "\n".join(self.log().splitlines()[-_SHOWN_LINES:])

    @property
    def _points_file(self) -> Path:
        return self.folder / "points.json"

    def _write_points(self) -> None:
        new = self._points_file.with_suffix(".new")
        new.write_text(json.dumps([asdict(point) for point in self.points]))
        new.rename(self._points_file)


def steps_done(entries: Sequence[Mapping[str, Any]], of: str) -> set[str]:
    """The classes of the steps that the work on the object `of` took, by the log."""
    return {
        str(entry["message"]).partition(":")[0]
        for entry in entries
        if entry.get("object") == of and entry.get("logger") == "servicedb.reconcile.world"
    }


def _entry(line: str) -> dict[str, Any]:
    try:
        value = json.loads(line)
    except ValueError:
        value = None
    return value if isinstance(value, dict) and "level" in value else {"level": "RAW", "message": line}


def _is_fault(entry: Mapping[str, Any]) -> bool:
    if "exc_info" in entry or "Traceback" in str(entry):
        return True
    return entry["level"] in ("RAW", "ERROR", "CRITICAL")


@contextlib.contextmanager
def restarting(operator: OperatorProcess) -> Iterator[None]:
    """Have the operator started again whenever it was killed."""
    over = threading.Event()

    def watch() -> None:
        while not over.wait(0.1):
            if not operator.is_running:
                operator.wait_killed()
                operator.start()

    watching = threading.Thread(target=watch)
    watching.start()
    try:
        yield
    finally:
        over.set()
        watching.join()
