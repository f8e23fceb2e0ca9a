"""Events: what changed, for `kubectl describe`. Written on change only, and never waited for."""

import hashlib
import logging
from datetime import UTC, datetime

from servicedb.api.common import API_VERSION
from servicedb.errors import Problem
from servicedb.kube import resources
from servicedb.kube.client import ApiError, KubeClient

_log = logging.getLogger(__name__)


async def post(kube: KubeClient, key: resources.Key, uid: str, *, warning: bool, reason: str, message: str) -> None:
    """Post one event about the object `key`. A lost event is no failure: the conditions say the same."""
    now = datetime.now(UTC)
    digest = hashlib.sha256(f"{uid}{reason}{message}{now.timestamp()}".encode()).hexdigest()[:16]
    body = {
        "metadata": {"name": f"{key.name[:200]}.{digest}", "namespace": key.namespace or "default"},
        "involvedObject": {
            "apiVersion": API_VERSION,
            "kind": resources.KINDS[key.plural],
            "namespace": key.namespace,
            "name": key.name,
            "uid": uid,
        },
        "type": "Warning" if warning else "Normal",
        "reason": reason,
        "message": message[:1024],
        "source": {"component": "servicedb"},
        "firstTimestamp": now.isoformat(timespec="seconds"),
        "lastTimestamp": now.isoformat(timespec="seconds"),
        "count": 1,
    }
    try:
        await kube.create(resources.events(key.namespace), body)
    except (ApiError, Problem) as error:
        _log.warning("event not posted: %s", error, extra={"object": str(key)})
