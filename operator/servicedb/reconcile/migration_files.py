"""The source of a MigrationRun, read from the API server."""

from typing import Any

from servicedb.api.migration_run import MigrationRun
from servicedb.errors import Retryable
from servicedb.kube import resources
from servicedb.kube.client import ApiError, refusal
from servicedb.plan.migration_files import Seen, seen
from servicedb.reconcile.world import World


async def read_source(run: MigrationRun, world: World) -> Seen:
    """Raises Retryable for a ConfigMap that is not there yet, Terminal for what is no source."""
    return seen(run, {one.name: await _config_map(run, one.name, world) for one in run.spec.source.config_maps})


async def _config_map(run: MigrationRun, name: str, world: World) -> dict[str, Any]:
    namespace = run.metadata.namespace
    try:
        body = await world.kube.get(resources.config_map(namespace, name))
    except ApiError as error:
        raise refusal(error, namespace=namespace) from None
    if body is None:
        raise Retryable(
            "ConfigMapMissing",
            f'there is no ConfigMap "{name}" in namespace "{namespace}", which spec.source names; create it',
        )
    return body
