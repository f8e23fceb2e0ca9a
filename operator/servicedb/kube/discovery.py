"""Which kinds the API server says that it serves. Source: Kubernetes documentation, "Discovery of API resources"."""

from collections.abc import Iterable

from servicedb.api.common import GROUP, VERSION
from servicedb.errors import Problem
from servicedb.kube.client import ApiError, KubeClient


async def served(kube: KubeClient, plurals: Iterable[str]) -> bool:
    """Whether discovery names all of our kinds `plurals`; it lags behind a CRD that is Established."""
    try:
        groups = await kube.request("GET", "/apis")
        if GROUP not in {group["name"] for group in groups["groups"]}:
            return False
        kinds = await kube.request("GET", f"/apis/{GROUP}/{VERSION}")
    except (ApiError, Problem):
        return False
    return set(plurals) <= {kind["name"] for kind in kinds["resources"]}
