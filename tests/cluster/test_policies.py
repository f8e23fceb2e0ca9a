"""The policies that are shipped, at a real API server: what they refuse, in which words, and what they let pass."""

import itertools
import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pytest
import yaml
from servicedb.api.backup_schedule import BackupSchedule
from servicedb.api.common import CONFIRM_DELETE, MANAGED_BY
from servicedb.api.migration_run import MigrationRun
from servicedb.plan.backups.location import locations
from servicedb.plan.backups.pod import Owner, Task, Timing, cron_job
from servicedb.plan.job_pod import Endpoint
from servicedb.plan.migration_job import job
from servicedb.plan.migration_order import Order
from servicedb.plan.secret import SECRET_TYPE

from tests.api.examples import FULL_SCHEDULE, GONE, MINIMAL_DATABASE, MINIMAL_RUN, MINIMAL_SERVER, Manifest, changed
from tests.cluster.api_server import ApiServer, placed
from tests.cluster.harness import Cluster, HarnessError
from tests.cluster.installation import MANIFESTS, ROOT
from tests.cluster.objects import Objects, Refused, wait_for

OPERATOR: Final = "system:serviceaccount:servicedb-system:servicedb"
RIGHTS: Final = "test-policies"
STATUS_ALONE: Final = "servicedb-operator-writes-status-alone"
OWN_SECRETS: Final = "servicedb-operator-own-secrets-alone"
OWN_JOBS: Final = "servicedb-operator-own-jobs-alone"
CONFIRM: Final = "servicedb-confirm-delete"


def policies(cluster: Cluster, kustomization: Path) -> list[Manifest]:
    """The policies in what `kubectl apply -k` would apply, with their bindings."""
    rendered = yaml.safe_load_all(cluster.kubectl("kustomize", str(kustomization)))
    return [each for each in rendered if each["kind"].startswith("ValidatingAdmissionPolicy")]


