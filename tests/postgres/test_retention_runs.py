"""Runs of a RetentionPolicy as the operator begins, reads and leaves them out; what their pods say is made up here."""

import json
from datetime import timedelta
from typing import Any

import pytest
from servicedb.kube import resources
from servicedb.kube.client import Json
from servicedb.kube.resources import Key
from servicedb.plan.backups.cron import next_due
from servicedb.reconcile import retention
from servicedb.reconcile.queue import TryAgain
from servicedb.settings import Settings

from tests.postgres.asking import POLICIES
from tests.postgres.conftest import as_admin, on_versions
from tests.postgres.objects import NAMESPACE
from tests.postgres.provision import Operator, Site, key_of

DAILY = "0 2 * * *"
RULE = {"table": "public.sessions", "column": "at", "deleteAfter": "1d", "archive": False}
WELL = {"outcome": "Succeeded", "reason": "", "message": "", "rules": [{"table": "public.sessions", "deletedRows": 7}]}
STORE_AWAY = {"outcome": "Retryable", "reason": "StorageUnreachable", "message": "the store does not answer"}


class Runs:
    """A policy, and the Jobs that are made for it."""

    def __init__(self, site: Site, database: str, operator: Operator) -> None:
        self.site, self.operator, self.name = site, operator, key_of(database).name
        self.key = Key(POLICIES, NAMESPACE, f"daily-{self.name}")

    def want(self, run_at: str | None = None, **spec: Any) -> None:
        metadata = {
            "name": self.key.name,
            "namespace": NAMESPACE,
            "creationTimestamp": "2026-01-01T00:00:00Z",
            "annotations": {"servicedb.io/run-at": run_at} if run_at is not None else {},
        }
        whole = {"databaseRef": {"name": self.name}, "schedule": DAILY, "rules": [RULE], **spec}
        self.site.objects.put(self.key.path, {"metadata": metadata, "spec": whole})

    def let_it_be(self, after: timedelta) -> None:
        """Let the clock go ahead until so long after the next time of the schedule."""
        now = self.operator.world.now()
        due = next_due(DAILY, "Etc/UTC", now)
        assert due is not None
        self.operator.let_pass(due - now + after)

    async def look(self) -> dict[str, tuple[str, str]]:
        """Status and reason of each condition after one more look."""
        await retention.reconcile(self.key, self.operator.world)
        return self.conditions

    async def look_in_vain(self) -> dict[str, tuple[str, str]]:
        with pytest.raises(TryAgain):
            await retention.reconcile(self.key, self.operator.world)
        return self.conditions

    @property
    def status(self) -> Json:
        found: Json = self.site.objects.read()[self.key.path]["status"]
        return found

    @property
    def conditions(self) -> dict[str, tuple[str, str]]:
        return {one["type"]: (one["status"], one["reason"]) for one in self.status["conditions"]}

    def message(self, kind: str) -> str:
        return next(str(one["message"]) for one in self.status["conditions"] if one["type"] == kind)

    @property
    def jobs(self) -> list[Json]:
        place = resources.jobs(NAMESPACE)
        return [one for path, one in self.site.objects.read().items() if path.startswith(f"{place}/")]

    def end(self, told: Json) -> None:
        """The pod of the one Job leaves a message, and the Job has ended."""
        (job,) = self.jobs
        metadata, objects = job["metadata"], self.site.objects
        at = self.operator.world.now().strftime("%Y-%m-%dT%H:%M:%SZ")
        kind = "Complete" if told["outcome"] == "Succeeded" else "Failed"
        ended = {"conditions": [{"type": kind, "status": "True", "lastTransitionTime": at}]}
        objects.put(resources.job(NAMESPACE, metadata["name"]), {**job, "status": ended})
        labels = {"batch.kubernetes.io/controller-uid": metadata["uid"]}
        state = {"state": {"terminated": {"exitCode": 0, "message": json.dumps(told)}}}
        pod = {"metadata": {"name": metadata["name"], "labels": labels}, "status": {"containerStatuses": [state]}}
        objects.put(f"{resources.pods(NAMESPACE)}/{metadata['name']}", pod)


@on_versions(16)
@as_admin("createrole")
async def test_a_run_waits_is_left_out_tried_again_and_passed_over_where_it_rests(site: Site, database: str) -> None:
    site.provision(database)
    async with Operator(site.objects, settings=Settings(job_image="of-a-test")) as operator:
        runs = Runs(site, database, operator)
        runs.let_it_be(timedelta(hours=1))
        runs.want(requireBackup={"scheduleRef": {"name": "nightly"}})
        await operator.bring(database)

        # Without a backup nothing begins, and in the end the run is left out, with what it waited for.
        assert (await runs.look_in_vain())["Ready"] == ("False", "BackupTooOld")
        operator.let_pass(timedelta(hours=6))
        assert (await runs.look())["LastRunSucceeded"] == ("False", "RunMissed")
        assert "what it waited for: spec.requireBackup asks for a backup" in runs.message("LastRunSucceeded")
        assert runs.jobs == []
        assert "Reconciling" not in await runs.look()

        # What may pass is tried again, under the same name.
        runs.want(run_at="now")
        await runs.look()
        first = [job["metadata"]["name"] for job in runs.jobs]
        runs.end(STORE_AWAY)
        assert (await runs.look_in_vain())["LastRunSucceeded"] == ("False", "StorageUnreachable")
        assert runs.jobs == []
        await runs.look()
        assert [job["metadata"]["name"] for job in runs.jobs] == first
        runs.end(WELL)
        assert (await runs.look())["Ready"] == ("True", "Ready")
        assert runs.status["lastRun"]["deletedRows"] == 7
        told = [one["reason"] for one in site.objects.read().values() if "reason" in one]
        await runs.look()
        assert [one["reason"] for one in site.objects.read().values() if "reason" in one] == told
        assert "Retained" in told

        # Times that come while it is suspended are nobody's fault.
        runs.want(run_at="now", suspend=True)
        runs.let_it_be(timedelta(hours=7))
        assert (await runs.look())["Reconciling"] == ("False", "Suspended")
        runs.want(run_at="now")
        assert (await runs.look())["LastRunSucceeded"] == ("True", "Retained")
        runs.let_it_be(timedelta(hours=1))
        await runs.look()
        assert len([job for job in runs.jobs if job["metadata"]["name"] not in first]) == 1
