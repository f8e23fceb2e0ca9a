"""`servicedb run`: the operator."""

import asyncio

import click
from kubernetes.aio.config import ConfigException

from servicedb.command_failed import CommandFailed
from servicedb.errors import Problem
from servicedb.handlers import watch
from servicedb.logs import set_up
from servicedb.reconcile.run import run as run_operator
from servicedb.settings import InvalidSetting, Settings


@click.command()
@click.option("--kubeconfig", type=click.Path(), help="Run outside the cluster, with this kubeconfig.")
def run(kubeconfig: str | None) -> None:
    """Run the operator until SIGTERM."""
    try:
        settings = Settings.from_environment()
        set_up(settings.log_level)
        asyncio.run(run_operator(settings, kubeconfig, watch))
    except InvalidSetting as error:
        raise CommandFailed(str(error)) from error
    except (ConfigException, OSError) as error:
        raise CommandFailed(
            f"no way into a cluster: {error}; run it in a pod, or name a kubeconfig with --kubeconfig"
        ) from error
    except Problem as problem:
        raise CommandFailed(problem.message) from problem
