"""The command lines that the Jobs of backups run: those that people run, too. Nothing in them is secret."""

from collections.abc import Iterable, Iterator

from servicedb.api.backup_schedule import Retention
from servicedb.api.storage import Compression, Encryption
from servicedb.api.strings import Duration
from servicedb.plan.backups.location import Location
from servicedb.plan.backups.pod import ASSERTIONS, ASSERTIONS_FILE, IDENTITY
from servicedb.plan.job_pod import CREDENTIALS

MOST_PRUNED = 20
"""So many can a Job's message name: what a list does not show any more without that having been told is doubted."""

A_PAGE = 20
"""No message has room for more backups than these."""

_TERMINATION_LOG = "--termination-log=/dev/termination-log"


def backup(
    places: list[Location],
    *,
    compression: Compression,
    parallel: int,
    encryption: Encryption | None,
    as_role: str | None,
    wait: Duration,
    spread: Duration | None = None,
    spread_key: str = "",
) -> tuple[str, ...]:
    """`spread` None: at once."""

    def line() -> Iterator[str]:
        yield from ("backup", f"--secret={CREDENTIALS}", _TERMINATION_LOG)
        yield from _store(places[0])
        for copy in places[1:]:
            yield f"--copy={copy.url}"
            yield f"--copy-credentials={copy.credentials or ''}"
        yield f"--compression={compression.level}"
        yield f"--parallel={parallel}"
        yield f"--wait={_seconds(wait)}"
        for recipient in encryption.age_recipients if encryption is not None else ():
            yield f"--recipient={recipient}"
        if as_role is not None:
            yield f"--as-role={as_role}"
        if spread is not None and spread.timedelta:
            yield f"--spread={_seconds(spread)}"
            yield f"--spread-key={spread_key}"

    return tuple(line())


def catalogue(place: Location, after: str | None) -> tuple[str, ...]:
    """List what is in the store, from `after` on."""
    line = ("list", _TERMINATION_LOG, *_store(place), f"--most={A_PAGE}")
    return (*line, *((f"--after={after}",) if after is not None else ()))


def verify(
    place: Location, key: str, *, parallel: int, identity: bool, as_role: str, assertions: bool
) -> tuple[str, ...]:
    """Restore `key` into the scratch database, and compare. With `assertions` a file of them is mounted."""
    return (
        "verify",
        f"--secret={CREDENTIALS}",
        _TERMINATION_LOG,
        *_store(place),
        f"--key={key}",
        f"--parallel={parallel}",
        *((f"--identity={IDENTITY}/identity",) if identity else ()),
        f"--as-role={as_role}",
        *((f"--assertion={ASSERTIONS}/{ASSERTIONS_FILE}",) if assertions else ()),
    )


def restore(
    place: Location,
    key: str,
    *,
    run: str,
    parallel: int,
    identity: bool,
    as_role: str | None,
    schemas: Iterable[str],
    tables: Iterable[str],
    roles: Iterable[tuple[str, str]],
) -> tuple[str, ...]:
    """Restore `key`. `run` is the same for each Job of one restore; `roles`: those of the backup, and what stands for
    them here."""
    return (
        "restore",
        f"--secret={CREDENTIALS}",
        _TERMINATION_LOG,
        *_store(place),
        f"--key={key}",
        f"--run={run}",
        f"--parallel={parallel}",
        *((f"--identity={IDENTITY}/identity",) if identity else ()),
        *(f"--schema={schema}" for schema in schemas),
        *(f"--table={table}" for table in tables),
        *(f"--role={old}={new}" for old, new in roles),
        *((f"--as-role={as_role}",) if as_role is not None else ()),
    )


def prune(
    place: Location,
    retention: Retention,
    *,
    time_zone: str,
    verified: Iterable[str],
    pinned: Iterable[str],
    live: Iterable[str],
) -> tuple[str, ...]:
    """Delete what `retention` does not keep."""
    rules = {
        "keep-last": retention.keep_last,
        "keep-within": _seconds(retention.keep_within) if retention.keep_within is not None else None,
        "keep-daily": retention.keep_daily,
        "keep-weekly": retention.keep_weekly,
        "keep-monthly": retention.keep_monthly,
        "minimum": retention.minimum,
        "max-prunes": min(retention.max_prunes_per_run, MOST_PRUNED),
    }
    return (
        "prune",
        _TERMINATION_LOG,
        *_store(place),
        *(f"--{name}={value}" for name, value in rules.items() if value is not None),
        f"--time-zone={retention.time_zone or time_zone}",
        *(f"--verified={key}" for key in verified),
        *(f"--pinned={key}" for key in pinned),
        *(f"--live={run}" for run in live),
    )


def delete(place: Location, keys: Iterable[str], *, verified: Iterable[str], pinned: Iterable[str]) -> tuple[str, ...]:
    """Delete these backups, whatever a retention says of them."""
    return (
        "prune",
        _TERMINATION_LOG,
        *_store(place),
        *(f"--only={key}" for key in keys),
        *(f"--verified={key}" for key in verified),
        *(f"--pinned={key}" for key in pinned),
    )


def _store(place: Location) -> Iterator[str]:
    yield f"--store={place.url}"
    if place.credentials is not None:
        yield f"--store-credentials={place.credentials}"


def _seconds(duration: Duration) -> int:
    return int(duration.timedelta.total_seconds())
