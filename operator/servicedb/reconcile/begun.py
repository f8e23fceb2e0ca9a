"""What goes on where nothing is to be changed: a marker that is up to date, and the end of overlaps."""

from servicedb.errors import Problem
from servicedb.plan.claim import claim
from servicedb.plan.leaving import next_retirement
from servicedb.plan.observed import ServerScan
from servicedb.plan.steps import RoleStep
from servicedb.plan.upkeep import upkeep_at_rest
from servicedb.postgres.apply import Executor
from servicedb.reconcile.work import Work, observe, role_changes


async def see_to_what_has_begun(work: Work) -> float | None:
    """Keep the marker current (who holds the database, what a deletion means) and close the logins whose time has
    come; nothing else. Returns the seconds until the next one's has.

    Raises a Problem where the database is not this object's, or can't be seen to.
    """
    assert work.server.scan is not None
    begun = work.world.now()
    seen = work.server.scan.of(work.wanted.database, also=work.wanted.role_names)
    if _may_be_due(work, seen):
        async with work.admin.locked(work.wanted.database) as connection:
            await work.credentials.read()
            seen = await observe(work, connection)
            if steps := _steps(work, seen):
                await Executor(seen.admin, seen.admin_superuser, work.world.step).roles(connection, steps, {})
                seen = await observe(work, connection)
    return work.world.seconds_until(next_retirement(work.wanted, seen.roles, after=begun))


def _may_be_due(work: Work, seen: ServerScan) -> bool:
    """By a scan that may be old: what speaks for it is seen again, under the lock."""
    try:
        return bool(_steps(work, seen))
    except Problem:
        return True


def _steps(work: Work, seen: ServerScan) -> list[RoleStep]:
    """None where nothing of the database is there yet."""
    if claim(work.wanted, seen, server=work.server.name) is None:
        return []
    return list(upkeep_at_rest(role_changes(work, seen), work.wanted))
