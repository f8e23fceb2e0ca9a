"""Roles that are to be dropped give up what they hold first, in whichever database that is."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from servicedb.errors import Busy, NeedsDecision, Problem, Terminal
from servicedb.naming import LOCK_DATABASE, RoleNames
from servicedb.plan.deletion import roles_to_drop
from servicedb.plan.holdings import Holding, freeing_steps
from servicedb.plan.steps import DropOwned, DropRole
from servicedb.postgres import drop
from servicedb.postgres.apply import Executor
from servicedb.postgres.connections import translated
from servicedb.postgres.session import AdminServer, Session
from servicedb.reconcile.world import Server


def roles_of_another(server: Server, database: str) -> Sequence[str]:
    """The roles of a database that servicedb made, whoever's it is: each of them may have granted something there."""
    assert server.scan is not None
    names, seen = RoleNames(database), server.scan.of(database)
    return roles_to_drop(seen, names) if database in server.markers else []


@dataclass(frozen=True, slots=True)
class Freeing:
    """How roles are freed and dropped: by `execute` on `connection`, under the lock of the database that they are of.

    `check` raises NeedsDecision where a role holds something that may be worth keeping; `grantors` gives the roles that
    may have granted something in a database; `whose` names in a message what the roles are of.
    """

    execute: Executor
    connection: Session
    admin: AdminServer
    check: Callable[[list[Holding]], None]
    grantors: Callable[[str], Sequence[str]]
    whose: str

    async def drop(self, steps: Sequence[DropRole], holdings: Sequence[Holding]) -> None:
        """Free the roles of `holdings`, and drop them all at once. Raises a Problem where one of them is held up."""
        for step in freeing_steps(holdings):
            await self._free(step)
        await drop.drop_roles(self.execute, self.connection, steps)

    async def _free(self, step: DropOwned) -> None:
        try:
            with translated(self.admin.endpoint):
                if step.database == LOCK_DATABASE:
                    await drop.drop_owned(self.execute, self.connection, step, grantors=(), check=self.check)
                    return
                async with self.admin.inside(step.database) as inside:
                    grantors = self.grantors(step.database)
                    await drop.drop_owned(self.execute, inside, step, grantors=grantors, check=self.check)
        except (Busy, NeedsDecision):
            raise
        except Problem as problem:
            raise Terminal(
                "DropBlocked",
                f'role "{step.role}" of {self.whose} holds something in database "{step.database}", where the admin '
                f'can\'t take it away ({problem}); have a DBA run there: DROP OWNED BY "{step.role}"',
            ) from None
