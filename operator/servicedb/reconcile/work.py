"""What one database needs, seen and carried out under the lock on its name."""

import time
from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass, field, replace

from servicedb.api.common import HANDLED_LENGTH, RECONCILE_AT
from servicedb.api.service_database import ServiceDatabase
from servicedb.errors import Problem
from servicedb.kube.resources import Key
from servicedb.plan.claim import claim
from servicedb.plan.conditions import condition_of
from servicedb.plan.credentials import LoginState
from servicedb.plan.database import current_marker, database_steps, role_setting_steps
from servicedb.plan.foreign import shared, shared_memberships
from servicedb.plan.inside import check_extensions, following_schemas
from servicedb.plan.leaving import departure_steps, leaving
from servicedb.plan.lines import drift_line
from servicedb.plan.memberships import membership_steps, wanted_memberships
from servicedb.plan.objects import overridden
from servicedb.plan.observed import ServerScan
from servicedb.plan.repairs import repairs
from servicedb.plan.roles import role_steps
from servicedb.plan.steps import (
    ChangeDatabaseOwner,
    ChangeObjectOwner,
    ChangeSetting,
    CreateDatabase,
    CreateExtension,
    CreateRole,
    DatabaseStep,
    NoteGranted,
    ObjectStep,
    Revoke,
    RoleStep,
    SetPassword,
    Step,
)
from servicedb.plan.wanted import Wanted
from servicedb.postgres.apply import Executor, Refused, try_settings
from servicedb.postgres.catalog import available_extensions, scan_inside
from servicedb.postgres.session import AdminServer, Session
from servicedb.reconcile.credentials import Credentials
from servicedb.reconcile.departure import let_go
from servicedb.reconcile.guests import Asked
from servicedb.reconcile.inside import Needed, look_inside, needed_inside
from servicedb.reconcile.observe import observe_database
from servicedb.reconcile.restoring import leave_alone
from servicedb.reconcile.world import Looked, Server, World

_DAY = 86_400.0
_TURNS = 3
"""How often the roles are gone over again: a password has been proved, a login leaves, a login that has left is
given what it needs for its next turn."""


@dataclass(frozen=True, slots=True)
class Work:
    """One object with all that its work needs. `unfinished`: sentences about what had to be left for later."""

    key: Key
    sdb: ServiceDatabase
    wanted: Wanted
    server: Server
    admin: AdminServer
    world: World
    credentials: Credentials
    asked: Asked
    unfinished: list[str] = field(default_factory=list)

    @property
    def was_in_sync(self) -> bool:
        """Whether nothing differed at the last look at this very spec."""
        seen = condition_of(self.sdb.status.conditions, "InSync")
        return seen is not None and seen.status == "True" and seen.observed_generation == self.sdb.metadata.generation

    @property
    def was_applied(self) -> bool:
        """Whether this very spec, and what others asked, had been carried out before: what differs now was changed by
        somebody else."""
        status, backups = self.sdb.status, self.asked.backups
        return (
            status.applied_generation == self.sdb.metadata.generation
            and {row.name for row in status.roles} == {login.role for login in self.wanted.logins}
            and (status.backup_access.reads if status.backup_access is not None else None)
            == (backups.reads if backups is not None else None)
        )


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a round came to.

    `left` are the steps that are still needed, with the reason why, if there is one but the spec's driftPolicy; `notes`
    what is only ever listed; `awaited` tables that overrides name and that are not there yet; `problem` what keeps
    logins from being proved; `isolation` what keeps tenants from being kept apart, None where that was not seen.
    """

    seen: ServerScan
    done: tuple[Step, ...] = ()
    left: Mapping[Step, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    awaited: tuple[str, ...] = ()
    problem: Problem | None = None
    isolation: tuple[str, ...] | None = None

    def repaired(self, wanted: Wanted) -> list[Step]:
        """What was changed on the server to undo changes by hand."""
        return [step for step in repairs(self.done, wanted) if step not in self.left]

    @property
    def drift(self) -> list[str]:
        """A line for each difference that stands."""
        return [
            *(f"{drift_line(step)}; {why}" if why else drift_line(step) for step, why in self.left.items()),
            *self.notes,
        ]


def recent_scan(work: Work) -> ServerScan | None:
    """The part of the server's last scan that is this database's; None where it is too old to go by."""
    scan, scanned_at = work.server.scan, work.server.scanned_at
    looked = work.world.insides.get(work.key)
    asked = work.sdb.metadata.annotations.get(RECONCILE_AT)
    if asked is not None and asked[:HANDLED_LENGTH] != work.sdb.status.handled.reconcile_at:
        return None
    if scan is None or looked is None or scanned_at < looked.at or not work.was_in_sync:
        return None
    if time.monotonic() - scanned_at > 1.5 * work.world.settings.resync:
        return None
    return scan.of(work.wanted.database, also=work.wanted.role_names)


async def is_in_sync(work: Work, seen: ServerScan) -> bool:
    """Whether nothing has to be done, as far as can be told without a connection."""
    try:
        marker = claim(work.wanted, seen, server=work.server.name)
    except Problem:
        return False  # to be seen afresh, under the lock, before it is said
    if marker is None or marker.let_go:
        return False
    database = seen.databases.get(work.wanted.database)
    looked = work.world.insides.get(work.key)
    if database is None or looked is None or time.monotonic() - looked.at > _DAY:
        return False
    if looked.version != _version(work, seen) or (work.wanted.tenancy is not None and looked.isolation is None):
        return False
    await work.credentials.read()
    return not (
        work.credentials.steps(seen.roles)
        or work.credentials.unproved(seen.roles)
        or work.credentials.outdated()
        or role_changes(work, seen)
        or database_changes(work, seen)
        or departure_steps(work.wanted, work.credentials.states(), seen.roles, now=work.world.now())
    )


def role_changes(work: Work, seen: ServerScan, states: Mapping[str, LoginState] | None = None) -> list[RoleStep]:
    """All that roles and memberships need. `states` by the login's role; left out, those of the Secrets."""
    wanted = shared(work.credentials.as_it_stands(seen.roles, states), seen)
    members = wanted_memberships(wanted) | shared_memberships(wanted, seen)
    steps: list[RoleStep] = [
        *role_steps(
            wanted,
            current_marker(wanted, seen),
            work.credentials.states() if states is None else states,
            seen.roles,
            now=work.world.now(),
            overlap=work.sdb.spec.credentials.overlap.timedelta,
        ),
        *membership_steps(members, seen.memberships, leaving=leaving(wanted, seen.roles)),
        *role_setting_steps(wanted, seen),
    ]
    return steps


