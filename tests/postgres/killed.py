"""An operator in a process of its own that is killed at a chosen moment.

process = killed_at(objects.file, "orders", CreateDatabase, Moment.AFTER)
assert process.exitcode == -SIGKILL
"""

import asyncio
import multiprocessing
import os
import signal
from collections.abc import Awaitable, Callable
from datetime import timedelta
from enum import StrEnum
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from typing import Any

from psycopg import AsyncConnection, sql
from servicedb.kube.client import Json
from servicedb.plan.steps import DatabaseStep, InsideStep, RoleStep, Step

from tests.postgres.objects import Objects
from tests.postgres.provision import AT_ONCE, Operator

# Forks from a process that has imported everything: a hundred of them take as long as a few fresh interpreters.
_context = multiprocessing.get_context("forkserver")
_context.set_forkserver_preload([__name__])


class Moment(StrEnum):
    """When, seen from the first step of a kind."""

    BEFORE = "before"
    UNCOMMITTED = "uncommitted"
    """Sent and carried out, in a transaction that has not been committed."""
    AFTER = "after"
    """Carried out for good, and nothing done since."""


def killed_at(
    file: Path, database: str, kind: type[Step], moment: Moment, ahead: timedelta = timedelta()
) -> ForkServerProcess:
    """An operator that brought `database` (of the objects in `file`) up to that moment, or, where the moment never
    came, to the end: its `exitcode` is 0 then. Its clock is `ahead`."""
    process = _context.Process(target=_bring, args=(file, database, kind, moment, ahead))
    process.start()
    process.join()
    return process


def killed_while_deleting(file: Path, kind: type[Step], moment: Moment) -> ForkServerProcess:
    """An operator that saw what has been deleted of the objects in `file`, and let it go up to that moment."""
    process = _context.Process(target=_let_go, args=(file, kind, moment))
    process.start()
    process.join()
    return process


def killed_doing(
    file: Path, work: Callable[[Operator], Awaitable[object]], kind: type[Step], moment: Moment
) -> ForkServerProcess:
    """An operator that had looked at its server, and did `work` (a function of a module) up to that moment."""
    process = _context.Process(target=_do, args=(file, work, kind, moment))
    process.start()
    process.join()
    return process


def _do(file: Path, work: Callable[[Operator], Awaitable[object]], kind: type[Step], moment: Moment) -> None:
    asyncio.run(_does(Objects(file), work, _Death(kind, moment)))


async def _does(objects: Objects, work: Callable[[Operator], Awaitable[object]], death: "_Death") -> None:
    async with Operator(_Listened(objects.file, death), on_step=death.on_step) as operator:
        await operator.look()
        _listen_to_statements(death)
        await work(operator)


def _let_go(file: Path, kind: type[Step], moment: Moment) -> None:
    asyncio.run(_looks(Objects(file), _Death(kind, moment)))


async def _looks(objects: Objects, death: "_Death") -> None:
    async with Operator(_Listened(objects.file, death), death.on_step, AT_ONCE) as operator:
        _listen_to_statements(death)
        for _ in range(3):
            await operator.look()


def _bring(file: Path, database: str, kind: type[Step], moment: Moment, ahead: timedelta) -> None:
    asyncio.run(_run(Objects(file), database, _Death(kind, moment), ahead))


async def _run(objects: Objects, database: str, death: "_Death", ahead: timedelta) -> None:
    async with Operator(_Listened(objects.file, death), on_step=death.on_step) as operator:
        operator.let_pass(ahead)
        _listen_to_statements(death)
        await operator.bring(database)


class _Death:
    """Kills this process when its moment comes. `done`: the step that it waits for has been carried out."""

    def __init__(self, kind: type[Step], moment: Moment) -> None:
        self._kind = kind
        self._moment = moment
        self._announced = False
        self._done = False

    def on_step(self, step: Step) -> None:
        self.before_anything()
        if isinstance(step, self._kind):
            self._announced = True
            if self._moment is Moment.BEFORE:
                _die()

    def before_anything(self) -> None:
        if self._done:
            _die()

    def after_request(self) -> None:
        self._done = self._announced

    def after_statement(self, statement: str) -> None:
        together = issubclass(self._kind, RoleStep | DatabaseStep | InsideStep)
        if not self._announced or (together and statement.startswith("SELECT")):
            return
        if self._moment is Moment.UNCOMMITTED:
            _die()
        self._done = True


class _Listened(Objects):
    def __init__(self, file: Path, death: _Death) -> None:
        super().__init__(file)
        self._death = death

    async def request(self, method: str, path: str, **arguments: Any) -> Json:
        self._death.before_anything()
        answer = await super().request(method, path, **arguments)
        self._death.after_request()
        return answer


def _listen_to_statements(death: _Death) -> None:
    execute = AsyncConnection.execute

    async def listened(connection: AsyncConnection[Any], statement: Any, *arguments: Any, **options: Any) -> Any:
        death.before_anything()
        cursor = await execute(connection, statement, *arguments, **options)
        death.after_statement(_text(statement, connection))
        return cursor

    AsyncConnection.execute = listened  # type: ignore[method-assign,assignment]


def _text(statement: Any, connection: AsyncConnection[Any]) -> str:
    if isinstance(statement, sql.Composable):
        return statement.as_string(connection)
    return statement.decode() if isinstance(statement, bytes) else str(statement)


def _die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)
