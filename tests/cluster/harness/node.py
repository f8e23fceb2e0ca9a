"""What the API server says of the node and its pods: is it what runs now, or from before a restart?"""

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

Item = Mapping[str, Any]


def ready(node: Item, since: datetime) -> bool:
    """Whether a kubelet that started at `since` reports the node ready, and pods are let onto it."""
    return not node["spec"].get("taints") and any(
        condition["type"] == "Ready"
        and condition["status"] == "True"
        and datetime.fromisoformat(condition["lastHeartbeatTime"]) >= since
        for condition in node["status"].get("conditions", [])
    )


def from_before(pods: Iterable[Item], since: datetime) -> list[str]:
    """The pods that are called running, although a container of theirs is one from before `since`."""
    return [
        f"{pod['metadata']['namespace']}/{pod['metadata']['name']}"
        for pod in pods
        if any(
            datetime.fromisoformat(running["startedAt"]) < since
            for container in pod["status"].get("containerStatuses", [])
            if (running := container["state"].get("running"))
        )
    ]
