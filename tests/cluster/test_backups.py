"""Backups in Kubernetes: real Jobs, real pods, a PostgreSQL server and an S3-compatible store that the pods reach."""

from typing import Any, Final

import pyrage
import pytest
from servicedb.plan.steps import BACKUP

from tests.cluster.harness import docker, store
from tests.cluster.harness.cluster import Cluster
from tests.cluster.objects import condition, wait_for
from tests.cluster.operator_process import Point, restarting
from tests.cluster.shop import Shop, inline
from tests.cluster.vault import KEYS, PATIENCE, Vault

ROWS: Final = 1000


@pytest.fixture(scope="module")
def vault(shop: Shop, cluster: Cluster) -> Vault:
    return Vault.of(shop, store.ensure(cluster))


def test_a_schedule_backs_up_by_time_and_out_of_turn_and_prunes_what_it_does_not_keep(vault: Vault) -> None:
    vault.shop.provision("orders")
    vault.fill("orders", ROWS)
    changes = {
        "spec.schedule": "* * * * *",
        "spec.spread": "0s",
        "spec.retention": {"keepLast": 1},
        "spec.objectives": {"recoveryPoint": "1h"},
    }
    vault.schedule("each-minute", "orders", changes)
    (first,) = vault.wait_for_entries("each-minute", 1)
    assert first["status"]["rows"] == ROWS
    assert first["spec"]["databaseRef"] == {"name": "orders"}
    vault.change("BackupSchedule", "each-minute", {"spec": {"suspend": True}})
    vault.run_now("each-minute")

    def another() -> bool:
        keys = {one["status"]["key"] for one in vault.entries("each-minute")}
        return len(keys) == 1 and first["status"]["key"] not in keys

    vault.change("BackupSchedule", "each-minute", {"spec": {"suspend": False, "schedule": "0 0 29 2 *"}})
    wait_for("the first one pruned after the second", another, within=PATIENCE, told=vault.told)
    vault.wait("BackupSchedule", "each-minute", of="LastPruneSucceeded", status="True")

    def counted() -> bool:
        status = vault.get("BackupSchedule", "each-minute")["status"]
        return (status["backups"], len(vault.entries("each-minute"))) == (1, 1)

    wait_for("one backup in the status", counted, within=PATIENCE, told=vault.told)
    found = vault.get("BackupSchedule", "each-minute")
    assert (condition(found, "RecoveryPointMet") or {})["status"] == "True"
    assert found["status"]["nextRun"].endswith("-02-29T00:00+00:00")


def test_a_backup_goes_with_its_object_where_the_schedule_says_so_and_the_newest_never_does(vault: Vault) -> None:
    vault.shop.provision("bills")
    vault.fill("bills", ROWS)
    vault.schedule("deleting", "bills", {"spec.deletion": {"policy": "Delete"}})
    for count in (1, 2):
        vault.run_now("deleting")
        vault.wait_for_entries("deleting", count)
    older, newest = vault.wait_for_entries("deleting", 2)
    for one in (older, newest):
        vault.objects.delete("DatabaseBackup", one["metadata"]["name"], vault.namespace)

    def kept() -> list[str]:
        events = vault.objects.listed("Event", vault.namespace)
        return [one["message"] for one in events if one["reason"] == "BackupKept"]

    wait_for("a word about the newest", lambda: kept() != [], within=PATIENCE, told=vault.told)
    (words,) = kept()
    assert words.startswith(f"backup {newest['status']['key']} stays: newest")
    (back,) = vault.wait_for_entries("deleting", 1)
    assert back["status"]["key"] == newest["status"]["key"]
    assert vault.stored_keys("deleting") == {newest["status"]["key"]}


def test_what_was_ordered_is_restored_into_a_new_database(vault: Vault) -> None:
    vault.shop.provision("stock")
    vault.fill("stock", ROWS)
    vault.order("before-release", "stock")
    backup = vault.wait("DatabaseBackup", "before-release", status="True", reason="Stored")
    assert (condition(backup, "Succeeded") or {})["status"] == "True"
    vault.shop.provision("stock-again")
    vault.restore("again", "before-release", "stock-again")
    restored = vault.wait("DatabaseRestore", "again", of="Succeeded", status="True")
    assert restored["status"]["rows"] == ROWS
    assert restored["status"].get("mismatches", []) == []
    vault.shop.tenant.wait_ready("stock-again")
    with vault.shop.tenant.log_in("stock-again-app") as app:
        assert app.execute("SELECT count(*), count(DISTINCT name) FROM items").fetchone() == (ROWS, ROWS)


