"""A look inside one database, and what has to be done there."""

import time
from collections.abc import Iterator
from dataclasses import dataclass

from servicedb import metrics
from servicedb.errors import Terminal
from servicedb.plan.foreign import shared, strangers_objects
from servicedb.plan.inside import AT_BIRTH, inside_steps, misplaced_extensions
from servicedb.plan.leaving import former_groups
from servicedb.plan.objects import awaited, object_steps, overridden, to_be_named
from servicedb.plan.observed import InsideScan, ObjectScan, ServerScan
from servicedb.plan.steps import InsideStep
from servicedb.plan.tenancy import TenantTables, isolation_faults
from servicedb.plan.wanted import Wanted
from servicedb.postgres.catalog import scan_inside
from servicedb.postgres.inside import named, scan_objects
from servicedb.postgres.session import Session
from servicedb.postgres.tenancy import scan_tenancy


@dataclass(frozen=True, slots=True)
class Inside:
    """What was seen. `anew`: nothing was, since the database is yet to be made, or to be opened. `tenants` are None
    where they could not be looked at."""

    scan: InsideScan
    objects: ObjectScan
    anew: bool = False
    tenants: tuple[TenantTables, ...] | None = ()


@dataclass(frozen=True, slots=True)
class Needed:
    """`refusal` is the word about something that can't be had, `notes` what is listed and never changed, `awaited` the
    tables that overrides name and that are not there yet, `isolation` what keeps tenants from being kept apart (None:
    that could not be seen)."""

    steps: tuple[InsideStep, ...]
    refusal: Terminal | None
    notes: tuple[str, ...]
    awaited: tuple[str, ...]
    isolation: tuple[str, ...] | None = None


UNMADE = Inside(AT_BIRTH, ObjectScan(), anew=True)


async def look_inside(
    connection: Session, wanted: Wanted, seen: ServerScan, *, server: str, empty: bool = False
) -> Inside:
    """The deep scan, on a connection inside the database. `server` is for the metric alone. `empty`: it was made a
    moment ago, so that no objects are looked for."""
    began = time.monotonic()
    wanted = shared(wanted, seen)
    owner, schemas, singled_out = wanted.names.owner, ("public", *wanted.schemas), overridden(wanted)
    owners = (owner, *(wanted.shared_with or ()))
    scan = await scan_inside(connection, owner=owner, extensions=[extension.name for extension in wanted.extensions])
    objects = ObjectScan()
    tenants: tuple[TenantTables, ...] | None = ()
    if not empty and wanted.tenancy is not None:
        tenants = await scan_tenancy(connection, wanted.tenancy, owners=owners, schemas=schemas)
    if not empty:
        objects = await scan_objects(connection, owners=owners, schemas=schemas, singled_out=singled_out)
        samples = to_be_named(wanted, objects, seen.roles)
        objects = await named(connection, objects, samples, owners=owners, schemas=schemas, singled_out=singled_out)
    metrics.DEEP_SCANS.labels(server).observe(time.monotonic() - began)
    return Inside(scan, objects, tenants=tenants)


def needed_inside(wanted: Wanted, inside: Inside, seen: ServerScan) -> Needed:
    """Objects are seen to even where something else can't be had."""
    wanted, former = shared(wanted, seen), former_groups(wanted, seen.roles)
    steps, refusal = _until_refused(
        inside_steps(wanted, inside.scan, admin=seen.admin, admin_superuser=seen.admin_superuser, former=former)
    )
    steps += object_steps(wanted, inside.objects, seen.roles, anew=inside.anew)
    notes = (*misplaced_extensions(wanted, inside.scan), *strangers_objects(wanted, inside.objects))
    isolation = None
    if wanted.tenancy is not None and inside.tenants is not None:
        isolation = tuple(isolation_faults(wanted, wanted.tenancy, inside.tenants))
    return Needed(tuple(steps), refusal, notes, tuple(awaited(wanted, inside.objects)), isolation)


def _until_refused(steps: Iterator[InsideStep]) -> tuple[list[InsideStep], Terminal | None]:
    """The steps before something that can't be had, and the word about that."""
    taken: list[InsideStep] = []
    try:
        for step in steps:
            taken.append(step)  # what came before the exception counts
    except Terminal as refusal:
        return taken, refusal
    return taken, None