@pytest.fixture(scope="module")
def switched_on(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """manifests/ after an admin took the # off the one line that is there for it."""
    folder = tmp_path_factory.mktemp("kustomize")
    for name in ("manifests", "crds"):
        shutil.copytree(ROOT / name, folder / name)
    file = folder / "manifests" / "kustomization.yaml"
    off = "\n# components: [components/confirm-delete]\n"
    assert off in file.read_text()
    file.write_text(file.read_text().replace(off, off.replace("# ", "")))
    return file.parent


@pytest.mark.parametrize("where", ["manifests", "manifests/operator", "overlay"])
def test_in_another_namespace_the_policies_name_the_operator_there(
    cluster: Cluster, tmp_path: Path, where: str
) -> None:
    """After `kustomize edit set namespace` in what is shipped, or in an overlay with the transformer."""
    for name in ("manifests", "crds"):
        shutil.copytree(ROOT / name, tmp_path / name)
    file = tmp_path / where / "kustomization.yaml"
    if where == "overlay":
        file.parent.mkdir()
        file.write_text(
            "resources: [../manifests]\ntransformers: [../manifests/transformers/policy-namespace]\n",
        )
    file.write_text(file.read_text() + "namespace: databases\n")
    rendered = cluster.kubectl("kustomize", str(file.parent))
    assert "servicedb-system" not in rendered
    account = 'request.userInfo.username == "system:serviceaccount:databases:servicedb"'
    moved = policies(cluster, file.parent)
    conditions = [each["spec"]["matchConditions"] for each in moved if "matchConditions" in each["spec"]]
    assert conditions == [[{"name": "by-the-operator", "expression": account}]] * 3
    cluster.kubectl("apply", "--dry-run=server", "--filename=-", text=yaml.safe_dump_all(moved))


@dataclass(frozen=True, slots=True)
class AsOperator:
    """kubectl as the operator's ServiceAccount, which has every right to our kinds here: only a policy can refuse."""

    cluster: Cluster

    def patch(self, manifest: Manifest, change: dict[str, Any], *, subresource: str | None = None) -> str:
        """What is said against the change; empty when it was made."""
        name, namespace = manifest["metadata"]["name"], manifest["metadata"].get("namespace")
        words = [f"--namespace={namespace}"] if namespace is not None else []
        words += [f"--subresource={subresource}"] if subresource is not None else []
        return said(
            self.cluster, "patch", manifest["kind"], name, *words, f"--as={OPERATOR}", "--type=merge",
            f"--patch={json.dumps(change)}",
        )  # fmt: skip


def said(cluster: Cluster, *words: str, text: str | None = None) -> str:
    """What kubectl says when it fails; empty when it does not."""
    try:
        cluster.kubectl(*words, text=text)
    except HarnessError as error:
        return str(error)
    return ""


@pytest.fixture(
    scope="module", params=[MINIMAL_SERVER, MINIMAL_DATABASE, MINIMAL_RUN], ids=lambda manifest: manifest["kind"]
)
def there(request: pytest.FixtureRequest, api: ApiServer, namespace: str) -> Iterator[Manifest]:
    """An object of each kind, with something in each field that the operator leaves alone."""
    manifest = placed(request.param, namespace)
    manifest["metadata"] |= {"labels": {"team": "shop"}, "annotations": {"servicedb.io/reconcile-at": "1"}}
    api.create(manifest)
    yield manifest
    api.delete(manifest)


@pytest.fixture(scope="module")
def operator_account(cluster: Cluster, api: ApiServer, namespace: str) -> Iterator[AsOperator]:
    """The operator with rights that manifests/ never gives it, once the policy is in force."""
    rights = ["clusterrole", RIGHTS, "--verb=get,update,patch", "--resource=servicedatabases.servicedb.io",
              "--resource=databaseservers.servicedb.io", "--resource=servicedatabases.servicedb.io/status",
              "--resource=databaseservers.servicedb.io/status", "--resource=migrationruns.servicedb.io",
              "--resource=migrationruns.servicedb.io/status"]  # fmt: skip
    applied = yaml.safe_dump_all(policies(cluster, MANIFESTS))
    probe = {**MINIMAL_DATABASE, "metadata": {"name": "probe-of-the-operator", "namespace": namespace}}
    api.create(probe)
    try:
        cluster.kubectl("create", *rights)
        cluster.kubectl("create", "clusterrolebinding", RIGHTS, f"--clusterrole={RIGHTS}", f"--user={OPERATOR}")
        cluster.kubectl("apply", "--filename=-", text=applied)
        account = AsOperator(cluster)
        numbers = itertools.count()  # a change that changes nothing would be refused by nobody
        answers = [""]

        def refused() -> bool:
            answers.append(account.patch(probe, {"metadata": {"labels": {"probe": str(next(numbers))}}}))
            return STATUS_ALONE in answers[-1]

        wait_for("the policy in force", refused, told=lambda: answers[-1])
        yield account
    finally:
        cluster.kubectl("delete", "clusterrolebinding,clusterrole", RIGHTS, "--ignore-not-found")
        cluster.kubectl("delete", "--filename=-", "--ignore-not-found", text=applied)


def test_the_operators_account_writes_no_spec(operator_account: AsOperator, there: Manifest) -> None:
    change: dict[str, dict[str, Any]] = {
        "DatabaseServer": {"limits": {"maxDatabases": 7}},
        "ServiceDatabase": {"suspend": True},
        "MigrationRun": {"retries": 7},
    }
    assert "the operator never writes a spec" in operator_account.patch(there, {"spec": change[there["kind"]]})


@pytest.mark.parametrize(
    "change",
    [
        {"labels": {"team": "another"}},
        {"labels": None},
        {"annotations": {"servicedb.io/acknowledge": "1"}},
        {"annotations": None},
        {"finalizers": ["servicedb.io/never"]},
        {"ownerReferences": [{"apiVersion": "v1", "kind": "ConfigMap", "name": "x", "uid": "1"}]},
    ],
    ids=json.dumps,
)
def test_the_operators_account_writes_no_metadata(
    operator_account: AsOperator, there: Manifest, change: dict[str, Any]
) -> None:
    refused = operator_account.patch(there, {"metadata": change})
    assert "the operator never writes labels, annotations, finalizers or ownerReferences" in refused


def test_the_operators_account_writes_the_status(operator_account: AsOperator, there: Manifest, api: ApiServer) -> None:
    # As the operator's own requests are: with the UID, and whatever else it might send is dropped.
    uid = api.get(there)["metadata"]["uid"]
    change = {"metadata": {"uid": uid}, "status": {"observedGeneration": 1}}
    assert operator_account.patch(there, change, subresource="status") == ""
    assert api.get(there)["status"]["observedGeneration"] == 1


def test_everybody_else_writes_specs_and_annotations(
    operator_account: AsOperator, there: Manifest, objects: Objects
) -> None:
    metadata = there["metadata"]
    change = {"metadata": {"annotations": {"servicedb.io/reconcile-at": "2"}}}
    objects.patch(there["kind"], metadata["name"], change, metadata.get("namespace"))


def test_the_api_server_finds_no_fault_with_any_policy(
    operator_account: AsOperator, cluster: Cluster, switched_on: Path
) -> None:
    """It looks at each expression on its own: a field that is not there would be a warning in the status."""
    assert "Warning" not in cluster.kubectl(
        "apply", "--dry-run=server", "--filename=-", text=yaml.safe_dump_all(policies(cluster, switched_on))
    )
    for name in (STATUS_ALONE, OWN_SECRETS, OWN_JOBS):
        found = json.loads(cluster.kubectl("get", "validatingadmissionpolicy", name, "--output=json"))
        assert found["status"].get("typeChecking", {}) == {}


def test_policies_that_are_applied_again_stay_as_they_are(cluster: Cluster, switched_on: Path) -> None:
    """What the API server fills in by default, in lists, stands in them already: else each apply would change them."""
    found = policies(cluster, switched_on)
    for each in found:  # under names that no policy has: a binding without one is without effect, and so is the other
        each["metadata"]["name"] += "-twice"
    applied = yaml.safe_dump_all(found)
    try:
        cluster.kubectl("apply", "--filename=-", text=applied)
        again = cluster.kubectl("apply", "--filename=-", text=applied).splitlines()
    finally:
        cluster.kubectl("delete", "--filename=-", "--ignore-not-found", text=applied)
    assert len(again) == 8
    assert [line for line in again if not line.endswith(" unchanged")] == []


def test_an_admin_switches_the_guard_on_by_one_line(cluster: Cluster, switched_on: Path) -> None:
    def names(kustomization: Path) -> set[str]:
        return {each["metadata"]["name"] for each in policies(cluster, kustomization)}

    always = {STATUS_ALONE, OWN_SECRETS, OWN_JOBS}
    assert names(MANIFESTS) == always
    assert names(switched_on) == {*always, CONFIRM}
    assert names(MANIFESTS / "overlays" / "namespaced-example") == always


# Secrets


@dataclass(frozen=True, slots=True)
class SecretsAsOperator:
    """kubectl as the operator's ServiceAccount, which has all of manifests/' rights to Secrets in one namespace."""

    cluster: Cluster
    namespace: str

    def create(self, manifest: Manifest, *, as_operator: bool = True) -> str:
        account = [f"--as={OPERATOR}"] if as_operator else []
        words = ["create", f"--namespace={self.namespace}", "--filename=-", *account]
        return said(self.cluster, *words, text=json.dumps(manifest))

    def patch(self, name: str, change: dict[str, Any]) -> str:
        words = ["patch", "secret", name, f"--namespace={self.namespace}", f"--as={OPERATOR}", "--type=merge"]
        return said(self.cluster, *words, f"--patch={json.dumps(change)}")

    def delete(self, name: str) -> str:
        return said(self.cluster, "delete", "secret", name, f"--namespace={self.namespace}", f"--as={OPERATOR}")


@pytest.fixture(scope="module")
def secrets_account(operator_account: AsOperator, cluster: Cluster, namespace: str) -> SecretsAsOperator:
    rights = ["role", RIGHTS, "--verb=get,create,patch,delete", "--resource=secrets", f"--namespace={namespace}"]
    bound = ["rolebinding", RIGHTS, f"--role={RIGHTS}", f"--user={OPERATOR}", f"--namespace={namespace}"]
    cluster.kubectl("create", *rights)
    cluster.kubectl("create", *bound)
    account = SecretsAsOperator(cluster, namespace)
    numbers = itertools.count()
    wait_for(
        "the policy in force",
        lambda: OWN_SECRETS in account.create(secret(f"probe-{next(numbers)}", kind="Opaque")),
    )
    return account


def secret(name: str, *, kind: str = SECRET_TYPE, managed_by: str = "servicedb", **annotations: str) -> Manifest:
    labels = {MANAGED_BY: managed_by} if managed_by else {}
    metadata = {"name": name, "labels": labels, "annotations": annotations}
    return {"apiVersion": "v1", "kind": "Secret", "type": kind, "metadata": metadata, "stringData": {"key": "value"}}


def test_the_operators_account_makes_changes_and_deletes_its_own_secrets(secrets_account: SecretsAsOperator) -> None:
    assert secrets_account.create(secret("own")) == ""
    assert secrets_account.patch("own", {"stringData": {"key": "another"}, "metadata": {"labels": {"a": "b"}}}) == ""
    assert secrets_account.delete("own") == ""


def test_the_operators_account_gets_no_token_of_another_account(secrets_account: SecretsAsOperator) -> None:
    token = secret("token", kind="kubernetes.io/service-account-token")
    token["metadata"]["annotations"] = {"kubernetes.io/service-account.name": "default"}
    assert "the operator writes only Secrets of type servicebinding.io/postgresql" in secrets_account.create(token)
    assert "the operator writes only Secrets" in secrets_account.create(secret("unmarked", managed_by=""))


@pytest.mark.parametrize(
    "strange",
    [secret("strange", kind="Opaque"), secret("strange", managed_by=""), secret("strange", managed_by="helm")],
    ids=["another type", "no label", "another manager"],
)
def test_the_operators_account_leaves_other_secrets_alone(
    secrets_account: SecretsAsOperator, strange: Manifest
) -> None:
    name = strange["metadata"]["name"]
    assert secrets_account.create(strange, as_operator=False) == ""
    try:
        taken = {"metadata": {"labels": {MANAGED_BY: "servicedb"}}, "stringData": {"key": "another"}}
        assert OWN_SECRETS in secrets_account.patch(name, taken)
        assert "the operator changes and deletes only Secrets of its own" in secrets_account.delete(name)
    finally:
        secrets_account.cluster.kubectl("delete", "secret", name, f"--namespace={secrets_account.namespace}")


# Jobs

LABELLED: Final = {"labels": {"team": "shop"}}
"""Not without any labels: it would get those of its pods."""


@dataclass(frozen=True, slots=True)
class JobsAsOperator:
    """kubectl as the operator's ServiceAccount, which has all of manifests/' rights to Jobs in one namespace."""

    cluster: Cluster
    namespace: str

    def create(self, manifest: Manifest) -> str:
        """What is said against the Job; it is not made."""
        words = ["create", f"--namespace={self.namespace}", "--filename=-", f"--as={OPERATOR}", "--dry-run=server"]
        return said(self.cluster, *words, text=json.dumps(manifest))

    def delete(self, name: str) -> str:
        return said(self.cluster, "delete", "job", name, f"--namespace={self.namespace}", f"--as={OPERATOR}")


@pytest.fixture(scope="module")
def jobs_account(operator_account: AsOperator, cluster: Cluster, namespace: str) -> JobsAsOperator:
    name = f"{RIGHTS}-jobs"
    rights = [
        "role",
        name,
        "--verb=get,list,create,delete",
        "--resource=jobs.batch,cronjobs.batch",
        f"--namespace={namespace}",
    ]
    bound = ["rolebinding", name, f"--role={name}", f"--user={OPERATOR}", f"--namespace={namespace}"]
    cluster.kubectl("create", *rights)
    cluster.kubectl("create", *bound)
    account = JobsAsOperator(cluster, namespace)
    answers = [""]

    def refused() -> bool:
        answers.append(account.create(own_job(namespace, {"metadata.labels": LABELLED["labels"]})))
        return OWN_JOBS in answers[-1]

    wait_for("the policy in force", refused, told=lambda: answers[-1])
    return account


def own_job(namespace: str, changes: dict[str, Any] | None = None) -> Manifest:
    """A Job as the operator makes it for a MigrationRun with an image, with `changes`."""
    image = {"metadata.uid": "run-1", "spec.source": {"image": {"reference": "ghcr.io/acme/migrations:1"}}}
    run = MigrationRun.parse(changed(placed(MINIMAL_RUN, namespace), image))
    endpoint = Endpoint("pg.example.org", 5432, "orders", "verify-full", "-----BEGIN CERTIFICATE-----")
    return changed(job(Order(run, "own", "sha256:1", "orders-migrator", endpoint, "servicedb:dev")), changes or {})


def test_the_operators_account_makes_the_jobs_of_migrations(jobs_account: JobsAsOperator, namespace: str) -> None:
    assert jobs_account.create(own_job(namespace)) == ""


def own_cron_job(namespace: str, changes: dict[str, Any] | None = None) -> Manifest:
    """A CronJob as the operator makes it for a BackupSchedule, with `changes`."""
    spec = BackupSchedule.parse(placed(FULL_SCHEDULE, namespace)).spec
    task = Task(
        work="backup",
        owner=Owner("BackupSchedule", namespace, "nightly", "schedule-1"),
        arguments=("backup",),
        image="servicedb:dev",
        settings=spec.job,
        deadline=spec.deadline,
        locations=locations(spec, "Write"),
        login="orders-backup",
        endpoint=Endpoint("pg.example.org", 5432, "orders", "verify-full", "-----BEGIN CERTIFICATE-----"),
        identity="backups-identity",
    )
    timing = Timing(spec.schedule, spec.time_zone, spec.starting_deadline, spec.suspend)
    return changed(cron_job(task, "own", timing), changes or {})


def test_the_operators_account_makes_the_cron_jobs_of_backups(jobs_account: JobsAsOperator, namespace: str) -> None:
    assert jobs_account.create(own_cron_job(namespace)) == ""


CRON_POD: Final = "spec.jobTemplate.spec.template.spec"


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({"metadata.labels": LABELLED["labels"]}, id="no label"),
        pytest.param({f"{CRON_POD}.automountServiceAccountToken": GONE}, id="a token by default"),
        pytest.param({f"{CRON_POD}.volumes.0": {"name": "tmp", "hostPath": {"path": "/"}}}, id="the node's files"),
        pytest.param({f"{CRON_POD}.volumes.1.projected.sources.0.secret.items.0.key": "uri"}, id="another key"),
        pytest.param({f"{CRON_POD}.hostNetwork": True}, id="the node's network"),
    ],
)
def test_the_operators_account_makes_no_other_cron_jobs(
    jobs_account: JobsAsOperator, namespace: str, changes: dict[str, Any]
) -> None:
    assert OWN_JOBS in jobs_account.create(own_cron_job(namespace, changes))


