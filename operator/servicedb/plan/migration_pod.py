"""The pod of a run: it holds the migrator's credentials, the files, and nothing else.

The files of an image are copied by a container of that image, which sees nothing of the database. Source: Kubernetes
documentation, "Init Containers".
"""

from collections.abc import Iterator
from typing import Any, Final

from servicedb.api.common import GROUP
from servicedb.api.migration_job import MigrationJob
from servicedb.api.migration_source import ConfigMapSource, ImageSource
from servicedb.plan.job_pod import CREDENTIALS, annotation_files, bounds, command_container, connection, login, pod_spec
from servicedb.plan.migration_command import arguments
from servicedb.plan.migration_order import FILES, Order
from servicedb.plan.migrations.bounds import SOURCE_BYTES

MIGRATES: Final = "migrate"
COPIES: Final = "files"
"""The containers: the one that migrates, and the one that copies an image's files before."""

_INLINE = f"files.{GROUP}"


def annotations(order: Order) -> Iterator[tuple[str, str]]:
    """Those of the pod, by their names."""
    yield from connection(order.endpoint)
    for number, file in enumerate(order.run.spec.source.inline):
        yield f"{_INLINE}/{number}", file.content


def pod(order: Order) -> dict[str, Any]:
    """The pod's spec."""
    settings = order.run.spec.job
    mounts: list[dict[str, Any]] = [
        {"name": "credentials", "mountPath": CREDENTIALS, "readOnly": True},
        {"name": "migrations", "mountPath": FILES, "readOnly": True},
        {"name": "tmp", "mountPath": "/tmp"},  # noqa: S108 - a volume of the pod's own
    ]
    volumes = [
        login(order.secret_name, order.endpoint),
        {"name": "migrations", **_migrations(order)},
        {"name": "tmp", "emptyDir": {"sizeLimit": "64Mi"}},
    ]
    migrates = command_container(MIGRATES, order.image, list(arguments(order)), mounts, settings)
    found = pod_spec([migrates], volumes, settings)
    if order.copied is not None:
        found["initContainers"] = [_copies(order.copied, settings)]
    return found


def _copies(image: ImageSource, settings: MigrationJob) -> dict[str, Any]:
    """Copies the files by the image's own cp, links as links. Kubernetes' default says when a tag is pulled again."""
    return {
        "name": COPIES,
        "image": image.reference,
        "command": ["cp", "-RP", f"{image.path}/.", FILES],
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "volumeMounts": [{"name": "migrations", "mountPath": FILES}],
    } | bounds(settings)


def _migrations(order: Order) -> dict[str, Any]:
    """The volume with the files."""
    source = order.run.spec.source
    if source.image is not None:
        return {"emptyDir": {"sizeLimit": str(SOURCE_BYTES)}}
    sources = [{"configMap": _config_map(one, order)} for one in source.config_maps]
    if source.inline:
        sources.append(
            annotation_files({file.name: f"{_INLINE}/{number}" for number, file in enumerate(source.inline)})
        )
    return {"projected": {"sources": sources}}


def _config_map(one: ConfigMapSource, order: Order) -> dict[str, Any]:
    if one.path is None:
        return {"name": one.name}
    return {
        "name": one.name,
        "items": [{"key": key, "path": f"{one.path}/{key}"} for key in order.keys[one.name]],
    }
