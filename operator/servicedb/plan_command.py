"""`servicedb plan`: what ServiceDatabases in files would need."""

import asyncio
import json
import os
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TextIO

import click
from kubernetes.aio.config import ConfigException

from servicedb.command_failed import CommandFailed
from servicedb.reconcile.files import Unplannable, plan_files, service_databases
from servicedb.settings import InvalidSetting, Settings
from servicedb.tables import print_table


@click.command()
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
        raise CommandFailed(str(error)) from error
    except UnicodeDecodeError as error:
        raise CommandFailed(f"a file is not UTF-8: {error}") from error
    except (ConfigException, OSError) as error:
        raise CommandFailed(f"no way into a cluster: {error}; name a kubeconfig with --kubeconfig") from error
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
