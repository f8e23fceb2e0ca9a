"""What 500 databases cost that nobody changes: statements and new connections on the server, CPU and memory here."""

import time
from collections.abc import Iterator

from tests.bench.fleet import applied, count_in_log, fleet
from tests.bench.report import Row
from tests.postgres.server import Server

_DATABASES = 500
_RESYNC = 60
_DEFAULT_RESYNC = 600
"""The resync comes ten times as often as by default, so that a window of three minutes sees three of them; what is
counted is given for the default."""
_SECONDS = 180.0
_SETTLES_WITHIN = 8
_STATEMENTS_ALLOWED, _CONNECTIONS_ALLOWED = 10.0, 2.0
"""A minute, beyond the shared scan and the look at the server that goes with it."""


def rows() -> Iterator[Row]:
    with fleet(resync=_RESYNC, log_statements=True) as running:
        running.apply(*(applied(number) for number in range(_DATABASES)))
        running.wait_ready(_DATABASES)
        _settle(running.server)
        usage, since, started = running.usage(), running.server.log_path.stat().st_size, time.monotonic()
        time.sleep(_SECONDS)
        minutes = (time.monotonic() - started) / 60
        scaled = minutes * _DEFAULT_RESYNC / _RESYNC
        later = running.usage()
        statements = count_in_log(running.server, r"LOG:  (?:statement|execute [^:]*):", since=since) / scaled
        connections = count_in_log(running.server, r"LOG:  connection authorized", since=since) / scaled
    case = f"{_DATABASES} ready, resync {_DEFAULT_RESYNC} s"
    yield Row("idle", f"{case}: statements", statements, _STATEMENTS_ALLOWED, "1/min", "lower", 1.0)
    yield Row("idle", f"{case}: new connections", connections, _CONNECTIONS_ALLOWED, "1/min", "lower", None)
    yield Row("idle", f"{case}: operator CPU", (later.cpu - usage.cpu) / 60 / scaled, 1.0, "cores", "lower", None)
    yield Row("idle", f"{case}: operator memory", later.rss / 1e6, 250.0, "MB", "lower", 1.0)


def _settle(server: Server) -> None:
    """Wait for a resync that looked into no database: autovacuum visits new ones once, and is looked after."""
    for _ in range(_SETTLES_WITHIN):
        since = server.log_path.stat().st_size
        time.sleep(_RESYNC)
        if count_in_log(server, r"LOG:  connection authorized", since=since) < _DATABASES / 100:
            return
