"""The operator as its users install it: a pod of the Dockerfile's image, by `kubectl apply -k manifests/`.

An `example` is a system of manifests/examples/ by the name of its folder, where its namespace has that name, too.
"""

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import yaml

from tests.cluster.api_server import CRDS as CRD_FILES
from tests.cluster.harness import Cluster, HarnessError, images, postgres, store
from tests.cluster.harness.deadline import wait_until
from tests.cluster.harness.postgres import Postgres

ROOT = Path(__file__).parents[2]
MANIFESTS = ROOT / "manifests"
EXAMPLES = MANIFESTS / "examples"
SYSTEM, TENANT = "servicedb-system", "kyc-onboarding"
CLIENT = "psql"
# The root is read-only: there is no place for a history.
CLIENT_ENVIRONMENT = {"PGCONNECT_TIMEOUT": "10", "HOME": "/tmp", "PSQL_HISTORY": "/dev/null"}
KINDS = "databaseservers,servicedatabases,migrationruns"
SETTLES_WITHIN = timedelta(minutes=3)
IN_TIME = "--timeout=60s"
CRDS = (
    "crd/databaseservers.servicedb.io",
    "crd/servicedatabases.servicedb.io",
    "crd/migrationruns.servicedb.io",
)


@contextmanager
def installed(cluster: Cluster, *examples: str) -> Iterator[Postgres]:
    """With the operator, a server that had nothing on it, and `examples`, all Ready, with a pod that mounts their
    Secrets. Afterwards there is no operator, and the kinds are there as before."""
    # What a run that was broken off has left: first its operator, which would see the rest go.
    cluster.kubectl("delete", "deployment", "servicedb", f"--namespace={SYSTEM}", "--ignore-not-found", IN_TIME)
    remove(cluster, *examples)
    server = fresh_server(cluster)
    try:
        install(cluster, server)
        for example in examples:
            cluster.kubectl("apply", "-k", str(EXAMPLES / example))  # all first: they get ready side by side
        for example in examples:
            apply_example(cluster, example)
            client_pod(cluster, example)
        yield server
    finally:
        remove(cluster, *examples)
        cluster.kubectl("delete", "-k", str(MANIFESTS), "--ignore-not-found", IN_TIME)
        for words in (
            ["apply", "--server-side", "--force-conflicts", "-f"],
            ["wait", "--for=condition=Established", "-f"],
        ):
            cluster.kubectl(*words, str(CRD_FILES))


def remove(cluster: Cluster, *examples: str) -> None:
    for wait in ("--wait=false", "--wait=true"):  # their namespaces end side by side
        for example in examples:
            cluster.kubectl("delete", "-k", str(EXAMPLES / example), "--ignore-not-found", wait, IN_TIME)


def fresh_server(cluster: Cluster) -> Postgres:
    """PostgreSQL with nothing on it: databases of an earlier run belong to a namespace of another UID."""
    postgres.ensure(cluster)
    pod = [f"--namespace={postgres.NAMESPACE}", f"pod/{postgres.POD}"]
    cluster.kubectl("delete", *pod, IN_TIME)
    cluster.kubectl("wait", "--for=create", *pod, IN_TIME)
    cluster.kubectl("wait", "--for=condition=Ready", *pod, "--timeout=120s")
    return postgres.ensure(cluster)


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


def apply_example(cluster: Cluster, example: str = TENANT) -> None:
    """What manifests/examples/ has of that name, all Ready; HarnessError says what is not, and why."""
    cluster.kubectl("apply", "-k", str(EXAMPLES / example))
    # Until all is Ready, or something waits for a person.
    wait_until(lambda: _all_ready(found := _true(cluster, example)) or _any_stalled(found), SETTLES_WITHIN)
    if not _all_ready(_true(cluster, example)):
        ready = '.status.conditions[?(@.type=="Ready")]'
        columns = f"custom-columns=KIND:.kind,NAME:.metadata.name,STATUS:{ready}.reason,MESSAGE:{ready}.message"
        seen = cluster.kubectl("get", KINDS, "--all-namespaces", "--output", columns)
        raise HarnessError(f"not all of {example} is Ready:\n{seen}")