def database_changes(work: Work, seen: ServerScan) -> list[Step]:
    """All that the database as a whole needs."""
    return list(database_steps(shared(work.credentials.as_it_stands(seen.roles), seen), seen))


async def carry_out(work: Work) -> Outcome:
    """Carry out what is missing, under the lock on the database's name."""
    wanted, world = work.wanted, work.world
    done: list[Step] = []
    refused: list[Refused] = []
    async with work.admin.locked(wanted.database) as connection:
        await work.credentials.read()
        seen = await observe(work, connection)
        await check_before(work, connection, seen)
        execute = Executor(seen.admin, seen.admin_superuser, world.step, lenient=is_open(work, seen))
        work.credentials.steps(seen.roles)  # a Secret of somebody else's is said before anything is made
        if changes := await _change_server(work, connection, seen, execute, refused, done):
            done += changes
            seen = await observe(work, connection)
        done += await leave_alone(wanted, connection, execute)
        if secrets := await work.credentials.prepare(seen.roles):  # each is named by a role's note by now
            done += secrets
            done += await _change_server(work, connection, seen, execute, refused, done)
            if execute.lenient:  # else nobody has used it yet, and it is looked at again before the logins take turns
                seen = await observe(work, connection)
        needed = await _change_inside(work, connection, seen, execute, done, refused)
        done += await work.credentials.prove_and_activate(connection, seen.roles)
        seen = await observe(work, connection)
        if work.credentials.refused:
            done += await work.credentials.prepare(seen.roles)
        for _ in range(_TURNS):
            following = await _change_server(work, connection, seen, execute, refused, done, entered=True)
            if not following:
                break
            done += [*following, *await work.credentials.prove_and_activate(connection, seen.roles)]
            seen = await observe(work, connection)
        departed = await let_go(wanted, work.credentials, connection, seen, execute)
        work.unfinished.extend(departed.staying)
        if departed.steps:
            done += departed.steps
            seen = await observe(work, connection)
        if needed is not None and needed.refusal is not None:
            raise needed.refusal
    notes = needed.notes if needed is not None else (not_entered(work),)
    awaited = needed.awaited if needed is not None else ()
    isolation = needed.isolation if needed is not None else None
    note_look(work, seen, awaited, isolation)
    again = [step for step in (*role_changes(work, seen), *database_changes(work, seen)) if step in done]
    again += [step for step in needed.steps if step in done] if needed is not None else []
    return Outcome(seen, tuple(done), _left(refused, again), notes, awaited, isolation=isolation)


def _left(refused: Sequence[Refused], again: Sequence[Step]) -> dict[Step, str]:
    """Each step that did not do what it should, and why. One that is planned again right after it was carried out
    would be so for ever."""
    words = dict.fromkeys(again, "was taken back without any effect: another role granted it, most likely")
    words |= {each.step: f"can't be taken back by the admin: {each.words}" for each in refused}
    elsewhere = {one for step in words if isinstance(step, ChangeObjectOwner) for one in step.objects}
    return {
        step: why
        for step, why in words.items()
        if isinstance(step, ChangeObjectOwner) or not (isinstance(step, ObjectStep) and elsewhere & {*step.objects})
    }


