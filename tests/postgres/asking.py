"""Objects that ask something of a ServiceDatabase: schedules, orders, restores and policies."""

from typing import Any

from servicedb.kube.client import Json
from servicedb.kube.resources import Key

from tests.postgres.objects import NAMESPACE
from tests.postgres.provision import Site, key_of

SCHEDULES, RESTORES, POLICIES = "backupschedules", "databaserestores", "retentionpolicies"
BACKUP_KEY = "7300000000000000001-16400/20261121T225300Z-0123abcd/manifest.json"


def schedule(site: Site, name: str) -> Key:
    """Have the database `name` backed up; the schedule."""
    key = Key(SCHEDULES, NAMESPACE, f"nightly-{key_of(name).name}")
    return _put(site, key, {"databaseRefs": [{"name": key_of(name).name}]})


def policy(site: Site, name: str, *tables: str) -> Key:
    """Have rows of `tables` of the database `name` archived and deleted; the policy, new or in place of what it was."""
    key = Key(POLICIES, NAMESPACE, f"daily-{key_of(name).name}")
    rules = [{"table": table, "column": "at", "deleteAfter": "1d"} for table in tables]
    return _put(site, key, {"databaseRef": {"name": key_of(name).name}, "rules": rules})


FOUND: Json = {"key": BACKUP_KEY, "storage": {"volume": {"claimName": "backups"}}}


def restore(
    site: Site,
    name: str,
    *,
    called: str = "again",
    overwrite: str = "Never",
    source: Json | None = None,
    found: bool = True,
) -> Key:
    """Have a backup, that was `found`, restored into the database `name`; the restore."""
    key = Key(RESTORES, NAMESPACE, f"{called}-{key_of(name).name}")
    spec: Json = {"target": {"databaseRef": {"name": key_of(name).name}}, "overwrite": overwrite}
    if source is not None:
        spec["source"] = source
    return _put(site, key, spec, {"key": BACKUP_KEY} if found else None)


def ended(site: Site, key: Key, *, succeeded: bool) -> None:
    """The restore or order at `key` has come to its end."""
    condition = {"type": "Succeeded", "status": "True" if succeeded else "False"}
    body = site.objects.read()[key.path]
    site.objects.put(key.path, {**body, "status": {**body.get("status", {}), "conditions": [condition]}})


def _put(site: Site, key: Key, spec: Json, status: dict[str, Any] | None = None) -> Key:
    body: Json = {"metadata": {"name": key.name, "namespace": NAMESPACE}, "spec": spec}
    site.objects.put(key.path, {**body, "status": status} if status is not None else body)
    return key
