"""`servicedb restore` and `servicedb verify`: a backup into a database, and a trial of it."""

from pathlib import Path
from typing import Any, NoReturn

import click

from servicedb.backup_options import DATABASE, SOURCE, watched
from servicedb.job_command import ENDING, STORE, connection, end, together
from servicedb.jobs.restore.request import Request, Result
from servicedb.jobs.restore.restore import restore as run_restore
from servicedb.jobs.restore.scratch import in_scratch
from servicedb.jobs.restore.verify import read_assertions
from servicedb.jobs.restore.verify import verify as run_verify
from servicedb.store.location import open_store

_ROLES = click.option(
    "--role",
    "roles",
    multiple=True,
    metavar="OLD=NEW",
    help="How a role of the backup is called here.",
)


@click.command()
@together(*STORE, *SOURCE, *DATABASE)
@click.option("--schema", "schemas", multiple=True, help="Only what is in this schema; can be repeated.")
@click.option("--table", "tables", multiple=True, help="Only this table, as schema.table; can be repeated.")
@click.option("--run", default="", help="Name of this restore: only what it left unfinished itself is dropped.")
@_ROLES
@together(*ENDING)
def restore(**options: Any) -> None:
    """Restore a backup into an empty database, and compare what is there then with what was backed up.

    Everything belongs to the role that restores, or to --as-role. Privileges go to the roles of the same purpose; those
    that stand for nobody here are shown.

    Exit code: 0 when it went well, 1 when somebody has to change something, 75 when the same may go well later, 2 when
    the command line is wrong.
    """
    connect_to = connection(options["dsn"], options["secret"])
    request = _request(options, schemas=options["schemas"], tables=options["tables"], run=options["run"])
    result = watched(
        lambda progress: run_restore(
            request, connect_to, open_store(options["store"], options["store_credentials"]), progress
        ),
        Result(action="restore", key=options["key"]),
    )
    _end(result, options)


@click.command()
@together(*STORE, *SOURCE, *DATABASE)
@click.option(
    "--assertion",
    "assertions",
    type=click.Path(dir_okay=False, path_type=Path),
    multiple=True,
    help='JSON: {"name", "sql", "expect"}, or a list of these, asked of the restored database; can be repeated.',
)
@click.option("--create", is_flag=True, help="Make a scratch database by the login of --dsn, and drop it afterwards.")
@_ROLES
@together(*ENDING)
def verify(**options: Any) -> None:
    """Restore a backup into a scratch database, and see that it is what was backed up.

    The database of --dsn has to be empty; with --create it is only where the scratch database is made from, by a login
    with CREATEDB and CREATEROLE. The time it takes is what a restore takes.

    Exit code: 0 when it went well, 1 when somebody has to change something, 75 when the same may go well later, 2 when
    the command line is wrong.
    """
    connect_to = connection(options["dsn"], options["secret"])
    request = _request(options)
    result = watched(
        lambda progress: (in_scratch if options["create"] else run_verify)(
            request,
            connect_to,
            open_store(options["store"], options["store_credentials"]),
            [one for file in options["assertions"] for one in read_assertions(file)],
            progress,
        ),
        Result(action="verify", key=options["key"]),
    )
    _end(result, options)


def _request(
    options: dict[str, Any], *, schemas: tuple[str, ...] = (), tables: tuple[str, ...] = (), run: str = ""
) -> Request:
    pairs = [one.partition("=") for one in options["roles"]]
    if any(not separator or not new for _, separator, new in pairs):
        raise click.UsageError("write --role OLD=NEW")
    return Request(
        key=options["key"],
        run=run,
        identity=options["identity"],
        schemas=schemas,
        tables=tables,
        parallel=options["parallel"],
        roles={old: new for old, _, new in pairs},
        as_role=options["as_role"],
        wait=None if options["wait"] is None else options["wait"] / 1000,
        programs=options["programs"],
    )


def _end(result: Result, options: dict[str, Any]) -> NoReturn:
    if result.outcome != "Succeeded" and options["output"] != "json":
        for one in result.mismatches:
            click.echo(f"otherwise: {one}", err=True)
    end(result, options["output"], options["termination_log"], lambda: _show(result))


def _show(result: Result) -> None:
    lines = [f"{result.reason}: {result.rows} rows in {result.seconds} s"]
    lines += [f"otherwise: {one}" for one in result.mismatches]
    lines += [f"not included: {one}" for one in result.not_included]
    lines += [f"asked: {one['name']}" for one in result.assertions]
    click.echo("\n".join(lines))
