"""What a run of a RetentionPolicy stands on: its database, the logins for it, and a backup."""

from servicedb.api.database_backup import DatabaseBackup
from servicedb.api.retention_policy import RetentionPolicy
from servicedb.api.service_database import ServiceDatabase
from servicedb.errors import Retryable
from servicedb.kube import resources
from servicedb.kube.resources import DATABASE_BACKUPS, SERVICE_DATABASES, Key
from servicedb.plan.backups.pod import Task
from servicedb.plan.migration_admission import check_ready, waits_because
from servicedb.plan.retention_gate import Proof, proof
from servicedb.plan.retention_job import Logins, task
from servicedb.plan.wanted import PARTITION, RETAIN
from servicedb.reconcile.job_ground import check_service_account, endpoint, image
from servicedb.reconcile.world import World


async def rests_because(policy: RetentionPolicy, world: World) -> str | None:
    """Why runs rest for now, as a person wanted it for the database; None where they don't. Raises Retryable where
    there is no such database."""
    return waits_because(await _database(policy, world))


async def ground(policy: RetentionPolicy, name: str, world: World) -> Task:
    """The task of the run `name`, which may begin. Raises Retryable while something it needs is not there."""
    database = await _database(policy, world)
    check_ready(database, migrates=False)
    restore = database.status.restore
    if restore is not None and restore.state == "Admitted":
        raise Retryable(
            "Restoring",
            f'DatabaseRestore "{restore.name}" has ServiceDatabase "{database.metadata.name}" to itself; its end is '
            "waited for",
            ready="Unknown",
        )
    logins = Logins(_secret(database, RETAIN), _secret(database, PARTITION))
    await check_service_account(world, policy.metadata.namespace, policy.spec.job.service_account_name)
    found = await _proof(policy, database, world) if policy.spec.mode == "Apply" else None
    where = endpoint(world, database.spec.server_ref.name, database.status.database_name or "")
    return task(policy, name, logins, where, await image(world), found)


async def _database(policy: RetentionPolicy, world: World) -> ServiceDatabase:
    name, namespace = policy.spec.database_ref.name, policy.metadata.namespace
    body = await world.kube.get(Key(SERVICE_DATABASES, namespace, name).path)
    if body is None:
        raise Retryable(
            "DatabaseNotFound",
            f'there is no ServiceDatabase "{name}" in namespace "{namespace}"; create it, or make this object anew '
            "with another spec.databaseRef",
        )
    return ServiceDatabase.parse(body)


def _secret(database: ServiceDatabase, role: str) -> str:
    login = next((one for one in database.status.roles if one.name == role), None)
    if login is None or login.secret_name is None:
        raise Retryable(
            "RetentionLoginMissing",
            f'ServiceDatabase "{database.metadata.name}" has no login for retention yet, which is waited for; its '
            "conditions say why",
            ready="Unknown",
        )
    return login.secret_name


async def _proof(policy: RetentionPolicy, database: ServiceDatabase, world: World) -> Proof | None:
    required = policy.spec.require_backup
    if required is None:
        return None
    path = resources.collection_in(policy.metadata.namespace, DATABASE_BACKUPS)
    selector = f"spec.scheduleRef.name={required.schedule_ref.name},spec.databaseRef.name={database.metadata.name}"
    backups = [DatabaseBackup.parse(body) async for body in world.kube.list(path, fieldSelector=selector)]
    return proof(required, backups, database, world.now())
