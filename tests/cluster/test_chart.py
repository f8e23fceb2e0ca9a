"""The chart: the same objects as manifests/, and a release that comes, is upgraded, goes back and goes, losing nothing.

The tests from `released` on build on one another, in the order of the file. No other operator may work on the cluster
meanwhile; at the end there is none, and the kinds are there as before.
"""

import json
from collections.abc import Iterator
from typing import Any, Final

import pytest
import yaml

from tests.cluster.api_server import CRDS, ApiServer
from tests.cluster.chart import CHART, IMAGE, RELEASE, helm
from tests.cluster.harness import Cluster, HarnessError, images
from tests.cluster.installation import (
    IN_TIME,
    KINDS,
    MANIFESTS,
    SYSTEM,
    apply_example,
    client_pod,
    fresh_server,
    hand_over,
    psql,
    remove,
    secret_names,
)

EXAMPLE: Final = "kyb-platform"
KEEP: Final = "helm.sh/resource-policy"
EVERYTHING: Final = (
    "--set=confirmDelete=true,networkPolicy.enabled=true,serviceAccount.annotations.x=y,podAnnotations.x=y,podLabels.x=y",
    "--set=nodeSelector.x=y,tolerations[0].key=x,priorityClassName=system-cluster-critical,image.pullSecrets={x}",
    "--set=settings.resync=60,settings.httpPort=9090,settings.adminNamespaces={a,b},settings.logLevel=DEBUG",
    '--set-json=affinity={"nodeAffinity":{}},networkPolicy.from=[{"podSelector":{"matchLabels":{"x":"y"}}}]',
)
APP: Final = "kyb-platform-app"
MIGRATOR: Final = "kyb-platform-migrator"
Objects = dict[tuple[str, str, str], dict[str, Any]]


def by_name(text: str) -> Objects:
    return {
        (each["kind"], each["metadata"].get("namespace", ""), each["metadata"]["name"]): each
        for each in yaml.safe_load_all(text)
        if each is not None
    }


def on_one_line(value: Any) -> Any:
    """`value`, its texts without line breaks: kustomize folds them anew."""
    if isinstance(value, dict):
        return {name: on_one_line(part) for name, part in value.items()}
    if isinstance(value, list):
        return [on_one_line(part) for part in value]
    return " ".join(value.split()) if isinstance(value, str) else value


def rendered(cluster: Cluster, *arguments: str) -> str:
    return helm(cluster, "template", RELEASE, str(CHART), f"--namespace={SYSTEM}", "--kube-version=1.34", *arguments)


def test_helm_finds_no_fault(cluster: Cluster) -> None:
    assert "0 chart(s) failed" in helm(cluster, "lint", "--strict", str(CHART))


def test_the_chart_gives_what_the_manifests_give(cluster: Cluster) -> None:
    wanted = by_name(cluster.kubectl("kustomize", str(MANIFESTS)))
    found = by_name(rendered(cluster, IMAGE))
    for (kind, _, _), each in found.items():
        if kind == "CustomResourceDefinition":
            assert each["metadata"]["annotations"].pop(KEEP) == "keep"
    del wanted[("Namespace", "", SYSTEM)]  # helm makes it, or an admin did
    assert on_one_line(found) == on_one_line(wanted)


def test_in_a_namespace_of_another_name_the_policies_know_the_operator(cluster: Cluster) -> None:
    found = rendered(cluster, "--namespace=databases", "--set=namespaces={shop,bank}")
    assert SYSTEM not in found
    assert found.count("system:serviceaccount:databases:servicedb") == 3
    bindings = [name for kind, name, _ in by_name(found) if kind == "RoleBinding"]
    assert sorted(bindings) == ["bank", "databases", "shop"]
    assert ("ClusterRoleBinding", "", "servicedb-tenant") not in by_name(found)


