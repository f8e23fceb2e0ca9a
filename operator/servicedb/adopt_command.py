"""`servicedb adopt` as people use it: a table or JSON on standard output, sentences on standard error."""

import asyncio
import json
import sys

import click
from kubernetes.aio.config import ConfigException

from servicedb.api.common import Unreadable
from servicedb.command_failed import CommandFailed
from servicedb.errors import Problem
from servicedb.kube.client import ApiError
from servicedb.plan.adoption import Adoption
from servicedb.reconcile.adopt import adopt as adopt_one
from servicedb.reconcile.adopt import adoptions, world_of
from servicedb.settings import InvalidSetting, Settings
from servicedb.tables import print_table


@click.command()
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
        if not asyncio.run(_adopt(kubeconfig, from_cluster, server, yes, output)):
            sys.exit(1)
    except InvalidSetting as error:
        raise CommandFailed(str(error)) from error
    except (ConfigException, OSError) as error:
        raise CommandFailed(
            f"no way into a cluster: {error}; run it in a pod, or name a kubeconfig with --kubeconfig"
        ) from error
    except (Problem, Unreadable) as problem:
        raise CommandFailed(str(problem)) from problem
    except ApiError as error:
        raise CommandFailed(f"the Kubernetes API server refuses: {error}") from error


async def _adopt(kubeconfig: str | None, from_cluster: str, server: str | None, yes: bool, output: str) -> bool:
    """Show what can be adopted, or with `yes` do it; whether all of it went well. Raises a Problem."""
    async with world_of(Settings.from_environment(), kubeconfig) as world:
        found, faults = await adoptions(world, from_cluster, only=server)
        rows = []
        for adoption in found:
            result = "can be adopted" if adoption.obstacle is None else f"left alone: {adoption.obstacle}"
            if yes and adoption.obstacle is None:
                try:
                    await adopt_one(world, adoption)
                    result = "adopted"
                except (Problem, ApiError) as problem:
                    result = f"not adopted: {problem}"
                    faults.append(f"{adoption.database} on {adoption.server} was not adopted: {problem}")
            rows.append(_row(adoption, result))
    show(rows, output)
    for fault in faults:
        click.echo(f"servicedb: {fault}", err=True)
    _advise(from_cluster, rows, yes)
    return not faults


def _row(adoption: Adoption, result: str) -> dict[str, str]:
    return {
        "server": adoption.server,
        "database": adoption.database,
        "namespace": adoption.marker.namespace,
        "name": adoption.marker.name,
        "state": adoption.state,
        "result": result,
    }


def show(rows: list[dict[str, str]], output: str) -> None:
    """The rows on standard output, as JSON or as a table."""
    if output == "json":
        click.echo(json.dumps(rows, indent=2))
        return
    if rows:
        print_table("", list(rows[0]), [list(row.values()) for row in rows])


def _advise(from_cluster: str, rows: list[dict[str, str]], yes: bool) -> None:
    ready = sum(row["result"] == "can be adopted" for row in rows)
    done = sum(row["result"] == "adopted" for row in rows)
    if not rows:
        click.echo(f"servicedb: no database carries the mark of cluster {from_cluster}", err=True)
    elif not yes:
        click.echo(f"servicedb: nothing was changed; with --yes {ready} of {len(rows)} are adopted", err=True)
    else:
        click.echo(
            f"servicedb: {done} of {len(rows)} were adopted; the operator takes them up at its next resync", err=True
        )
