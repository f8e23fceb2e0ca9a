"""The files of a source, read from the API server."""

from typing import Any

from servicedb.api.migration_run import MigrationRun
from servicedb.errors import Retryable
from servicedb.kube import resources
from servicedb.kube.client import ApiError, refusal
from servicedb.plan.migration_files import config_map_files, inline_files
from servicedb.reconcile.world import World


async def read_files(run: MigrationRun, world: World) -> dict[str, bytes]:
    """Paths and contents. Raises Retryable for a ConfigMap that is not there yet, Terminal for what is no source."""
    if run.spec.source.inline:
        return inline_files(run)
    return config_map_files({one.name: await _config_map(run, one.name, world) for one in run.spec.source.config_maps})


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
