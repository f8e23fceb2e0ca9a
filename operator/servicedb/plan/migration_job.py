"""The Job of a MigrationRun: a pod that holds the migrator's credentials, the files, and nothing else.

What the pod needs besides comes as annotations, mounted as files: no object has to be made for it, and the operator
needs no further right. Sources: Kubernetes documentation, "Jobs" (Pod failure policy), "Downward API", "Pod Security
Standards" (restricted).
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from servicedb.api.common import API_VERSION, GROUP
from servicedb.api.migration_job import Amounts, MigrationJob
from servicedb.api.migration_run import Action, MigrationRun, Tenants
from servicedb.api.strings import Duration
from servicedb.plan.migration_key import identity

MANAGED_BY: Final = "app.kubernetes.io/managed-by"
RUN_UID: Final = f"{GROUP}/migration-run-uid"
"""Label of a run's Jobs and pods."""

EXIT_TERMINAL, EXIT_USAGE, EXIT_DECISION = 1, 2, 3
"""What `servicedb migrate` ends with where trying again would end as before."""

_FOR_A_PERSON = (EXIT_TERMINAL, EXIT_USAGE, EXIT_DECISION)
_COMMANDS: Final[Mapping[Action, str]] = {
    "Up": "up",
    "Down": "down",
    "Verify": "verify",
    "Plan": "plan",
    "Seed": "seed",
    "ClearSeeds": "clear-seeds",
}
_RESTARTS = 2
_USER = 65532
_CREDENTIALS, _FILES = "/run/servicedb/credentials", "/run/servicedb/migrations"
_CONNECTION, _INLINE = f"connection.{GROUP}", f"files.{GROUP}"


@dataclass(frozen=True, slots=True)
class Endpoint:
    """The server itself, never a pooler before it; `sslmode` as libpq has it, `ca_certificate` PEM."""

    host: str
    port: int
    database: str
    sslmode: str
    ca_certificate: str | None = None


@dataclass(frozen=True, slots=True)
class Order:
    """A run that is to be carried out. `source_digest` is the one that was seen: the pod refuses other files."""

    run: MigrationRun
    name: str
    source_digest: str
    secret_name: str
    endpoint: Endpoint
    image: str


def job(order: Order) -> dict[str, Any]:
    """The Job as the API server takes it. It goes with its MigrationRun; a pod that a node lost is made again."""
    metadata, settings = order.run.metadata, order.run.spec.job
    labels = {MANAGED_BY: "servicedb", RUN_UID: metadata.uid}
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {
            "name": order.name,
            "namespace": metadata.namespace,
            "labels": labels,
            "annotations": {f"{GROUP}/migration-run": metadata.name},
            "ownerReferences": [
                {"apiVersion": API_VERSION, "kind": "MigrationRun", "name": metadata.name, "uid": metadata.uid}
            ],
        },
        "spec": {
            "backoffLimit": _RESTARTS,
            "activeDeadlineSeconds": max(1, int(settings.deadline.timedelta.total_seconds())),
            "podFailurePolicy": {
                "rules": [
                    {"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]},
                    {
                        "action": "FailJob",
                        "onExitCodes": {
                            "containerName": "migrate",
                            "operator": "In",
                            "values": list(_FOR_A_PERSON),
                        },
                    },
                ]
            },
            "template": {
                "metadata": {"labels": labels, "annotations": dict(_annotations(order))},
                "spec": _pod(order, settings),
            },
        },
    }


def arguments(order: Order) -> Iterator[str]:
    """The command line of `servicedb migrate`. Nothing in it is secret."""
    spec = order.run.spec
    yield from ("migrate", _COMMANDS[spec.action])
    yield f"--secret={_CREDENTIALS}"
    yield f"--set={spec.set_}"
    yield f"--detail={spec.failure_detail}"
    yield "--termination-log=/dev/termination-log"
    yield f"--lock-timeout={_milliseconds(spec.lock_timeout)}"
    yield f"--statement-timeout={_milliseconds(spec.statement_timeout)}"
    yield f"--retries={spec.retries}"
    for decision in spec.decisions:
        yield f"--decision={decision.version}:{decision.choice}:{decision.digest}"
    if (who := identity(order.run)) is not None:
        yield f"--identity={who}"
    match spec.action:
        case "Down":
            yield f"--target={spec.target}"
        case "ClearSeeds":
            pass
        case _:
            yield from _of_source(order)
    if spec.action in ("Up", "Seed") and spec.seeds is not None:
        yield f"--environment={spec.seeds.environment}"
    if spec.tenants is not None:
        yield from _of_tenants(spec.tenants)
        if spec.action == "Up" and spec.tenants.create:
            yield "--create-tenants"


