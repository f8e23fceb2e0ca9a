"""The command `servicedb`."""

import asyncio
import json
import os
import sys
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import NoReturn, TextIO

import click
from kubernetes.aio.config import ConfigException

from servicedb.adopt_command import run_adopt
from servicedb.api.common import Unreadable
from servicedb.api.crd import crd_files
from servicedb.backup_command import backup
from servicedb.errors import Problem
from servicedb.handlers import watch
from servicedb.kube.client import ApiError
from servicedb.list_command import list_
from servicedb.logs import set_up
from servicedb.migrate_command import migrate
from servicedb.postgres.server import server_sql as sql_for_admin
from servicedb.prune_command import prune
from servicedb.reconcile.files import Unplannable, plan_files, service_databases
from servicedb.reconcile.run import run as run_operator
from servicedb.reference import reference_files
from servicedb.restore_command import restore, verify
from servicedb.settings import InvalidSetting, Settings
from servicedb.tables import print_table


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="servicedb")
def main() -> None:
    """Service databases on PostgreSQL, from Kubernetes objects."""


@main.command()
@click.option("--kubeconfig", type=click.Path(), help="Run outside the cluster, with this kubeconfig.")
def run(kubeconfig: str | None) -> None:
    """Run the operator until SIGTERM."""
    try:
        settings = Settings.from_environment()
        set_up(settings.log_level)
        asyncio.run(run_operator(settings, kubeconfig, watch))
    except InvalidSetting as error:
        _fail(str(error))
    except (ConfigException, OSError) as error:
        _fail(f"no way into a cluster: {error}; run it in a pod, or name a kubeconfig with --kubeconfig")
    except Problem as problem:
        _fail(problem.message)


@main.command("server-sql")
@click.option("--admin", default="servicedb_admin", show_default=True, help="Name of the admin role.")
def server_sql(admin: str) -> None:
    """Print what a DBA runs once on a server, for a DatabaseServer's adminSecretRef."""
    click.echo(sql_for_admin(admin), nl=False)


main.add_command(migrate)
main.add_command(backup)
main.add_command(list_)
main.add_command(verify)
main.add_command(restore)
main.add_command(prune)

_WRITE = click.option(
    "--write", type=click.Path(file_okay=False, path_type=Path), help="Write the files into this folder."
)


@main.command()
@click.option("--from-cluster", required=True, metavar="UID", help="UID of the other cluster's namespace kube-system.")
@click.option("--server", metavar="NAME", help="Only the databases on this DatabaseServer.")
@click.option("--yes", is_flag=True, help="Adopt them. Without it they are only shown.")
@click.option("-o", "--output", type=click.Choice(["table", "json"]), default="table", show_default=True)
@click.option("--kubeconfig", type=click.Path(), help="Run outside the cluster, with this kubeconfig.")
def adopt(from_cluster: str, server: str | None, yes: bool, output: str, kubeconfig: str | None) -> None:
    """Take over the databases of a cluster that this one replaces.

    A cluster that was rebuilt has another UID, and its ServiceDatabases are told that their databases belong to the
    cluster of before. This marks as this cluster's own all those for which it has a ServiceDatabase of the same
    namespace, name and database. Nothing else of them changes.

    The other cluster has to be gone, or its operator stopped for good: that can't be seen from here. Were both at
    work, each database would be the one's that adopted it last, and the other's would read Conflict.
    """
    try:
        if not asyncio.run(run_adopt(kubeconfig, from_cluster, server, yes, output)):
            sys.exit(1)
    except InvalidSetting as error:
        _fail(str(error))
    except (ConfigException, OSError) as error:
        _fail(f"no way into a cluster: {error}; run it in a pod, or name a kubeconfig with --kubeconfig")
    except (Problem, Unreadable) as problem:
        _fail(str(problem))
    except ApiError as error:
        _fail(f"the Kubernetes API server refuses: {error}")


@main.command()
@_WRITE
def crds(write: Path | None) -> None:
    """Print the CustomResourceDefinitions."""
    _give(crd_files(), write)


@main.command()
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


@main.command()
@click.option(
    "-f", "--file", "files", type=click.File(), multiple=True, required=True, help="YAML file, or - for standard input."
)
@click.option("-o", "--output", type=click.Choice(["table", "json"]), default="table", show_default=True)
@click.option("--kubeconfig", type=click.Path(), envvar="KUBECONFIG", help="Default: ~/.kube/config, or the pod's own.")
def plan(files: tuple[TextIO, ...], output: str, kubeconfig: str | None) -> None:
    """Print what the ServiceDatabases in YAML files would need.

    They need not be applied, and nothing is changed. The kubeconfig's user has to be allowed to read the
    DatabaseServer with its admin Secret, and the Secrets of the ServiceDatabases' namespaces; the server has to be
    reachable from here, or run this in the operator's pod.

    Exit code: 0 when nothing is needed, 1 when steps are, 2 when it could not be told.
    """
    try:
        objects = [one for file in files for one in service_databases(file.read(), source=file.name)]
        settings = Settings.from_environment()
        plans = asyncio.run(plan_files(objects, kubeconfig=kubeconfig or _own_kubeconfig(), settings=settings))
    except (InvalidSetting, Unplannable) as error:
        _fail(str(error))
    except UnicodeDecodeError as error:
        _fail(f"a file is not UTF-8: {error}")
    except (ConfigException, OSError) as error:
        _fail(f"no way into a cluster: {error}; name a kubeconfig with --kubeconfig")
    if output == "json":
        click.echo(json.dumps([asdict(one) for one in plans], indent=2))
    else:
        for one in plans:
            rows = [(step.step, step.reason, step.text) for step in one.steps]
            title = f"{one.namespace}/{one.name}: {len(rows) or 'no'} steps for database {one.database}"
            print_table(title, ("step", "reason", "SQL"), rows)
    sys.exit(1 if any(one.steps for one in plans) else 0)


def _own_kubeconfig() -> str | None:
    """Where kubectl looks; None in a pod."""
    path = Path.home() / ".kube" / "config"
    return str(path) if "KUBERNETES_SERVICE_HOST" not in os.environ and path.exists() else None


def _fail(sentence: str) -> NoReturn:
    click.echo(f"servicedb: {sentence}", err=True)
    sys.exit(2)
