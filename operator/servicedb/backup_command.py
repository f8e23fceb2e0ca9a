"""`servicedb backup`: a database to a store, with or without Kubernetes."""

import os
import socket
from typing import Any

import click

from servicedb.backup_options import DATABASE, watched
from servicedb.job_command import ENDING, STORE, Duration, Folder, connection, end, together
from servicedb.jobs.backup.backup import backup as run_backup
from servicedb.jobs.backup.request import Request, Result
from servicedb.store.location import open_store


@click.command()
@together(*STORE, *DATABASE)
@click.option("--copy", "copies", multiple=True, metavar="URL", help="A further location; can be repeated.")
@click.option(
    "--copy-credentials",
    type=Folder(),
    multiple=True,
    metavar="DIR",
    help="Folder with the credentials of the --copy in the same place; as many as there are, or none.",
)
@click.option("--compression", "level", type=click.IntRange(0, 19), default=1, show_default=True, help="zstd's level.")
@click.option("--recipient", "recipients", multiple=True, metavar="age1...", help="Encrypt to it; can be repeated.")
@click.option("--spread", type=Duration(), default="0s", show_default=True, help="Begin up to so much later.")
@click.option("--spread-key", default="", help="The same begins at the same delay.")
@click.option("--run", help="Name of this run. Default: host and process.")
@together(*ENDING)
def backup(**options: Any) -> None:
    """Back a database up.

    Every table is read at one moment, whatever goes on meanwhile; writers are not held up, changes of tables are.
    Nothing is written to a disk here. The backup is there when its manifest is, which comes last.

    Exit code: 0 when it went well, 1 when somebody has to change something, 75 when the same may go well later, 2 when
    the command line is wrong.
    """
    connect_to = connection(options["dsn"], options["secret"])
    copies, credentials = options["copies"], options["copy_credentials"]
    if credentials and len(credentials) != len(copies):
        raise click.UsageError("give --copy-credentials once for each --copy, or not at all")
    request = Request(
        run=options["run"] or f"{socket.gethostname()}:{os.getpid()}",
        level=options["level"],
        parallel=options["parallel"],
        recipients=options["recipients"],
        spread=options["spread"] / 1000,
        spread_key=options["spread_key"],
        wait=None if options["wait"] is None else options["wait"] / 1000,
        as_role=options["as_role"],
        programs=options["programs"],
    )
    result = watched(
        lambda progress: run_backup(
            request,
            connect_to,
            open_store(options["store"], options["store_credentials"]),
            [open_store(*one) for one in zip(copies, credentials or [None] * len(copies), strict=True)],
            progress,
        ),
        Result(),
    )
    end(result, options["output"], options["termination_log"], lambda: _show(result))


def _show(result: Result) -> None:
    left_out = "".join(f"\nnot included: {one}" for one in result.not_included)
    click.echo(
        f"{result.key}\n{result.rows} rows, {result.size_bytes} bytes stored of {result.raw_bytes}, "
        f"{result.seconds} s{left_out}"
    )
