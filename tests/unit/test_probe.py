"""Which servers are asked whether they are still there, and which are looked at."""

import asyncio
from types import SimpleNamespace
from typing import Any, cast

import pytest
from servicedb.api.database_server import DatabaseServer
from servicedb.errors import NeedsDecision, Problem, Retryable, Terminal
from servicedb.kube.client import KubeClient
from servicedb.kube.resources import Key
from servicedb.postgres.session import AdminServer
from servicedb.reconcile.probe import keep_probing, probe
from servicedb.reconcile.world import Server, World
from servicedb.settings import Settings

from tests.api.examples import MINIMAL_SERVER


class Admin:
    """A server that answers, does not, or ends in a bug."""

    endpoint = "server"

    def __init__(self, answer: bool | Exception) -> None:
        self.answer = answer
        self.asked = 0

    async def answers(self) -> bool:
        self.asked += 1
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


def server(name: str, answer: bool | Exception | None, problem: Problem | None = None) -> Server:
    admin = cast(AdminServer, Admin(answer)) if answer is not None else None
    return Server(name, DatabaseServer.parse(MINIMAL_SERVER), admin=admin, problem=problem)


def world(*servers: Server) -> tuple[World, list[Key]]:
    enqueued: list[Key] = []
    made = World(cast(KubeClient, SimpleNamespace()), Settings(), "cluster-1", enqueue=enqueued.append)
    made.servers = {each.name: each for each in servers}
    return made, enqueued


@pytest.mark.parametrize(
    ("answer", "problem", "asked", "looked_at"),
    [
        pytest.param(True, None, 1, False, id="well"),
        pytest.param(False, None, 1, True, id="away"),
        pytest.param(False, Retryable("ServerUnreachable", "x"), 0, True, id="away before: it may be back"),
        pytest.param(False, Terminal("LoginRefused", "x"), 0, False, id="waits for a person"),
        pytest.param(False, NeedsDecision("ServerChanged", "x"), 0, False, id="waits for a decision"),
        pytest.param(None, None, 0, False, id="not looked at yet"),
    ],
)
async def test_a_server_is_looked_at_where_that_may_change_something(answer, problem, asked, looked_at):
    one = server("main", answer, problem)
    made, enqueued = world(one)
    await probe(one, made)
    assert enqueued == ([one.key] if looked_at else [])
    assert cast(Any, one.admin).asked == asked if one.admin is not None else True


async def test_a_bug_with_one_server_leaves_the_others_asked(monkeypatch, caplog):
    servers = server("first", RuntimeError("a bug")), server("second", False)
    made, enqueued = world(*servers)
    pauses: list[float] = []

    async def sleep(seconds: float) -> None:
        pauses.append(seconds)
        if len(pauses) == 3:
            raise asyncio.CancelledError

    monkeypatch.setattr(asyncio, "sleep", sleep)
    with pytest.raises(asyncio.CancelledError):
        await keep_probing(made)
    assert pauses == [30.0] * 3
    assert enqueued == [servers[1].key] * 2
    assert "a bug" in caplog.text
