"""A look at what a server has of one database, and whether that may be an object's."""

from dataclasses import replace

from servicedb.plan.claim import claim
from servicedb.plan.foreign import check_adoptable, is_foreign
from servicedb.plan.marker import Marker
from servicedb.plan.observed import ServerScan
from servicedb.plan.wanted import Wanted
from servicedb.postgres.catalog import scan_database
from servicedb.postgres.foreign import owners_inside
from servicedb.postgres.session import AdminServer, Session
from servicedb.reconcile.world import Server, World


async def observe_database(
    connection: Session, wanted: Wanted, *, server: Server, admin: AdminServer, world: World
) -> ServerScan:
    """The shared catalogues as far as they are this database's. Raises when they are not (any more): whatever is
    planned from what this gives may be done."""
    seen = await _scan(connection, wanted)
    server.must_be(seen.system_identifier, world)
    claim(wanted, seen, server=server.name)
    if is_foreign(wanted, seen):
        seen = await _with_owners(connection, wanted, admin)
        check_adoptable(wanted, seen, server=server.name)
    return seen


async def _scan(connection: Session, wanted: Wanted) -> ServerScan:
    """Looks for the database by the OID that it is known under, too, and for those who share it."""
    oids = {int(wanted.known_oid)} if wanted.known_oid is not None else set()
    seen = await scan_database(connection, wanted.database, roles=wanted.role_names, oids=oids)
    owner = seen.roles.get(wanted.names.owner)
    marker = Marker.read(owner.comment) if owner is not None else None
    if marker is None:
        return seen
    others = {*(marker.shared_with or ())} - {*seen.roles}
    moved = {marker.oid} if marker.oid is not None and seen.database_with_oid(marker.oid) is None else set()
    if not (others or moved):
        return seen
    return await scan_database(connection, wanted.database, roles=wanted.role_names, oids=oids | moved, others=others)


async def _with_owners(connection: Session, wanted: Wanted, admin: AdminServer) -> ServerScan:
    """Another look, at who owns something in a database that servicedb never made, too."""
    async with admin.inside(wanted.database) as inside:
        owners = await owners_inside(inside, schemas=("public", *wanted.schemas))
    names = [owner.role.name for owner in owners]
    seen = await scan_database(connection, wanted.database, roles=wanted.role_names, others=names)
    database = replace(seen.databases[wanted.database], owners=owners)
    return replace(seen, databases={**seen.databases, wanted.database: database})
