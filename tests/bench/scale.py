"""Ten thousand objects: what holding them costs, and how fast an operator that starts has seen them all.

They are suspended: it is the API server's side that is measured, and no server has ten thousand databases.
"""

import time
from collections.abc import Iterator
from typing import Any

from servicedb.kube.client import KubeClient
from servicedb.kube.resources import SERVICE_DATABASES, Key

from tests.bench.fleet import NAMESPACE, applied, fleet
from tests.bench.report import Row

_OBJECTS = 10_000
_PATCHES = 2_000
_MEGABYTES = 250.0


def rows() -> Iterator[Row]:
    with fleet(resync=600, started=False) as running:
        running.create(_suspended(number) for number in range(_OBJECTS))
        started = time.monotonic()
        running.start()
        running.wait_observed(_OBJECTS)
        seconds = time.monotonic() - started
        usage = running.usage()
        running.stop()
        started = time.monotonic()
        running.ask(_patch, range(_PATCHES))
        reference = _PATCHES / (time.monotonic() - started)
    case = f"{_OBJECTS} suspended objects"
    yield Row("scale", f"{case}: seen, from start on", _OBJECTS / seconds, reference, "objects/s", "higher", None)
    yield Row("scale", f"{case}: operator memory", usage.rss / 1e6, _MEGABYTES, "MB", "lower", 1.0)
    yield Row("scale", f"{case}: operator CPU an object", usage.cpu / _OBJECTS, 1 / reference, "s", "lower", None)


def _suspended(number: int) -> dict[str, Any]:
    body = applied(number)
    body["spec"]["suspend"] = True
    return body


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
