"""Our kinds at the API server: what it says to an object, in its own words."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from kubernetes.client import ApiClient
from kubernetes.config import new_client_from_config
from servicedb.api.common import GROUP, VERSION
from servicedb.api.crd import KINDS

from tests.api.examples import Manifest, changed

CRDS: Final = Path(__file__).parents[2] / "crds"

_PLURALS = {resource.kind: resource.plural for resource, _ in KINDS}
_STRICT = ("fieldValidation", "Strict")
_DRY_RUN = ("dryRun", "All")


class Refused(Exception):
    """The API server's message."""


@dataclass(frozen=True, slots=True)
class ApiServer:
    """Objects come and go with strict validation, as kubectl asks for it.

    Requests are sent as they are given: the client's own methods would leave out every null.
    Each verb gives the object as it was stored, or raises Refused.
    """

    client: ApiClient
    group: str

    @classmethod
    def at(cls, kubeconfig: Path, *, group: str = GROUP) -> "ApiServer":
        return cls(new_client_from_config(str(kubeconfig)), group)

    def create(self, manifest: Manifest, *, dry_run: bool = False) -> Manifest:
        return self._call(
            "POST", self._path(manifest, named=False), manifest, _STRICT, *([_DRY_RUN] if dry_run else [])
        )

    def patch_status(self, manifest: Manifest, status: dict[str, Any]) -> Manifest:
        return self._call("PATCH", self._path(manifest) + "/status", {"status": status}, _STRICT)

    def get(self, manifest: Manifest) -> Manifest:
        return self._call("GET", self._path(manifest))

    def delete(self, manifest: Manifest) -> None:
        self._call("DELETE", self._path(manifest))

    def verdict(self, manifest: Manifest) -> str:
        """What is said against `manifest` as a new object; empty when it would be taken."""
        try:
            self.create(manifest, dry_run=True)
        except Refused as refused:
            return str(refused)
        return ""

    def verdict_on_change(self, manifest: Manifest) -> str:
        """What is said against `manifest` as the new state of what is stored; empty when it would be taken."""
        version = self.get(manifest)["metadata"]["resourceVersion"]
        try:
            self._call(
                "PUT", self._path(manifest), changed(manifest, {"metadata.resourceVersion": version}), _STRICT, _DRY_RUN
            )
        except Refused as refused:
            return str(refused)
        return ""

    def _path(self, manifest: Manifest, *, named: bool = True) -> str:
        metadata = manifest["metadata"]
        scope = f"/namespaces/{metadata['namespace']}" if "namespace" in metadata else ""
        name = f"/{metadata['name']}" if named else ""
        return f"/apis/{self.group}/{VERSION}{scope}/{_PLURALS[manifest['kind']]}{name}"

    def _call(self, method: str, path: str, body: Manifest | None = None, *options: tuple[str, str]) -> Manifest:
        kind = "application/merge-patch+json" if method == "PATCH" else "application/json"
        headers = {"Accept": "application/json", "Content-Type": kind}
        for method_of_login in self.client.configuration.auth_settings().values():
            headers[method_of_login["key"]] = method_of_login["value"]
        query = "&".join(map("=".join, options))
        response = self.client.rest_client.pool_manager.request(
            method,
            f"{self.client.configuration.host}{path}?{query}",
            body=None if body is None else json.dumps(body),
            headers=headers,
        )
        answer: Manifest = json.loads(response.data)
        if response.status >= 400:
            raise Refused(answer["message"])
        return answer


def placed(manifest: Manifest, namespace: str) -> Manifest:
    """A copy of `manifest` in `namespace` or, for a server, one with a name of its own."""
    if "namespace" in manifest["metadata"]:
        return changed(manifest, {"metadata.namespace": namespace})
    return changed(manifest, {"metadata.name": f"{namespace}-{manifest['metadata']['name']}"})
