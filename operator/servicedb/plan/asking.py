"""What objects of other kinds ask of the ServiceDatabases of their namespace: logins for their work."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from servicedb.plan.identifiers import parsed_name
from servicedb.plan.wanted import BACKUP, RESTORE, RETAIN


@dataclass(frozen=True, slots=True)
class Asking:
    """An object, and the ServiceDatabases that it asks for the login `login`: by their names, or by all of `labels`.

    `since` and `uid` tell which of two asked first. `failed`: a restore that came to its end without success; it keeps
    what it was let into, and gets nothing new. `key` is that of the backup that a restore is of. `tables` (schema and
    name) are those whose rows a policy archives and deletes.
    """

    login: str
    names: frozenset[str] = frozenset()
    labels: frozenset[tuple[str, str]] = frozenset()
    name: str = ""
    uid: str = ""
    since: str = ""
    rename_old: bool = False
    failed: bool = False
    key: str = ""
    tables: frozenset[tuple[str, str]] = frozenset()

    def concerns(self, name: str, labels: Mapping[str, str]) -> bool:
        """Whether it asks the ServiceDatabase `name`, which carries `labels`."""
        return name in self.names or (bool(self.labels) and self.labels <= labels.items())


def asked_by_schedule(body: Mapping[str, Any]) -> Asking | None:
    """What a BackupSchedule asks, suspended or not: a backup out of turn may come at any time."""
    spec = body.get("spec") or {}
    names = frozenset(str(one.get("name")) for one in spec.get("databaseRefs") or ())
    labels = (spec.get("selector") or {}).get("matchLabels") or {}
    return _asking(body, BACKUP, names, frozenset((str(key), str(value)) for key, value in labels.items()))


def asked_by_backup(body: Mapping[str, Any]) -> Asking | None:
    """What a DatabaseBackup asks, until the backup that it orders has ended; a catalogue entry asks for nothing."""
    spec = body.get("spec") or {}
    name = (spec.get("databaseRef") or {}).get("name")
    if "key" in spec or not name or _succeeded(body) in ("True", "False"):
        return None
    return _asking(body, BACKUP, frozenset({str(name)}))


def asked_by_restore(body: Mapping[str, Any]) -> Asking | None:
    """What a DatabaseRestore asks once it is known which backup is to be restored, until that has succeeded."""
    spec, status = body.get("spec") or {}, body.get("status") or {}
    name = ((spec.get("target") or {}).get("databaseRef") or {}).get("name")
    if not name or not status.get("key") or _succeeded(body) == "True":
        return None
    return _asking(
        body,
        RESTORE,
        frozenset({str(name)}),
        rename_old=spec.get("overwrite") == "RenameOld",
        failed=_succeeded(body) == "False",
        key=str(status["key"]),
    )


def asked_by_policy(body: Mapping[str, Any]) -> Asking | None:
    """What a RetentionPolicy asks, suspended or not. What is no name of a table is left to the policy to be told."""
    spec = body.get("spec") or {}
    name = (spec.get("databaseRef") or {}).get("name")
    if not name:
        return None
    parsed = (parsed_name(str(rule.get("table"))) for rule in spec.get("rules") or ())
    tables = frozenset((one[0], one[1]) for one in parsed if one is not None and one[0] is not None)
    return _asking(body, RETAIN, frozenset({str(name)}), tables=tables)


def in_turn(asking: Iterable[Asking]) -> list[Asking]:
    """Those who asked first come first; of the same second the one with the smaller UID, so that all see it alike."""
    return sorted(asking, key=lambda one: (one.since, one.uid))


def _asking(
    body: Mapping[str, Any],
    login: str,
    names: frozenset[str],
    labels: frozenset[tuple[str, str]] = frozenset(),
    *,
    rename_old: bool = False,
    failed: bool = False,
    key: str = "",
    tables: frozenset[tuple[str, str]] = frozenset(),
) -> Asking | None:
    metadata = body["metadata"]
    if metadata.get("deletionTimestamp"):
        return None
    return Asking(
        login,
        names,
        labels,
        metadata["name"],
        metadata["uid"],
        metadata.get("creationTimestamp", ""),
        rename_old,
        failed,
        key,
        tables,
    )


def _succeeded(body: Mapping[str, Any]) -> str | None:
    conditions = (body.get("status") or {}).get("conditions") or ()
    return next((one.get("status") for one in conditions if one.get("type") == "Succeeded"), None)