def _of_source(order: Order) -> Iterator[str]:
    spec = order.run.spec
    yield f"--target={spec.target}"
    yield f"--dir={_FILES}"
    yield f"--source-digest={order.source_digest}"
    yield f"--format={spec.format}"
    yield from (f"--before={file}" for file in spec.hooks.before)
    yield from (f"--after={file}" for file in spec.hooks.after)
    if spec.out_of_order == "Allow":
        yield "--out-of-order"
    if (adopted := spec.adopt_history) is not None:
        table = f"{adopted.table}:{adopted.version_column}"
        yield f"--adopt={table if adopted.format == 'Table' else adopted.format}"


def _of_tenants(tenants: Tenants) -> Iterator[str]:
    yield from (f"--tenant={schema}" for schema in tenants.list_)
    if tenants.pattern is not None:
        yield f"--tenants={tenants.pattern}"
    if tenants.query is not None:
        yield f"--tenants-query={tenants.query}"
    yield f"--parallel={tenants.parallel}"
    yield f"--canary={tenants.canary}"
    yield f"--max-failures={tenants.max_failures}"


def _milliseconds(duration: Duration) -> str:
    return f"{int(duration.timedelta.total_seconds() * 1000)}ms"


def _annotations(order: Order) -> Iterator[tuple[str, str]]:
    endpoint = order.endpoint
    yield f"{_CONNECTION}/host", endpoint.host
    yield f"{_CONNECTION}/port", str(endpoint.port)
    yield f"{_CONNECTION}/dbname", endpoint.database
    yield f"{_CONNECTION}/sslmode", endpoint.sslmode
    if endpoint.ca_certificate is not None:
        yield f"{_CONNECTION}/ca.crt", endpoint.ca_certificate
    for number, file in enumerate(order.run.spec.source.inline):
        yield f"{_INLINE}/{number}", file.content


def _pod(order: Order, settings: MigrationJob) -> dict[str, Any]:
    container = {
        "name": "migrate",
        "image": order.image,
        "imagePullPolicy": "IfNotPresent",
        "args": [argument.replace("$", "$$") for argument in arguments(order)],  # else $(X) and $$ mean something
        "resources": {
            "requests": _amounts(settings.resources.requests),
            "limits": _amounts(settings.resources.limits),
        },
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
        "volumeMounts": [
            {"name": "credentials", "mountPath": _CREDENTIALS, "readOnly": True},
            {"name": "migrations", "mountPath": _FILES, "readOnly": True},
            {"name": "tmp", "mountPath": "/tmp"},  # noqa: S108 - a volume of the pod's own
        ],
    }
    pod: dict[str, Any] = {
        "restartPolicy": "Never",
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": _USER,
            "runAsGroup": _USER,
            "fsGroup": _USER,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "containers": [container],
        "volumes": [
            {"name": "credentials", "projected": {"defaultMode": 0o440, "sources": list(_credentials(order))}},
            {"name": "migrations", "projected": {"sources": list(_files(order))}},
            {"name": "tmp", "emptyDir": {"sizeLimit": "64Mi"}},
        ],
    }
    if settings.service_account_name is not None:
        pod["serviceAccountName"] = settings.service_account_name
    if settings.node_selector:
        pod["nodeSelector"] = dict(settings.node_selector)
    if settings.tolerations:
        pod["tolerations"] = [toleration.as_json() for toleration in settings.tolerations]
    if settings.image_pull_secrets:
        pod["imagePullSecrets"] = [secret.as_json() for secret in settings.image_pull_secrets]
    return pod


def _credentials(order: Order) -> Iterator[dict[str, Any]]:
    """Of the Secret only name and password: where they go is the DatabaseServer's to say, not a tenant's."""
    items = [{"key": key, "path": key} for key in ("user", "password")]
    yield {"secret": {"name": order.secret_name, "items": items}}
    names = [name for name, _ in _annotations(order) if name.startswith(_CONNECTION)]
    yield _as_files({name.rpartition("/")[2]: name for name in names})


def _files(order: Order) -> Iterator[dict[str, Any]]:
    source = order.run.spec.source
    yield from ({"configMap": {"name": one.name}} for one in source.config_maps)
    if source.inline:
        yield _as_files({file.name: f"{_INLINE}/{number}" for number, file in enumerate(source.inline)})


def _as_files(annotations: Mapping[str, str]) -> dict[str, Any]:
    """Files by their paths, each with what an annotation of the pod says."""
    return {
        "downwardAPI": {
            "items": [
                {"path": path, "fieldRef": {"fieldPath": f"metadata.annotations['{name}']"}}
                for path, name in annotations.items()
            ]
        }
    }


def _amounts(amounts: Amounts) -> dict[str, str]:
    found: dict[str, str] = amounts.as_json()
    return found
