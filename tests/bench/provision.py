"""From `kubectl apply` to all Ready and all logins proved, against a bare script that sends the same SQL."""

import time
from collections.abc import Iterator

from servicedb.api.database_server import DatabaseServer

from tests.bench import bare
from tests.bench.fleet import applied, database_server, fleet, manifest
from tests.bench.report import Row
from tests.postgres.server import Server, session_directory

_DATABASES = 200
_CONNECTIONS = 12
"""Half of spec.limits.operatorConnections: each of the operator's sessions counts for two."""


def rows() -> Iterator[Row]:
    before = _bare_rate("before")
    with fleet(resync=600) as running:
        objects = [applied(number) for number in range(_DATABASES)]
        started = time.monotonic()
        running.apply(*objects)
        running.wait_ready(_DATABASES)
        rate = _DATABASES / (time.monotonic() - started)
        usage = running.usage()
    after = _bare_rate("after")
    reference = (before + after) / 2
    case = f"{_DATABASES} ServiceDatabases, apply to Ready"
    yield Row("provision", case, rate, reference, "databases/s", "higher", 0.6)
    yield Row("provision", "bare script: after against before", after, before, "databases/s", "higher", None)
    yield Row("provision", "operator CPU a database", usage.cpu / _DATABASES, 1 / reference, "s", "lower", None)


def _bare_rate(label: str) -> float:
    server = Server.start_new(
        18, session_directory() / f"bare-{label}", settings={"log_statement": "none", "log_connections": "off"}
    )
    try:
        resource = DatabaseServer.parse({**database_server(server), "metadata": {"name": "bench"}})
        scripts = [
            bare.script_for(manifest(number), resource, admin=server.admin.name, version=18_00_00)
            for number in range(_DATABASES)
        ]
        return _DATABASES / bare.run(server, scripts, connections=_CONNECTIONS)
    finally:
        server.remove()
