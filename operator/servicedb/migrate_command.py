"""`servicedb migrate`: migrations from a folder to a database, with or without Kubernetes."""

import json
import sys
from dataclasses import fields
from pathlib import Path
from typing import Any, NoReturn

import click

from servicedb.errors import Problem
from servicedb.job_command import connection, ended_gently, together
from servicedb.jobs.migrate.folder import read_folder
from servicedb.jobs.migrate.migrate import migrate as run_migrations
from servicedb.jobs.migrate.new import new_migration
from servicedb.jobs.migrate.request import Action, Request, Tenants
from servicedb.jobs.migrate.result import Result
from servicedb.migrate_options import CREATE_TENANTS, DIRECTORY, OPTIONS, SOURCE, TENANTS, VersionOption
from servicedb.plan.migrations.adoption import Foreign, foreign
from servicedb.plan.migrations.sections import Format
from servicedb.tables import print_table


@click.group()
def migrate() -> None:
    """Bring a database's schema from version to version.

    Exit code: 0 when it went well, 1 when somebody has to change something, 3 when somebody has to decide, 75 when the
    same may go well later, 2 when the command line is wrong.
    """


@migrate.command()
@click.option("--environment", help="Run the seeds in seeds/ENVIRONMENT of --dir afterwards.")
@together(*SOURCE, CREATE_TENANTS, *TENANTS, *OPTIONS)
def up(**options: Any) -> None:
    """Apply what is not applied yet."""
    _run(Action.UP, **options)


@migrate.command()
@click.option("--target", type=VersionOption(), required=True, help="Version to go back to; 0 is before all.")
@together(*TENANTS, *OPTIONS)
def down(**options: Any) -> None:
    """Take migrations back, by the SQL that the history keeps."""
    _run(Action.DOWN, **options)


@migrate.command()
@together(*SOURCE, *TENANTS, *OPTIONS)
def status(**options: Any) -> None:
    """Show every migration and where it stands."""
    _run(Action.STATUS, **options)


@migrate.command()
@together(*SOURCE, *TENANTS, *OPTIONS)
def plan(**options: Any) -> None:
    """Show what `up` would apply. Nothing is changed."""
    _run(Action.PLAN, **options)


@migrate.command()
@together(*SOURCE, *TENANTS, *OPTIONS)
def verify(**options: Any) -> None:
    """Check that the files are those that were applied, and that the others can be read."""
    _run(Action.VERIFY, **options)


@migrate.command()
@click.option("--environment", required=True, help="Those in seeds/ENVIRONMENT of --dir.")
@together(*SOURCE, *TENANTS, *OPTIONS)
def seed(**options: Any) -> None:
    """Run the seeds of an environment that are new or were changed."""
    _run(Action.SEED, **options)


@migrate.command("clear-seeds")
@together(*TENANTS, *OPTIONS)
def clear_seeds(**options: Any) -> None:
    """Delete the rows that seeds inserted."""
    _run(Action.CLEAR_SEEDS, **options)


@migrate.command()
@click.argument("name")
@DIRECTORY
@click.option("--format", type=click.Choice([str(one) for one in Format]), default=str(Format.AUTO), show_default=True)
def new(name: str, directory: Path, **options: Any) -> None:
    """Write the files of a new migration, with the time as its version."""
    try:
        for path in new_migration(directory, name, Format(options["format"])):
            click.echo(path)
    except Problem as problem:
        _fail(problem.message)


def _run(
    action: Action,
    *,
    dsn: str | None,
    secret: Path | None,
    output: str,
    termination_log: Path | None,
    directory: Path | None = None,
    wait: int | None,
    no_links: bool = False,
    adopt: str | None = None,
    adopt_table: str | None = None,
    adopt_version_column: str | None = None,
    adopt_name_column: str | None = None,
    **options: Any,
) -> None:
    connect_to = connection(dsn, secret)
    if "format" in options:
        options["format"] = Format(options["format"])
    theirs = _history(adopt, table=adopt_table, version_column=adopt_version_column, name_column=adopt_name_column)
    tenants = Tenants(**{one.name: options.pop(one.name) for one in fields(Tenants) if one.name in options})
    request = Request(
        action=action,
        wait=None if wait is None else wait / 1000,
        tenants=tenants if tenants.names or tenants.pattern or tenants.query else None,
        adopt=theirs,
        **options,
    )
    try:
        files = read_folder(directory, links=not no_links) if directory is not None else {}
    except (Problem, OSError) as problem:
        result = Result(action, request.set_name)
        result.failed_with(problem)
    else:
        with ended_gently("the next run goes on from what the database says"):
            result = run_migrations(request, files, connect_to, _tell)
    if termination_log is not None:
        termination_log.write_text(result.termination_message(), encoding="utf-8")
    _show(result, output)
    sys.exit(result.exit_code)


def _history(format: str | None, **named: str | None) -> Foreign | None:  # noqa: A002 - its name in the spec
    if format is None:
        if any(named.values()):
            raise click.UsageError("name the history of another tool with --adopt")
        return None
    try:
        return foreign(format, **named)
    except ValueError as error:
        raise click.UsageError(f"--adopt: {error}") from error


def _tell(line: str) -> None:
    click.echo(line, err=True)


def _show(result: Result, output: str) -> None:
    if output == "json":
        click.echo(json.dumps(result.as_json(), indent=2))
        return
    if result.rows or result.outcome == "Succeeded":
        click.echo(_title(result))
    if result.rows:
        rows = [
            (row.version, row.name, row.state, "" if row.milliseconds is None else f"{row.milliseconds} ms")
            for row in result.rows
        ]
        print_table(None, ("version", "name", "state", "took"), rows)
    if result.outcome != "Succeeded":
        click.echo(f"servicedb: {result.reason}: {result.message}", err=True)
    elif result.message:
        click.echo(result.message)


def _title(result: Result) -> str:
    at = f"version {result.version}" if result.version else "no version"
    pending = f", {len(result.pending)} pending" if result.pending else ""
    return f"set {result.set}: {at}{pending} ({result.reason})"


def _fail(sentence: str) -> NoReturn:
    click.echo(f"servicedb: {sentence}", err=True)
    sys.exit(1)
