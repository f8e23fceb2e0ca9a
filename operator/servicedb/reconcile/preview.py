"""mode Plan: the steps that would be carried out, in their order. Nothing is changed."""

from collections.abc import Iterator
from dataclasses import replace

from servicedb.errors import Terminal
from servicedb.plan.credentials import LoginState
from servicedb.plan.lines import one_line
from servicedb.plan.observed import Role, ServerScan
from servicedb.plan.steps import ActivateSecret, CreateRole, ProveLogin, Step
from servicedb.postgres.catalog import available_extensions
from servicedb.postgres.script import Planned, script
from servicedb.postgres.session import Session
from servicedb.reconcile.inside import UNMADE, Inside, Needed, look_inside, needed_inside
from servicedb.reconcile.work import Work, check_before, database_changes, not_entered, observe, role_changes


async def preview(work: Work) -> list[Planned]:
    """What bringing the database to its spec would take now. Raises a Problem where that can't be told, or can't be."""
    async with work.admin.session() as connection:
        return await _planned(work, connection, await observe(work, connection))


async def _planned(work: Work, connection: Session, seen: ServerScan) -> list[Planned]:
    await check_before(work, connection, seen)
    secrets = work.credentials.steps(seen.roles)
    states = work.credentials.states()
    states |= {step.role: LoginState(states[step.role].active, step.half) for step in secrets}
    needed = await _inside(work, connection, seen)
    first = role_changes(work, seen)
    made = replace(
        seen, roles={**seen.roles, **{step.name: _made(step) for step in first if isinstance(step, CreateRole)}}
    )
    steps: list[Step] = [
        *first,
        *database_changes(work, seen),
        *secrets,
        *(step for step in role_changes(work, made, states) if step not in first),
        *(needed.steps if needed is not None else ()),
        *_logins(states),
    ]
    names = {login.role: login.secret_name for login in work.wanted.logins}
    lines = [
        script(step, server_version=seen.version, namespace=work.sdb.metadata.namespace, secrets=names)
        for step in steps
    ]
    return [*lines, *_remarks(work, needed)]


def _made(step: CreateRole) -> Role:
    return Role(
        step.name, step.login, inherit=step.inherit, connection_limit=step.connection_limit, comment=step.comment
    )


async def _inside(work: Work, connection: Session, seen: ServerScan) -> Needed | None:
    """None where the admin can't get in. What is not made yet will be as template0 is."""
    wanted = work.wanted
    database = seen.databases.get(wanted.database)
    if database is not None and database.allow_connections:
        if not database.enterable:
            return None
        async with work.admin.inside(wanted.database) as inside:
            look = await look_inside(inside, wanted, seen, server=work.server.name)
        return needed_inside(wanted, look, seen)
    available = await available_extensions(connection, [extension.name for extension in wanted.extensions])
    scan = UNMADE.scan.with_available(available)
    return needed_inside(wanted, Inside(scan, UNMADE.objects, anew=True), seen)


def _logins(states: dict[str, LoginState]) -> Iterator[Step]:
    for role, state in states.items():
        if state.pending is not None:
            yield ProveLogin("not proved with its new password", role, state.pending)
            yield ActivateSecret("its login was proved", role, state.pending)


def _remarks(work: Work, needed: Needed | None) -> Iterator[Planned]:
    """What no step stands for."""
    if needed is None:
        yield Planned("Remark", "it can't be looked at", f"-- {not_entered(work)}")
        return
    if needed.refusal is not None:
        yield _remark(needed.refusal)
    for note in needed.notes:
        yield Planned("Remark", "only listed", one_line(f"-- {note}"))


def _remark(refusal: Terminal) -> Planned:
    return Planned("Remark", refusal.reason, one_line(f"-- can't be had: {refusal.message}"))
