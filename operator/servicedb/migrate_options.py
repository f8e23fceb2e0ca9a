"""The options of `servicedb migrate`, and how their values are read."""

from pathlib import Path
from typing import Any

import click

from servicedb.job_command import CONNECTION, ENDING, Duration
from servicedb.plan.migrations.adoption import KNOWN
from servicedb.plan.migrations.history import Choice, Decision
from servicedb.plan.migrations.sections import Format
from servicedb.plan.migrations.versions import Version


class VersionOption(click.ParamType[Version]):
    """A version, or Latest as None."""

    name = "version"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if isinstance(value, Version):
            return value
        if value == "Latest":
            return None
        try:
            return Version.parse(value)
        except ValueError as error:
            self.fail(str(error), param, ctx)


class DecisionOption(click.ParamType[Decision]):
    """VERSION:CHOICE:DIGEST, as the question names them."""

    name = "decision"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if isinstance(value, Decision):
            return value
        version, _, rest = value.partition(":")
        choice, _, digest = rest.partition(":")
        if choice not in list(Choice) or not digest:
            self.fail(f"{value} is no decision; write VERSION:Retry|Done|Skip|Accept:DIGEST", param, ctx)
        return Decision(version, digest, Choice(choice))


DIRECTORY = click.option(
    "--dir", "directory", type=click.Path(file_okay=False, path_type=Path), required=True, help="The migrations."
)
OPTIONS = (
    *CONNECTION,
    click.option("--set", "set_name", default="default", show_default=True, help="Name of the history."),
    click.option(
        "--detail",
        type=click.Choice(["Code", "Full"]),
        default="Full",
        show_default=True,
        help="Code: nothing that may hold values of rows.",
    ),
    *ENDING,
    click.option(
        "--lock-timeout",
        type=Duration(),
        default="3s",
        show_default=True,
        help="How long others may have to queue behind a migration that waits.",
    ),
    click.option("--statement-timeout", type=Duration(), default="0s", show_default=True, help="0 is none."),
    click.option(
        "--retries",
        type=click.IntRange(0),
        default=5,
        show_default=True,
        help="After lock timeouts, lost connections and the like.",
    ),
    click.option("--wait", type=Duration(), help="For another run. Default: as long as it takes."),
    click.option("--identity", hidden=True),
    click.option(
        "--decision",
        "decisions",
        type=DecisionOption(),
        multiple=True,
        metavar="VERSION:CHOICE:DIGEST",
        help="Answers a question that a run has asked.",
    ),
)
SOURCE = (
    DIRECTORY,
    click.option(
        "--format", type=click.Choice([str(one) for one in Format]), default=str(Format.AUTO), show_default=True
    ),
    click.option("--before", multiple=True, metavar="FILE", help="SQL file of --dir that runs before the first one."),
    click.option("--after", multiple=True, metavar="FILE", help="SQL file of --dir that runs after the last one."),
    click.option(
        "--out-of-order", "allow_out_of_order", is_flag=True, help="Apply older versions than the latest, too."
    ),
    click.option("--target", type=VersionOption(), default="Latest", show_default=True),
    click.option(
        "--adopt",
        type=click.Choice([*KNOWN, "Table"]),
        help="Where there is no history yet, take over that of another tool; Table is any with a column of versions.",
    ),
    click.option("--adopt-table", metavar="TABLE", help="It stands there, with its schema where that is not public."),
    click.option("--adopt-version-column", metavar="COLUMN", help="With --adopt Table: the column with the version."),
    click.option("--adopt-name-column", metavar="COLUMN", help="With --adopt Table: the column with the name."),
    click.option("--no-links", is_flag=True, help="Refuse links in --dir, and what else is no plain file."),
    click.option("--archives", is_flag=True, help="Read .tar.gz, .tgz and .tar.zst in --dir as what they hold."),
    click.option("--source-digest", hidden=True),
)


TENANTS = (
    click.option("--tenant", "names", multiple=True, metavar="SCHEMA", help="This schema; can be repeated."),
    click.option("--tenants", "pattern", metavar="PATTERN", help="Every schema like it, such as 'tenant_%'."),
    click.option(
        "--tenants-query",
        "query",
        metavar="SQL",
        help="The schemas that this query gives, such as 'SELECT schema_name FROM tenants'.",
    ),
    click.option("--parallel", type=click.IntRange(1), default=4, show_default=True, help="Tenants at a time."),
    click.option("--canary", type=click.IntRange(0), default=1, show_default=True, help="Tenants before all others."),
    click.option("--max-failures", type=click.IntRange(0), default=0, show_default=True, help="Tenants that may fail."),
)

CREATE_TENANTS = click.option("--create-tenants", "create", is_flag=True, help="Make the schemas that are missing.")
