"""`servicedb restore` and `servicedb verify`: a backup into a database, and a trial of it."""

from pathlib import Path
from typing import Any

import click

from servicedb.backup_options import DATABASE, OUTPUT, SOURCE, STORE, connection, run
from servicedb.jobs.restore.request import Request, Result
from servicedb.jobs.restore.restore import restore as run_restore
from servicedb.jobs.restore.scratch import in_scratch
from servicedb.jobs.restore.verify import read_assertions
from servicedb.jobs.restore.verify import verify as run_verify
from servicedb.migrate_options import together

_ROLES = click.option(
    "--role",
    "roles",
    multiple=True,
    metavar="OLD=NEW",
    help="How a role of the backup is called here.",
)


@click.command()
@together(*STORE, *SOURCE, *DATABASE, *OUTPUT)
@click.option("--schema", "schemas", multiple=True, help="Only what is in this schema; can be repeated.")
@_ROLES
def restore(**options: Any) -> None:
    """Restore a backup into an empty database, and compare what is there then with what was backed up.

    Everything belongs to the role that restores, or to --as-role. Privileges go to the roles of the same purpose; those
    that stand for nobody here are shown.

    Exit code: 0 when it went well, 1 when somebody has to change something, 75 when the same may go well later, 2 when
    the command line is wrong.
    """
    connect_to = connection(options["dsn"], options["secret"])
    request = _request(options, schemas=options["schemas"])
    run(
        Result(action="restore", key=options["key"]),
        lambda open_store, progress: run_restore(
            request, connect_to, open_store(options["location"], options["store_credentials"]), progress
        ),
        output=options["output"],
        termination_log=options["termination_log"],
        show=_shown,
    )


@click.command()
@together(*STORE, *SOURCE, *DATABASE, *OUTPUT)
@click.option(
    "--assertion",
    "assertions",
    type=click.Path(dir_okay=False, path_type=Path),
    help='JSON: a list of {"name", "sql", "expect"}, asked of the restored database.',
)
@click.option("--create", is_flag=True, help="Make a scratch database by the login of --dsn, and drop it afterwards.")
@_ROLES
def verify(**options: Any) -> None:
    """Restore a backup into a scratch database, and see that it is what was backed up.

    The database of --dsn has to be empty; with --create it is only where the scratch database is made from, by a login
    with CREATEDB and CREATEROLE. The time it takes is what a restore takes.

    Exit code: 0 when it went well, 1 when somebody has to change something, 75 when the same may go well later, 2 when
    the command line is wrong.
    """
    connect_to = connection(options["dsn"], options["secret"])
    request = _request(options)
    run(
        Result(action="verify", key=options["key"]),
        lambda open_store, progress: (in_scratch if options["create"] else run_verify)(
            request,
            connect_to,
            open_store(options["location"], options["store_credentials"]),
            read_assertions(options["assertions"]) if options["assertions"] else (),
            progress,
        ),
        output=options["output"],
        termination_log=options["termination_log"],
        show=_shown,
    )


def _request(options: dict[str, Any], *, schemas: tuple[str, ...] = ()) -> Request:
    pairs = [one.partition("=") for one in options["roles"]]
    if any(not separator or not new for _, separator, new in pairs):
        raise click.UsageError("write --role OLD=NEW")
    return Request(
        key=options["key"],
        identity=options["identity"],
        schemas=schemas,
        parallel=options["parallel"],
        roles={old: new for old, _, new in pairs},
        as_role=options["as_role"],
        wait=None if options["wait"] is None else options["wait"] / 1000,
        programs=options["programs"],
    )


def _shown(result: Result) -> str:
    lines = [f"{result.reason}: {result.rows} rows in {result.seconds} s"]
    lines += [f"otherwise: {one}" for one in result.mismatches]
    lines += [f"not included: {one}" for one in result.not_included]
    lines += [f"asked: {one['name']}" for one in result.assertions]
    return "\n".join(lines)
