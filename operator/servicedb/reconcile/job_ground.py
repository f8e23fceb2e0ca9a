"""What every Job of ours stands on: an image, a ServiceAccount that may be used, the server itself."""

from servicedb.errors import Retryable, Terminal
from servicedb.kube import jobs, resources
from servicedb.kube.client import ApiError, refusal
from servicedb.kube.resources import DATABASE_SERVERS, Key
from servicedb.plan.job_pod import Endpoint
from servicedb.postgres.connections import Tls
from servicedb.reconcile.queue import TryAgain
from servicedb.reconcile.world import World

_ALLOWED = "servicedb.io/jobs"


async def image(world: World) -> str:
    """The image that Jobs run. Raises Retryable where it is not known."""
    if world.settings.job_image:
        return world.settings.job_image
    found = (
        await jobs.own_image(world.kube, world.settings.namespace, world.settings.pod) if world.settings.pod else None
    )
    if found is None:
        raise Retryable(
            "JobImageUnknown",
            "the operator does not know which image Jobs run; have an admin set SERVICEDB_JOB_IMAGE on it",
        )
    return found


async def check_service_account(world: World, namespace: str, name: str | None) -> None:
    """Raise a Problem where a Job may not run as that ServiceAccount; None is always allowed."""
    if name is None:
        return
    try:
        body = await world.kube.get(resources.service_account(namespace, name))
    except ApiError as error:
        raise refusal(error, namespace=namespace) from None
    if body is None:
        raise Retryable("ServiceAccountMissing", f'there is no ServiceAccount "{name}" in namespace "{namespace}"')
    if (body["metadata"].get("labels") or {}).get(_ALLOWED) != "allowed":
        raise Terminal(
            "ServiceAccountNotAllowed",
            f'ServiceAccount "{name}" does not carry the label {_ALLOWED}: allowed, so no Job runs as it; label it, or '
            "name another in spec.job.serviceAccountName",
        )


def endpoint(world: World, server_name: str, database: str) -> Endpoint:
    """The server itself, never a pooler before it. The operator has looked at it since it began, or waits for that."""
    server = world.servers.get(server_name)
    if server is None or server.admin is None:
        world.enqueue(Key(DATABASE_SERVERS, "", server_name))
        raise TryAgain
    if server.problem is not None:
        raise Retryable(
            server.problem.reason,
            f"DatabaseServer {server_name} can't be used: {server.problem.message}",
            ready="Unknown",
        )
    spec = server.resource.spec
    return Endpoint(spec.host, spec.port, database, Tls(spec.tls.mode).sslmode, server.ca_certificate)
