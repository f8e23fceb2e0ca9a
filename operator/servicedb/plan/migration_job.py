"""The Job of a MigrationRun. Source: Kubernetes documentation, "Jobs" (Pod failure policy)."""

from typing import Any, Final

from servicedb.api.common import API_VERSION, GROUP
from servicedb.plan.migration_order import Order
from servicedb.plan.migration_pod import COPIES, MIGRATES, annotations, pod

MANAGED_BY: Final = "app.kubernetes.io/managed-by"
RUN_UID: Final = f"{GROUP}/migration-run-uid"
"""Label of a run's Jobs and pods."""

EXIT_TERMINAL, EXIT_USAGE, EXIT_DECISION = 1, 2, 3
"""What `servicedb migrate` ends with where trying again would end as before."""

_FOR_A_PERSON = (EXIT_TERMINAL, EXIT_USAGE, EXIT_DECISION)
SIGNALLED = (137, 143)
"""What a container ends with that was killed, or asked to end: that says nothing of the source."""

_RESTARTS = 2


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
        "spec": {
            "backoffLimit": _RESTARTS,
            "activeDeadlineSeconds": max(1, int(settings.deadline.timedelta.total_seconds())),
            "podFailurePolicy": {
                "rules": [
                    {"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]},
                    _ends_with(MIGRATES, "In", _FOR_A_PERSON),
                    *([_ends_with(COPIES, "NotIn", SIGNALLED)] if order.copied is not None else []),
                ]
            },
            "template": {
                "metadata": {"labels": labels, "annotations": dict(annotations(order))},
                "spec": pod(order),
            },
        },
    }


def _ends_with(container: str, operator: str, codes: tuple[int, ...]) -> dict[str, Any]:
    """The Job fails at once when a container ends so."""
    return {
        "action": "FailJob",
        "onExitCodes": {"containerName": container, "operator": operator, "values": list(codes)},
    }