@pytest.mark.skipif(docker.usable(), reason="kind runs the cluster: its processes are in a container")
def test_a_copy_of_what_is_on_a_volume_is_restored_in_the_place_of_what_is_there_and_once(
    vault: Vault,
) -> None:
    vault.shop.provision("drawers")
    vault.fill("drawers", ROWS)
    with vault.volume("shelf") as folder:
        copies = [{"name": "far", **vault.storage("far")}]
        vault.schedule("on-a-volume", "drawers", {"spec.storage": on_volume("shelf"), "spec.copies": copies})
        vault.run_now("on-a-volume")
        (entry,) = vault.wait_for_entries("on-a-volume", 1)
        key = entry["status"]["key"]
        assert (folder / "backups" / key).is_file()
        assert vault.stored_keys("far") == {key}
        vault.wait("BackupSchedule", "on-a-volume", status="True")
        vault.change("BackupSchedule", "on-a-volume", {"spec": {"suspend": True}})
    with vault.shop.tenant.log_in("drawers-app") as app:
        app.execute("DELETE FROM items")
    source = {"key": key, "storage": vault.storage("far")}
    in_place = {"spec.source": source, "spec.overwrite": "RenameOld"}
    vault.restore("back", "", "drawers", in_place)
    restored = vault.wait("DatabaseRestore", "back", of="Succeeded", status="True")
    assert (restored["status"]["rows"], restored["status"].get("mismatches", [])) == (ROWS, [])
    vault.shop.tenant.wait_ready("drawers")
    with vault.shop.tenant.log_in("drawers-app") as app:
        assert app.execute("SELECT count(*) FROM items").fetchone() == (ROWS,)
        app.execute("INSERT INTO items VALUES (0, 'since then')")
    with vault.shop.tenant.server.connect() as connection:
        kept = connection.execute(r"SELECT count(*) FROM pg_database WHERE datname LIKE '%drawers\_old\_%'").fetchone()
    assert kept == (1,)
    vault.objects.delete("DatabaseRestore", "back", vault.namespace)
    vault.restore("back", "", "drawers", in_place)
    vault.wait("DatabaseRestore", "back", of="Succeeded", status="True", reason="AlreadyDone")
    with vault.shop.tenant.log_in("drawers-app") as app:
        assert app.execute("SELECT count(*) FROM items").fetchone() == (ROWS + 1,)


def on_volume(claim: str) -> dict[str, Any]:
    return {"volume": {"claimName": claim, "path": "backups"}}


def test_wrong_keys_are_told_and_corrected_ones_are_used(vault: Vault) -> None:
    vault.shop.provision("carts")
    wrong = {name: value.decode() for name, value in vault.store.credentials.items()}
    vault.shop.tenant.add_secret("wrong", wrong | {"AWS_SECRET_ACCESS_KEY": "x" * 40})
    vault.schedule("nightly", "carts", {"spec.storage": vault.storage("nightly", "wrong")})
    vault.run_now("nightly")
    for kind in ("Ready", "LastBackupSucceeded", "StorageReachable"):
        refused = vault.wait("BackupSchedule", "nightly", of=kind, status="False", reason="StorageRefused")
    assert "lastSuccess" not in refused["status"]
    vault.change("BackupSchedule", "nightly", {"spec": {"storage": {"s3": {"writeSecretRef": {"name": KEYS}}}}})
    vault.run_now("nightly")
    vault.wait("BackupSchedule", "nightly", status="True")
    assert len(vault.entries("nightly")) == 1


def test_a_backup_is_encrypted_verified_by_schedule_and_its_scratch_database_is_gone(vault: Vault) -> None:
    identity = pyrage.x25519.Identity.generate()
    vault.shop.tenant.add_secret("identity", {"identity": str(identity)})
    vault.shop.provision("ledger")
    vault.fill("ledger", ROWS)
    count = {"name": "rows", "sql": "SELECT count(*) FROM public.items", "expect": str(ROWS)}
    changes = {
        "spec.encryption": {
            "ageRecipients": [str(identity.to_public())],
            "identitySecretRef": {"name": "identity"},
        },
        "spec.verify": {
            "schedule": "* * * * *",
            "serverRef": {"name": vault.shop.tenant.name},
            "allowSameServer": True,
            "assertions": [count],
        },
    }
    vault.schedule("verified", "ledger", changes)
    vault.run_now("verified")
    (entry,) = vault.wait_for_entries("verified", 1)
    vault.wait("DatabaseBackup", entry["metadata"]["name"], of="Verified", status="True")
    found = vault.wait("BackupSchedule", "verified", of="LastVerifySucceeded", status="True")
    assert (condition(found, "KeyUsable") or {})["status"] == "True"
    assert found["status"]["measuredRecovery"]
    vault.change("BackupSchedule", "verified", {"spec": {"verify": None}})
    wait_for("the end of the scratch databases", lambda: scratch_databases(vault) == [], within=PATIENCE)


