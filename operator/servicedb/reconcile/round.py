"""One round of work on a key: dispatched by kind, timed, logged under an id, its problem classed."""

import logging
import time
import uuid

from servicedb import metrics
from servicedb.api.common import Unreadable
from servicedb.errors import Problem, Retryable
from servicedb.kube.client import ApiError
from servicedb.kube.resources import (
    BACKUP_SCHEDULES,
    DATABASE_BACKUPS,
    DATABASE_RESTORES,
    DATABASE_SERVERS,
    KINDS,
    MIGRATION_RUNS,
    RETENTION_POLICIES,
    SERVICE_DATABASES,
    Key,
)
from servicedb.logs import OBJECT, RECONCILE_ID
from servicedb.reconcile import (
    backup_schedule,
    database,
    database_backup,
    database_restore,
    migration,
    retention,
    server,
)
from servicedb.reconcile.queue import TryAgain, Work
from servicedb.reconcile.world import World

_log = logging.getLogger(__name__)

_RECONCILE = {
    DATABASE_SERVERS: server.reconcile,
    SERVICE_DATABASES: database.reconcile,
    MIGRATION_RUNS: migration.reconcile,
    BACKUP_SCHEDULES: backup_schedule.reconcile,
    DATABASE_BACKUPS: database_backup.reconcile,
    DATABASE_RESTORES: database_restore.reconcile,
    RETENTION_POLICIES: retention.reconcile,
}


def work_of(world: World) -> Work:
    """What the queue calls for each key."""

    async def work(key: Key) -> float | None:
        RECONCILE_ID.set(uuid.uuid4().hex[:12])
        OBJECT.set(str(key))
        started = time.monotonic()
        outcome = "ok"
        try:
            return await _RECONCILE[key.plural](key, world)
        except TryAgain:
            outcome = "again"
            raise
        except (Problem, ApiError, Unreadable) as problem:
            reason = problem.reason if isinstance(problem, Problem | ApiError) else "Unreadable"
            outcome = "retry" if isinstance(problem, Retryable) else "problem"
            metrics.ERRORS.labels(KINDS[key.plural], reason).inc()
            _log.warning("%s: %s", reason, problem)
            raise TryAgain from problem
        except Exception:
            outcome = "bug"
            metrics.ERRORS.labels(KINDS[key.plural], "Bug").inc()
            raise
        finally:
            metrics.RECONCILES.labels(KINDS[key.plural], outcome).inc()
            metrics.SECONDS.labels(KINDS[key.plural]).observe(time.monotonic() - started)

    return work