def not_entered(work: Work) -> str:
    return f"database: {work.wanted.database} can't be entered by the admin, so its inside was not looked at"


def is_open(work: Work, seen: ServerScan) -> bool:
    """Whether the database has been made whole and takes connections."""
    database = seen.databases.get(work.wanted.database)
    return database is not None and database.allow_connections


def note_look(work: Work, seen: ServerScan, awaited: tuple[str, ...], isolation: tuple[str, ...] | None) -> None:
    """Until the database's counters or the spec move there is no need for another look inside."""
    work.world.insides[work.key] = Looked(_version(work, seen), time.monotonic(), awaited, isolation)


def _version(work: Work, seen: ServerScan) -> object:
    """What a look inside depends on."""
    sharing = shared(work.wanted, seen).shared_with
    named = (work.wanted.groups, tuple(overridden(work.wanted)))  # by objects of other kinds, too
    return work.sdb.metadata.generation, seen.databases[work.wanted.database].changes, sharing, named


async def check_before(work: Work, connection: Session, seen: ServerScan) -> None:
    """Raise what PostgreSQL would refuse later, before anything is made: a database is made whole or not at all."""
    wanted = shared(work.wanted, seen)
    settings = [step for step in database_steps(wanted, seen) if isinstance(step, ChangeSetting)]
    await try_settings(connection, [(step.parameter, step.value) for step in settings if step.value is not None])
    if wanted.extensions and not is_open(work, seen):
        available = await available_extensions(connection, [extension.name for extension in wanted.extensions])
        check_extensions(wanted, available, admin_superuser=seen.admin_superuser)


async def observe(work: Work, connection: Session) -> ServerScan:
    """See observe_database."""
    return await observe_database(connection, work.wanted, server=work.server, admin=work.admin, world=work.world)


async def _change_server(
    work: Work,
    connection: Session,
    seen: ServerScan,
    execute: Executor,
    refused: list[Refused],
    done: Container[Step],
    *,
    entered: bool = False,
) -> list[Step]:
    """What has come up since what was `done`; what is refused is appended to `refused`. As long as nobody has `entered`
    the database, no login loses the group that it works as: the next one has its grants inside only then."""
    wanted = work.wanted
    roles = [
        step
        for step in role_changes(work, seen)
        if (entered or not _moves_on(wanted, step)) and (isinstance(step, SetPassword) or step not in done)
    ]
    if wanted.database not in seen.databases or any(isinstance(step, CreateRole) for step in roles):
        work.credentials.forget_proofs()  # a login that is made anew has no password, whatever its Secret says
    if roles:
        refused += await execute.roles(connection, roles, work.credentials.pending_passwords())
    steps = [step for step in database_changes(work, seen) if step not in done]
    for step in steps:
        if isinstance(step, CreateDatabase):
            await execute.alone(connection, step)
    together = [step for step in steps if isinstance(step, DatabaseStep)]
    if any(isinstance(step, ChangeDatabaseOwner) for step in together) and shared(wanted, seen).shared_with is not None:
        async with work.admin.inside(wanted.database) as inside:
            there = await scan_inside(inside, owner=wanted.names.owner, extensions=())
            with_it = list(following_schemas(wanted, there))
            refused += await execute.database(inside, [*together, *with_it], wanted.names.owner)
        return [*roles, *steps, *with_it]
    if together:
        refused += await execute.database(connection, together, wanted.names.owner)
    return [*roles, *steps]


def _moves_on(wanted: Wanted, step: Step) -> bool:
    return (
        isinstance(step, Revoke)
        and step.reason == "not in the spec"
        and wanted.login_of(step.membership.member) is not None
    )


async def _change_inside(
    work: Work, session: Session, seen: ServerScan, execute: Executor, done: list[Step], refused: list[Refused]
) -> Needed | None:
    """What is still needed inside afterwards; None where the admin can't get in."""
    wanted, server = work.wanted, work.server.name
    if not seen.databases[wanted.database].enterable:
        return None
    async with work.admin.inside(wanted.database) as connection:
        born = any(isinstance(step, CreateDatabase) for step in done)
        inside = await look_inside(connection, wanted, seen, server=server, empty=born)
        needed = needed_inside(wanted, inside, seen)
        if not needed.steps:
            return needed
        send = execute.inside if shared(wanted, seen).shared_with is None else execute.inside_apart
        refused += await send(connection, needed.steps, wanted.names.owner)
        done += needed.steps
        noted = any(isinstance(step, NoteGranted) for step in needed.steps)
        if born and not noted and not any(isinstance(step, CreateExtension) for step in needed.steps):
            return replace(needed, steps=())  # nothing was refused, and nobody else has been in there yet
        if noted:
            seen = await observe(work, session)
        return needed_inside(wanted, await look_inside(connection, wanted, seen, server=server), seen)
