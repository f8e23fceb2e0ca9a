"""Asking a real server whether it is still there: what it costs, and what is noticed."""

from collections.abc import AsyncIterator

import psutil
import pytest
from pydantic import SecretStr
from servicedb.postgres import session
from servicedb.postgres.connections import Account, Endpoint, Tls
from servicedb.postgres.session import AdminServer

from tests.postgres.fixtures import StartServer
from tests.postgres.server import Server


@pytest.fixture
def own(private_server: StartServer) -> Server:
    server = private_server(18)
    with server.connect() as connection:
        connection.execute("CREATE DATABASE servicedb")
    return server


@pytest.fixture
async def admin(own: Server) -> AsyncIterator[AdminServer]:
    account = Account(own.admin.name, SecretStr(own.admin.password))
    admin = AdminServer(Endpoint("main", own.host, own.port, Tls("Disable")), account, connections=4)
    yield admin
    await admin.close()


async def test_a_server_that_is_well_is_asked_without_a_new_connection(own: Server, admin: AdminServer) -> None:
    assert await admin.answers()
    before = len(own.log())
    for _ in range(5):
        assert await admin.answers()
    said = own.log()[before:]
    assert "connection" not in said
    assert said.count("LOG:") == 5


async def test_a_session_that_was_asked_is_as_good_as_before(admin: AdminServer) -> None:
    async with admin.session() as connection:
        pid = connection.info.backend_pid
    assert await admin.answers()
    async with admin.session() as connection:
        assert connection.info.backend_pid == pid
        assert await (await connection.execute("SELECT 1")).fetchone() == (1,)


async def test_a_server_that_is_gone_and_back_is_noticed(own: Server, admin: AdminServer) -> None:
    assert await admin.answers()
    own.kill()
    assert not await admin.answers()  # on the session that there was
    assert not await admin.answers()  # and on a new one
    own.start()
    assert await admin.answers()


async def test_a_server_that_answers_nothing_is_noticed(
    own: Server, admin: AdminServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session, "_ANSWERS_WITHIN", 0.3)
    assert await admin.answers()
    frozen = [process for process in psutil.Process(own.pid).children() if process.is_running()]
    for process in frozen:
        process.suspend()
    try:
        assert not await admin.answers()
    finally:
        for process in frozen:
            process.resume()
    assert await admin.answers()


async def test_sessions_that_are_all_at_work_are_left_alone(own: Server, admin: AdminServer) -> None:
    async with admin.session(), admin.session():
        before = len(own.log())
        assert await admin.answers()
        assert own.log()[before:] == ""
