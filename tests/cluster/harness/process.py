"""Processes by identity: a pid alone may be somebody else's by the time that it is used."""

import json
import os
import select
import signal
from dataclasses import asdict, dataclass
from datetime import timedelta
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Process:
    """A process of this boot: its pid and when it started, in the kernel's clock ticks."""

    pid: int
    started: int
    boot: str

    @classmethod
    def of(cls, pid: int) -> "Process":
        """The process that has `pid` now; ProcessLookupError when there is none."""
        started = _started(pid)
        if started is None:
            raise ProcessLookupError(f"no process {pid}")
        return cls(pid, started, _boot())

    @classmethod
    def read(cls, file: Path) -> "Process | None":
        """The process that `file` names, alive or not; None when there is no such file."""
        try:
            return cls(**json.loads(file.read_text()))
        except FileNotFoundError:
            return None

    def write(self, file: Path) -> None:
        file.write_text(json.dumps(asdict(self)))

    @property
    def alive(self) -> bool:
        return self.boot == _boot() and _started(self.pid) == self.started

    def send(self, sent: signal.Signals) -> None:
        """Signal this process and no other; nothing happens when it has ended."""
        descriptor = self._descriptor()
        if descriptor is None:
            return
        try:
            signal.pidfd_send_signal(descriptor, sent)
        except ProcessLookupError:
            pass
        finally:
            os.close(descriptor)

    def wait(self, within: timedelta) -> bool:
        """Wait for its end, children of others too; False when `within` went by first."""
        descriptor = self._descriptor()
        if descriptor is None:
            return True
        try:
            poll = select.poll()
            poll.register(descriptor, select.POLLIN)
            return bool(poll.poll(within.total_seconds() * 1000))
        finally:
            os.close(descriptor)

    def _descriptor(self) -> int | None:
        try:
            descriptor = os.pidfd_open(self.pid)
        except ProcessLookupError:
            return None
        if not self.alive:  # looked at after opening: from here on the descriptor cannot change owner
            os.close(descriptor)
            return None
        return descriptor


def _started(pid: int) -> int | None:
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return None
    # The command stands in parentheses and may hold anything; fields are counted after the last one.
    state, *fields = stat.rpartition(")")[2].split()
    return None if state in ("Z", "X") else int(fields[18])


def _boot() -> str:
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
