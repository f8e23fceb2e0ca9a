"""Kubernetes objects without Kubernetes: as much of an API server as the operator's reconciles ask of one.

They stand in a file, so that they outlive a process that is killed, as objects in Kubernetes do.
"""

import base64
import fcntl
import json
import os
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from servicedb.kube import resources
from servicedb.kube.client import ApiError, Json, KubeClient
from servicedb.kube.resources import DATABASE_SERVERS, SERVICE_DATABASES

NAMESPACE, OPERATOR_NAMESPACE = "shop", "servicedb-system"


_LISTED = (
    DATABASE_SERVERS,
    "backupschedules",
    "databasebackups",
    "databaserestores",
    "retentionpolicies",
    "jobs",
    "pods",
    "cronjobs",
)


class Objects(KubeClient):
    """Objects by their paths."""

    def __init__(self, file: Path) -> None:  # no session is needed, so nothing of the client's own
        self.file = file

    @classmethod
    def new(cls, file: Path) -> "Objects":
        """The objects of a cluster with nothing in it but what the operator itself needs."""
        file.write_text("{}")
        objects = cls(file)
        for name in ("kube-system", OPERATOR_NAMESPACE, NAMESPACE):
            objects.put(resources.namespace(name), {"metadata": {"name": name}})
        established = {"conditions": [{"type": "Established", "status": "True"}]}
        path = resources.crd(SERVICE_DATABASES)
        objects.put(path, {"metadata": {"name": path.rpartition("/")[2]}, "status": established})
        return objects

    @property
    def cluster_uid(self) -> str:
        return self.uid(resources.namespace("kube-system"))

    def put(self, path: str, body: Json) -> Json:
        """Make the object, or change its spec and annotations as `kubectl apply` would."""
        with self._changing() as stored:
            there = stored.get(path, {"metadata": {"uid": str(uuid.uuid4()), "generation": 0}})
            metadata = {**body["metadata"], **{name: there["metadata"][name] for name in ("uid", "generation")}}
            if body.get("spec") != there.get("spec"):
                metadata["generation"] += 1
            stored[path] = _touched({**there, **body, "metadata": metadata})
            return stored[path]

    def put_secret(self, namespace: str, name: str, data: Mapping[str, str], labels: Mapping[str, str]) -> None:
        encoded = {key: base64.b64encode(value.encode()).decode() for key, value in data.items()}
        self.put(resources.secret(namespace, name), {"metadata": {"name": name, "labels": {**labels}}, "data": encoded})

    def remove(self, path: str) -> None:
        """Delete the object, as `kubectl delete` would."""
        with self._changing() as stored:
            del stored[path]

    def remove_secret(self, name: str, namespace: str = NAMESPACE) -> None:
        with self._changing() as stored:
            del stored[resources.secret(namespace, name)]

    async def close(self) -> None:
        """Nothing is open."""

    def uid(self, path: str) -> str:
        return str(self.read()[path]["metadata"]["uid"])

    def read(self) -> dict[str, Json]:
        """All objects by their paths."""
        stored: dict[str, Json] = json.loads(self.file.read_text())
        return stored

    def secret(self, name: str, namespace: str = NAMESPACE) -> dict[str, str]:
        """What the Secret holds; empty where there is none."""
        body = self.read().get(resources.secret(namespace, name), {})
        return {key: base64.b64decode(value).decode() for key, value in body.get("data", {}).items()}

    async def request(
        self,
        method: str,
        path: str,
        *,
        body: Json | None = None,
        query: Mapping[str, str] | None = None,  # noqa: ARG002
        content_type: str = "application/json",  # noqa: ARG002
    ) -> Json:
        """What an API server answers, without its checks of the content."""
        body = json.loads(json.dumps(body))  # what can't be sent to an API server can't be put here
        match method:
            case "GET" if path.rpartition("/")[2] in _LISTED:
                items = [one for place, one in self.read().items() if place.startswith(f"{path}/")]
                return {"metadata": {}, "items": items}
            case "GET":
                return _found(self.read(), path)
            case "POST":
                return self._create(f"{path}/{body['metadata']['name']}", body)
            case "PATCH":
                return self._patch(path.removesuffix("/status"), body)
            case "DELETE":
                with self._changing() as stored:
                    _check(_found(stored, path), body["preconditions"])
                    return stored.pop(path)
        raise NotImplementedError(method)

    def _create(self, path: str, body: Json) -> Json:
        with self._changing() as stored:
            if path in stored:
                raise ApiError(409, "AlreadyExists", f"{path} already exists", {"name": path})
            made = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
            own = {"uid": str(uuid.uuid4()), "generation": 1, "creationTimestamp": made}
            metadata = {**body["metadata"], **own}
            stored[path] = _touched({**body, "metadata": metadata})
            return stored[path]

    def _patch(self, path: str, body: Json) -> Json:
        with self._changing() as stored:
            there = _found(stored, path)
            _check(there, body.get("metadata", {}))
            stored[path] = _touched(_merged(there, body))
            return stored[path]

    @contextmanager
    def _changing(self) -> Iterator[dict[str, Json]]:
        """One at a time, and either written as a whole or not at all: a writer may be killed anywhere."""
        with self.file.with_suffix(".lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            stored = self.read()
            yield stored
            unfinished = self.file.with_suffix(".unfinished")
            unfinished.write_text(json.dumps(stored))
            unfinished.replace(self.file)


def _found(stored: Mapping[str, Json], path: str) -> Json:
    if path not in stored:
        raise ApiError(404, "NotFound", f"{path} not found", {"name": path})
    return stored[path]


def _check(there: Json, expected: Mapping[str, Any]) -> None:
    for name in ("uid", "resourceVersion"):
        if name in expected and expected[name] != there["metadata"][name]:
            raise ApiError(409, "Conflict", f"{name} is another", {})


def _touched(body: Json) -> Json:
    version = os.urandom(8).hex()
    return {**body, "metadata": {**body["metadata"], "resourceVersion": version}}


def _merged(there: Any, change: Any) -> Any:
    """Source: RFC 7386, "JSON Merge Patch"."""
    if not isinstance(change, dict):
        return change
    result = dict(there) if isinstance(there, dict) else {}
    for name, value in change.items():
        if value is None:
            result.pop(name, None)
        else:
            result[name] = _merged(result.get(name), value)
    return result
