"""What one database needs, seen and carried out under the lock on its name."""

import time
from collections.abc import Iterator
from dataclasses import dataclass, field

from servicedb.api.common import RECONCILE_AT
from servicedb.api.service_database import ServiceDatabase
from servicedb.errors import Problem, Terminal
from servicedb.kube.resources import Key
from servicedb.plan.claim import claim
from servicedb.plan.conditions import condition_of
from servicedb.plan.database import current_marker, database_steps
from servicedb.plan.inside import check_extensions, inside_steps
from servicedb.plan.leaving import departure_steps, leaving
from servicedb.plan.marker import Marker
from servicedb.plan.memberships import membership_steps, wanted_memberships
from servicedb.plan.observed import ServerScan
from servicedb.plan.roles import role_steps
from servicedb.plan.steps import ChangeSetting, CreateDatabase, CreateRole, DatabaseStep, InsideStep, RoleStep, Step
from servicedb.plan.wanted import Wanted
from servicedb.postgres.apply import Executor, try_settings
from servicedb.postgres.catalog import available_extensions, scan_database, scan_inside
from servicedb.postgres.session import AdminServer, Session
from servicedb.reconcile.credentials import Credentials
from servicedb.reconcile.departure import let_go
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
    unfinished: list[str] = field(default_factory=list)

    @property
    def was_in_sync(self) -> bool:
        """Whether this very spec had been carried out before: what differs now was changed by somebody else."""
        ready = condition_of(self.sdb.status.conditions, "InSync")
        return (
            ready is not None and ready.status == "True" and ready.observed_generation == self.sdb.metadata.generation
        )


def recent_scan(work: Work) -> ServerScan | None:
    """The part of the server's last scan that is this database's; None where it is too old to go by."""
    scan, scanned_at = work.server.scan, work.server.scanned_at
    looked = work.world.insides.get(work.key)
    asked = work.sdb.metadata.annotations.get(RECONCILE_AT)
    if asked is not None and asked[:256] != work.sdb.status.handled.reconcile_at:
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
    if looked.version != (work.sdb.metadata.generation, database.changes):
        return False
    return not (
        work.credentials.steps(seen.roles)
        or work.credentials.unproved(seen.roles)
        or work.credentials.outdated()
        or role_changes(work, seen)
        or list(database_steps(work.credentials.as_it_stands(seen.roles), seen))
        or departure_steps(work.wanted, work.credentials.states(), seen.roles, now=work.world.now())
    )


def role_changes(work: Work, seen: ServerScan) -> list[RoleStep]:
    """What has to be done about the database's roles."""
    wanted = work.credentials.as_it_stands(seen.roles)
    steps: list[RoleStep] = [
        *role_steps(
            wanted,
            current_marker(wanted, seen),
            work.credentials.states(),
            seen.roles,
            now=work.world.now(),
            overlap=work.sdb.spec.credentials.overlap.timedelta,
        ),
        *membership_steps(wanted_memberships(wanted), seen.memberships, leaving=leaving(wanted, seen.roles)),
    ]
    return steps


async def carry_out(work: Work) -> tuple[ServerScan, list[Step]]:
    """Carry out what is missing, under the lock on the database's name."""
    wanted, world = work.wanted, work.world
    done: list[Step] = []
    async with work.admin.locked(wanted.database) as connection:
        await work.credentials.read_again()
        seen = await observe(work, connection)
        await _check_before(work, connection, seen)
        execute = Executor(seen.admin, seen.admin_superuser, world.step)
        done += await work.credentials.prepare(seen.roles)
        done += await _change_server(work, connection, seen, execute)
        async with work.admin.inside(wanted.database) as inside:
            there = await scan_inside(
                inside, owner=wanted.names.owner, extensions=[extension.name for extension in wanted.extensions]
            )
            steps, refusal = _until_refused(
                inside_steps(wanted, there, admin=seen.admin, admin_superuser=seen.admin_superuser)
            )
            if steps:
                await execute.inside(inside, steps, wanted.names.owner)
                done += steps
        done += await work.credentials.prove_and_activate(connection, seen.roles)
        seen = await observe(work, connection)
        if work.credentials.refused:
            done += await work.credentials.prepare(seen.roles)
        for _ in range(_TURNS):
            following = await _change_server(work, connection, seen, execute)
            if not following:
                break
            done += [*following, *await work.credentials.prove_and_activate(connection, seen.roles)]
            seen = await observe(work, connection)
        departed = await let_go(wanted, work.credentials, connection, seen, execute)
        work.unfinished.extend(departed.staying)
        if departed.steps:
            done += departed.steps
            seen = await observe(work, connection)
        if refusal is not None:
            raise refusal
        _check_effect(
            work, [*role_changes(work, seen), *database_steps(work.credentials.as_it_stands(seen.roles), seen)], done
        )
    world.insides[work.key] = Looked(
        (work.sdb.metadata.generation, seen.databases[wanted.database].changes), time.monotonic()
    )
    return seen, done