POD: Final = "spec.template.spec"
OWN: Final = f"{POD}.initContainers.0.securityContext"
TOKEN: Final = [{"name": "tmp", "projected": {"sources": [{"serviceAccountToken": {"path": "token"}}]}}]
SECRET: Final = {"secret": {"name": "postgres-admin"}}
FROM_SECRET: Final = [{"name": "A", "valueFrom": {"secretKeyRef": {"name": "postgres-admin", "key": "password"}}}]


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({"metadata.labels": LABELLED["labels"]}, id="no label"),
        pytest.param({f"{POD}.automountServiceAccountToken": True}, id="a token"),
        pytest.param({f"{POD}.automountServiceAccountToken": GONE}, id="a token by default"),
        pytest.param({f"{POD}.volumes.2": TOKEN[0]}, id="a token in a volume"),
        pytest.param({f"{POD}.volumes.2": {"name": "tmp", "hostPath": {"path": "/"}}}, id="the node's files"),
        pytest.param({f"{POD}.volumes.2": {"name": "tmp", "secret": {"secretName": "x"}}}, id="a Secret"),
        pytest.param({f"{POD}.volumes.0.projected.sources.0": SECRET}, id="all of a Secret"),
        pytest.param({f"{POD}.volumes.0.projected.sources.0.secret.items.0.key": "uri"}, id="another key"),
        pytest.param({f"{POD}.containers.0.env": FROM_SECRET}, id="a Secret in the environment"),
        pytest.param({f"{POD}.initContainers.0.env": FROM_SECRET}, id="a Secret in the environment before"),
        pytest.param({f"{POD}.initContainers.0.volumeMounts.0.name": "credentials"}, id="the Secret before"),
        pytest.param({f"{POD}.initContainers.0.restartPolicy": "Always"}, id="a container beside"),
        pytest.param({f"{POD}.initContainers.0.securityContext": GONE}, id="a container without limits"),
        pytest.param({f"{POD}.hostNetwork": True}, id="the node's network"),
        pytest.param({f"{POD}.securityContext.runAsNonRoot": False}, id="root"),
        pytest.param({f"{POD}.securityContext.seccompProfile.type": "Unconfined"}, id="any system call"),
        pytest.param({f"{OWN}.runAsNonRoot": False, f"{OWN}.runAsUser": 0}, id="a container as root"),
        pytest.param({f"{OWN}.seccompProfile": {"type": "Unconfined"}}, id="any system call of a container"),
        pytest.param({f"{OWN}.capabilities.add": ["NET_BIND_SERVICE"]}, id="a capability"),
        pytest.param({f"{OWN}.readOnlyRootFilesystem": False}, id="files in the container"),
    ],
)
def test_the_operators_account_makes_no_other_jobs(
    jobs_account: JobsAsOperator, namespace: str, changes: dict[str, Any]
) -> None:
    assert OWN_JOBS in jobs_account.create(own_job(namespace, changes))


