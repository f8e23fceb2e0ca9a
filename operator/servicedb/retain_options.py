"""The options of `servicedb retain`."""

from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click

from servicedb.api.retention_policy import RetentionPolicySpec
from servicedb.job_command import CONNECTION, Duration, Folder, connection
from servicedb.jobs.connection import from_folder
from servicedb.jobs.retain.policy import policy_spec, read_policy
from servicedb.plan.identifiers import parsed_name
from servicedb.plan.retention.rule import Name
from servicedb.postgres.backups.session import Way
from servicedb.postgres.migrations.session import Connect
from servicedb.store.interface import Store
from servicedb.store.location import open_store


class Moment(click.ParamType[datetime]):
    """A time as ISO 8601 writes it; without a zone one of UTC."""

    name = "time"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> datetime:
        if isinstance(value, datetime):
            return value
        try:
            at = datetime.fromisoformat(value)
        except ValueError:
            self.fail(f"{value} is no time; write 2026-01-31 or 2026-01-31T02:00:00Z", param, ctx)
        return at.replace(tzinfo=UTC) if at.tzinfo is None else at


class TableName(click.ParamType[Name]):
    """A table with its schema, as SQL writes it."""

    name = "table"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Name:
        if isinstance(value, Name):
            return value
        parsed = parsed_name(value)
        if parsed is None or parsed[0] is None:
            self.fail(f"{value} is no table; write it with its schema, as in public.sessions", param, ctx)
        return Name(parsed[0], parsed[1])


_FILE = click.Path(dir_okay=False, path_type=Path)

DATABASE = (
    *CONNECTION,
    click.option("--as-role", metavar="ROLE", help="Act as this role where the owner is needed: the owner itself."),
    click.option("--wait", type=Duration(), help="For other work on the database. Default: as long as it takes."),
)
OWNER = (
    click.option(
        "--owner-dsn",
        envvar="SERVICEDB_OWNER_DSN",
        metavar="DSN",
        help="Connection string of who makes and drops partitions, and the ledger; without it the login itself does.",
    ),
    click.option("--owner-secret", type=Folder(), metavar="DIR", help="Folder of a mounted Secret, in its place."),
)
POLICY = (
    click.option("--policy", "file", type=_FILE, metavar="FILE", help="RetentionPolicy, or its spec, as YAML or JSON."),
    click.option("--policy-spec", envvar="SERVICEDB_RETENTION_POLICY", hidden=True),
)
ARCHIVE = (
    click.option("--store", metavar="URL", help="Where archives go, as with backup: s3://... or file:///path."),
    click.option("--store-credentials", type=Folder(), metavar="DIR", help="Its credentials, as with backup."),
    click.option("--copy", "copies", multiple=True, metavar="URL", help="A further location; can be repeated."),
    click.option(
        "--copy-credentials",
        type=Folder(),
        multiple=True,
        metavar="DIR",
        help="Folder with the credentials of the --copy in the same place; as many as there are, or none.",
    ),
    click.option("--recipient", "recipients", multiple=True, metavar="age1...", help="Encrypt to it; can be repeated."),
    click.option(
        "--compression", "level", type=click.IntRange(0, 19), default=3, show_default=True, help="zstd's level."
    ),
)


def check_usage(options: Mapping[str, Any]) -> None:
    """Raises UsageError where options don't go together."""
    if options["file"] is None and options["policy_spec"] is None:
        raise click.UsageError("name the policy with --policy")


def check_stores(options: Mapping[str, Any]) -> None:
    """Raises UsageError where the places of archives don't go together."""
    if options["copies"] and options["store"] is None:
        raise click.UsageError("name the first location with --store")
    if options["copy_credentials"] and len(options["copy_credentials"]) != len(options["copies"]):
        raise click.UsageError("give --copy-credentials once for each --copy, or not at all")


def spec_of(options: Mapping[str, Any]) -> RetentionPolicySpec:
    """The policy. Raises Terminal where it is none."""
    return policy_spec(options["policy_spec"] if options["file"] is None else read_policy(options["file"]))


def seconds(milliseconds: int | None) -> float | None:
    return None if milliseconds is None else milliseconds / 1000


def way_of(dsn: str | None, secret: Path | None, as_role: str | None, owner: Connect | None) -> Way:
    """To the database as the login that deletes. It acts as the owner where there is no other to do so."""
    return Way(connection(dsn, secret), as_role if owner is None else None)


def owner_connection(dsn: str | None, secret: Path | None) -> Connect | None:
    """The way of the owner's login, where one is named. Raises UsageError where two are."""
    if dsn is not None and secret is not None:
        raise click.UsageError("name the owner's login once: with --owner-dsn, or with --owner-secret")
    if secret is not None:
        return from_folder(secret)
    return None if dsn is None else lambda: dsn


def stores_of(options: Mapping[str, Any]) -> list[Store]:
    """Every place that archives go to; empty where none is named. Raises Terminal where one is none."""
    if options["store"] is None:
        return []
    pairs = zip(options["copies"], options["copy_credentials"] or [None] * len(options["copies"]), strict=True)
    return [open_store(options["store"], options["store_credentials"]), *(open_store(*one) for one in pairs)]
