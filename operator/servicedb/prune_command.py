"""`servicedb prune`: what a retention does not keep goes from a store, with or without Kubernetes."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import click

from servicedb.job_command import ENDING, STORE, Duration, end, together
from servicedb.jobs.prune.prune import Request, Result
from servicedb.jobs.prune.prune import prune as run_pruning
from servicedb.plan.backups.prune import Held
from servicedb.plan.backups.retention import Retention
from servicedb.store.location import open_store
from servicedb.tables import print_table


class TimeZone(click.ParamType[ZoneInfo]):
    """A name of the time zone database."""

    name = "zone"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if isinstance(value, ZoneInfo):
            return value
        try:
            return ZoneInfo(value)
        except (ZoneInfoNotFoundError, ValueError, OSError):
            self.fail(f"{value} is no time zone; write one such as Europe/Berlin or Etc/UTC", param, ctx)


def _count(name: str, what: str, default: int = 0) -> Any:
    return click.option(f"--{name}", type=click.IntRange(0), default=default, show_default=bool(default), help=what)


def _keys(name: str, what: str) -> Any:
    return click.option(f"--{name}", multiple=True, metavar="KEY", help=f"{what}; can be repeated.")


@click.command()
@together(
    *STORE,
    _count("keep-last", "Keep the last so many."),
    click.option("--keep-within", type=Duration(), help="Keep those made so long before the newest, such as 30d."),
    _count("keep-daily", "Keep the last one of each of so many days."),
    _count("keep-weekly", "Keep the last one of each of so many weeks."),
    _count("keep-monthly", "Keep the last one of each of so many months."),
    _count("minimum", "Keep so many of each database, whatever else is said.", 1),
    _count("max-prunes", "Delete so many at most.", 10),
    click.option("--time-zone", type=TimeZone(), default="Etc/UTC", show_default=True, help="In which days begin."),
    _keys("only", "Delete this backup, whatever the rules say, and no other"),
    _keys("verified", "A backup that was verified: the newest of them is kept"),
    _keys("pinned", "A backup to keep"),
    click.option("--live", multiple=True, metavar="RUN", help="A run that may still be at work; can be repeated."),
    click.option("--dry-run", is_flag=True, help="Only show what would go."),
    *ENDING,
)
def prune(
    store: str, store_credentials: Path | None, output: str, termination_log: Path | None, dry_run: bool, **options: Any
) -> None:
    """Delete the backups that no rule keeps, and what runs left that came to no end.

    Each database has its backups counted for itself, a database that was made again as another one. The newest
    backup, the newest verified and those that are pinned always stay, and nothing goes while the newest one looks
    wrong. Without a rule (--keep-...) all backups stay, but for those that --only names.

    Exit code: 0 when it went well, 1 when somebody has to change something, 75 when the same may go well later, 2 when
    the command line is wrong.
    """
    request = Request(
        retention=Retention(
            keep_last=options["keep_last"],
            keep_within=_within(options["keep_within"]),
            keep_daily=options["keep_daily"],
            keep_weekly=options["keep_weekly"],
            keep_monthly=options["keep_monthly"],
            minimum=options["minimum"],
            time_zone=options["time_zone"],
        ),
        only=frozenset(options["only"]),
        held=Held(
            verified=frozenset(options["verified"]),
            pinned=frozenset(options["pinned"]),
            live=frozenset(options["live"]),
        ),
        most=options["max_prunes"],
        dry_run=dry_run,
    )
    try:
        result = run_pruning(open_store(store, store_credentials), request, datetime.now(UTC))
    except Exception as error:  # noqa: BLE001 - whatever it was, the pod's last message has to say it
        result = Result()
        result.failed_with(error)
    end(result, output, termination_log, lambda: _show(result, dry_run))


def _within(milliseconds: int | None) -> timedelta | None:
    try:
        return None if milliseconds is None else timedelta(milliseconds=milliseconds)
    except OverflowError:
        return timedelta.max  # for ever


def _show(result: Result, dry_run: bool) -> None:
    went = "would go" if dry_run else "went"
    print_table(f"{len(result.pruned)} backups {went}", ("key",), [(key,) for key in result.pruned])
    click.echo(f"{result.kept} backups are left, {result.later} of which may go with a later run")
    if result.orphans:
        click.echo(f"{result.orphans} {went} that had not become a backup, or were none any more")
    for words in result.refused:
        click.echo(f"servicedb: {words}", err=True)
    for key in result.damaged:
        click.echo(f"{key} is damaged: see servicedb list; it is left alone", err=True)
    if result.stopped is not None:
        click.echo(f"servicedb: {result.stopped}", err=True)
