from collections.abc import Mapping
from datetime import UTC, datetime

import pytest

from tests.cluster.harness import node

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
BEFORE, AFTER = "2026-01-02T03:04:04Z", "2026-01-02T03:04:05Z"


def seen(status: str, heartbeat: str, taints: list[object] | None = None) -> node.Item:
    condition = {"type": "Ready", "status": status, "lastHeartbeatTime": heartbeat}
    return {"spec": {"taints": taints} if taints else {}, "status": {"conditions": [condition]}}


@pytest.mark.parametrize(
    ("item", "ready"),
    [
        pytest.param(seen("True", AFTER), True, id="this kubelet says so"),
        pytest.param(seen("True", BEFORE), False, id="the one before said so"),
        pytest.param(seen("False", AFTER), False, id="not ready"),
        pytest.param(seen("True", AFTER, [{"key": "node.kubernetes.io/not-ready"}]), False, id="tainted"),
        pytest.param({"spec": {}, "status": {}}, False, id="just registered"),
    ],
)
def test_a_node_is_ready_when_its_present_kubelet_says_so(item, ready):
    assert node.ready(item, NOW) is ready


def pod(name: str, *states: Mapping[str, object]) -> node.Item:
    metadata = {"name": name, "namespace": "shop"}
    return {"metadata": metadata, "status": {"containerStatuses": [{"state": state} for state in states]}}


def test_pods_from_before_are_those_with_a_container_that_cannot_run_any_more():
    old, new = {"running": {"startedAt": BEFORE}}, {"running": {"startedAt": AFTER}}
    ended = {"terminated": {"startedAt": BEFORE}}
    pods = [pod("old", new, old), pod("new", new), pod("ended", ended), pod("waiting", {"waiting": {}})]
    pods.append({"metadata": {"name": "pending", "namespace": "shop"}, "status": {}})
    assert node.from_before(pods, NOW) == ["shop/old"]
