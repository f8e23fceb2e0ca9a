"""Any object at the API server, in raw JSON: what a test writes, and what a user would read."""

import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import urllib3
from kubernetes.client import ApiClient
from kubernetes.config import new_client_from_config
from servicedb.api.common import API_VERSION

from tests.api.examples import Manifest

PATIENCE: Final = 60.0
_POLL: Final = 0.05
_COLLECTIONS: Final = {
    "Namespace": "/api/v1/namespaces",
    "Secret": "/api/v1/namespaces/{}/secrets",
    "Event": "/api/v1/namespaces/{}/events",
    "ConfigMap": "/api/v1/namespaces/{}/configmaps",
    "Pod": "/api/v1/namespaces/{}/pods",
    "Job": "/apis/batch/v1/namespaces/{}/jobs",
    "MigrationRun": f"/apis/{API_VERSION}/namespaces/{{}}/migrationruns",
    "CronJob": "/apis/batch/v1/namespaces/{}/cronjobs",
    "BackupSchedule": f"/apis/{API_VERSION}/namespaces/{{}}/backupschedules",
    "DatabaseBackup": f"/apis/{API_VERSION}/namespaces/{{}}/databasebackups",
    "DatabaseRestore": f"/apis/{API_VERSION}/namespaces/{{}}/databaserestores",
    "RetentionPolicy": f"/apis/{API_VERSION}/namespaces/{{}}/retentionpolicies",
    "DatabaseServer": f"/apis/{API_VERSION}/databaseservers",
    "ServiceDatabase": f"/apis/{API_VERSION}/namespaces/{{}}/servicedatabases",
    "CustomResourceDefinition": "/apis/apiextensions.k8s.io/v1/customresourcedefinitions",
}


class Refused(Exception):
    """The API server said no; `status` is HTTP's."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class Away(Exception):
    """There was no answer."""


@dataclass(frozen=True, slots=True)
class Objects:
    """Objects by kind, name and namespace."""

    client: ApiClient

    @classmethod
    def at(cls, kubeconfig: Path) -> "Objects":
        return cls(new_client_from_config(str(kubeconfig)))

    def create(self, manifest: Manifest) -> Manifest:
        metadata = manifest["metadata"]
        body = {"apiVersion": "v1"} | manifest
        return self._call("POST", path(manifest["kind"], None, metadata.get("namespace")), body)

    def get(self, kind: str, name: str, namespace: str | None = None) -> Manifest | None:
        """The object, or None where the API server says that there is none."""
        try:
            return self._call("GET", path(kind, name, namespace))
        except Refused as refused:
            if refused.status == 404:
                return None
            raise

    def listed(self, kind: str, namespace: str | None = None) -> list[Manifest]:
        items: list[Manifest] = self._call("GET", path(kind, None, namespace))["items"]
        return items

    def patch(self, kind: str, name: str, change: dict[str, Any], namespace: str | None = None) -> Manifest:
        """A merge patch: None takes a field away."""
        return self._call("PATCH", path(kind, name, namespace), change)

    def delete(self, kind: str, name: str, namespace: str | None = None) -> None:
        """Ask for its deletion; what is gone already is as good."""
        try:
            self._call("DELETE", path(kind, name, namespace))
        except Refused as refused:
            if refused.status != 404:
                raise

    def _call(self, method: str, place: str, body: Manifest | None = None) -> Manifest:
        kind = "application/merge-patch+json" if method == "PATCH" else "application/json"
        headers = {"Accept": "application/json", "Content-Type": kind}
        for way in self.client.configuration.auth_settings().values():
            headers[way["key"]] = way["value"]
        try:
            response = self.client.rest_client.pool_manager.request(
                method,
                f"{self.client.configuration.host}{place}",
                body=None if body is None else json.dumps(body),
                headers=headers,
                retries=False,
                timeout=20.0,
            )
        except urllib3.exceptions.HTTPError as error:
            raise Away(str(error)) from error
        answer: Manifest = json.loads(response.data)
        if response.status >= 400:
            raise Refused(response.status, str(answer.get("message", "")))
        return answer


def path(kind: str, name: str | None, namespace: str | None) -> str:
    """Where an object stands, or without a `name` where all of its kind do."""
    collection = _COLLECTIONS[kind].format(namespace)
    return collection if name is None else f"{collection}/{name}"


def condition(manifest: Manifest | None, kind: str = "Ready") -> dict[str, Any] | None:
    """The condition of type `kind`, where the object has one."""
    conditions = ((manifest or {}).get("status") or {}).get("conditions") or ()
    return next((one for one in conditions if one["type"] == kind), None)


def wait_for(what: str, holds: Callable[[], bool], *, within: float = PATIENCE, told: Callable[[], str] = str) -> None:
    """Ask `holds` until it does; the failure says `what` did not come, and what `told` knows about it."""
    until = time.monotonic() + within
    while not holds():
        if time.monotonic() > until:
            raise AssertionError(f"not within {within:.0f} s: {what}\n{told()}")
        time.sleep(_POLL)
