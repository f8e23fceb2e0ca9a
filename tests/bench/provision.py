"""From `kubectl apply` to all Ready and all logins proved, against a bare script that sends the same SQL."""

import time
from collections.abc import Iterator

from servicedb.api.database_server import DatabaseServer

from tests.bench import bare
from tests.bench.fleet import applied, database_server, fleet, manifest
from tests.bench.report import Row
from tests.postgres.server import Server

_ROUNDS, _DATABASES = 5, 40
"""They take turns on one server: what slows the machine down for a while slows both."""
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
            running.apply(*(applied(each) for each in range(number * _DATABASES, (number + 1) * _DATABASES)))
            running.wait_ready((number + 1) * _DATABASES)
            ours.append(time.monotonic() - started)
            cpu += running.usage().cpu - before.cpu
    count = _ROUNDS * _DATABASES
    rate, reference = count / sum(ours), count / sum(script)
    yield Row("provision", f"{count} ServiceDatabases, apply to Ready", rate, reference, "databases/s", "higher", 0.6)
    last, first = _DATABASES / ours[-1], _DATABASES / ours[0]
    yield Row("provision", f"the last {_DATABASES} against the first", last, first, "databases/s", "higher", None)
    yield Row("provision", "operator CPU a database", cpu / count, 1 / reference, "s", "lower", None)


def _bare_seconds(server: Server, first: int) -> float:
    resource = DatabaseServer.parse({**database_server(server), "metadata": {"name": "bench"}})
    scripts = [
        bare.script_for(manifest(number), resource, admin=server.admin.name, version=18_00_00)
        for number in range(first, first + _DATABASES)
    ]
    return bare.run(server, scripts, connections=_CONNECTIONS)
