"""One RetentionPolicy: observe, plan, execute, report. The work itself is a Job's; here it is begun and read.

Safe to be killed between any two lines: which Job there has to be follows from what is due, by its name; what a Job did
is read from it again until it stands in the status.
"""

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from servicedb.api.common import HANDLED_LENGTH, RECONCILE_AT
from servicedb.api.retention_policy import RetentionPolicy
from servicedb.errors import Problem, Retryable
from servicedb.kube import events, jobs, resources
from servicedb.kube.client import Json
from servicedb.kube.resources import RETENTION_POLICIES, Key
from servicedb.plan.backups.cron import next_due
from servicedb.plan.backups.pod import job
from servicedb.plan.backups.progress import Ended, at_work, ended, handled_now
from servicedb.plan.conditions import READY, RECONCILING, Finding, of_problem
from servicedb.plan.job_status import waiting_for
from servicedb.plan.retention_due import Due, due, is_too_late
from servicedb.plan.retention_gate import check_alone
from servicedb.plan.retention_standing import (
    LAST_RUN,
    failed_for_good,
    last_run,
    over,
    plan,
    problem_of,
    standing,
    with_problem,
)
from servicedb.plan.retention_standing import (
    ended as found_by,
)
from servicedb.plan.steps import BeginWork, EndWork
from servicedb.reconcile.queue import TryAgain
from servicedb.reconcile.report import begin, report
from servicedb.reconcile.retention_ground import ground, rests_because
from servicedb.reconcile.world import World

_SOON, _LATER = 1.0, 5.0
_YOUNG = timedelta(seconds=30)


@dataclass(slots=True)
class Seen:
    """One look at a policy. `jobs` are its Jobs and `done` those that have ended, the oldest first; `handled` is what
    this look has come to the end of, `missed` says that a run was left out."""

    key: Key
    policy: RetentionPolicy
    world: World
    jobs: list[Json]
    pods: list[Json]
    done: list[Ended]
    next_run: str
    handled: dict[str, Any] = field(default_factory=dict)
    missed: Finding | None = None

    @property
    def latest(self) -> Ended | None:
        return self.done[-1] if self.done else None


async def reconcile(key: Key, world: World) -> float | None:
    """Bring one RetentionPolicy to its spec, and say how its rows stand.

    Raises the Retryable that came in between, after it was reported.
    """
    body = await world.kube.get(key.path)
    if body is None:
        return None
    policy = RetentionPolicy.parse(body)
    if policy.metadata.deletion_timestamp is not None:
        return None
    await begin(world, key, policy)
    try:
        return await _bring(key, policy, world)
    except Problem as problem:
        await report(world, key, policy, of_problem(problem), over=over(policy))
        if isinstance(problem, Retryable):
            raise
        return None


async def _bring(key: Key, policy: RetentionPolicy, world: World) -> float | None:
    spec, now = policy.spec, world.now()
    following = next_due(spec.schedule, spec.time_zone, now)
    check_alone(policy, await _policies_of_the_database(policy, world))
    found = await jobs.owned_by(world.kube, key.namespace, policy.metadata.uid)
    pods = await jobs.owned_by(world.kube, key.namespace, policy.metadata.uid, resources.pods) if found else []
    shown_next = "suspended" if spec.suspend else _shown(following, spec.time_zone)
    seen = Seen(key, policy, world, found, pods, ended(found, pods), shown_next)
    if running := at_work(found):
        await _report_work(seen, dict(running[0]))
        young = now - datetime.fromisoformat(running[0]["metadata"]["creationTimestamp"]) < _YOUNG
        return _SOON if young else _LATER
    run = due(policy, now)
    if run is not None and not _has_ended(seen, run):
        if (why := "spec.suspend is true" if spec.suspend else await rests_because(policy, world)) is not None:
            await _report(seen, [Finding(RECONCILING, "False", "Suspended", why)])
            return None
        if not is_too_late(policy, run, now):
            return await _carry_out(seen, run)
        _leave_out(seen, run)
    elif run is not None:
        seen.handled |= run.handled
    await _report(seen, [])
    kept = await _forget_old(seen)
    return _next_look(world, following if not spec.suspend else None, kept)


async def _policies_of_the_database(policy: RetentionPolicy, world: World) -> list[Json]:
    """All RetentionPolicies for the same database, from the API server itself: nobody may be too late."""
    path = resources.collection_in(policy.metadata.namespace, RETENTION_POLICIES)
    selector = f"spec.databaseRef.name={policy.spec.database_ref.name}"
    return [one async for one in world.kube.list(path, fieldSelector=selector)]


def _has_ended(seen: Seen, run: Due) -> bool:
    """Whether the run has come to its end: one that is to be tried again has not, until it is too late for that."""
    mine = next((one for one in seen.done if one.name == run.name), None)
    if mine is None:
        return False
    again = isinstance(problem_of(mine), Retryable) and not is_too_late(seen.policy, run, seen.world.now())
    return not again


