"""driftPolicy Report: what differs from a spec that has been carried out is listed, and stays as it is."""

from servicedb.errors import Problem, Terminal
from servicedb.plan.observed import ServerScan
from servicedb.plan.steps import RoleStep, Step
from servicedb.plan.upkeep import upkeep
from servicedb.postgres.apply import Executor
from servicedb.postgres.session import Session
from servicedb.reconcile.departure import let_go
from servicedb.reconcile.inside import look_inside, needed_inside
from servicedb.reconcile.work import Outcome, Work, database_changes, not_entered, note_look, observe, role_changes


async def list_drift(work: Work) -> Outcome:
    """Under the lock, since rotations, the end of overlaps and departures go on. What keeps a login from being proved
    stands in the outcome's `problem`, so that the differences, one of which may be the cause, are told with it."""
    done: list[Step] = []
    async with work.admin.locked(work.wanted.database) as connection:
        await work.credentials.read()
        seen = await observe(work, connection)
        execute = Executor(seen.admin, seen.admin_superuser, work.world.step)
        done += await work.credentials.prepare(seen.roles)
        done += await _keep_up(work, connection, seen, execute)
        if {*role_changes(work, seen), *database_changes(work, seen)} - {*done}:
            work.credentials.forget_proofs()  # any of it may keep a login from working
        problem = await _prove(work, connection, seen, done)
        seen = await observe(work, connection)
        if following := await _keep_up(work, connection, seen, execute):
            done += following
            seen = await observe(work, connection)
        departed = await let_go(work.wanted, work.credentials, connection, seen, execute)
        work.unfinished.extend(departed.staying)
        if departed.steps:
            done += departed.steps
            seen = await observe(work, connection)
        left: dict[Step, str] = dict.fromkeys((*role_changes(work, seen), *database_changes(work, seen)), "")
        notes: tuple[str, ...] = ()
        awaited: tuple[str, ...] = ()
        isolation: tuple[str, ...] | None = None
        if seen.databases[work.wanted.database].enterable:
            async with work.admin.inside(work.wanted.database) as inside:
                look = await look_inside(inside, work.wanted, seen, server=work.server.name)
            needed = needed_inside(work.wanted, look, seen)
            left |= dict.fromkeys(needed.steps, "")
            notes, awaited, isolation = needed.notes, needed.awaited, needed.isolation
            if needed.refusal is not None:
                notes = (*notes, needed.refusal.message)
        else:
            notes = (not_entered(work),)
    note_look(work, seen, awaited, isolation)
    return Outcome(seen, tuple(done), left, (*_passwords(work), *notes), awaited, problem, isolation)


async def _keep_up(work: Work, connection: Session, seen: ServerScan, execute: Executor) -> list[RoleStep]:
    steps = list(upkeep(role_changes(work, seen), work.wanted))
    if steps:
        await execute.roles(connection, steps, work.credentials.pending_passwords())
    return steps


async def _prove(work: Work, connection: Session, seen: ServerScan, done: list[Step]) -> Problem | None:
    try:
        done += await work.credentials.prove_and_activate(connection, seen.roles)
    except Problem as problem:
        words = f"{problem.message}; what was changed by hand stands in status.drift"
        return type(problem)(problem.reason, words, condition=problem.condition, ready=problem.ready)
    if work.credentials.refused:
        names = ", ".join(sorted(work.credentials.refused))
        return Terminal(
            "LoginRefused",
            f"the server refuses the passwords that the Secrets of spec.roles {names} hold, and spec.driftPolicy is "
            "Report; set them back by hand, or set driftPolicy to Repair, and each gets a new one",
            condition="CredentialsReady",
        )
    return None


def _passwords(work: Work) -> list[str]:
    states = work.credentials.states()
    return [
        f"password: {states[role].active} has another one than its Secret" for role in sorted(work.credentials.refused)
    ]
