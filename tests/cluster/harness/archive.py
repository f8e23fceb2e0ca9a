"""A container image of one program, written as a docker-archive without any tool."""

import hashlib
import io
import json
import tarfile
from collections.abc import Mapping
from pathlib import Path


def write_single_program(program: Path, image: str, archive: Path) -> None:
    """Write `archive` with `image`, which holds `program` as /NAME and starts it as nobody."""
    configuration = {"Entrypoint": [f"/{program.name}"], "User": "65535:65535"}
    write_image({program.name: (program.read_bytes(), 0o755)}, image, archive, configuration)


def write_image(
    files: Mapping[str, tuple[bytes, int]],
    image: str,
    archive: Path,
    configuration_of_containers: Mapping[str, object] | None = None,
    *,
    links: Mapping[str, str] | None = None,
) -> None:
    """Write `archive` with `image`, which holds `files` (contents and modes) and `links` (their targets)."""
    layer = _tar(files, links)
    configuration = json.dumps(
        {
            "architecture": "amd64",
            "os": "linux",
            "config": configuration_of_containers or {},
            "rootfs": {"type": "layers", "diff_ids": [f"sha256:{hashlib.sha256(layer).hexdigest()}"]},
        }
    ).encode()
    configuration_name = f"{hashlib.sha256(configuration).hexdigest()}.json"
    manifest = [{"Config": configuration_name, "RepoTags": [image], "Layers": ["layer.tar"]}]
    content = {
        "layer.tar": (layer, 0o644),
        configuration_name: (configuration, 0o644),
        "manifest.json": (json.dumps(manifest).encode(), 0o644),
    }
    archive.write_bytes(_tar(content))


def _tar(files: Mapping[str, tuple[bytes, int]], links: Mapping[str, str] | None = None) -> bytes:
    """The same bytes for the same files: no time and no owner."""
    output = io.BytesIO()
    with tarfile.open(fileobj=output, mode="w") as tar:
        for name, (content, mode) in files.items():
            member = tarfile.TarInfo(name)
            member.size, member.mode = len(content), mode
            tar.addfile(member, io.BytesIO(content))
        for name, target in (links or {}).items():
            member = tarfile.TarInfo(name)
            member.type, member.linkname = tarfile.SYMTYPE, target
            tar.addfile(member)
    return output.getvalue()
