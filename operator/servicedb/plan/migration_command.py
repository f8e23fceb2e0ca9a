"""The command line of a run's pod: `servicedb migrate`, as a person could write it."""

from collections.abc import Iterator, Mapping
from typing import Final

from servicedb.api.migration_run import Action, Tenants
from servicedb.api.migration_source import AdoptHistory
from servicedb.api.strings import Duration
from servicedb.plan.job_pod import CREDENTIALS
from servicedb.plan.migration_key import identity
from servicedb.plan.migration_order import FILES, Order

_COMMANDS: Final[Mapping[Action, str]] = {
    "Up": "up",
    "Down": "down",
    "Verify": "verify",
    "Plan": "plan",
    "Seed": "seed",
    "ClearSeeds": "clear-seeds",
}


def arguments(order: Order) -> Iterator[str]:
    """The command line of `servicedb migrate`. Nothing in it is secret."""
    spec = order.run.spec
    yield from ("migrate", _COMMANDS[spec.action])
    yield f"--secret={CREDENTIALS}"
    yield f"--set={spec.set_}"
    yield f"--detail={spec.failure_detail}"
    yield "--termination-log=/dev/termination-log"
    yield f"--lock-timeout={_milliseconds(spec.lock_timeout)}"
    yield f"--statement-timeout={_milliseconds(spec.statement_timeout)}"
    yield f"--retries={spec.retries}"
    for decision in spec.decisions:
        yield f"--decision={decision.version}:{decision.choice}:{decision.digest}"
    if (who := identity(order.run)) is not None:
        yield f"--identity={who}"
    match spec.action:
        case "Down":
            yield f"--target={spec.target}"
        case "ClearSeeds":
            pass
        case _:
            yield from _of_source(order)
    if spec.action in ("Up", "Seed") and spec.seeds is not None:
        yield f"--environment={spec.seeds.environment}"
    if spec.tenants is not None:
        yield from _of_tenants(spec.tenants)
        if spec.action == "Up" and spec.tenants.create:
            yield "--create-tenants"


def _of_source(order: Order) -> Iterator[str]:
    spec = order.run.spec
    yield f"--target={spec.target}"
    yield f"--dir={FILES}"
    if order.source_digest is not None:
        yield f"--source-digest={order.source_digest}"
    if spec.source.image is not None:
        yield "--no-links"
    elif spec.source.config_maps:
        yield "--archives"
    yield f"--format={spec.format}"
    yield from (f"--before={file}" for file in spec.hooks.before)
    yield from (f"--after={file}" for file in spec.hooks.after)
    if spec.out_of_order == "Allow":
        yield "--out-of-order"
    if (adopted := spec.adopt_history) is not None:
        yield from _of_history(adopted)


def _of_history(adopted: AdoptHistory) -> Iterator[str]:
    yield f"--adopt={adopted.format}"
    if adopted.table is not None:
        yield f"--adopt-table={adopted.table}"
    if adopted.version_column is not None:
        yield f"--adopt-version-column={adopted.version_column}"
    if adopted.name_column is not None:
        yield f"--adopt-name-column={adopted.name_column}"


def _of_tenants(tenants: Tenants) -> Iterator[str]:
    yield from (f"--tenant={schema}" for schema in tenants.list_)
    if tenants.pattern is not None:
        yield f"--tenants={tenants.pattern}"
    if tenants.query is not None:
        yield f"--tenants-query={tenants.query}"
    yield f"--parallel={tenants.parallel}"
    yield f"--canary={tenants.canary}"
    yield f"--max-failures={tenants.max_failures}"


def _milliseconds(duration: Duration) -> str:
    return f"{int(duration.timedelta.total_seconds() * 1000)}ms"
