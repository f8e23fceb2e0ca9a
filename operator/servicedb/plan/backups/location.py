"""Where a pod finds the places that backups are kept in: their addresses, and what it has mounted of them."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final, Literal
from urllib.parse import urlencode

from servicedb.api.backup_schedule import BackupScheduleSpec
from servicedb.api.retention_policy import Archive
from servicedb.api.storage import Copy, S3Storage, Storage, StorageSecretReference

Use = Literal["Write", "Read", "Prune"]

_STORES: Final = "/run/servicedb/stores"
_NEEDED: Final = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")
_OPTIONAL: Final = ("AWS_SESSION_TOKEN", "ca.crt")


@dataclass(frozen=True, slots=True)
class Location:
    """One place as one pod sees it. `credentials` is the folder with the store's keys; None: the pod's own identity."""

    url: str
    credentials: str | None
    volume: dict[str, Any] | None
    mount: dict[str, Any] | None


def locations(spec: BackupScheduleSpec | Archive, use: Use) -> list[Location]:
    """The storage of a schedule or an archive, and its copies."""
    places: list[Storage | Copy] = [spec.storage, *spec.copies]
    return [location(place, use, number) for number, place in enumerate(places)]


def location(place: Storage | Copy, use: Use, number: int = 0) -> Location:
    """`place`, for a pod that uses it so. `number` tells the places of one pod apart."""
    if place.s3 is not None:
        return _bucket(place.s3, _secret(place.s3, use), number)
    assert place.volume is not None
    mounted = f"{_STORES}/{number}"
    name = f"store-{number}"
    claim = {"claimName": place.volume.claim_name, "readOnly": use == "Read"}
    mount: dict[str, Any] = {"name": name, "mountPath": mounted, "readOnly": use == "Read"}
    if place.volume.path:  # which the kubelet makes; a volume that is not mounted is never filled on the pod's own disk
        mount["subPath"] = place.volume.path
    return Location(f"file://{mounted}", None, {"name": name, "persistentVolumeClaim": claim}, mount)


def same_place(one: Storage | Copy, other: Storage | Copy) -> bool:
    """Whether both are the same folder of the same store, whatever the keys to it."""
    return address(one) == address(other)


def may_be_same_place(namespace: str, one: Storage | Copy, other_namespace: str, other: Storage | Copy) -> bool:
    """`same_place`, for storages of two namespaces: claims of the same name are other volumes there."""
    return same_place(one, other) and (one.s3 is not None or namespace == other_namespace)


def address(place: Storage | Copy) -> str:
    """Where it is, and nothing of the keys to it: the same text for the same folder of the same store."""
    if place.s3 is not None:
        return json.dumps([place.s3.bucket, place.s3.prefix, place.s3.endpoint])
    assert place.volume is not None
    return json.dumps(place.volume.as_json(), sort_keys=True)


def _bucket(s3: S3Storage, secret: StorageSecretReference | None, number: int) -> Location:
    asked = {"endpoint": s3.endpoint, "region": s3.region, "pathStyle": "true" if s3.force_path_style else None}
    query = urlencode({name: value for name, value in asked.items() if value is not None}, safe=":/")
    url = f"s3://{s3.bucket}{'/' if s3.prefix else ''}{s3.prefix}{'?' if query else ''}{query}"
    if secret is None:
        return Location(url, None, None, None)
    name, folder = f"store-{number}", f"{_STORES}/{number}"
    volume = {"name": name, "projected": {"defaultMode": 0o440, "sources": list(_keys(secret))}}
    return Location(url, folder, volume, {"name": name, "mountPath": folder, "readOnly": True})


def _keys(secret: StorageSecretReference) -> Iterator[dict[str, Any]]:
    yield {"secret": {"name": secret.name, "items": [{"key": key, "path": key} for key in _NEEDED]}}
    optional = [{"key": key, "path": key} for key in _OPTIONAL]
    yield {"secret": {"name": secret.name, "items": optional, "optional": True}}


def _secret(s3: S3Storage, use: Use) -> StorageSecretReference | None:
    match use:
        case "Read":
            return s3.read_secret_ref or s3.write_secret_ref
        case "Prune":
            return s3.prune_secret_ref or s3.write_secret_ref
    return s3.write_secret_ref
