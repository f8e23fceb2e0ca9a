"""Examples of our kinds, and changes to them."""

import copy
from typing import Any, Final

Manifest = dict[str, Any]

GONE: Final = object()
"""In `changed`: take the field away."""

MINIMAL_SERVER: Final[Manifest] = {
    "apiVersion": "servicedb.io/v1alpha1",
    "kind": "DatabaseServer",
    "metadata": {"name": "main"},
    "spec": {
        "host": "postgres.databases.svc",
        "adminSecretRef": {"namespace": "servicedb-system", "name": "postgres-admin"},
    },
}

FULL_SERVER: Final[Manifest] = {
    "apiVersion": "servicedb.io/v1alpha1",
    "kind": "DatabaseServer",
    "metadata": {"name": "main"},
    "spec": {
        "engine": "PostgreSQL",
        "host": "postgres.databases.svc",
        "port": 5432,
        "adminDatabase": "postgres",
        "adminSecretRef": {
            "namespace": "servicedb-system",
            "name": "postgres-admin",
            "usernameKey": "username",
            "passwordKey": "password",
        },
        "tls": {
            "mode": "VerifyFull",
            "caSecretRef": {"namespace": "servicedb-system", "name": "postgres-ca", "key": "ca.crt"},
            "minVersion": "1.2",
        },
        "clientEndpoint": {"host": "postgres.example.org", "port": 6432},
        "allowedNamespaces": {
            "from": "Selector",
            "selector": {
                "matchLabels": {"team": "kyc", "example.org/stage": ""},
                "matchExpressions": [{"key": "tier", "operator": "In", "values": ["gold"]}],
            },
        },
        "naming": "Name",
        "loginNames": [{"namespace": "kyc", "names": ["onboarding_user"]}],
        "extensions": {"allowed": ["pg_trgm"]},
        "adoptable": [{"databaseName": "legacy", "namespace": "kyc", "name": "legacy"}],
        "limits": {"maxDatabases": 500, "maxDatabasesPerNamespace": 50, "operatorConnections": 24},
        "deletionGuard": {"maxReleases": "10%"},
    },
}

MINIMAL_DATABASE: Final[Manifest] = {
    "apiVersion": "servicedb.io/v1alpha1",
    "kind": "ServiceDatabase",
    "metadata": {"name": "onboarding", "namespace": "kyc"},
    "spec": {"serverRef": {"name": "main"}, "roles": {"app": {"secretName": "onboarding-app"}}},
}

FULL_DATABASE: Final[Manifest] = {
    "apiVersion": "servicedb.io/v1alpha1",
    "kind": "ServiceDatabase",
    "metadata": {"name": "onboarding", "namespace": "kyc"},
    "spec": {
        "serverRef": {"name": "main"},
        "databaseName": "onboarding",
        "mode": "Apply",
        "suspend": False,
        "driftPolicy": "Repair",
        "environment": "Production",
        "encoding": "UTF8",
        "locale": "C.UTF-8",
        "localeProvider": "Builtin",
        "connectionLimit": 50,
        "parameters": {"statement_timeout": "30s", "work_mem": "4MB"},
        "extensions": [{"name": "pg_trgm", "version": "1.6", "schema": "extensions"}],
        "schemas": [{"name": "app"}],
        "roles": {
            "app": {
                "access": "ReadWrite",
                "secretName": "onboarding-app",
                "loginName": "onboarding_user",
                "connectionLimit": 20,
                "parameters": {"TimeZone": "UTC"},
                "overrides": [{"table": "public.events", "privileges": ["SELECT", "INSERT"]}],
            },
            "migrator": {
                "secretName": "onboarding-migrator",
                "loginName": "onboarding_migrator",
                "connectionLimit": 2,
                "parameters": {"statement_timeout": "0"},
            },
            "readOnly": {
                "secretName": "onboarding-readonly",
                "loginName": "onboarding_reader",
                "connectionLimit": 5,
                "parameters": {"app.reader": "yes"},
                "overrides": [{"table": "public.secrets", "privileges": []}],
            },
            "extra": [
                {
                    "name": "analytics",
                    "access": "ReadOnly",
                    "secretName": "onboarding-analytics",
                    "loginName": "analytics",
                    "connectionLimit": 3,
                    "parameters": {"work_mem": "64MB"},
                    "overrides": [{"table": "public.audit_log_entries", "privileges": ["SELECT"]}],
                }
            ],
        },
        "tenancy": {
            "schemaPattern": "tenant\\_%",
            "column": "tenant_id",
            "setting": "app.current_tenant_id",
            "exempt": ["public.plans", "schema_migrations"],
        },
        "credentials": {
            "rotateEvery": "30d",
            "overlap": "1h",
            "caFile": "/etc/servicedb/ca.crt",
            "secretTemplate": {
                "DB_HOST": "{host}",
                "ConnectionStrings__PostgreSQL": "Host={host};Port={port};Database={dbname};Username={user};"
                "Password={password};SSL Mode=VerifyFull;Root Certificate={caFile}",
            },
            "secretLabels": {"example.org/team": "kyc"},
            "secretAnnotations": {"example.org/owner": "team kyc, room 4"},
        },
        "deletion": {"policy": "Retain", "gracePeriod": "7d"},
    },
}