def test_the_operators_account_leaves_other_jobs_alone(jobs_account: JobsAsOperator, namespace: str) -> None:
    where = f"--namespace={namespace}"
    cluster = jobs_account.cluster
    strange = changed(own_job(namespace), {"metadata": {"name": "strange", **LABELLED}, "spec.suspend": True})
    cluster.kubectl("create", "--filename=-", where, text=json.dumps(strange))
    try:
        assert "the operator makes and deletes only Jobs and CronJobs with the label" in jobs_account.delete("strange")
    finally:
        cluster.kubectl("delete", "job", "strange", where)


# Deletions that have to be confirmed


@dataclass(frozen=True, slots=True)
class Guarded:
    """A namespace where the guard is in force."""

    objects: Objects
    namespace: str

    def create(self, name: str, annotations: dict[str, str] | None = None) -> None:
        metadata = {"name": name, "namespace": self.namespace, "annotations": annotations or {}}
        self.objects.create({**MINIMAL_DATABASE, "metadata": metadata})

    def names(self) -> set[str]:
        return {each["metadata"]["name"] for each in self.objects.listed("ServiceDatabase", self.namespace)}

    def refusal(self, name: str) -> str:
        try:
            self.objects.delete("ServiceDatabase", name, self.namespace)
        except Refused as refused:
            return str(refused)
        return ""


