"""The operator as its users install it: a pod of the Dockerfile's image, by `kubectl apply -k manifests/`."""

import json
import re
from datetime import timedelta
from pathlib import Path

import yaml

from tests.cluster.harness import Cluster, HarnessError, images
from tests.cluster.harness.deadline import wait_until
from tests.cluster.harness.postgres import Postgres

ROOT = Path(__file__).parents[2]
MANIFESTS = ROOT / "manifests"
EXAMPLE = MANIFESTS / "examples" / "kyc-onboarding"
SYSTEM, TENANT = "servicedb-system", "kyc-onboarding"
CLIENT = "psql"
# The root is read-only: there is no place for a history.
CLIENT_ENVIRONMENT = {"PGCONNECT_TIMEOUT": "10", "HOME": "/tmp", "PSQL_HISTORY": "/dev/null"}
KINDS = "databaseservers,servicedatabases,migrationruns"
SETTLES_WITHIN = timedelta(minutes=3)
CRDS = (
    "crd/databaseservers.servicedb.io",
    "crd/servicedatabases.servicedb.io",
    "crd/migrationruns.servicedb.io",
)


def install(cluster: Cluster, database: Postgres) -> None:
    """Build and load the image, apply manifests/, and hand over the admin's credentials. Safe to be run again."""
    archive = images.operator()
    cluster.load_image(archive)
    cluster.kubectl("apply", "-k", str(MANIFESTS))
    cluster.kubectl("wait", "--for=condition=Established", "--timeout=60s", *CRDS)
    hand_over(cluster, database)
    # The image keeps its name: pods are made anew when what it was made from has changed.
    made_from = {"template": {"metadata": {"annotations": {"servicedb.io/made-from": archive.stem[-63:]}}}}
    patch = json.dumps({"spec": made_from})
    cluster.kubectl("patch", "--namespace", SYSTEM, "deployment", "servicedb", "--patch", patch)
    cluster.kubectl("rollout", "status", "--namespace", SYSTEM, "deployment/servicedb", "--timeout=180s")


def hand_over(cluster: Cluster, database: Postgres) -> None:
    """The Secrets that a DatabaseServer names, in the operator's namespace and with the label that allows it."""
    admin = {"username": database.admin.username, "password": database.admin.password}
    manifests = [
        {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {
                "name": name,
                "namespace": SYSTEM,
                "labels": {"servicedb.io/admin-credentials": "true"},
            },
            "stringData": data,
        }
        for name, data in (("postgres-admin", admin), ("postgres-ca", {"ca.crt": database.authority}))
    ]
    cluster.kubectl("apply", "--server-side", "--filename=-", text=yaml.safe_dump_all(manifests))


def apply_example(cluster: Cluster) -> None:
    """The eight databases of manifests/examples/kyc-onboarding, all Ready; HarnessError says which are not, and why."""
    cluster.kubectl("apply", "-k", str(EXAMPLE))
    wait_until(lambda: _settled(_true_conditions(cluster)), SETTLES_WITHIN)
    if not all("Ready" in types for types in _true_conditions(cluster)):
        ready = '.status.conditions[?(@.type=="Ready")]'
        columns = f"custom-columns=KIND:.kind,NAME:.metadata.name,STATUS:{ready}.reason,MESSAGE:{ready}.message"
        seen = cluster.kubectl("get", KINDS, "--all-namespaces", "--output", columns)
        raise HarnessError(f"not all of {EXAMPLE.name} is Ready:\n{seen}")


def _true_conditions(cluster: Cluster) -> list[set[str]]:
    """Of each object the types of conditions that are True for its present spec."""
    found = json.loads(cluster.kubectl("get", KINDS, "--all-namespaces", "--output=json"))["items"]
    return [
        {
            condition["type"]
            for condition in each["status"].get("conditions", [])
            if condition["status"] == "True" and condition["observedGeneration"] == each["metadata"]["generation"]
        }
        for each in found
    ]


def _settled(found: list[set[str]]) -> bool:
    """Whether all is Ready, or something waits for a person."""
    return all("Ready" in types for types in found) or any("Stalled" in types for types in found)


def secret_names(cluster: Cluster) -> list[str]:
    """The Secrets of the example, one a login."""
    output = "jsonpath={.items[*].status.roles[*].secretName}"
    return sorted(cluster.kubectl("get", "servicedatabases", "--namespace", TENANT, "--output", output).split())


def client_pod(cluster: Cluster) -> None:
    """A pod with psql and every Secret of the example, as an application would mount them; made anew."""
    names = secret_names(cluster)
    ca = {"name": "ca", "secret": {"secretName": names[0], "items": [{"key": "ca.crt", "path": "ca.crt"}]}}
    volumes = [ca, *({"name": name, "secret": {"secretName": name}} for name in names)]
    mounts = [{"name": "ca", "mountPath": "/etc/servicedb"}]
    mounts += [{"name": name, "mountPath": f"/secrets/{name}"} for name in names]
    container = {
        "name": CLIENT,
        "image": images.POSTGRES,
        "imagePullPolicy": "IfNotPresent",
        "command": ["sleep", "infinity"],
        "env": [{"name": name, "value": value} for name, value in CLIENT_ENVIRONMENT.items()],
        "volumeMounts": mounts,
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
    }
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": CLIENT, "namespace": TENANT},
        "spec": {
            "automountServiceAccountToken": False,
            "terminationGracePeriodSeconds": 0,
            "securityContext": {
                "runAsNonRoot": True,
                "runAsUser": 999,
                "runAsGroup": 999,
                "seccompProfile": {"type": "RuntimeDefault"},
            },
            "containers": [container],
            "volumes": volumes,
        },
    }
    cluster.kubectl("delete", "pod", CLIENT, "--namespace", TENANT, "--ignore-not-found", "--wait")
    cluster.kubectl("apply", "--filename=-", text=json.dumps(pod))
    cluster.kubectl("wait", "--for=condition=Ready", "--timeout=120s", "--namespace", TENANT, f"pod/{CLIENT}")


def psql(cluster: Cluster, secret: str, *statements: str, replace: tuple[str, str] | None = None) -> str:
    """What psql in the client pod prints for `statements`, logged in with the Secret's own `uri`.

    `replace` changes the uri first, within the pod: no password comes here. Raises HarnessError with psql's words.
    """
    uri = f"$(cat /secrets/{secret}/uri)"
    if replace is not None:
        uri = f"$(sed 's|{replace[0]}|{replace[1]}|' /secrets/{secret}/uri)"
    script = f'exec psql --no-psqlrc --quiet --no-align --tuples-only --set=ON_ERROR_STOP=1 "{uri}"'
    inside = ["exec", "--stdin", "--namespace", TENANT, CLIENT, "--", "sh", "-c", script]
    return cluster.kubectl(*inside, text=";\n".join(statements) + ";\n").strip()


def refusal(cluster: Cluster, secret: str, *statements: str, replace: tuple[str, str] | None = None) -> str:
    """PostgreSQL's words when what `psql` would do is refused; raises AssertionError when it is not."""
    try:
        printed = psql(cluster, secret, *statements, replace=replace)
    except HarnessError as error:
        words = re.search(r"(FATAL|ERROR):.*", str(error))
        return words[0] if words is not None else str(error)
    raise AssertionError(f"{secret}: {statements} was not refused: {printed}")
