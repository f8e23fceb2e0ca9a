"""What the commands share that Jobs run, and people, too: which database, where the backups are, how a run ends."""

import contextlib
import json
import re
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn

import click

from servicedb.jobs.connection import from_folder
from servicedb.jobs.outcome import Outcome
from servicedb.postgres.migrations.session import Connect

Command = Callable[..., None]

_DURATION = re.compile(r"(?P<number>[0-9]+)(?P<unit>ms|s|m|h|d)?", re.ASCII)
_MILLISECONDS = {"ms": 1, "s": 1000, None: 1000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}


class Duration(click.ParamType[int]):
    """`3s`, `500ms`, `1h`, `30d`; without a unit seconds. In milliseconds."""

    name = "duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        if isinstance(value, int):
            return value
        if not (found := _DURATION.fullmatch(value)):
            self.fail(f"{value} is no duration; write 500ms, 3s, 5m, 1h or 30d", param, ctx)
        return int(found["number"]) * _MILLISECONDS[found["unit"]]


class Folder(click.ParamType[Path]):
    """A folder; an empty one is none."""

    name = "folder"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:  # noqa: ARG002
        return value if isinstance(value, Path) else Path(value) if value else None


CONNECTION = (
    click.option(
        "--dsn",
        envvar="SERVICEDB_DSN",
        metavar="DSN",
        help="Connection string; better in SERVICEDB_DSN, where no process list shows it.",
    ),
    click.option(
        "--secret",
        type=click.Path(file_okay=False, path_type=Path),
        help="Folder of a mounted Secret, in place of --dsn.",
    ),
)
STORE = (
    click.option(
        "--store",
        required=True,
        metavar="URL",
        help="s3://bucket/prefix?endpoint=https://...&region=...&pathStyle=true, or file:///path.",
    ),
    click.option(
        "--store-credentials",
        type=Folder(),
        metavar="DIR",
        help="Folder with AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, and maybe AWS_SESSION_TOKEN and ca.crt. Without it "
        "the environment's count, or the identity that the cloud gives.",
    ),
)
ENDING = (
    click.option("-o", "--output", type=click.Choice(["table", "json"]), default="table", show_default=True),
    click.option("--termination-log", type=click.Path(dir_okay=False, path_type=Path), hidden=True),
)


def together(*options: Callable[[Command], Command]) -> Callable[[Command], Command]:
    """All of `options`, shown by --help in their order."""

    def decorate(command: Command) -> Command:
        for option in reversed(options):
            command = option(command)
        return command

    return decorate


def connection(dsn: str | None, secret: Path | None) -> Connect:
    """The way to the database. Raises UsageError unless one of the two is named."""
    if (dsn is None) == (secret is None):
        raise click.UsageError("name the database with --dsn (or SERVICEDB_DSN), or with --secret")
    return from_folder(secret) if secret is not None else lambda: dsn or ""


@contextlib.contextmanager
def ended_gently(then: str) -> Iterator[None]:
    """SIGTERM is as Ctrl-C: what is at work is cancelled on the server, too. `then` tells what that means."""

    def interrupt(_: int, __: FrameType | None) -> NoReturn:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    except KeyboardInterrupt:
        click.echo(f"servicedb: ended by a signal; {then}", err=True)
        sys.exit(75)
    finally:
        signal.signal(signal.SIGTERM, before)


def end(outcome: Outcome, output: str, termination_log: Path | None, show: Callable[[], None]) -> NoReturn:
    """Leave the pod's last message, say what came of it (`show` prints it for people), and exit."""
    if termination_log is not None:
        termination_log.write_text(outcome.termination_message(), encoding="utf-8")
    if output == "json":
        click.echo(json.dumps(outcome.as_json(), indent=2))
    elif outcome.outcome == "Succeeded":
        show()
    else:
        click.echo(f"servicedb: {outcome.reason}: {outcome.message}", err=True)
    sys.exit(outcome.exit_code)