def test_a_store_that_was_away_is_used_again_and_an_operator_that_was_killed_goes_on(vault: Vault) -> None:
    vault.shop.provision("parcels")
    vault.fill("parcels", ROWS)
    with vault.away():
        vault.order("patient", "parcels")
        vault.wait("DatabaseBackup", "patient", of="Reconciling", status="True", reason="BackingUp")
        vault.shop.operator.kill()
    vault.shop.operator.start()
    backup = vault.wait("DatabaseBackup", "patient", status="True", reason="Stored")
    assert backup["status"]["rows"] == ROWS


def scratch_databases(vault: Vault) -> list[str]:
    with vault.shop.tenant.server.connect() as connection:
        rows = connection.execute("SELECT datname FROM pg_database WHERE datname LIKE 'servicedb_scratch%'").fetchall()
    return [str(name) for (name,) in rows]


def test_a_migration_waits_for_the_backup_that_it_asks_for(vault: Vault) -> None:
    vault.shop.provision("shelves")
    vault.fill("shelves", ROWS)
    vault.schedule("before-migrations", "shelves")
    changes = {
        "spec.source": inline({"V1__more.sql": "ALTER TABLE items ADD COLUMN weight integer;"}),
        "spec.requireBackup": {"scheduleRef": {"name": "before-migrations"}, "maxAge": "1h"},
    }
    vault.shop.migrate("shelves", "shelves", changes)
    migrated = vault.shop.wait("shelves", status="True", reason="Ready")
    (backup,) = vault.wait_for_entries("before-migrations", 1)
    assert backup["status"]["rows"] == ROWS
    assert backup["status"]["completedAt"] <= migrated["status"]["startedAt"]


def test_an_operator_that_is_killed_at_any_step_goes_on_and_loses_no_backup(vault: Vault) -> None:
    """One schedule, which goes through every kind of step; the operator is started again after each kill."""
    operator, name = vault.shop.operator, "killed"
    vault.shop.provision("wagons")
    vault.shop.provision("wheels")
    vault.fill("wagons", ROWS)
    operator.kill()
    armed = {step: operator.arm(Point(f"backupschedules/{vault.namespace}/{name}", step.__name__)) for step in BACKUP}
    operator.start()
    verify = {"schedule": "* * * * *", "serverRef": {"name": vault.shop.tenant.name}, "allowSameServer": True}
    both = [{"name": "wagons"}, {"name": "wheels"}]
    vault.schedule(name, "wagons", {"spec.databaseRefs": both, "spec.retention": {"keepLast": 1}})
    with restarting(operator):
        vault.run_now(name)
        vault.wait_for_entries(name, 2)
        vault.change("BackupSchedule", name, {"spec": {"verify": verify}})
        vault.wait("BackupSchedule", name, of="LastVerifySucceeded", status="True")
        vault.change("BackupSchedule", name, {"spec": {"verify": None, "parallel": 1, "databaseRefs": both[:1]}})
        vault.run_now(name)
        second = vault.wait_for_entries(name, 3)[-1]["status"]["key"]
        vault.run_now(name)
        # The first one was verified, and so stays: it is the second that the third one pushes out.
        wait_for(
            "the end of the second backup",
            lambda: second not in {one["status"]["key"] for one in vault.entries(name)},
            within=PATIENCE,
            told=vault.told,
        )
        wait_for("all steps", lambda: all(map(operator.was_hit, armed.values())), within=PATIENCE, told=vault.told)
    assert {step.__name__ for step, point in armed.items() if not operator.was_hit(point)} == set()
    found = vault.wait("BackupSchedule", name, status="True")
    assert [one["name"] for one in found["status"]["databases"]] == ["wagons"]
    owned = [job["metadata"]["name"] for job in vault.objects.listed("CronJob", vault.namespace)]
    assert len([one for one in owned if one.startswith("wheels-")]) == 0
