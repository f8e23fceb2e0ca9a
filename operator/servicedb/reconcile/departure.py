"""What goes for good once its time has come: Secrets of before, and logins that the spec no longer names."""

from dataclasses import dataclass

from servicedb.plan.leaving import departure_steps
from servicedb.plan.observed import ServerScan
from servicedb.plan.steps import DeleteSecret, DropRole, NoteOnLogin, Step
from servicedb.plan.wanted import Wanted
from servicedb.postgres.apply import Executor
from servicedb.postgres.departure import drop_login
from servicedb.postgres.session import Session
from servicedb.reconcile.credentials import Credentials


@dataclass(frozen=True, slots=True)
class Departed:
    """`steps` were carried out; `staying` says, in sentences, which logins could not be dropped yet and why."""

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
                obstacle = await drop_login(execute, connection, step)
                if obstacle is not None:
                    departed.staying.append(
                        f"login \"{step.name}\" is in the spec no longer and can't log in any more, but can't be "
                        f"dropped yet: {obstacle}"
                    )
                    continue
        departed.steps.append(step)
    return departed
