"""The Secrets that applications read: written in two steps, pending then active, each in one request."""

import base64
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from pydantic import SecretStr

from servicedb.api.common import GROUP, MANAGED_BY, ROTATE_AT
from servicedb.kube import resources
from servicedb.kube.client import ApiError, Json, KubeClient, refusal
from servicedb.plan.credentials import SeenSecret
from servicedb.plan.secret import PENDING_PASSWORD, PENDING_USERNAME, SECRET_TYPE

ROLE = f"{GROUP}/role"
CREDENTIAL_OF = f"{GROUP}/credential-of"
ROTATED_AT = f"{GROUP}/rotated-at"


@dataclass(frozen=True, slots=True)
class Written:
    """A Secret as the API server returned it: `seen` for decisions, `data` decoded, `rotated_at` RFC 3339."""

    name: str
    uid: str
    resource_version: str
    seen: SeenSecret
    data: Mapping[str, SecretStr]
    metadata: Json
    rotated_at: str | None


@dataclass(frozen=True, slots=True)
class Address:
    """Which Secret, and for which login: `owner` is server/database, the mark by which it is known to be ours.

    `formerly` are marks that it may still carry, such as those of releases that went by the DatabaseServer's name.
    """

    namespace: str
    name: str
    owner: str
    role: str
    formerly: tuple[str, ...] = ()

    @property
    def mark(self) -> str:
        """The value of the annotation `credential-of`."""
        return f"{self.owner}/{self.role}"

    def is_marked(self, mark: str) -> bool:
        return mark.rpartition("/")[0] in (self.owner, *self.formerly)


async def read(kube: KubeClient, address: Address) -> Written | None:
    """The Secret, or None. Raises a Problem where the operator may not look."""
    try:
        body = await kube.get(resources.secret(address.namespace, address.name))
    except ApiError as error:
        raise refusal(error, namespace=address.namespace) from None
    return _written(body, address) if body is not None else None


async def prepare(
    kube: KubeClient, address: Address, there: Written | None, *, username: str, password: SecretStr
) -> Written:
    """Write `password` as pending, before any role has it. What the Secret holds already stays as it is."""
    data = {PENDING_USERNAME: username, PENDING_PASSWORD: password.get_secret_value()}
    if there is not None:
        return await _patch(kube, address, there, {"data": _encoded(data)})
    body: Json = {
        "apiVersion": "v1",
        "kind": "Secret",
        "type": SECRET_TYPE,
        "metadata": {
            "name": address.name,
            "labels": {MANAGED_BY: "servicedb", ROLE: address.role},
            "annotations": {CREDENTIAL_OF: address.mark},
        },
        "data": _encoded(data),
    }
    try:
        return _written(await kube.create(resources.secrets(address.namespace), body), address)
    except ApiError as error:
        raise refusal(error, namespace=address.namespace) from None


async def activate(
    kube: KubeClient,
    address: Address,
    there: Written,
    data: Mapping[str, str],
    *,
    labels: Mapping[str, str],
    annotations: Mapping[str, str],
    now: datetime | None,
    rotate_at: str | None = None,
) -> Written:
    """Write what applications read, in one request; keys that are no longer wanted go, the pending ones too.

    `now` is the time of a new password, None where only the other keys are brought up to date. `rotate_at` is the
    value of the annotation that is handled with a new password.
    """
    stale = dict.fromkeys(set(there.data) - set(data))
    own = {CREDENTIAL_OF: address.mark}
    if now is not None:
        own[ROTATED_AT] = now.astimezone(UTC).isoformat(timespec="seconds")
        if rotate_at is not None:
            own[ROTATE_AT] = rotate_at
    change: Json = {
        "data": {**stale, **_encoded(data)},
        "metadata": {
            "labels": {**labels, MANAGED_BY: "servicedb", ROLE: address.role},
            "annotations": {**annotations, **own},
        },
    }
    return await _patch(kube, address, there, change)


async def delete(kube: KubeClient, address: Address) -> bool:
    """Delete the Secret if it is ours; whether there was one."""
    there = await read(kube, address)
    if there is None or not there.seen.ours:
        return False
    await kube.delete(resources.secret(address.namespace, address.name), uid=there.uid)
    return True


def up_to_date(
    there: Written,
    address: Address,
    data: Mapping[str, str],
    labels: Mapping[str, str],
    annotations: Mapping[str, str],
) -> bool:
    """Whether the Secret says exactly `data`, with at least these labels and annotations, and our present mark."""
    held = {key: value.get_secret_value() for key, value in there.data.items()}
    return (
        held == dict(data)
        and labels.items() <= (there.metadata.get("labels") or {}).items()
        and {**annotations, CREDENTIAL_OF: address.mark}.items() <= (there.metadata.get("annotations") or {}).items()
    )


async def _patch(kube: KubeClient, address: Address, there: Written, change: Json) -> Written:
    metadata = {**change.get("metadata", {}), "uid": there.uid, "resourceVersion": there.resource_version}
    try:
        body = await kube.merge_patch(
            resources.secret(address.namespace, address.name), {**change, "metadata": metadata}
        )
    except ApiError as error:
        raise refusal(error, namespace=address.namespace) from None
    return _written(body, address)


def _written(body: Json, address: Address) -> Written:
    metadata = body["metadata"]
    data = {key: SecretStr(_decoded(value)) for key, value in (body.get("data") or {}).items()}
    labels, annotations = metadata.get("labels") or {}, metadata.get("annotations") or {}
    mark = str(annotations.get(CREDENTIAL_OF, ""))
    seen = SeenSecret(
        ours=labels.get(MANAGED_BY) == "servicedb" and address.is_marked(mark),
        version=f"{metadata['uid']}/{metadata['resourceVersion']}",
        username=_text(data, "username"),
        password=data.get("password"),
        pending_username=_text(data, PENDING_USERNAME),
        pending_password=data.get(PENDING_PASSWORD),
        rotated_at=_time(annotations.get(ROTATED_AT)),
        rotate_at=annotations.get(ROTATE_AT),
    )
    return Written(
        name=metadata["name"],
        uid=metadata["uid"],
        resource_version=metadata["resourceVersion"],
        seen=seen,
        data=data,
        metadata=metadata,
        rotated_at=annotations.get(ROTATED_AT),
    )


def _time(text: str | None) -> datetime | None:
    """None also for a time that can't be read: such a password counts as too old."""
    try:
        time = datetime.fromisoformat(text or "")
    except ValueError:
        return None
    return time if time.tzinfo is not None else None


def _text(data: Mapping[str, SecretStr], key: str) -> str | None:
    return data[key].get_secret_value() if key in data else None


def _encoded(data: Mapping[str, str]) -> dict[str, str]:
    return {key: base64.b64encode(value.encode()).decode() for key, value in data.items()}


def _decoded(value: str) -> str:
    return base64.b64decode(value).decode(errors="replace")
