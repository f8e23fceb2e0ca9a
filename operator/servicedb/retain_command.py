"""`servicedb retain`: old rows to archives, and out of the database, with or without Kubernetes."""

import secrets
import socket
from functools import partial
from pathlib import Path
from typing import Any

import click

from servicedb.backup_options import watched
from servicedb.job_command import ENDING, STORE, connection, end, together
from servicedb.jobs.retain.convert import Request as ConvertRequest
from servicedb.jobs.retain.convert import Result as ConvertResult
from servicedb.jobs.retain.convert import convert as run_convert
from servicedb.jobs.retain.plan import Plan
from servicedb.jobs.retain.plan import plan as run_plan
from servicedb.jobs.retain.request import Request, Result
from servicedb.jobs.retain.restore import Request as RestoreRequest
from servicedb.jobs.retain.restore import Result as RestoreResult
from servicedb.jobs.retain.restore import restore as run_restore
from servicedb.jobs.retain.retain import retain as run_retention
from servicedb.plan.retention.calendar import Interval
from servicedb.plan.retention.rule import Name
from servicedb.postgres.backups.session import Way
from servicedb.retain_options import (
    ARCHIVE,
    DATABASE,
    OWNER,
    POLICY,
    Moment,
    TableName,
    check_stores,
    check_usage,
    owner_connection,
    seconds,
    spec_of,
    stores_of,
    way_of,
)
from servicedb.store.location import open_store
from servicedb.tables import print_table


@click.group()
def retain() -> None:
    """Archive and delete rows by their age.

    Exit code: 0 when it went well, 1 when somebody has to change something, 3 when somebody has to decide, 75 when the
    same may go well later, 2 when the command line is wrong.
    """


@retain.command()
@together(*POLICY, *DATABASE, *OWNER, *ARCHIVE)
@click.option("--backup-digest", metavar="TEXT", help="Digest of the manifest of a backup that stands.")
@click.option("--backup-time", type=Moment(), help="When that backup was made.")
@click.option("--run", "run_id", help="Name of this run: the same goes on. Default: a new one.")
@together(*ENDING)
def run(**options: Any) -> None:
    """Follow a policy's rules.

    Rows are deleted in small batches, each only when its rows stand in an archive that was read back. Ended anywhere,
    nothing is lost and nothing is twice.
    """
    check_usage(options)
    check_stores(options)
    owner = owner_connection(options["owner_dsn"], options["owner_secret"])
    way = way_of(options["dsn"], options["secret"], options["as_role"], owner)
    request = Request(
        run=options["run_id"] or f"{socket.gethostname()}:{secrets.token_hex(4)}",
        backup_digest=options["backup_digest"],
        backup_time=options["backup_time"],
        level=options["level"],
        recipients=options["recipients"],
        wait=seconds(options["wait"]),
    )
    result = watched(
        lambda progress: run_retention(
            request,
            spec_of(options),
            way,
            None if owner is None else Way(owner, options["as_role"]),
            partial(stores_of, options),
            progress,
        ),
        Result(),
    )
    end(result, options["output"], options["termination_log"], lambda: _show(result))


@retain.command()
@together(*POLICY, *DATABASE, *OWNER, *ENDING)
def plan(**options: Any) -> None:
    """Show what a run would do now, and what it would cost. Nothing is changed."""
    check_usage(options)
    owner = owner_connection(options["owner_dsn"], options["owner_secret"])
    way = way_of(options["dsn"], options["secret"], options["as_role"], owner)
    result = watched(
        lambda progress: run_plan(spec_of(options), way, seconds(options["wait"]), progress),
        Plan(),
    )
    end(result, options["output"], options["termination_log"], lambda: _show_plan(result))