MINIMAL_RUN: Final[Manifest] = {
    "apiVersion": "servicedb.io/v1alpha1",
    "kind": "MigrationRun",
    "metadata": {"name": "onboarding", "namespace": "kyc"},
    "spec": {
        "databaseRef": {"name": "onboarding"},
        "source": {"configMaps": [{"name": "onboarding-migrations"}]},
    },
}

FULL_RUN: Final[Manifest] = {
    "apiVersion": "servicedb.io/v1alpha1",
    "kind": "MigrationRun",
    "metadata": {"name": "onboarding", "namespace": "kyc"},
    "spec": {
        "databaseRef": {"name": "onboarding"},
        "set": "default",
        "source": {"image": {"reference": "ghcr.io/acme/migrations@sha256:" + "0" * 64, "path": "/migrations"}},
        "format": "Auto",
        "action": "Up",
        "target": "7",
        "adoptHistory": {
            "format": "Table",
            "table": "public.versions",
            "versionColumn": "version",
            "nameColumn": "name",
        },
        "outOfOrder": "Fail",
        "hooks": {"before": ["before.sql"], "after": ["after.sql"]},
        "seeds": {"environment": "dev"},
        "tenants": {
            "pattern": "tenant_%",
            "create": True,
            "parallel": 4,
            "canary": 1,
            "maxFailures": 0,
        },
        "requireBackup": {"scheduleRef": {"name": "nightly"}, "maxAge": "1h"},
        "lockTimeout": "3s",
        "statementTimeout": "0s",
        "retries": 5,
        "decisions": [{"version": "7", "digest": "sha256:" + "0" * 64, "choice": "Retry"}],
        "failureDetail": "Code",
        "job": {
            "resources": {
                "requests": {"cpu": "100m", "memory": "128Mi"},
                "limits": {"cpu": "1", "memory": "1Gi"},
            },
            "nodeSelector": {"example.org/pool": "jobs"},
            "tolerations": [{"key": "example.org/pool", "operator": "Equal", "value": "jobs", "effect": "NoSchedule"}],
            "imagePullSecrets": [{"name": "registry"}],
            "serviceAccountName": "migrations",
            "ttl": "1h",
            "deadline": "1h",
        },
    },
}


_KEY: Final = "7460912309412309412-16384/20260301T020000Z-0123abcd/manifest.json"

_S3: Final[Manifest] = {
    "bucket": "backups",
    "prefix": "kyc/onboarding",
    "endpoint": "https://s3.example.org:9000",
    "region": "eu-central-1",
    "forcePathStyle": True,
    "writeSecretRef": {"name": "backups-write"},
    "readSecretRef": {"name": "backups-read"},
    "pruneSecretRef": {"name": "backups-prune"},
}

_JOB: Final[Manifest] = {name: value for name, value in FULL_RUN["spec"]["job"].items() if name != "deadline"}

MINIMAL_SCHEDULE: Final[Manifest] = {
    "apiVersion": "servicedb.io/v1alpha1",
    "kind": "BackupSchedule",
    "metadata": {"name": "nightly", "namespace": "kyc"},
    "spec": {
        "databaseRefs": [{"name": "onboarding"}],
        "schedule": "0 2 * * *",
        "storage": {"s3": {"bucket": "backups", "writeSecretRef": {"name": "backups"}}},
    },
}

FULL_SCHEDULE: Final[Manifest] = {
    "apiVersion": "servicedb.io/v1alpha1",
    "kind": "BackupSchedule",
    "metadata": {"name": "nightly", "namespace": "kyc"},
    "spec": {
        "databaseRefs": [{"name": "onboarding"}],
        "schedule": "0 2 * * MON-FRI",
        "timeZone": "Europe/Berlin",
        "spread": "10m",
        "startingDeadline": "600s",
        "deadline": "4h",
        "suspend": False,
        "storage": {"s3": _S3},
        "copies": [{"name": "far", "s3": _S3}],
        "encryption": {"ageRecipients": ["age1" + "q" * 58], "identitySecretRef": {"name": "backups-identity"}},
        "compression": {"level": 3},
        "parallel": 2,
        "retention": {
            "keepLast": 7,
            "keepWithin": "30d",
            "keepDaily": 30,
            "keepWeekly": 8,
            "keepMonthly": 12,
            "minimum": 1,
            "maxPrunesPerRun": 10,
            "timeZone": "Etc/UTC",
        },
        "verify": {
            "schedule": "0 3 * * 0",
            "serverRef": {"name": "scratch"},
            "allowSameServer": False,
            "maxSize": "50Gi",
            "assertions": [{"name": "rows", "sql": "SELECT count(*) > 0 FROM public.applications", "expect": "t"}],
        },
        "objectives": {"recoveryPoint": "26h", "recoveryTime": "1h"},
        "deletion": {"policy": "Retain"},
        "job": _JOB,
    },
}

