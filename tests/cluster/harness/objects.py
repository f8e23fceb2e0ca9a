"""The objects of what the harness starts in a cluster."""

import base64
import json

import yaml

from tests.cluster.harness.cluster import Cluster
from tests.cluster.harness.pki import KeyPair


def apply(cluster: Cluster, *manifests: object) -> None:
    text = yaml.safe_dump_all(manifests)
    cluster.kubectl("apply", "--server-side", "--field-manager=servicedb-harness", "--filename=-", text=text)


def read_secret(cluster: Cluster, namespace: str, name: str) -> dict[str, bytes] | None:
    """What a Secret holds; None where there is none."""
    text = cluster.kubectl("get", f"--namespace={namespace}", "secret", name, "--ignore-not-found", "--output=json")
    if not text:
        return None
    return {key: base64.b64decode(value) for key, value in json.loads(text)["data"].items()}


def secret_manifest(namespace: str, name: str, data: dict[str, bytes]) -> dict[str, object]:
    """The manifest of a Secret."""
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": name, "namespace": namespace},
        "data": {key: base64.b64encode(value).decode() for key, value in data.items()},
    }


def pem(pair: KeyPair) -> dict[str, bytes]:
    return {"tls.crt": pair.certificate, "tls.key": pair.key}
