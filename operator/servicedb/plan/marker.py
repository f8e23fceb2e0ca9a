"""The marker: a JSON comment on a database's owner role that says whose it is.

Only an administrator can write a comment on a role, so a tenant cannot forge it. The other roles carry a
shorter note that points at the owner role; it is repaired from the marker, never the other way round.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from datetime import datetime
from functools import lru_cache
from typing import Any, Self

FORMAT = 1


@dataclass(frozen=True, slots=True)
class Marker:
    """Whose database this is, and what to do when the object is gone.

    `cluster` is the UID of the namespace kube-system, `crd` that of the CustomResourceDefinition. `oid` is
    the database's, known once it has been opened. When the object was found gone `released` is set, or with policy
    Delete `deleted_at`, and when the drop has begun `dropping`, each to the time (RFC 3339). `shared_with` are the
    roles that owned something in a database that servicedb did not make, and keep what they could do; None: nobody.
    `job` is the Job that a scratch database was made for, at the time `since`: for that one there is no object.
    `aside_of` is the name that the database had before another took its place. `restored`: the backup that is in it.
    """

    cluster: str
    crd: str
    namespace: str
    namespace_uid: str
    name: str
    uid: str
    policy: str = "Retain"
    grace: str = "7d"
    oid: int | None = None
    released: str | None = None
    deleted_at: str | None = None
    dropping: str | None = None
    shared_with: tuple[str, ...] | None = None
    job: str | None = None
    since: str | None = None
    aside_of: str | None = None
    restored: "Restored | None" = None

    @property
    def let_go(self) -> bool:
        """Whether no object stands for the database any more."""
        return self.released is not None or self.deleted_at is not None

    @property
    def holder(self) -> str:
        """The object as a message names it."""
        return f"ServiceDatabase {self.namespace}/{self.name} (uid {self.uid}, cluster {self.cluster})"

    def same_object(self, other: Self) -> bool:
        """Whether both mean the same ServiceDatabase, also when it was deleted and made again since."""
        return (self.cluster, self.namespace, self.namespace_uid, self.name) == (
            other.cluster,
            other.namespace,
            other.namespace_uid,
            other.name,
        )

    def comment(self) -> str:
        """The text that stands on the owner role."""
        values = {key: value for key, value in asdict(self).items() if value is not None}
        return json.dumps({"servicedb": FORMAT, **values}, sort_keys=True, separators=(",", ":"))

    @classmethod
    def read(cls, comment: str | None) -> Self | None:
        """The marker in `comment`, or None where there is none that this version understands."""
        values = {**_written_by_us(comment)}
        known = {field.name for field in fields(cls)}
        shared = values.get("shared_with")
        values["shared_with"] = _names(shared) if isinstance(shared, list) else None
        values["restored"] = Restored.read(values.get("restored"))
        try:
            marker = cls(**{key: value for key, value in values.items() if key in known})
        except TypeError:
            return None
        needed = (marker.cluster, marker.crd, marker.namespace, marker.namespace_uid, marker.name, marker.uid)
        optional = (
            marker.released, marker.deleted_at, marker.dropping, marker.job, marker.since, marker.aside_of
        )  # fmt: skip
        texts = (*needed, marker.policy, marker.grace, *(text for text in optional if text is not None))
        if not all(isinstance(text, str) for text in texts) or "" in needed:
            return None
        return marker if marker.oid is None or type(marker.oid) is int else None  # True is an int, too

    def holds(self, name: str, key: str, oid: int) -> bool:
        """Whether the DatabaseRestore `name` has put the backup at `key` into the database, which has that `oid`."""
        return self.oid == oid and self.restored is not None and (self.restored.name, self.restored.key) == (name, key)

    def with_oid(self, oid: int | None) -> Self:
        return replace(self, oid=oid)


@dataclass(frozen=True, slots=True)
class Restored:
    """The outcome of the DatabaseRestore `name`: the backup at `key`, whose manifest has that `digest`, is in the
    database since `at` (RFC 3339)."""

    name: str
    key: str
    digest: str
    at: str

    @classmethod
    def read(cls, value: object) -> Self | None:
        match value:
            case {"name": str(name), "key": str(key), "digest": str(digest), "at": str(at)}:
                return cls(name, key, digest, at)
        return None


@dataclass(frozen=True, slots=True)
class LeftSecret:
    """A Secret that a login has moved away from with its password. It is deleted at `until`, which is not known
    before the Secret in its place is in use."""

    name: str
    until: datetime | None = None


@dataclass(frozen=True, slots=True)
class RoleNote:
    """The comment of every role but the owner: which owner role it belongs to, and what it is there for.

    `secret` is the Secret that holds a login's password, so that it can be deleted when its time has come, `left`
    those that hold it besides, since secretName was changed. `access` is what the login may do (as in spec.roles).
    `awaited` are Secrets that are about to be made for a login: they are named before they are there, so that one of
    which nothing came is found. `retire_at` stands on a login whose Secret has moved on: from then it may no longer log
    in; and on a group that the spec has no need of: from then it may be dropped. `granted` stands on a group that has
    had its first grants on what was there: from then on a migration's own REVOKE is respected. `asked_by` is the UID of
    the object that a login is there for, where the spec does not name it.
    """

    owner: str
    role: str
    secret: str | None = None
    retire_at: datetime | None = None
    access: str | None = None
    left: tuple[LeftSecret, ...] = ()
    granted: bool = False
    awaited: tuple[str, ...] = ()
    asked_by: str | None = None

    @property
    def secrets(self) -> tuple[str, ...]:
        """Every Secret that is named."""
        return (*(() if self.secret is None else (self.secret,)), *(left.name for left in self.left), *self.awaited)

    def without(self, secret: str) -> Self:
        """The note once that Secret is gone."""
        left = tuple(one for one in self.left if one.name != secret)
        awaited = tuple(name for name in self.awaited if name != secret)
        return replace(self, secret=None if self.secret == secret else self.secret, left=left, awaited=awaited)

    def comment(self) -> str:
        values = {
            "servicedb": FORMAT,
            "owner": self.owner,
            "role": self.role,
            "secret": self.secret,
            "retire_at": self.retire_at.isoformat() if self.retire_at is not None else None,
            "access": self.access,
            "left": {one.name: one.until.isoformat() if one.until else "" for one in self.left} or None,
            "granted": True if self.granted else None,
            "awaited": list(self.awaited) or None,
            "asked_by": self.asked_by,
        }
        held = {key: value for key, value in values.items() if value is not None}
        return json.dumps(held, sort_keys=True, separators=(",", ":"))

    @classmethod
    def read(cls, comment: str | None) -> Self | None:
        """The note in `comment`, or None where there is none; a time that can't be read counts as not noted."""
        values = {**_written_by_us(comment)}
        match values:
            case {"owner": str(owner), "role": str(role)}:
                return cls(
                    owner,
                    role,
                    _text(values.get("secret")),
                    _time(values.get("retire_at")),
                    _text(values.get("access")),
                    _left(values.get("left")),
                    values.get("granted") is True,
                    _names(values.get("awaited")),
                    _text(values.get("asked_by")),
                )
        return None


@lru_cache(maxsize=4096)
def _written_by_us(comment: str | None) -> Mapping[str, Any]:
    """The values in a comment of this format; none of any other. Each is asked for many times in a round."""
    try:
        value = json.loads(comment or "")
    except (ValueError, RecursionError):
        return {}
    if not isinstance(value, dict) or type(value.get("servicedb")) is not int or value["servicedb"] != FORMAT:
        return {}
    return value


def _names(value: object) -> tuple[str, ...]:
    return tuple(name for name in value if isinstance(name, str)) if isinstance(value, list) else ()


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None


def _left(value: object) -> tuple[LeftSecret, ...]:
    names = value.items() if isinstance(value, dict) else ()
    return tuple(LeftSecret(name, _time(until)) for name, until in sorted(names))


def _time(text: object) -> datetime | None:
    try:
        time = datetime.fromisoformat(text) if isinstance(text, str) else None
    except ValueError:
        return None
    return time if time is not None and time.tzinfo is not None else None
