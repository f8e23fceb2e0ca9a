"""How a command ends that could not do what it is for."""

from typing import IO, Any

import click


class CommandFailed(click.ClickException):
    """A sentence on standard error, and exit code 2."""

    exit_code = 2

    def show(self, file: IO[Any] | None = None) -> None:
        click.echo(f"servicedb: {self.format_message()}", file=file, err=file is None)
