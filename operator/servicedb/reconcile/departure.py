"""What goes for good once its time has come: Secrets of before, logins and groups that the spec has no need of."""

from collections.abc import Sequence
from dataclasses import dataclass

from servicedb.errors import Busy, NeedsDecision, Problem
from servicedb.plan.holdings import Holding, what_is_kept
from servicedb.plan.leaving import departure_steps, note_on
from servicedb.plan.observed import ServerScan
from servicedb.plan.steps import DeleteSecret, DropRole, NoteOnLogin, Step
from servicedb.plan.wanted import Wanted
from servicedb.postgres.apply import Executor
from servicedb.postgres.drop import holdings, members, with_sessions
from servicedb.postgres.session import Session
from servicedb.reconcile.credentials import Credentials
from servicedb.reconcile.freed import Freeing, roles_of_another


@dataclass(frozen=True, slots=True)
class Departed:
    """`steps` were carried out; `staying` says, in sentences, which roles could not be dropped yet and why."""

    steps: list[Step]
    staying: list[str]


async def let_go(
    wanted: Wanted, credentials: Credentials, connection: Session, seen: ServerScan, execute: Executor
) -> Departed:
    """Delete what nobody is to use any more. A Secret goes before its name does, and both before the role."""
    departed = Departed([], [])
    for step in departure_steps(wanted, credentials.states(), seen.roles, now=credentials.world.now()):
        match step:
            case DeleteSecret():
                await credentials.delete(step)
            case NoteOnLogin():
                await execute.roles(connection, [step], {})
            case DropRole():
                obstacle = await _drop(_freeing(wanted, credentials, connection, seen, execute), step)
                if obstacle is not None:
                    what = "role" if note_on(wanted, seen.roles[step.name]) is None else "login"
                    departed.staying.append(
                        f"{what} \"{step.name}\" is in the spec no longer and can't log in any more, but can't be "
                        f"dropped yet: {obstacle}"
                    )
                    continue
        departed.steps.append(step)
    return departed


def _freeing(
    wanted: Wanted, credentials: Credentials, connection: Session, seen: ServerScan, execute: Executor
) -> Freeing:
    admin = credentials.server.admin
    assert admin is not None
    staying = [name for name in wanted.role_names if name in seen.roles]

    def check(held: list[Holding]) -> None:
        if kept := what_is_kept(held, own=wanted.database):
            raise NeedsDecision("DropBlocked", kept)

    def grantors(database: str) -> Sequence[str]:
        return staying if database == wanted.database else roles_of_another(credentials.server, database)

    return Freeing(execute, connection, admin, check, grantors, whose=f'database "{wanted.database}"')


async def _drop(freeing: Freeing, step: DropRole) -> str | None:
    """Drop a login that is closed already, or a group; what keeps it, None when it is gone.

    A login with sessions stays: PostgreSQL would drop it under them, and nobody could tell any more whose they are.
    """
    if await with_sessions(freeing.connection, [step.name]):
        return "it still has sessions, which may end by themselves"
    if acting := await members(freeing.connection, step.name):
        return f"it still has members ({', '.join(acting)})"
    held = await holdings(freeing.connection, [step.name])
    try:
        freeing.check(held)
        await freeing.drop([step], held)
    except Busy:
        raise
    except Problem as problem:
        return problem.message
    return None
