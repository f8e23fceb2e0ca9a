"""Ten thousand objects: what holding them costs, and how fast an operator that starts has seen them all.

They are suspended: it is the API server's side that is measured, and no server has ten thousand databases.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

from servicedb.kube.client import KubeClient
from servicedb.kube.resources import SERVICE_DATABASES, Key

from tests.bench.fleet import NAMESPACE, Fleet, applied, fleet
from tests.bench.report import Row

_OBJECTS = 10_000
_PATCHES = 2_000
_IN_FLIGHT = 8
_MEGABYTES = 250.0


def rows() -> Iterator[Row]:
    with fleet(resync=600, started=False) as running:
        asyncio.run(_for_each(running, range(_OBJECTS), _create))
        started = time.monotonic()
        running.start()
        running.wait_observed(_OBJECTS)
        seconds = time.monotonic() - started
        usage = running.usage()
        running.stop()
        started = time.monotonic()
        asyncio.run(_for_each(running, range(_PATCHES), _patch))
        reference = _PATCHES / (time.monotonic() - started)
    case = f"{_OBJECTS} suspended objects"
    yield Row("scale", f"{case}: seen, from start on", _OBJECTS / seconds, reference, "objects/s", "higher", None)
    yield Row("scale", f"{case}: operator memory", usage.rss / 1e6, _MEGABYTES, "MB", "lower", 1.0)
    yield Row("scale", f"{case}: operator CPU an object", usage.cpu / _OBJECTS, 1 / reference, "s", "lower", None)


async def _for_each(running: Fleet, numbers: range, do: Callable[[KubeClient, int], Awaitable[Any]]) -> None:
    """By a client that does nothing else, with some requests in flight."""
    kube = await KubeClient.load(str(running.cluster.kubeconfig))
    waiting = iter(numbers)

    async def work() -> None:
        for number in waiting:
            await do(kube, number)

    try:
        await asyncio.gather(*(work() for _ in range(_IN_FLIGHT)))
    finally:
        await kube.close()


async def _create(kube: KubeClient, number: int) -> None:
    body = applied(number)
    body["spec"]["suspend"] = True
    await kube.create(f"/apis/servicedb.io/v1alpha1/namespaces/{NAMESPACE}/{SERVICE_DATABASES}", body)


async def _patch(kube: KubeClient, number: int) -> None:
    """A patch of the size that the operator writes."""
    name = applied(number)["metadata"]["name"]
    condition = {
        "type": "Reconciling",
        "status": "True",
        "reason": "Measured",
        "message": "by the benchmark",
        "lastTransitionTime": "2026-01-01T00:00:00Z",
        "observedGeneration": 1,
    }
    path = Key(SERVICE_DATABASES, NAMESPACE, name).path
    await kube.merge_patch(f"{path}/status", {"status": {"observedGeneration": 1, "conditions": [condition]}})
