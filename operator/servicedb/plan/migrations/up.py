"""What a set of migrations still needs in one schema, and why nothing may be done instead."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from servicedb.errors import Retryable, Terminal
from servicedb.plan.migrations.formats import Migration
from servicedb.plan.migrations.history import Applied, Choice, Decision, History, State
from servicedb.plan.migrations.order import in_order
from servicedb.plan.migrations.script import Script
from servicedb.plan.migrations.versions import Version


@dataclass(frozen=True, slots=True)
class Apply:
    """Run a migration. `goes_on`: it had begun outside a transaction before."""

    migration: Migration
    script: Script
    reason: str
    goes_on: bool = False


@dataclass(frozen=True, slots=True)
class TakeChecksum:
    """Take a changed file for what was applied: a person said so, or it was taken over without its file."""

    migration: Migration
    checksum: str
    reason: str


Step = Apply | TakeChecksum


@dataclass(frozen=True, slots=True)
class UpPlan:
    """The steps, in order. `ahead` are versions that the history holds beyond the source: it was set back."""

    steps: tuple[Step, ...]
    ahead: tuple[str, ...] = ()


def plan_up(
    source: Sequence[Migration],
    history: History,
    *,
    target: Version | None = None,
    allow_out_of_order: bool = False,
    decisions: Sequence[Decision] = (),
) -> UpPlan:
    """The steps from `history` to `target`, or to the latest of `source`.

    Raises Terminal where the two contradict each other, and BadFile where a script that would run can't; Retryable
    where another set has to come first.
    """
    known = {migration.key for migration in source}
    if target is not None and str(target) not in known:
        raise Terminal("UnknownTarget", f"version {target} is not in the source; name one that is, or Latest")
    for one in history.applied:
        if one.state is State.LEAVING:
            raise Terminal(
                "HalfReverted", f"the way back of version {one.key} was begun and has not ended; go down below it first"
            )
    ahead = _ahead(source, history)
    steps: list[Step] = [
        step
        for migration in source
        if (applied := history.find(migration.key)) is not None
        and (step := _on_applied(migration, applied, decisions)) is not None
    ]
    wanted = [
        migration
        for migration in source
        if migration.version is not None
        and (target is None or migration.version <= target)
        and ((applied := history.find(migration.key)) is None or applied.state is State.BEGUN)
    ]
    if not allow_out_of_order:
        _check_order(wanted, source, history)
    scripts = {migration.key: migration.up for migration in wanted}
    _check_other_sets(scripts, history)
    done = {one.key for one in history.applied if one.state is State.APPLIED}
    for migration in in_order(wanted, scripts, done):
        begun = history.find(migration.key) is not None
        reason = "begun and not ended" if begun else "not applied"
        steps.append(Apply(migration, scripts[migration.key], reason, goes_on=begun))
    if target is None:
        steps += _repeatables(source, history)
    return UpPlan(tuple(steps), ahead)


def _ahead(source: Sequence[Migration], history: History) -> tuple[str, ...]:
    latest = max((migration.version for migration in source if migration.version), default=None)
    known = {migration.key for migration in source}
    missing = [one for one in history.applied if one.key not in known and one.version is not None]
    # What another tool was rid of before it was taken over has no file, and needs none.
    missing = [one for one in missing if one.checksum is not None or one.state is not State.APPLIED]
    for one in missing:
        if one.version is not None and latest is not None and one.version < latest:
            raise Terminal(
                "MissingMigration",
                f"version {one.key} ({one.file}) was applied and is not in the source, which goes on to {latest}; "
                "put the file back",
            )
    return tuple(one.key for one in missing)


def _on_applied(migration: Migration, applied: Applied, decisions: Sequence[Decision]) -> Step | None:
    if migration.version is None or applied.state is not State.APPLIED:
        return None
    found = migration.checksum
    if applied.checksum == found:
        return None
    if applied.checksum is None:
        return TakeChecksum(migration, found, "taken over without its file")
    if Decision(migration.key, found, Choice.ACCEPT) in decisions:
        return TakeChecksum(migration, found, "a decision accepts the changed file")
    raise Terminal(
        "ChangedMigration",
        f"{migration.file} was changed after it was applied: it was {applied.checksum} and is {found}; put it back and "
        f"write a new migration, or accept it with a decision for version {migration.key}, digest {found}, choice "
        "Accept",
    )


def _check_order(wanted: Sequence[Migration], source: Sequence[Migration], history: History) -> None:
    by_key = {migration.key: migration for migration in source}
    latest = history.version
    for migration in wanted:
        if migration.version is None or history.find(migration.key):
            continue
        # What it requires comes before it, whatever its version: it is as late as the latest of those.
        place = max([migration.version, *map(Version.parse, _behind(migration, by_key))])
        if latest is not None and latest > place:
            raise Terminal(
                "OutOfOrder",
                f"{migration.file} was never applied and is older than version {latest}, which was; give it a "
                "later version, or allow out of order",
            )


def _behind(migration: Migration, by_key: Mapping[str, Migration]) -> set[str]:
    """All versions that `migration` requires, and those require."""
    found: set[str] = set()
    open_ends = [migration]
    while open_ends:
        for requirement in open_ends.pop().up.requires:
            try:
                key = str(Version.parse(requirement))
            except ValueError:
                continue  # another set
            if key not in found:
                found.add(key)
                open_ends += [by_key[key]] if key in by_key else []
    return found


def _check_other_sets(scripts: dict[str, Script], history: History) -> None:
    for script in scripts.values():
        for requirement in script.requires:
            name, _, version = requirement.partition("/")
            try:
                if not version and Version.parse(name):
                    continue
            except ValueError:
                pass
            done = history.others.get(name, frozenset())
            if not done or (version and str(Version.parse(version)) not in done):
                raise Retryable("WaitingForSet", f"{script.file} requires {requirement}, which was not applied yet")


def _repeatables(source: Sequence[Migration], history: History) -> list[Step]:
    steps: list[Step] = []
    for migration in source:
        if migration.version is not None:
            continue
        applied = history.find(migration.key)
        if applied is None or applied.checksum != migration.checksum:
            reason = "not applied" if applied is None else "changed"
            goes_on = applied is not None and applied.state is State.BEGUN
            steps.append(Apply(migration, migration.up, reason, goes_on=goes_on))
    return steps