@pytest.fixture
def guarded(cluster: Cluster, objects: Objects, switched_on: Path, namespace: str) -> Iterator[Guarded]:
    applied = yaml.safe_dump_all(
        [each for each in policies(cluster, switched_on) if each["metadata"]["name"] == CONFIRM]
    )
    cluster.kubectl("create", "namespace", "test-guarded")
    guarded = Guarded(objects, "test-guarded")
    try:
        guarded.create("probe")
        cluster.kubectl("apply", "--filename=-", text=applied)

        def in_force() -> bool:
            refused = guarded.refusal("probe")
            if not refused:
                wait_for("the probe's end", lambda: "probe" not in guarded.names())
                guarded.create("probe")
            return bool(refused)

        wait_for("the guard in force", in_force)
        yield guarded
    finally:
        cluster.kubectl("delete", "--filename=-", "--ignore-not-found", text=applied)
        cluster.kubectl("delete", "namespace", "test-guarded", "--ignore-not-found", "--wait")
        elsewhere = Guarded(objects, namespace)
        elsewhere.create("probe")
        wait_for("the guard's end", lambda: elsewhere.refusal("probe") == "")


def test_a_deletion_that_is_not_confirmed_is_refused_with_what_to_do(guarded: Guarded) -> None:
    for annotations in ({}, {CONFIRM_DELETE: ""}, {CONFIRM_DELETE: "another"}, {"confirm-delete": "orders"}):
        guarded.create("orders", annotations)
        assert (
            "ServiceDatabase test-guarded/orders is guarded against deletion; if it is meant, confirm it first: "
            f"kubectl annotate servicedatabase --namespace test-guarded orders {CONFIRM_DELETE}=orders"
        ) in guarded.refusal("orders")
        assert "orders" in guarded.names()
        guarded.objects.patch(
            "ServiceDatabase", "orders", {"metadata": {"annotations": {CONFIRM_DELETE: "orders"}}}, guarded.namespace
        )
        assert guarded.refusal("orders") == ""
        wait_for("its end", lambda: "orders" not in guarded.names())


def test_of_many_deleted_at_once_only_those_that_are_confirmed_go(guarded: Guarded, cluster: Cluster) -> None:
    guarded.create("meant", {CONFIRM_DELETE: "meant"})
    guarded.create("not-meant")
    collection = f"/apis/servicedb.io/v1alpha1/namespaces/{guarded.namespace}/servicedatabases"
    said(cluster, "delete", "--raw", collection)
    assert {"not-meant", "probe"} <= guarded.names()
    assert "is guarded against deletion" in said(
        cluster, "delete", "servicedatabases", "--all", f"--namespace={guarded.namespace}"
    )
    wait_for("the end of what was confirmed", lambda: guarded.names() == {"not-meant", "probe"})


def test_a_namespace_takes_its_databases_with_it_unasked(guarded: Guarded, cluster: Cluster) -> None:
    guarded.create("orders")
    assert guarded.refusal("orders")
    cluster.kubectl("delete", "namespace", guarded.namespace, "--wait", "--timeout=60s")