def _true(cluster: Cluster, example: str) -> list[set[str]]:
    """The conditions that are True of each server and of each object of the example."""
    found = json.loads(cluster.kubectl("get", KINDS, "--all-namespaces", "--output=json"))["items"]
    return [
        {
            condition["type"]
            for condition in each["status"].get("conditions", [])
            if condition["status"] == "True" and condition["observedGeneration"] == each["metadata"]["generation"]
        }
        for each in found
        if each["metadata"].get("namespace", example) == example
    ]


def _all_ready(true: list[set[str]]) -> bool:
    return all("Ready" in types for types in true)


def _any_stalled(true: list[set[str]]) -> bool:
    return any("Stalled" in types for types in true)


def secret_names(cluster: Cluster, example: str) -> list[str]:
    """The Secrets of the example, one a login."""
    output = "jsonpath={.items[*].status.roles[*].secretName}"
    return sorted(cluster.kubectl("get", "servicedatabases", "--namespace", example, "--output", output).split())


def keys_of_store(cluster: Cluster, example: str = TENANT) -> None:
    """The Secret that the example's backups name, with keys to a store in the cluster."""
    keys = {name: value.decode() for name, value in store.ensure(cluster).credentials.items()}
    metadata = {"name": "backups", "namespace": example}
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "stringData": keys}
    cluster.kubectl("apply", "--server-side", "--filename=-", text=json.dumps(secret))


def back_up(cluster: Cluster) -> None:
    """Have all databases of the example kyc-onboarding backed up into a store in the cluster, until all have one."""
    keys_of_store(cluster)
    cluster.kubectl("apply", "-k", str(EXAMPLES / f"{TENANT}-backups"))
    schedule = ["bsched/nightly", f"--namespace={TENANT}"]
    asked = f"servicedb.io/run-at={datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}"
    cluster.kubectl("annotate", *schedule, asked, "--overwrite")
    # Left out while one of its databases has none.
    cluster.kubectl("wait", *schedule, "--for=jsonpath={.status.lastSuccess}", "--timeout=180s")
    cluster.kubectl("wait", *schedule, "--for=condition=Ready", "--timeout=60s")


def client_pod(cluster: Cluster, example: str = TENANT) -> None:
    """A pod with psql and every Secret of the example, as an application would mount them; made anew."""
    names = secret_names(cluster, example)
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
        "metadata": {"name": CLIENT, "namespace": example},
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
    cluster.kubectl("delete", "pod", CLIENT, "--namespace", example, "--ignore-not-found", "--wait")
    cluster.kubectl("apply", "--filename=-", text=json.dumps(pod))
    cluster.kubectl("wait", "--for=condition=Ready", "--timeout=120s", "--namespace", example, f"pod/{CLIENT}")


def psql(
    cluster: Cluster, secret: str, *statements: str, replace: tuple[str, str] | None = None, example: str = TENANT
) -> str:
    """What psql in the client pod prints for `statements`, logged in with the Secret's own `uri`.

    `replace` changes the uri first, within the pod: no password comes here. Raises HarnessError with psql's words.
    """
    uri = f"$(cat /secrets/{secret}/uri)"
    if replace is not None:
        uri = f"$(sed 's|{replace[0]}|{replace[1]}|' /secrets/{secret}/uri)"
    script = f'exec psql --no-psqlrc --quiet --no-align --tuples-only --set=ON_ERROR_STOP=1 "{uri}"'
    return in_pod(cluster, script, text=";\n".join(statements) + ";\n", example=example).strip()


def in_pod(cluster: Cluster, script: str, *, text: str = "", example: str = TENANT) -> str:
    """What `script` prints in the client pod, with `text` to read."""
    inside = ["exec", "--stdin", "--namespace", example, CLIENT, "--", "sh", "-c", script]
    return cluster.kubectl(*inside, text=text)


def refusal(
    cluster: Cluster, secret: str, *statements: str, replace: tuple[str, str] | None = None, example: str = TENANT
) -> str:
    """PostgreSQL's words when what `psql` would do is refused; raises AssertionError when it is not."""
    try:
        printed = psql(cluster, secret, *statements, replace=replace, example=example)
    except HarnessError as error:
        words = re.search(r"(FATAL|ERROR):.*", str(error))
        return words[0] if words is not None else str(error)
    raise AssertionError(f"{secret}: {statements} was not refused: {printed}")
