"""The pod of a run: it holds the migrator's credentials, the files, and nothing else.

What it needs besides comes as annotations, mounted as files: no object has to be made for it, and the operator needs no
further right. The files of an image are copied by a container of that image, which sees nothing of the database.
Sources: Kubernetes documentation, "Downward API", "Init Containers", "Pod Security Standards" (restricted).
"""

from collections.abc import Iterator, Mapping
from typing import Any, Final

from servicedb.api.common import GROUP
from servicedb.api.migration_job import Amounts, MigrationJob
from servicedb.api.migration_source import ConfigMapSource, ImageSource
from servicedb.plan.migration_command import arguments
from servicedb.plan.migration_order import CREDENTIALS, FILES, Order
from servicedb.plan.migrations.bounds import SOURCE_BYTES

MIGRATES: Final = "migrate"
COPIES: Final = "files"
"""The containers: the one that migrates, and the one that copies an image's files before."""

_USER = 65532
_CONNECTION, _INLINE = f"connection.{GROUP}", f"files.{GROUP}"
_RESTRICTED: Final[Mapping[str, Any]] = {
    "allowPrivilegeEscalation": False,
    "readOnlyRootFilesystem": True,
    "capabilities": {"drop": ["ALL"]},
}


def annotations(order: Order) -> Iterator[tuple[str, str]]:
    """Those of the pod, by their names."""
    endpoint = order.endpoint
    yield f"{_CONNECTION}/host", endpoint.host
    yield f"{_CONNECTION}/port", str(endpoint.port)
    yield f"{_CONNECTION}/dbname", endpoint.database
    yield f"{_CONNECTION}/sslmode", endpoint.sslmode
    if endpoint.ca_certificate is not None:
        yield f"{_CONNECTION}/ca.crt", endpoint.ca_certificate
    for number, file in enumerate(order.run.spec.source.inline):
        yield f"{_INLINE}/{number}", file.content


def pod(order: Order) -> dict[str, Any]:
    """The pod's spec."""
    settings = order.run.spec.job
    migrates = {
        "name": MIGRATES,
        "image": order.image,
        "imagePullPolicy": "IfNotPresent",
        "args": [argument.replace("$", "$$") for argument in arguments(order)],  # else $(X) and $$ mean something
        "resources": _resources(settings),
        "securityContext": dict(_RESTRICTED),
        "volumeMounts": [
            {"name": "credentials", "mountPath": CREDENTIALS, "readOnly": True},
            {"name": "migrations", "mountPath": FILES, "readOnly": True},
            {"name": "tmp", "mountPath": "/tmp"},  # noqa: S108 - a volume of the pod's own
        ],
    }
    found: dict[str, Any] = {
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
        "containers": [migrates],
        "volumes": [
            {"name": "credentials", "projected": {"defaultMode": 0o440, "sources": list(_credentials(order))}},
            {"name": "migrations", **_migrations(order)},
            {"name": "tmp", "emptyDir": {"sizeLimit": "64Mi"}},
        ],
    }
    if order.copied is not None:
        found["initContainers"] = [_copies(order.copied, settings)]
    if settings.service_account_name is not None:
        found["serviceAccountName"] = settings.service_account_name
    if settings.node_selector:
        found["nodeSelector"] = dict(settings.node_selector)
    if settings.tolerations:
        found["tolerations"] = [toleration.as_json() for toleration in settings.tolerations]
    if settings.image_pull_secrets:
        found["imagePullSecrets"] = [secret.as_json() for secret in settings.image_pull_secrets]
    return found


def _copies(image: ImageSource, settings: MigrationJob) -> dict[str, Any]:
    """Copies the files by the image's own cp, links as links. Kubernetes' default says when a tag is pulled again."""
    return {
        "name": COPIES,
        "image": image.reference,
        "command": ["cp", "-RP", f"{image.path}/.", FILES],
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "resources": _resources(settings),
        "securityContext": dict(_RESTRICTED),
        "volumeMounts": [{"name": "migrations", "mountPath": FILES}],
    }


def _credentials(order: Order) -> Iterator[dict[str, Any]]:
    """Of the Secret only name and password: where they go is the DatabaseServer's to say, not a tenant's."""
    items = [{"key": key, "path": key} for key in ("user", "password")]
    yield {"secret": {"name": order.secret_name, "items": items}}
    names = [name for name, _ in annotations(order) if name.startswith(_CONNECTION)]
    yield _as_files({name.rpartition("/")[2]: name for name in names})


def _migrations(order: Order) -> dict[str, Any]:
    """The volume with the files."""
    source = order.run.spec.source
    if source.image is not None:
        return {"emptyDir": {"sizeLimit": str(SOURCE_BYTES)}}
    sources = [{"configMap": _config_map(one, order)} for one in source.config_maps]
    if source.inline:
        sources.append(_as_files({file.name: f"{_INLINE}/{number}" for number, file in enumerate(source.inline)}))
    return {"projected": {"sources": sources}}


def _config_map(one: ConfigMapSource, order: Order) -> dict[str, Any]:
    if one.path is None:
        return {"name": one.name}
    return {
        "name": one.name,
        "items": [{"key": key, "path": f"{one.path}/{key}"} for key in order.keys[one.name]],
    }


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


def _resources(settings: MigrationJob) -> dict[str, Any]:
    return {
        "requests": _amounts(settings.resources.requests),
        "limits": _amounts(settings.resources.limits),
    }


def _amounts(amounts: Amounts) -> dict[str, str]:
    found: dict[str, str] = amounts.as_json()
    return found
