"""Jobs and their pods, found by the label of the object that they work for."""

from collections.abc import Callable

from servicedb.kube import resources
from servicedb.kube.client import ApiError, Json, KubeClient, refusal
from servicedb.plan.backups.pod import OWNER_UID, WORK
from servicedb.plan.migration_job import RUN_UID


async def jobs_of(kube: KubeClient, namespace: str, run_uid: str) -> list[Json]:
    """The Jobs of a MigrationRun. Raises a Problem where the operator may not look."""
    try:
        return [one async for one in kube.list(resources.jobs(namespace), labelSelector=f"{RUN_UID}={run_uid}")]
    except ApiError as error:
        raise refusal(error, namespace=namespace) from None


async def owned_by(
    kube: KubeClient, namespace: str, uid: str, what: Callable[[str], str] = resources.jobs
) -> list[Json]:
    """The Jobs (or by `what` the CronJobs, or pods) that work for the object with that UID. Raises a Problem."""
    try:
        return [one async for one in kube.list(what(namespace), labelSelector=f"{OWNER_UID}={uid}")]
    except ApiError as error:
        raise refusal(error, namespace=namespace) from None


async def of_servicedb(kube: KubeClient, namespace: str) -> list[Json]:
    """All Jobs of backups in the namespace, whatever they work for. Raises a Problem."""
    try:
        return [one async for one in kube.list(resources.jobs(namespace), labelSelector=WORK)]
    except ApiError as error:
        raise refusal(error, namespace=namespace) from None


async def pods_of(kube: KubeClient, job: Json) -> list[Json]:
    """The pods of that very Job, not those of one of the same name before it."""
    metadata = job["metadata"]
    of_job = f"batch.kubernetes.io/controller-uid={metadata['uid']}"
    try:
        return [one async for one in kube.list(resources.pods(metadata["namespace"]), labelSelector=of_job)]
    except ApiError as error:
        raise refusal(error, namespace=metadata["namespace"]) from None


async def create(kube: KubeClient, manifest: Json) -> Json:
    """Raises a Problem; Busy where one of the name is there."""
    namespace = manifest["metadata"]["namespace"]
    try:
        return await kube.create(resources.jobs(namespace), manifest)
    except ApiError as error:
        raise refusal(error, namespace=namespace) from None


async def delete(kube: KubeClient, job: Json) -> None:
    """Delete the Job, and in the background its pods."""
    metadata = job["metadata"]
    try:
        await kube.delete(resources.job(metadata["namespace"], metadata["name"]), uid=metadata["uid"])
    except ApiError as error:
        raise refusal(error, namespace=metadata["namespace"]) from None


async def own_image(kube: KubeClient, namespace: str, pod: str) -> str | None:
    """The image of the pod `pod`; None where there is none, or it may not be looked at."""
    try:
        body = await kube.get(f"{resources.pods(namespace)}/{pod}")
    except ApiError:
        return None
    return str(body["spec"]["containers"][0]["image"]) if body is not None else None
