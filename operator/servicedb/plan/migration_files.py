"""The files of a MigrationRun's source, as the API server gives them: what the pod will see, and no more."""

import base64
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from servicedb.api.migration_run import MigrationRun
from servicedb.errors import Terminal
from servicedb.plan.migration_key import named_by
from servicedb.plan.migrations.source import digest

INLINE_BYTES: Final = 131_072
"""As much goes into the annotations of a pod, with some room for the rest. Source: Kubernetes documentation,
"Annotations"."""


@dataclass(frozen=True, slots=True)
class Seen:
    """A source as it was seen before there is a pod. `asked` is what a run is known by.

    `digest` is that of the files, None for those of an image. `keys`: of each ConfigMap with a path, its keys.
    """

    asked: str
    digest: str | None
    keys: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


def seen(run: MigrationRun, config_maps: Mapping[str, Mapping[str, Any]]) -> Seen:
    """`config_maps` are those of the source, by their names. Raises Terminal for what is no source."""
    source = run.spec.source
    if source.image is not None:
        return Seen(named_by(source.image), None)
    keys = {
        one.name: tuple(name for name, _ in _keys(config_maps[one.name]))
        for one in source.config_maps
        if one.path is not None
    }
    whole = digest(inline_files(run) if source.inline else config_map_files(run, config_maps))
    return Seen(whole, whole, keys)


def inline_files(run: MigrationRun) -> dict[str, bytes]:
    """The files in the spec. Raises Terminal where they are too large for a pod's annotations."""
    files = {file.name: file.content.encode() for file in run.spec.source.inline}
    size = sum(map(len, files.values()))
    if size > INLINE_BYTES:
        raise Terminal(
            "SourceTooLarge",
            f"spec.source.inline holds {size} bytes, and {INLINE_BYTES} is the most: put the files into ConfigMaps",
        )
    for name in files:
        if any(part.startswith(".") for part in name.split("/")):
            raise Terminal("BadFileName", f'spec.source.inline: no part of "{name}" may begin with a dot; rename it')
    return files


def config_map_files(run: MigrationRun, config_maps: Mapping[str, Mapping[str, Any]]) -> dict[str, bytes]:
    """All keys of the ConfigMaps, but for hidden ones; archives as they are. Raises Terminal for a file that stands in
    two."""
    files: dict[str, bytes] = {}
    of: dict[str, str] = {}
    for one in run.spec.source.config_maps:
        for key, content in _keys(config_maps[one.name]):
            name = key if one.path is None else f"{one.path}/{key}"
            if name in of:
                raise Terminal(
                    "DuplicateFile",
                    f'file "{name}" stands in the ConfigMaps "{of[name]}" and "{one.name}"; take it out of one',
                )
            files[name], of[name] = content, one.name
    return files


def _keys(body: Mapping[str, Any]) -> Iterator[tuple[str, bytes]]:
    """What a pod's folder will show."""
    for name, text in (body.get("data") or {}).items():
        if not name.startswith("."):
            yield name, str(text).encode()
    for name, encoded in (body.get("binaryData") or {}).items():
        if not name.startswith("."):
            yield name, base64.b64decode(encoded)
