"""Whether a MigrationRun may go on, before anything of its database is looked at."""

from collections.abc import Iterable, Mapping
from typing import Any

from servicedb.api.migration_run import MigrationRun, MigrationRunSpec
from servicedb.api.service_database import ServiceDatabase
from servicedb.errors import Retryable, Terminal

_MIGRATES = frozenset({"Up", "Down"})


def check_alone(run: MigrationRun, others: Iterable[Mapping[str, Any]]) -> None:
    """Raise Terminal where an older object of `others` (all of the namespace) migrates the same set.

    Of two that were made in the same second the one with the smaller UID counts as older: all see it alike.
    """
    if run.spec.action not in _MIGRATES:
        return
    own = (_made(run), run.metadata.uid)
    for other in others:
        metadata, spec = other["metadata"], other.get("spec") or {}
        same = (spec.get("databaseRef") or {}).get("name") == run.spec.database_ref.name
        same = same and spec.get("set", "default") == run.spec.set_ and spec.get("action", "Up") in _MIGRATES
        older = (metadata.get("creationTimestamp", ""), metadata["uid"]) < own
        if same and older and not metadata.get("deletionTimestamp"):
            raise Terminal(
                "Duplicate",
                f'MigrationRun "{metadata["name"]}" migrates set "{run.spec.set_}" of ServiceDatabase '
                f'"{run.spec.database_ref.name}" already; delete one of them, or give this one another set',
            )


def _made(run: MigrationRun) -> str:
    made = run.metadata.creation_timestamp
    return made.strftime("%Y-%m-%dT%H:%M:%SZ") if made is not None else ""


def check_environment(spec: MigrationRunSpec, database: ServiceDatabase) -> None:
    """Raise Terminal where seeds would go into a database of another environment than theirs."""
    if spec.seeds is None or spec.action not in ("Up", "Seed"):
        return
    wanted, found = spec.seeds.environment, database.spec.environment
    if wanted != found:
        is_of = f'is of environment "{found}"' if found is not None else "names no environment"
        raise Terminal(
            "SeedsNotAllowed",
            f'spec.seeds are those of environment "{wanted}", and ServiceDatabase "{database.metadata.name}" {is_of} '
            "(spec.environment); take them out, or have that say so",
        )


def waits_because(database: ServiceDatabase) -> str | None:
    """Why migrations of `database` rest for now, as a person wanted it; None where they don't."""
    if database.spec.suspend:
        return f'spec.suspend of ServiceDatabase "{database.metadata.name}" is true'
    if database.spec.mode == "Plan":
        return f'spec.mode of ServiceDatabase "{database.metadata.name}" is Plan'
    return None


def check_ready(database: ServiceDatabase, *, migrates: bool = True) -> None:
    """Raise Retryable while `database` is not Ready as its spec is now; Terminal where it has no migrator, and one that
    `migrates` is asked for."""
    name = database.metadata.name
    ready = next((one for one in database.status.conditions if one.type == "Ready"), None)
    if ready is None or ready.status != "True" or ready.observed_generation != database.metadata.generation:
        why = f": {ready.message}" if ready is not None and ready.message else ""
        raise Retryable(
            "DatabaseNotReady", f'ServiceDatabase "{name}" is not Ready, which is waited for{why}', ready="Unknown"
        )
    if migrates and database.spec.roles.migrator is None:
        raise Terminal(
            "NoMigrator",
            f'ServiceDatabase "{name}" has no migrator, whose login a migration needs; add spec.roles.migrator to it',
        )
