"""The command `servicedb`."""

from collections.abc import Mapping
from importlib import import_module
from typing import Final

import click

_COMMANDS: Final[Mapping[str, str]] = {
    "run": "run_command.run",
    "server-sql": "print_command.server_sql",
    "plan": "plan_command.plan",
    "adopt": "adopt_command.adopt",
    "migrate": "migrate_command.migrate",
    "backup": "backup_command.backup",
    "list": "list_command.list_",
    "verify": "restore_command.verify",
    "restore": "restore_command.restore",
    "prune": "prune_command.prune",
    "retain": "retain_command.retain",
    "crds": "print_command.crds",
    "reference": "print_command.reference",
}
"""Where each of them stands, in the order in which the help lists them."""


class _Commands(click.Group):
    """A command is imported when it is asked for: a Job starts without what the operator alone needs.

    Source: Click documentation, "Lazily Loading Subcommands".
    """

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        if cmd_name not in _COMMANDS:
            return None
        module, name = _COMMANDS[cmd_name].split(".")
        command: click.Command = getattr(import_module(f"servicedb.{module}"), name)
        return command


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="servicedb")
def main() -> None:
    """Service databases on PostgreSQL, from Kubernetes objects."""
