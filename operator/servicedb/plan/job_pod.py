"""What the pods of all Jobs have in common: restricted, without a token, and given the database's login as files.

What a pod needs besides comes as annotations, mounted as files: no object has to be made for it, and the operator needs
no further right. Sources: Kubernetes documentation, "Jobs" (Pod failure policy), "Downward API", "Pod Security
Standards" (restricted).
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from servicedb.api.common import GROUP
from servicedb.api.migration_job import Amounts, JobSettings
from servicedb.api.strings import Duration

EXIT_TERMINAL, EXIT_USAGE, EXIT_DECISION = 1, 2, 3
"""What a command ends with where trying again would end as before."""

CREDENTIALS: Final = "/run/servicedb/credentials"
"""Where a pod sees the database's login."""

_FOR_A_PERSON = (EXIT_TERMINAL, EXIT_USAGE, EXIT_DECISION)
_RESTARTS = 2
_USER = 65532
_CONNECTION = f"connection.{GROUP}"


@dataclass(frozen=True, slots=True)
class Endpoint:
    """The server itself, never a pooler before it; `sslmode` as libpq has it, `ca_certificate` PEM."""

    host: str
    port: int
    database: str
    sslmode: str
    ca_certificate: str | None = None


def job_spec(
    template: Mapping[str, Any], deadline: Duration, *, container: str, rules: Sequence[Mapping[str, Any]] = ()
) -> dict[str, Any]:
    """A Job's spec. A pod that a node lost is made again.

    The Job fails at once where `container` says that it is no use to try again, and by what `rules` say.
    """
    return {
        "backoffLimit": _RESTARTS,
        "activeDeadlineSeconds": seconds(deadline),
        "podFailurePolicy": {
            "rules": [
                {"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]},
                fails_with(container, "In", _FOR_A_PERSON),
                *rules,
            ]
        },
        "template": template,
    }


def fails_with(container: str, operator: str, codes: tuple[int, ...]) -> dict[str, Any]:
    """The Job fails at once when `container` ends with one of `codes` (In), or with another (NotIn)."""
    return {
        "action": "FailJob",
        "onExitCodes": {"containerName": container, "operator": operator, "values": list(codes)},
    }


def pod_spec(
    containers: Sequence[Mapping[str, Any]], volumes: Sequence[Mapping[str, Any]], settings: JobSettings
) -> dict[str, Any]:
    """A pod of one attempt, where `settings` want it."""
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
        "containers": list(containers),
        "volumes": list(volumes),
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


def command_container(
    name: str, image: str, arguments: Sequence[str], mounts: Sequence[Mapping[str, Any]], settings: JobSettings
) -> dict[str, Any]:
    """The container that runs `servicedb` with `arguments`, in which nothing is secret."""
    return {
        "name": name,
        "image": image,
        "imagePullPolicy": "IfNotPresent",
        "args": [argument.replace("$", "$$") for argument in arguments],  # else $(X) and $$ mean something
        "volumeMounts": list(mounts),
    } | bounds(settings)


def bounds(settings: JobSettings) -> dict[str, Any]:
    """What every container is held to."""
    return {
        "resources": {
            "requests": _amounts(settings.resources.requests),
            "limits": _amounts(settings.resources.limits),
        },
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
    }


def connection(endpoint: Endpoint) -> Iterator[tuple[str, str]]:
    """The annotations that say where the database is."""
    yield f"{_CONNECTION}/host", endpoint.host
    yield f"{_CONNECTION}/port", str(endpoint.port)
    yield f"{_CONNECTION}/dbname", endpoint.database
    yield f"{_CONNECTION}/sslmode", endpoint.sslmode
    if endpoint.ca_certificate is not None:
        yield f"{_CONNECTION}/ca.crt", endpoint.ca_certificate


def login(secret_name: str, endpoint: Endpoint | None) -> dict[str, Any]:
    """The volume `credentials`. Of the Secret only name and password: where they go is the DatabaseServer's to say, not
    a tenant's."""
    items = [{"key": key, "path": key} for key in ("user", "password")]
    names = () if endpoint is None else (name for name, _ in connection(endpoint))
    sources = [
        {"secret": {"name": secret_name, "items": items}},
        annotation_files({name.rpartition("/")[2]: name for name in names}),
    ]
    return {"name": "credentials", "projected": {"defaultMode": 0o440, "sources": sources}}


def annotation_files(annotations: Mapping[str, str]) -> dict[str, Any]:
    """The source of a projected volume: files by their paths, each with what an annotation of the pod says."""
    return {
        "downwardAPI": {
            "items": [
                {"path": path, "fieldRef": {"fieldPath": f"metadata.annotations['{name}']"}}
                for path, name in annotations.items()
            ]
        }
    }


def seconds(duration: Duration) -> int:
    """As Kubernetes counts a deadline: whole, and one at least."""
    return max(1, int(duration.timedelta.total_seconds()))


def _amounts(amounts: Amounts) -> dict[str, str]:
    found: dict[str, str] = amounts.as_json()
    return found