async def _carry_out(seen: Seen, run: Due) -> float | None:
    """Begin the run, or have it begun again where it is to be tried again. Raises the Retryable that is in its way."""
    failed = next((one for one in seen.done if one.name == run.name), None)
    if failed is not None:
        problem = problem_of(failed)
        assert problem is not None
        await _report(seen, [Finding(RECONCILING, "True", problem.reason, problem.message)])
        seen.world.step(EndWork("it is to be tried again", failed.name))
        await jobs.delete(seen.world.kube, dict(failed.job))
        raise TryAgain from problem
    try:
        task = await ground(seen.policy, run.name, seen.world)
    except Retryable as problem:
        await _report(seen, with_problem([], problem))
        raise TryAgain from problem
    seen.world.step(BeginWork("it is due", run.name))
    await _report_work(seen, await jobs.create(seen.world.kube, job(task, run.name)))
    return _SOON


def _leave_out(seen: Seen, run: Due) -> None:
    """It was not begun in time: said once, and waited for no more. A time that came while runs rested goes by."""
    seen.handled |= run.handled
    assert run.time is not None
    at = f"{run.time:%Y-%m-%d %H:%M %Z}"
    waited = next((one for one in seen.policy.status.conditions if one.type == RECONCILING), None)
    if waited is not None and waited.reason == "Suspended":
        return
    why = f"; what it waited for: {waited.message}" if waited is not None and waited.message else ""
    message = (
        f"the run of {at} could not begin within {seen.policy.spec.starting_deadline} (spec.startingDeadline) and is "
        f"left out{why}"
    )
    seen.missed = Finding(LAST_RUN, "False", "RunMissed", message)


async def _report_work(seen: Seen, current: Json) -> None:
    name = current["metadata"]["name"]
    fields = {"job": {"name": name}, "nextRun": seen.next_run, **_handled(seen)}
    of_job = [one for one in seen.pods if _of(one, current)]
    found = standing(seen.policy, [], seen.next_run)
    if (waiting := waiting_for(of_job)) is not None:
        message = f'the pod of Job "{name}" can\'t begin: {waiting}'
        told = {one.type: one for one in found} | {
            READY: Finding(READY, "False", "PodWaiting", message),
            RECONCILING: Finding(RECONCILING, "True", "PodWaiting", message),
        }
        found = list(told.values())
    await report(seen.world, seen.key, seen.policy, found, fields, over=over(seen.policy))


async def _report(seen: Seen, beside: list[Finding]) -> None:
    """What the latest run has come to, as long as its Job is there, and what stood before."""
    policy, latest = seen.policy, seen.latest
    told = found_by(latest) if latest is not None else []
    if seen.missed is not None:
        told = [one for one in told if one.type != LAST_RUN] + [seen.missed]
    found = {one.type: one for one in (*standing(policy, told, seen.next_run), *beside)}
    if latest is not None and (stalled := failed_for_good(latest)) is not None and not beside:
        found[stalled.type] = stalled
    fields: dict[str, Any] = {"nextRun": seen.next_run, **_handled(seen)}
    if latest is not None:
        fields["job"] = {"name": latest.name}
        fields |= {"plan": plan(latest)} if _was_plan(latest) else {"lastRun": last_run(latest)}
    elif policy.status.job is not None:
        fields["job"] = None
    await report(seen.world, seen.key, policy, list(found.values()), fields, over=over(policy))
    await _tell(seen, fields.get("lastRun"))


async def _tell(seen: Seen, run: dict[str, Any] | None) -> None:
    """An event for each run that has come to its end."""
    before = seen.policy.status.last_run
    if run is None or seen.latest is None or (before is not None and before.as_json() == run):
        return
    problem = problem_of(seen.latest)
    done = f"{run['archivedRows']} rows archived, {run['deletedRows']} deleted"
    await events.post(
        seen.world.kube,
        seen.key,
        seen.policy.metadata.uid,
        warning=problem is not None,
        reason=problem.reason if problem is not None else "Retained",
        message=f"{done}: {problem.message}" if problem is not None else done,
    )


async def _forget_old(seen: Seen) -> datetime | None:
    """Delete Jobs that were kept for long enough; gives when the next is to go. What they did stands in the status."""
    ttl = seen.policy.spec.job.ttl.timedelta
    kept = []
    for one in seen.done:
        if one.at + ttl > seen.world.now():
            kept.append(one.at + ttl)
        else:
            seen.world.step(EndWork("it was kept for long enough", one.name))
            await jobs.delete(seen.world.kube, dict(one.job))
    return min(kept, default=None)


def _handled(seen: Seen) -> dict[str, Any]:
    value = seen.policy.metadata.annotations.get(RECONCILE_AT)
    now = dict(seen.handled) | ({"reconcileAt": value[:HANDLED_LENGTH]} if value is not None else {})
    before = seen.policy.status.handled.as_json()
    return {"handled": handled_now(before, before | now)} if before | now else {}


def _next_look(world: World, *times: datetime | None) -> float | None:
    seconds = world.seconds_until(*times)
    return max(1.0, seconds) if seconds is not None else None


def _was_plan(run: Ended) -> bool:
    containers = run.job["spec"]["template"]["spec"]["containers"]
    return list(containers[0].get("args") or ())[:2] == ["retain", "plan"]


def _of(pod: Json, current: Json) -> bool:
    labels = pod["metadata"].get("labels") or {}
    return bool(labels.get("batch.kubernetes.io/controller-uid") == current["metadata"]["uid"])


def _shown(time: datetime | None, time_zone: str) -> str:
    return time.astimezone(ZoneInfo(time_zone)).isoformat(timespec="minutes") if time is not None else "never"