@retain.command()
@click.option("--table", "name", type=TableName(), required=True, help="The table whose rows are wanted.")
@click.option("--from", "low", type=Moment(), help="Rows of that time on, such as 2026-01-31. Default: the oldest.")
@click.option("--to", "high", type=Moment(), help="Rows before that time. Default: the youngest.")
@click.option("--into", type=TableName(), help="Table to make for them. Default: the table's name with _restored.")
@click.option(
    "--identity", type=click.Path(dir_okay=False, path_type=Path), help="File with the age identity of the archives."
)
@click.option(
    "--unlisted",
    is_flag=True,
    help="Take archives, too, that the store has and the database's ledger does not know.",
)
@together(*STORE, *DATABASE, *ENDING)
def restore(**options: Any) -> None:
    """Bring archived rows back, into a table beside their own.

    Each archive is checked by its digest and its count; all of them come back, or none.
    """
    way = Way(connection(options["dsn"], options["secret"]), options["as_role"])
    name = options["name"]
    wanted = RestoreRequest(
        name=name,
        into=options["into"] or Name(name.schema, f"{name.table}_restored"),
        low=options["low"],
        high=options["high"],
        identity=options["identity"],
        unlisted=options["unlisted"],
        wait=seconds(options["wait"]),
    )
    result = watched(
        lambda progress: run_restore(wanted, way, open_store(options["store"], options["store_credentials"]), progress),
        RestoreResult(),
    )
    end(
        result,
        options["output"],
        options["termination_log"],
        lambda: click.echo(f"{result.rows} rows of {result.table} in {result.into}, from {result.archives} archives"),
    )


@retain.command()
@click.option("--table", "name", type=TableName(), required=True, help="The plain table, such as public.metrics.")
@click.option("--column", required=True, help="The time that it is divided by.")
@click.option("--interval", type=click.Choice([one.value for one in Interval]), required=True, help="Of a partition.")
@click.option(
    "--premake", type=click.IntRange(1, 400), default=3, show_default=True, help="Partitions to make for what comes."
)
@click.option("--plan", "only_plan", is_flag=True, help="Show the steps and what they lock. Nothing is changed.")
@together(*DATABASE, *ENDING)
def convert(**options: Any) -> None:
    """Divide a plain table by time, while it is read and written.

    It becomes the partition for all that is older; nothing is copied. Ended anywhere, the same command goes on.
    """
    request = ConvertRequest(
        name=options["name"],
        column=options["column"],
        interval=Interval(options["interval"]),
        premake=options["premake"],
        only_plan=options["only_plan"],
        wait=seconds(options["wait"]),
    )
    way = Way(connection(options["dsn"], options["secret"]), options["as_role"])
    result = watched(lambda progress: run_convert(request, way, progress), ConvertResult())
    end(result, options["output"], options["termination_log"], lambda: _show_conversion(result, request))


def _show_conversion(result: ConvertResult, request: ConvertRequest) -> None:
    if result.message:
        click.echo(result.message)
    elif request.only_plan:
        rows = [(one.step, one.lock, ";\n".join(one.statements)) for one in result.steps]
        print_table(None, ("step", "lock", "SQL"), rows)
        click.echo(
            f"from AddCheck to Swap rows from {result.until} on are refused; afterwards those past the partitions"
        )
    else:
        click.echo(f"{result.table} is divided; its rows before {result.until} are in {result.old}")


def _show(result: Result) -> None:
    rows = [
        (
            one.table,
            str(one.archived_rows),
            str(one.deleted_rows),
            str(one.archived_bytes),
            f"+{one.partitions_created} -{one.partitions_dropped}",
            one.oldest or "",
        )
        for one in result.rules
    ]
    print_table(None, ("table", "archived", "deleted", "bytes", "partitions", "oldest left"), rows)
    for line in (*result.warnings, *([result.message] if result.message else [])):
        click.echo(line)


def _show_plan(result: Plan) -> None:
    rows = [
        (
            one.table,
            str(one.rows),
            str(one.bytes),
            one.oldest or "",
            ", ".join(one.partitions_to_create),
            ", ".join(one.partitions_to_drop),
        )
        for one in result.rules
    ]
    print_table(None, ("table", "rows to go", "bytes", "oldest", "to create", "to drop"), rows)
    for line in (line for one in result.rules for line in one.warnings):
        click.echo(f"warning: {line}")
