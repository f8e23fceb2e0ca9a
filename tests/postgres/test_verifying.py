"""Verifications of a BackupSchedule, begun on a real server."""

from typing import Any

from servicedb.api.backup_schedule import BackupSchedule
from servicedb.kube.client import Json
from servicedb.kube.resources import Key
from servicedb.plan.backups.pod import DATABASE
from servicedb.plan.scratch import Scratch
from servicedb.reconcile.backup_observe import Seen, observe
from servicedb.reconcile.backup_verify import verify
from servicedb.reconcile.scratch import give_up_scratch
from servicedb.settings import Settings

from tests.postgres.conftest import as_admin, on_versions
from tests.postgres.objects import NAMESPACE
from tests.postgres.provision import Operator, Site

SCHEDULE = Key("backupschedules", NAMESPACE, "nightly")
MADE = "2026-03-01T12:00:00Z"
STORAGE: Json = {"s3": {"bucket": "backups", "writeSecretRef": {"name": "backups"}}}
VERIFY: Json = {"schedule": "* * * * *", "serverRef": {"name": "main"}, "maxSize": "1Mi"}


def schedule(site: Site, *databases: str, verify: Json = VERIFY, status: Json | None = None) -> None:
    spec = {
        "databaseRefs": [{"name": name} for name in databases],
        "schedule": "0 2 * * *",
        "storage": STORAGE,
        "verify": verify,
    }
    metadata = {"name": SCHEDULE.name, "namespace": NAMESPACE, "creationTimestamp": MADE}
    site.objects.put(SCHEDULE.path, {"metadata": metadata, "spec": spec, "status": status or {}})


def backup(site: Site, database: str, *, raw_bytes: int) -> None:
    key = Key("databasebackups", NAMESPACE, f"{database}-1")
    spec = {
        "key": f"1-1/20260301T120000Z-0000000{len(database)}/manifest.json",
        "databaseRef": {"name": database},
        "scheduleRef": {"name": SCHEDULE.name},
        "storage": STORAGE,
    }
    ready = {"type": "Ready", "status": "True", "reason": "Stored", "message": "", "lastTransitionTime": MADE}
    status = {"conditions": [ready], "startedAt": MADE, "rawBytes": raw_bytes}
    metadata = {"name": key.name, "namespace": NAMESPACE}
    site.objects.put(key.path, {"metadata": metadata, "spec": spec, "status": status})


async def looked(operator: Operator) -> Seen:
    body = operator.objects.read()[SCHEDULE.path]
    return await observe(SCHEDULE, BackupSchedule.parse(body), operator.world)


def verified(seen: Seen) -> list[Any]:
    return [one["metadata"]["annotations"][DATABASE] for one in seen.jobs]


@on_versions(16)
@as_admin("createrole")
async def test_a_backup_that_is_too_large_keeps_no_other_from_being_verified(site: Site) -> None:
    schedule(site, "huge", "small")
    backup(site, "huge", raw_bytes=2**40)
    backup(site, "small", raw_bytes=10)
    async with Operator(site.objects, settings=Settings(job_image="servicedb")) as operator:
        await operator.look()
        seen = await looked(operator)
        outcome = await verify(seen)
        assert verified(seen) == ["small"]
        assert not outcome.handled
        assert {name: (one.reason, one.terminal) for name, one in seen.not_begun.items()} == {
            "huge": ("BackupTooLarge", True)
        }
        give_up_scratch(operator.world, Scratch("main", NAMESPACE, seen.jobs[0]["metadata"]["name"]))
        await operator.look()


@on_versions(16)
@as_admin("createrole")
async def test_a_verification_that_could_not_be_begun_is_when_its_spec_was_corrected(site: Site) -> None:
    schedule(site, "huge")
    backup(site, "huge", raw_bytes=2**40)
    async with Operator(site.objects, settings=Settings(job_image="servicedb")) as operator:
        await operator.look()
        seen = await looked(operator)
        await verify(seen)
        failure = seen.not_begun["huge"]
        told: Json = {"databases": [{"name": "huge", "verifyFailure": failure.as_json()}]}
        schedule(site, "huge", status=told)
        again = await looked(operator)
        outcome = await verify(again)
        assert again.not_begun == {"huge": failure}  # at the same moment as before: nothing to write
        assert not outcome.handled
        schedule(site, "huge", verify={**VERIFY, "maxSize": "2048Gi"}, status=told)
        seen = await looked(operator)
        await verify(seen)
        assert verified(seen) == ["huge"]
        give_up_scratch(operator.world, Scratch("main", NAMESPACE, seen.jobs[0]["metadata"]["name"]))
        await operator.look()