MINIMAL_BACKUP: Final[Manifest] = {
    "apiVersion": "servicedb.io/v1alpha1",
    "kind": "DatabaseBackup",
    "metadata": {"name": "before-release", "namespace": "kyc"},
    "spec": {"databaseRef": {"name": "onboarding"}, "scheduleRef": {"name": "nightly"}},
}

FULL_BACKUP: Final[Manifest] = {
    "apiVersion": "servicedb.io/v1alpha1",
    "kind": "DatabaseBackup",
    "metadata": {"name": "before-release", "namespace": "kyc"},
    "spec": {
        "key": _KEY,
        "databaseRef": {"name": "onboarding"},
        "scheduleRef": {"name": "nightly"},
        "storage": {"s3": _S3},
        "encryption": FULL_SCHEDULE["spec"]["encryption"],
        "pinned": True,
    },
}

MINIMAL_RESTORE: Final[Manifest] = {
    "apiVersion": "servicedb.io/v1alpha1",
    "kind": "DatabaseRestore",
    "metadata": {"name": "onboarding-again", "namespace": "kyc"},
    "spec": {
        "source": {"backupRef": {"name": "before-release"}},
        "target": {"databaseRef": {"name": "onboarding-again"}},
    },
}

FULL_RESTORE: Final[Manifest] = {
    "apiVersion": "servicedb.io/v1alpha1",
    "kind": "DatabaseRestore",
    "metadata": {"name": "onboarding-again", "namespace": "kyc"},
    "spec": {
        "source": {"key": _KEY, "storage": {"s3": _S3}},
        "target": {"databaseRef": {"name": "onboarding-again"}},
        "overwrite": "RenameOld",
        "schemas": ["public"],
        "tables": ["public.applications"],
        "parallel": 4,
        "identitySecretRef": {"name": "backups-identity"},
        "deadline": "12h",
        "job": _JOB,
    },
}

MINIMAL_POLICY: Final[Manifest] = {
    "apiVersion": "servicedb.io/v1alpha1",
    "kind": "RetentionPolicy",
    "metadata": {"name": "metrics", "namespace": "kyc"},
    "spec": {
        "databaseRef": {"name": "metrics"},
        "schedule": "0 2 * * *",
        "rules": [{"table": "public.sessions", "column": "expires_at", "deleteAfter": "1d", "archive": False}],
    },
}

FULL_POLICY: Final[Manifest] = {
    "apiVersion": "servicedb.io/v1alpha1",
    "kind": "RetentionPolicy",
    "metadata": {"name": "metrics", "namespace": "kyc"},
    "spec": {
        "databaseRef": {"name": "metrics"},
        "schedule": "0 2 * * *",
        "timeZone": "Etc/UTC",
        "startingDeadline": "6h",
        "suspend": False,
        "mode": "Apply",
        "archive": {
            "storage": {"s3": _S3},
            "copies": [{"name": "far", "s3": _S3}],
            "encryption": FULL_SCHEDULE["spec"]["encryption"],
        },
        "rules": [
            {
                "table": "public.insight_feedback",
                "column": "created_at",
                "archiveAfter": "365d",
                "deleteAfter": "730d",
                "dropArchiveAfter": "1460d",
                "archive": True,
                "where": "status <> 'open'",
                "batchRows": 5000,
                "allow": ["insight_votes_feedback_id_fkey"],
            },
            {
                "table": "public.system_metrics",
                "column": "ts",
                "partition": {"interval": "Month", "premake": 3},
                "archiveAfter": "90d",
                "deleteAfter": "90d",
                "dropArchiveAfter": "365d",
                "archive": True,
                "batchRows": 5000,
                "allow": ["system_metrics_log"],
            },
        ],
        "limits": {"maxRowsPerRun": 1_000_000, "maxDuration": "1h", "maxReplicaLag": "10s", "batchTarget": "200ms"},
        "requireBackup": {"scheduleRef": {"name": "nightly"}, "maxAge": "26h", "verified": True},
        "job": _JOB,
    },
}

MINIMAL_EXAMPLES: Final = (
    MINIMAL_SERVER,
    MINIMAL_DATABASE,
    MINIMAL_RUN,
    MINIMAL_SCHEDULE,
    MINIMAL_BACKUP,
    MINIMAL_RESTORE,
    MINIMAL_POLICY,
)
FULL_EXAMPLES: Final = (FULL_SERVER, FULL_DATABASE, FULL_RUN, FULL_SCHEDULE, FULL_BACKUP, FULL_RESTORE, FULL_POLICY)
"""Every kind once: in the one with no more than it needs, in the other with every field."""


def changed(manifest: Manifest, changes: dict[str, Any]) -> Manifest:
    """A copy of `manifest` with other fields, each by its dotted path, such as spec.tls.mode; GONE removes one.

    A number in a path is a place in a list; objects on the way that are not there are made.
    """
    result = copy.deepcopy(manifest)
    for path, value in changes.items():
        *way, last = (int(part) if part.isdecimal() else part for part in path.split("."))
        place: Any = result
        for part in way:
            place = place.setdefault(part, {}) if isinstance(place, dict) else place[part]
        if value is GONE:
            place.pop(last, None)
        else:
            place[last] = copy.deepcopy(value)
    return result
