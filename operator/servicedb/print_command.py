"""The commands that print what others take: SQL, CustomResourceDefinitions, the reference."""

from collections.abc import Mapping
from pathlib import Path

import click

from servicedb.api.crd import crd_files
from servicedb.postgres.server import server_sql as sql_for_admin
from servicedb.reference import reference_files

_WRITE = click.option(
    "--write", type=click.Path(file_okay=False, path_type=Path), help="Write the files into this folder."
)


@click.command("server-sql")
@click.option("--admin", default="servicedb_admin", show_default=True, help="Name of the admin role.")
def server_sql(admin: str) -> None:
    """Print what a DBA runs once on a server, for a DatabaseServer's adminSecretRef."""
    click.echo(sql_for_admin(admin), nl=False)


@click.command()
@_WRITE
def crds(write: Path | None) -> None:
    """Print the CustomResourceDefinitions."""
    _give(crd_files(), write)


@click.command()
@_WRITE
def reference(write: Path | None) -> None:
    """Print the reference of all fields, in Markdown."""
    _give(reference_files(), write)


def _give(files: Mapping[str, str], folder: Path | None) -> None:
    for name, text in files.items():
        if folder is None:
            click.echo(text, nl=False)
        else:
            folder.mkdir(parents=True, exist_ok=True)
            (folder / name).write_text(text)
