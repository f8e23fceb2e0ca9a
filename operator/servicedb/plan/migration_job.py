"""The Job of a MigrationRun. Source: Kubernetes documentation, "Jobs" (Pod failure policy)."""

from typing import Any, Final

from servicedb.api.common import API_VERSION, GROUP, MANAGED_BY
from servicedb.plan.job_pod import fails_with, job_spec
from servicedb.plan.migration_order import Order
from servicedb.plan.migration_pod import COPIES, MIGRATES, annotations, pod

RUN_UID: Final = f"{GROUP}/migration-run-uid"
"""Label of a run's Jobs and pods."""

SIGNALLED = (137, 143)
"""What a container ends with that was killed, or asked to end: that says nothing of the source."""


def job(order: Order) -> dict[str, Any]:
    """The Job as the API server takes it. It goes with its MigrationRun; a pod that a node lost is made again."""
    metadata, settings = order.run.metadata, order.run.spec.job
    labels = {MANAGED_BY: "servicedb", RUN_UID: metadata.uid}
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {
            "name": order.name,
            "namespace": metadata.namespace,
            "labels": labels,
            "annotations": {f"{GROUP}/migration-run": metadata.name},
            "ownerReferences": [
                {"apiVersion": API_VERSION, "kind": "MigrationRun", "name": metadata.name, "uid": metadata.uid}
            ],
        },
        "spec": job_spec(
            {"metadata": {"labels": labels, "annotations": dict(annotations(order))}, "spec": pod(order)},
            settings.deadline,
            container=MIGRATES,
            rules=[fails_with(COPIES, "NotIn", SIGNALLED)] if order.copied is not None else [],
        ),
    }
