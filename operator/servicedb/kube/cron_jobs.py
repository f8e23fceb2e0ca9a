"""CronJobs of our own."""

from servicedb.kube import resources
from servicedb.kube.client import ApiError, Json, KubeClient, refusal


async def create(kube: KubeClient, manifest: Json) -> None:
    """Raises a Problem; Terminal with the API server's words where it does not take the schedule."""
    namespace = manifest["metadata"]["namespace"]
    try:
        await kube.create(resources.cron_jobs(namespace), manifest)
    except ApiError as error:
        raise refusal(error, namespace=namespace) from None


async def change(kube: KubeClient, seen: Json, manifest: Json) -> None:
    """Make the CronJob `seen` what `manifest` says. What it has begun goes on."""
    metadata = seen["metadata"]
    whole = {
        "metadata": {
            "uid": metadata["uid"],
            "labels": manifest["metadata"]["labels"],
            "annotations": manifest["metadata"]["annotations"],
        },
        "spec": _replacing(seen["spec"], manifest["spec"]),
    }
    try:
        await kube.merge_patch(resources.cron_job(metadata["namespace"], metadata["name"]), whole)
    except ApiError as error:
        raise refusal(error, namespace=metadata["namespace"]) from None


async def delete(kube: KubeClient, seen: Json) -> None:
    """Delete the CronJob, and in the background its Jobs."""
    metadata = seen["metadata"]
    try:
        await kube.delete(resources.cron_job(metadata["namespace"], metadata["name"]), uid=metadata["uid"])
    except ApiError as error:
        raise refusal(error, namespace=metadata["namespace"]) from None


def _replacing(seen: Json, wanted: Json) -> Json:
    """A merge patch leaves alone what it does not name: fields of `seen` that are not wanted any more are named, too.
    Source: RFC 7386."""
    patch: Json = {name: None for name in seen if name not in wanted}
    for name, value in wanted.items():
        before = seen.get(name)
        patch[name] = _replacing(before, value) if isinstance(before, dict) and isinstance(value, dict) else value
    return patch
