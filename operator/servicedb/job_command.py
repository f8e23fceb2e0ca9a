"""What the commands share that Jobs run, and people, too: where the backups are, and how a run ends."""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

import click

from servicedb.jobs.outcome import Outcome


class Folder(click.ParamType[Path]):
    """A folder; an empty one is none."""

    name = "folder"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:  # noqa: ARG002
        return value if isinstance(value, Path) else Path(value) if value else None


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