def test_the_api_server_knows_every_field_that_can_be_set(cluster: Cluster) -> None:
    text = rendered(cluster, "--namespace=default", *EVERYTHING)
    strictly = ["apply", "--dry-run=server", "--validate=strict", "--server-side", "--force-conflicts"]
    printed = cluster.kubectl(*strictly, "--filename=-", text=text)
    assert printed.count("serverside-applied") == len(by_name(text))


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ("settings.resink=300", "resink"),
        ("settings.resync=0", "/settings/resync"),
        ("replicas=2", "replicas"),
        ("namespaces={Shop}", "/namespaces/0"),
        ("image.digest=latest", "/image/digest"),
    ],
)
def test_a_value_that_means_nothing_is_refused_by_its_name(cluster: Cluster, value: str, words: str) -> None:
    with pytest.raises(HarnessError, match=words):
        rendered(cluster, f"--set={value}")


@pytest.fixture(scope="module")
def released(cluster: Cluster, api: ApiServer) -> Iterator[Cluster]:
    """With the chart installed over CRDs that were there, and the example with a row in it, Ready."""
    removed(cluster)
    server = fresh_server(cluster)
    try:
        cluster.load_image(images.operator())
        taken = ["--create-namespace", "--take-ownership"]
        release(cluster, "install", *taken)
        hand_over(cluster, server)
        apply_example(cluster, EXAMPLE)
        client_pod(cluster, EXAMPLE)
        psql(cluster, MIGRATOR, "CREATE TABLE kept AS SELECT 42 AS id", example=EXAMPLE)
        yield cluster
    finally:
        removed(cluster)
        for words in (["apply", "--server-side", "-k"], ["wait", "--for=condition=Established", "-f"]):
            cluster.kubectl(*words, str(CRDS))


def release(cluster: Cluster, *words: str) -> None:
    waits = ["--wait", "--timeout=180s"]
    helm(cluster, *words, RELEASE, str(CHART), f"--namespace={SYSTEM}", IMAGE, *waits)


def removed(cluster: Cluster) -> None:
    """Nothing is left of the release, of the example and of the kinds."""
    helm(cluster, "uninstall", RELEASE, f"--namespace={SYSTEM}", "--ignore-not-found", "--wait")
    remove(cluster, EXAMPLE)
    cluster.kubectl("delete", "-k", str(MANIFESTS), "--ignore-not-found", IN_TIME)


def kept(cluster: Cluster) -> dict[str, Any]:
    """What may not change: every object's identity and spec, every Secret, the row."""
    found = json.loads(cluster.kubectl("get", KINDS, "--all-namespaces", "--output=json"))["items"]
    objects = {(each["kind"], each["metadata"]["name"]): (each["metadata"]["uid"], each["spec"]) for each in found}
    secrets = [
        json.loads(cluster.kubectl("get", "secret", name, f"--namespace={EXAMPLE}", "--output=json"))
        for name in secret_names(cluster, EXAMPLE)
    ]
    assert len(objects) == 5
    assert len(secrets) == 6
    return {
        "objects": objects,
        "secrets": {each["metadata"]["name"]: (each["metadata"]["uid"], each["data"]) for each in secrets},
        "row": psql(cluster, APP, "SELECT id FROM kept", example=EXAMPLE),
    }


def resync(cluster: Cluster) -> str:
    path = '{.spec.template.spec.containers[0].env[?(@.name=="SERVICEDB_RESYNC")].value}'
    return cluster.kubectl("get", "deployment", "servicedb", f"--namespace={SYSTEM}", f"--output=jsonpath={path}")


def test_a_release_that_is_upgraded_and_goes_back_changes_no_object_and_no_password(released: Cluster) -> None:
    before = kept(released)
    assert before["row"] == "42"
    release(released, "upgrade", "--set=settings.resync=60")
    assert resync(released) == "60"
    apply_example(released, EXAMPLE)
    assert kept(released) == before
    helm(released, "rollback", RELEASE, "1", f"--namespace={SYSTEM}", "--wait", "--timeout=180s")
    assert resync(released) == ""
    apply_example(released, EXAMPLE)
    assert kept(released) == before


def test_what_is_uninstalled_leaves_every_object_and_every_database(released: Cluster) -> None:
    before = kept(released)
    helm(released, "uninstall", RELEASE, f"--namespace={SYSTEM}", "--wait")
    assert "servicedb" not in released.kubectl("get", "deployments", f"--namespace={SYSTEM}")
    assert kept(released) == before
    release(released, "install")
    apply_example(released, EXAMPLE)
    assert kept(released) == before
