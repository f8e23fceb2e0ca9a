"""deletion.policy Delete of a BackupSchedule: a backup whose object a person deletes is deleted by a Job.

The wish is known from the watch, and from nowhere else: an operator that is killed before it has made the Job forgets
it. The backup stays then, its object comes back with the next list, and is deleted once more.
"""

from collections.abc import Mapping
from typing import Any, Final

from servicedb.errors import Problem
from servicedb.kube import events, resources
from servicedb.kube.resources import BACKUP_SCHEDULES, DATABASE_BACKUPS, Key
from servicedb.plan.backups.command import MOST_PRUNED
from servicedb.plan.backups.command import delete as command
from servicedb.plan.backups.deletion import PAUSE, Wish, granted, wish_of
from servicedb.plan.backups.held import pinned_keys, verified_keys
from servicedb.plan.backups.location import locations
from servicedb.plan.backups.pod import KEYS, PLACE, Task, hashed_name, job
from servicedb.plan.backups.progress import Ended, is_at
from servicedb.reconcile.backup_observe import Outcome, Seen
from servicedb.reconcile.backup_prune import keys_that_are_read
from servicedb.reconcile.job_ground import image
from servicedb.reconcile.world import World

DELETE: Final = "delete"


def note_deleted(world: World, key: Key, body: Mapping[str, Any]) -> None:
    """Remember that an object was deleted just now, where that may mean its backup."""
    if key.plural == DATABASE_BACKUPS and (wish := wish_of(body, world.now())) is not None:
        schedule = Key(BACKUP_SCHEDULES, key.namespace, wish.schedule)
        world.wishes.setdefault(schedule, []).append(wish)
        world.enqueue(schedule)


async def delete(seen: Seen) -> Outcome:
    """Delete the backups whose objects were deleted, in all places; what is the last of its kind stays.

    A Job stays until a list has begun after its end: until then it is what says that the backup's object is not to come
    back, and what was kept gets its object by the list.
    """
    problems = list[Problem]()
    for one in [each for each in seen.done if each.work == DELETE]:
        if (problem := one.told.problem) is not None:
            problems.append(type(problem)(problem.reason, f"a backup could not be deleted: {problem.message}"))
        if _is_over(seen, one):
            await _tell(seen, one)
            await seen.drop(one)
    wishes = granted(seen.world.wishes.get(seen.key, ()), seen.schedule, seen.in_namespace)
    if not wishes:
        seen.world.wishes.pop(seen.key, None)
        return Outcome(problems=problems)
    if waits := [one.at + PAUSE for one in wishes if one.at + PAUSE > seen.world.now()]:
        return Outcome(again=[max(waits)], problems=problems)
    if await _is_theirs_alone(seen) and not is_at(seen.jobs, "list"):
        begun = wishes[:MOST_PRUNED]
        await _begin(seen, begun)
        # Others may have come meanwhile.
        seen.world.wishes[seen.key] = [one for one in seen.world.wishes.get(seen.key, ()) if one not in begun]
    return Outcome(problems=problems)


def _is_over(seen: Seen, one: Ended) -> bool:
    """Whether a list was made since. One that failed is kept for its log, and said for as long."""
    listed_at = seen.schedule.status.handled.listed_at
    kept = one.told.problem is not None and seen.world.now() - one.at < seen.schedule.spec.job.ttl.timedelta
    return listed_at is not None and one.at < listed_at and not kept


async def _is_theirs_alone(seen: Seen) -> bool:
    """Whether neither the namespace nor the kind is going: then the objects went with them, and all wishes are void."""
    namespace = await seen.world.namespace(seen.key.namespace, fresh=True)
    crd = await seen.world.kube.get(resources.crd(DATABASE_BACKUPS))
    stays = namespace is not None and not namespace.terminating
    stays = stays and crd is not None and "deletionTimestamp" not in crd["metadata"]
    if not stays:
        seen.world.wishes.pop(seen.key, None)
    return stays


async def _begin(seen: Seen, wishes: list[Wish]) -> None:
    spec, metadata = seen.schedule.spec, seen.schedule.metadata
    keys = sorted({one.key for one in wishes})
    at = max(one.at for one in wishes).isoformat()
    held = pinned_keys(one.backup for one in wishes) | pinned_keys(seen.in_namespace) | await keys_that_are_read(seen)
    verified = verified_keys([*seen.in_namespace, *(one.backup for one in wishes)])
    for number, place in enumerate(locations(spec, "Prune")):
        name = hashed_name(metadata.name, metadata.uid, DELETE, str(number), at, *keys)
        task = Task(
            work="delete",
            owner=seen.owner,
            arguments=command(place, keys, verified=sorted(verified), pinned=sorted(held)),
            image=await image(seen.world),
            settings=spec.job,
            deadline=spec.deadline,
            locations=[place],
            notes={PLACE: str(number), KEYS: "\n".join(keys)},
        )
        if seen.job(name) is None:
            await seen.make(job(task, name))


async def _tell(seen: Seen, one: Ended) -> None:
    """Say what was not deleted, and why."""
    uid = seen.schedule.metadata.uid
    for words in one.told.lines("refused", MOST_PRUNED):
        await events.post(seen.world.kube, seen.key, uid, warning=True, reason="BackupKept", message=words)
