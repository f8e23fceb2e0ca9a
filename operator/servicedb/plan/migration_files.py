"""The files of a MigrationRun's source, as the API server gives them: what the pod will see, and no more."""

import base64
from collections.abc import Iterator, Mapping
from typing import Any, Final

from servicedb.api.migration_run import MigrationRun
from servicedb.errors import Terminal

INLINE_BYTES: Final = 131_072
"""As much goes into the annotations of a pod, with some room for the rest. Source: Kubernetes documentation,
"Annotations"."""

_ARCHIVES = (".tar.gz", ".tgz", ".tar.zst")


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


def config_map_files(config_maps: Mapping[str, Mapping[str, Any]]) -> dict[str, bytes]:
    """All keys of ConfigMaps (by their names), but for hidden ones. Raises Terminal for a file that stands in two."""
    files: dict[str, bytes] = {}
    of: dict[str, str] = {}
    for config_map, body in config_maps.items():
        for name, content in _keys(body):
            if name.startswith("."):
                continue
            if name in of:
                raise Terminal(
                    "DuplicateFile",
                    f'file "{name}" stands in the ConfigMaps "{of[name]}" and "{config_map}"; take it out of one',
                )
            if name.endswith(_ARCHIVES):
                raise Terminal(
                    "NotSupported",
                    f'ConfigMap "{config_map}" holds the archive "{name}", and archives are not read yet; put its '
                    "files there one by one",
                )
            files[name], of[name] = content, config_map
    return files


def _keys(body: Mapping[str, Any]) -> Iterator[tuple[str, bytes]]:
    for name, text in (body.get("data") or {}).items():
        yield name, str(text).encode()
    for name, encoded in (body.get("binaryData") or {}).items():
        yield name, base64.b64decode(encoded)
