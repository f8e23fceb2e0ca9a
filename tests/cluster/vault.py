"""A shop that keeps backups in a store: schedules, orders and restores from `kubectl apply` to their end."""

import contextlib
import json
import secrets
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from servicedb.jobs.prune.catalogue import list_backups
from servicedb.store.location import open_store

from tests.api.examples import Manifest, changed
from tests.cluster.harness.store import ObjectStore
from tests.cluster.objects import Objects, condition, wait_for
from tests.cluster.shop import Shop

PATIENCE: Final = 180.0
KEYS: Final = "backups"
"""The Secret with the store's keys."""

_LAST_LINES = 15


@dataclass(frozen=True, slots=True)
class Vault:
    """A folder of the store for one shop."""

    shop: Shop
    store: ObjectStore
    prefix: str

    @classmethod
    def of(cls, shop: Shop, store: ObjectStore) -> "Vault":
        """A new one, whose keys stand in a Secret of the shop."""
        keys = {name: value.decode() for name, value in store.credentials.items()}
        shop.tenant.add_secret(KEYS, keys)
        return cls(shop, store, f"test-{secrets.token_hex(4)}")

    @property
    def objects(self) -> Objects:
        return self.shop.objects

    @property
    def namespace(self) -> str:
        return self.shop.tenant.name

    def storage(self, folder: str, keys: str = KEYS) -> dict[str, Any]:
        return {
            "s3": {
                "bucket": self.store.bucket,
                "prefix": f"{self.prefix}/{folder}",
                "endpoint": self.store.endpoint,
                "forcePathStyle": True,
                "writeSecretRef": {"name": keys},
            }
        }

    def schedule(self, name: str, database: str, changes: Mapping[str, Any] | None = None) -> Manifest:
        """A BackupSchedule that is due in months, with `changes` to it."""
        spec = {
            "databaseRefs": [{"name": database}],
            "schedule": f"0 0 1 {(datetime.now(UTC).month + 5) % 12 + 1} *",
            "storage": self.storage(name),
        }
        return self.objects.create(changed(self._object("BackupSchedule", name, spec), dict(changes or {})))

    def order(self, name: str, database: str, changes: Mapping[str, Any] | None = None) -> Manifest:
        """A DatabaseBackup that orders a backup of `database` into the store."""
        spec = {"databaseRef": {"name": database}, "storage": self.storage("orders")}
        return self.objects.create(changed(self._object("DatabaseBackup", name, spec), dict(changes or {})))

    def restore(self, name: str, backup: str, database: str, changes: Mapping[str, Any] | None = None) -> Manifest:
        spec = {"source": {"backupRef": {"name": backup}}, "target": {"databaseRef": {"name": database}}}
        return self.objects.create(changed(self._object("DatabaseRestore", name, spec), dict(changes or {})))

    def stored_keys(self, folder: str) -> set[str]:
        """The backups that are in the store, as `servicedb list` sees them from here."""
        with tempfile.TemporaryDirectory() as keys:
            credentials = self.store.write_credentials(Path(keys) / "keys")
            store = open_store(self.store.url_from_here(f"{self.prefix}/{folder}"), credentials)
            return {one.key for one in list_backups(store, None).backups}

    def change(self, kind: str, name: str, change: Mapping[str, Any]) -> None:
        self.objects.patch(kind, name, dict(change), self.namespace)

    def run_now(self, schedule: str) -> None:
        """Have all databases of `schedule` backed up out of turn."""
        annotations = {"servicedb.io/run-at": secrets.token_hex(4)}
        self.change("BackupSchedule", schedule, {"metadata": {"annotations": annotations}})

    def get(self, kind: str, name: str) -> Manifest:
        return self.objects.get(kind, name, self.namespace) or {}

    def entries(self, schedule: str) -> list[Manifest]:
        """What stands in the store as the schedule shows it, the oldest first."""
        found = [
            one
            for one in self.objects.listed("DatabaseBackup", self.namespace)
            if (one["spec"].get("scheduleRef") or {}).get("name") == schedule and "key" in one["status"]
        ]
        return sorted(found, key=lambda one: str(one["status"]["key"]).partition("/")[2])

    def wait(self, kind: str, name: str, *, of: str = "Ready", status: str, reason: str = "") -> Manifest:
        """Wait until the condition `of` is so; gives the object."""

        def so() -> bool:
            found = condition(self.get(kind, name), of)
            return found is not None and found["status"] == status and reason in ("", found["reason"])

        wait_for(f"{of} {status} {reason} of {kind} {name}", so, within=PATIENCE, told=self.told)
        return self.get(kind, name)

    def wait_for_entries(self, schedule: str, count: int) -> list[Manifest]:
        what = f"{count} backups of {schedule}"
        wait_for(what, lambda: len(self.entries(schedule)) == count, within=PATIENCE, told=self.told)
        return self.entries(schedule)

    def told(self) -> str:
        """What there is, for a failure's message."""
        kinds = ("BackupSchedule", "DatabaseBackup", "DatabaseRestore", "RetentionPolicy")
        shown = [one for kind in kinds for one in self.objects.listed(kind, self.namespace)]
        shown = [{"name": one["metadata"]["name"], "status": one["status"]} for one in shown]
        pods = {
            pod["metadata"]["name"]: pod["status"].get("containerStatuses", [{}])[0].get("state")
            for pod in self.objects.listed("Pod", self.namespace)
        }
        return json.dumps([shown, pods], indent=1)

    def _object(self, kind: str, name: str, spec: dict[str, Any]) -> Manifest:
        metadata = {"name": name, "namespace": self.namespace}
        return {"apiVersion": "servicedb.io/v1alpha1", "kind": kind, "metadata": metadata, "spec": spec}

    def fill(self, database: str, rows: int) -> None:
        """A table with `rows` rows, written by the application's own login."""
        with self.shop.tenant.log_in(f"{database}-migrator") as owner:
            owner.execute("CREATE TABLE IF NOT EXISTS items (id bigint PRIMARY KEY, name text NOT NULL)")
        with self.shop.tenant.log_in(f"{database}-app") as app:
            app.execute(
                "INSERT INTO items SELECT n, md5(n::text) FROM generate_series(1, %s) n ON CONFLICT DO NOTHING", (rows,)
            )

    @contextlib.contextmanager
    def volume(self, claim: str) -> Iterator[Path]:
        """A PersistentVolumeClaim, and the folder of this machine that it stands for."""
        name = f"{self.namespace}-{claim}"
        with tempfile.TemporaryDirectory() as made:
            folder = Path(made)
            folder.chmod(0o777)
            (folder / "backups").mkdir()
            (folder / "backups").chmod(0o777)
            common = {"accessModes": ["ReadWriteMany"], "storageClassName": ""}
            capacity, path = {"storage": "1Gi"}, {"path": str(folder)}
            volume = {"kind": "PersistentVolume", "metadata": {"name": name}}
            volume |= {"spec": {**common, "capacity": capacity, "hostPath": path}}
            claimed = {"kind": "PersistentVolumeClaim", "metadata": {"name": claim, "namespace": self.namespace}}
            claimed |= {"spec": {**common, "volumeName": name, "resources": {"requests": capacity}}}
            listed = {
                "apiVersion": "v1",
                "kind": "List",
                "items": [{"apiVersion": "v1", **one} for one in (volume, claimed)],
            }
            self.store.cluster.kubectl("apply", "--filename=-", text=json.dumps(listed))
            try:
                yield folder
            finally:
                self.store.cluster.kubectl("delete", "persistentvolume", name, "--wait=false")

    @contextlib.contextmanager
    def away(self) -> Iterator[None]:
        """The store is not reached meanwhile; what it holds stays."""
        self._select({"app": "nobody"})
        try:
            yield
        finally:
            self._select({"app": "store"})

    def _select(self, labels: dict[str, str]) -> None:
        patch = json.dumps({"spec": {"selector": labels}})
        self.store.cluster.kubectl(
            "patch", "service", "store", "--namespace=storage", "--type=merge", f"--patch={patch}"
        )
