"""From created to all Ready and all logins proved, against a bare script that sends the same SQL."""

import time
from collections.abc import Iterator

from servicedb.api.database_server import DatabaseServer

from tests.bench import bare
from tests.bench.fleet import applied, database_server, fleet, manifest
from tests.bench.report import Row
from tests.postgres.server import Server

_ROUNDS, _DATABASES = 25, 40
"""They take turns on one server, in short rounds: what slows the machine down for a while slows both."""
_FEW = 5
"""Rounds at the beginning and at the end that are also looked at by themselves."""
_CONNECTIONS = 12
"""Half of spec.limits.operatorConnections: each of the operator's sessions counts for two."""
_BARE = 5000
"""The first number of the script's databases."""


def rows() -> Iterator[Row]:
    with fleet(resync=600) as running:
        ours, script, cpu = [], [], 0.0
        for number in range(_ROUNDS):
            script.append(_bare_seconds(running.server, number * _DATABASES + _BARE))
            before, started = running.usage(), time.monotonic()
            running.create(applied(each) for each in range(number * _DATABASES, (number + 1) * _DATABASES))
            running.wait_ready((number + 1) * _DATABASES)
            ours.append(time.monotonic() - started)
            cpu += running.usage().cpu - before.cpu
    yield _rate("from created to Ready", ours[:_FEW], script[:_FEW], limit=0.6)
    yield _rate("from created to Ready", ours, script, limit=0.7)
    slowed = sum(script[-_FEW:]) / sum(script[:_FEW])
    first, last = (_FEW * _DATABASES / sum(some) for some in (ours[:_FEW], ours[-_FEW:]))
    case = f"the last {_FEW * _DATABASES} against the first, slowed as the script"
    yield Row("provision", case, last, first / slowed, "databases/s", "higher", 0.9)
    each = sum(script) / (_ROUNDS * _DATABASES)
    yield Row("provision", "operator CPU a database", cpu / (_ROUNDS * _DATABASES), each, "s", "lower", None)


def _rate(what: str, ours: list[float], script: list[float], *, limit: float) -> Row:
    """Of rounds that took so many seconds each."""
    count = len(ours) * _DATABASES
    case = f"{count} ServiceDatabases, {what}"
    return Row("provision", case, count / sum(ours), count / sum(script), "databases/s", "higher", limit)


def _bare_seconds(server: Server, first: int) -> float:
    resource = DatabaseServer.parse({**database_server(server), "metadata": {"name": "bench"}})
    scripts = [
        bare.script_for(manifest(number), resource, admin=server.admin.name, version=18_00_00)
        for number in range(first, first + _DATABASES)
    ]
    return bare.run(server, scripts, connections=_CONNECTIONS)
