"""The options that backup, verify and restore have in common, and the progress that they show."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import click
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, TextColumn, TimeRemainingColumn, TransferSpeedColumn
from rich.progress import Progress as Bar

from servicedb.job_command import CONNECTION, Duration, ended_gently
from servicedb.jobs.outcome import Outcome
from servicedb.jobs.progress import Progress

Given = TypeVar("Given", bound=Outcome)

_FOLDER = click.Path(file_okay=False, path_type=Path)
_FILE = click.Path(dir_okay=False, path_type=Path)


DATABASE = (
    *CONNECTION,
    click.option("--as-role", metavar="ROLE", help="Act as this role: the owner of the database."),
    click.option("--wait", type=Duration(), help="For other work on the database. Default: as long as it takes."),
    click.option("--pg-bin", "programs", type=_FOLDER, help="Folder of pg_dump and the like. Default: the newest."),
    click.option("--parallel", type=click.IntRange(1, 64), default=2, show_default=True, help="Tables at a time."),
)
SOURCE = (
    click.option("--key", required=True, help="The backup's, as `servicedb list` shows it."),
    click.option("--identity", type=_FILE, help="File with the age identity of an encrypted backup."),
)


def watched(work: Callable[[Progress], Given], failed: Given) -> Given:
    """What `work` gives, its progress shown; `failed`, where an error comes before. SIGTERM is as Ctrl-C."""
    try:
        with ended_gently("nothing of it counts as done"), Shown() as shown:
            return work(shown)
    except Exception as error:  # noqa: BLE001 - whatever it was, the pod's last message has to say it
        failed.failed_with(error)
        return failed


class Shown:
    """Progress: a bar on a terminal, with bytes, rate and time left; lines alone where nobody watches."""

    def __init__(self) -> None:
        self._bar = Bar(
            TextColumn("{task.description}"),
            BarColumn(),
            DownloadColumn(),
            TransferSpeedColumn(),
            TimeRemainingColumn(),
            console=Console(stderr=True),
            disable=not sys.stderr.isatty(),
        )
        self._task = self._bar.add_task("waiting", total=None, visible=False)
        self._shown = 0
        self._expected = 0

    def __enter__(self) -> "Shown":
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def begin(self, expected_bytes: int) -> None:
        self._expected = expected_bytes
        self._bar.update(self._task, description="", total=expected_bytes or None, visible=True)

    def add(self, count: int) -> None:
        self._shown += count
        if self._shown > self._expected:  # a table's size says little of how much is dumped of it
            self._bar.update(self._task, total=self._shown)
        self._bar.advance(self._task, count)

    def tell(self, line: str) -> None:
        if self._bar.disable:
            click.echo(line, err=True)
        else:
            self._bar.console.print(line, markup=False, highlight=False)
