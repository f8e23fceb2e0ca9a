"""`servicedb adopt` as people use it: a table or JSON on standard output, sentences on standard error."""

import json

import click

from servicedb.errors import Problem
from servicedb.kube.client import ApiError
from servicedb.plan.adoption import Adoption
from servicedb.reconcile.adopt import adopt, adoptions, world_of
from servicedb.settings import Settings
from servicedb.tables import print_table


async def run_adopt(kubeconfig: str | None, from_cluster: str, server: str | None, yes: bool, output: str) -> bool:
    """Show what can be adopted, or with `yes` do it; whether all of it went well. Raises a Problem."""
    async with world_of(Settings.from_environment(), kubeconfig) as world:
        found, faults = await adoptions(world, from_cluster, only=server)
        rows = []
        for adoption in found:
            result = "can be adopted" if adoption.obstacle is None else f"left alone: {adoption.obstacle}"
            if yes and adoption.obstacle is None:
                try:
                    await adopt(world, adoption)
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