def _until_refused(steps: Iterator[InsideStep]) -> tuple[list[InsideStep], Terminal | None]:
    """The steps before something that can't be had, and the word about that."""
    taken: list[InsideStep] = []
    try:
        for step in steps:
            taken.append(step)  # what came before the exception counts
    except Terminal as refusal:
        return taken, refusal
    return taken, None


def _check_effect(work: Work, planned: list[Step], done: list[Step]) -> None:
    """Raise Terminal for a step that is planned again right after it was carried out: it would be so for ever."""
    without = {type(step).__name__: step.reason for step in planned if step in done}
    if without:
        kinds = ", ".join(f"{kind} ({reason})" for kind, reason in sorted(without.items()))
        raise Terminal(
            "WithoutEffect",
            f'changes to database "{work.wanted.database}" on {work.admin.endpoint} were carried out without any '
            f"effect: {kinds}; another role granted what the admin may not take away: have a superuser look at the "
            f'memberships and privileges of the roles whose names begin with "{work.wanted.database}__"',
            condition="RolesReady",
        )


async def _check_before(work: Work, connection: Session, seen: ServerScan) -> None:
    """Raise what PostgreSQL would refuse later, before anything is made: a database is made whole or not at all."""
    wanted = work.wanted
    settings = [step for step in database_steps(wanted, seen) if isinstance(step, ChangeSetting)]
    await try_settings(connection, [(step.parameter, step.value) for step in settings if step.value is not None])
    database = seen.databases.get(wanted.database)
    if wanted.extensions and (database is None or not database.allow_connections):
        available = await available_extensions(connection, [extension.name for extension in wanted.extensions])
        check_extensions(wanted, available, admin_superuser=seen.admin_superuser)


async def observe(work: Work, connection: Session) -> ServerScan:
    """The shared catalogues as far as they are this database's. Raises when they are not (any more): whatever is
    planned from what this gives may be done."""
    seen = await _scan(work, connection)
    work.server.must_be(seen.system_identifier, work.world)
    claim(work.wanted, seen, server=work.server.name)
    return seen


async def _scan(work: Work, connection: Session) -> ServerScan:
    """Looks for the database by the OID that it is known under, too."""
    wanted = work.wanted
    oids = {int(wanted.known_oid)} if wanted.known_oid is not None else set()
    seen = await scan_database(connection, wanted.database, roles=wanted.role_names, oids=oids)
    owner = seen.roles.get(wanted.names.owner)
    marker = Marker.read(owner.comment) if owner is not None else None
    if marker is None or marker.oid is None or seen.database_with_oid(marker.oid) is not None:
        return seen
    return await scan_database(connection, wanted.database, roles=wanted.role_names, oids={*oids, marker.oid})


async def _change_server(work: Work, connection: Session, seen: ServerScan, execute: Executor) -> list[Step]:
    wanted = work.wanted
    roles = role_changes(work, seen)
    if wanted.database not in seen.databases or any(isinstance(step, CreateRole) for step in roles):
        work.credentials.forget_proofs()  # a login that is made anew has no password, whatever its Secret says
    if roles:
        await execute.roles(connection, roles, work.credentials.pending_passwords())
    steps: list[Step] = list(database_steps(work.credentials.as_it_stands(seen.roles), seen))
    for step in steps:
        if isinstance(step, CreateDatabase):
            await execute.alone(connection, step)
    together = [step for step in steps if isinstance(step, DatabaseStep)]
    if together:
        await execute.database(connection, together, wanted.names.owner)
    return [*roles, *steps]
