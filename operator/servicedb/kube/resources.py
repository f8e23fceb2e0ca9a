"""Paths of the objects that the operator reads and writes. Source: Kubernetes documentation, "API Concepts"."""

from dataclasses import dataclass

from servicedb.api.common import GROUP, VERSION


@dataclass(frozen=True, slots=True, order=True)
class Key:
    """One object of ours: the unit of work. `namespace` is empty for a DatabaseServer."""

    plural: str
    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.plural}/{self.namespace + '/' if self.namespace else ''}{self.name}"

    @property
    def path(self) -> str:
        base = f"/apis/{GROUP}/{VERSION}"
        place = f"/namespaces/{self.namespace}" if self.namespace else ""
        return f"{base}{place}/{self.plural}/{self.name}"


DATABASE_SERVERS = "databaseservers"
SERVICE_DATABASES = "servicedatabases"
MIGRATION_RUNS = "migrationruns"
BACKUP_SCHEDULES = "backupschedules"
DATABASE_BACKUPS = "databasebackups"
DATABASE_RESTORES = "databaserestores"
RETENTION_POLICIES = "retentionpolicies"
KINDS = {
    DATABASE_SERVERS: "DatabaseServer",
    SERVICE_DATABASES: "ServiceDatabase",
    MIGRATION_RUNS: "MigrationRun",
    BACKUP_SCHEDULES: "BackupSchedule",
    DATABASE_BACKUPS: "DatabaseBackup",
    DATABASE_RESTORES: "DatabaseRestore",
    RETENTION_POLICIES: "RetentionPolicy",
}


def collection(plural: str) -> str:
    """All objects of a kind of ours, in all namespaces."""
    return f"/apis/{GROUP}/{VERSION}/{plural}"


def collection_in(namespace_name: str, plural: str) -> str:
    """All objects of a kind of ours in one namespace."""
    return f"/apis/{GROUP}/{VERSION}/namespaces/{namespace_name}/{plural}"


def crd(plural: str) -> str:
    return f"/apis/apiextensions.k8s.io/v1/customresourcedefinitions/{plural}.{GROUP}"


def namespace(name: str) -> str:
    return f"/api/v1/namespaces/{name}"


def secrets(namespace_name: str) -> str:
    return f"/api/v1/namespaces/{namespace_name}/secrets"


def secret(namespace_name: str, name: str) -> str:
    return f"{secrets(namespace_name)}/{name}"


def config_map(namespace_name: str, name: str) -> str:
    return f"/api/v1/namespaces/{namespace_name}/configmaps/{name}"


def service_account(namespace_name: str, name: str) -> str:
    return f"/api/v1/namespaces/{namespace_name}/serviceaccounts/{name}"


def pods(namespace_name: str) -> str:
    return f"/api/v1/namespaces/{namespace_name}/pods"


def jobs(namespace_name: str) -> str:
    return f"/apis/batch/v1/namespaces/{namespace_name}/jobs"


def job(namespace_name: str, name: str) -> str:
    return f"{jobs(namespace_name)}/{name}"


def cron_jobs(namespace_name: str) -> str:
    return f"/apis/batch/v1/namespaces/{namespace_name}/cronjobs"


def cron_job(namespace_name: str, name: str) -> str:
    return f"{cron_jobs(namespace_name)}/{name}"


def events(namespace_name: str) -> str:
    """Events about cluster-scoped objects stand in `default`, as Kubernetes' own do."""
    return f"/api/v1/namespaces/{namespace_name or 'default'}/events"
