"""Killed anywhere while it takes changes by hand back, an operator leaves the rest to the next one."""

import signal
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from servicedb.plan.steps import REPAIR, AlterRole, ChangeDatabaseOwner, ChangeObjectOwner, Step

from tests.postgres.killed import Moment, killed_at
from tests.postgres.provision import Operator, Site, full_spec, unused_name
from tests.postgres.server import Server
from tests.postgres.snapshot import Snapshot, snapshot

MIGRATION = """
CREATE TABLE public.goods (id int); INSERT INTO public.goods VALUES (1);
CREATE TABLE public.sums (id int);
"""

INSIDE = """
DROP SCHEMA app;
ALTER SCHEMA public OWNER TO admin;
GRANT CREATE ON SCHEMA public TO PUBLIC;
REVOKE USAGE ON SCHEMA public FROM orders__ro;
ALTER DEFAULT PRIVILEGES FOR ROLE orders__owner GRANT SELECT ON TABLES TO PUBLIC;
ALTER DEFAULT PRIVILEGES FOR ROLE orders__owner REVOKE SELECT ON TABLES FROM orders__ro;
GRANT SELECT ON goods TO PUBLIC;
ALTER TABLE goods OWNER TO admin;
UPDATE pg_class SET relacl = NULL WHERE relname = 'sums';
"""

OUTSIDE = """
DROP ROLE orders__app_b;
ALTER ROLE orders__app_a CONNECTION LIMIT 7;
COMMENT ON ROLE orders__ro IS 'by hand';
ALTER ROLE orders__app_a SET work_mem = '1GB';
ALTER DATABASE orders SET work_mem = '1GB';
ALTER DATABASE orders OWNER TO orders__owner;
GRANT CONNECT ON DATABASE orders TO PUBLIC;
SET ROLE admin;
GRANT orders__owner TO orders__ro;
RESET ROLE;
ALTER DATABASE orders WITH ALLOW_CONNECTIONS false;
"""
"""Changes by hand that every kind of step in REPAIR is needed for."""

TRANSACTIONS: tuple[type[Step], ...] = (AlterRole, ChangeDatabaseOwner, ChangeObjectOwner)
"""One kind of step from each transaction."""


def kills() -> list[Any]:
    """After every kind of step on one version, on the others once in each transaction."""
    moments = [(16, kind, Moment.AFTER) for kind in REPAIR]
    moments += [(16, kind, Moment.UNCOMMITTED) for kind in TRANSACTIONS]
    moments += [(version, kind, Moment.AFTER) for version in (15, 18) for kind in TRANSACTIONS]
    return [
        pytest.param(version, kind, moment, id=f"pg{version}-{moment}-{kind.__name__}")
        for version, kind, moment in moments
    ]


class Place:
    """A database that was just made, and what it looked like then."""

    def __init__(self, site: Site) -> None:
        self.site, self.name = site, unused_name("changed")
        site.provision(self.name, full_spec(self.name, schemas=[{"name": "app"}]))
        with site.login(self.name, "migrator") as migrator:
            migrator.execute(MIGRATION.encode())
        self.undisturbed = self.snapshot()

    def snapshot(self) -> Snapshot:
        with self.site.as_superuser(self.name) as connection:
            return snapshot(connection, admin=self.site.admin.name)

    def change(self) -> None:
        for statements, dbname in ((INSIDE, self.name), (OUTSIDE, "postgres")):
            with self.site.as_superuser(dbname) as connection:
                for statement in statements.strip().split(";\n"):
                    text = statement.replace("orders", self.name).replace(" admin", f" {self.site.admin.name}")
                    connection.execute(text.encode())

    def rows(self) -> list[tuple[Any, ...]]:
        with self.site.login(self.name, "app") as app:
            return app.execute("SELECT id FROM goods").fetchall()


@pytest.fixture
def place(servers: Callable[[int], Server], shared_site: Callable[[Server, str], Site]) -> Iterator[Any]:
    """Gives a database on a server of that version, of a cluster of its own with an admin that is no superuser."""
    made: list[Place] = []

    def new(version: int) -> Place:
        made.append(Place(shared_site(servers(version), "createrole")))
        return made[-1]

    yield new
    for one in made:
        one.site.drop(one.name)


async def repaired(place: Place) -> list[type[Step]]:
    """The kinds of step that came, in the order in which they first did."""
    kinds: dict[type[Step], None] = {}

    def note(step: Step) -> None:
        kinds.setdefault(type(step))

    async with Operator(place.site.objects, on_step=note) as operator:
        done = await operator.bring(place.name)
    assert (done.reason, done.drift) == ("Ready", []), done.message
    return list(kinds)


async def test_a_repair_takes_the_steps_of_its_course(place: Callable[[int], Place]) -> None:
    changed = place(16)
    changed.change()
    assert await repaired(changed) == list(REPAIR)


@pytest.mark.parametrize(("version", "kind", "moment"), kills())
async def test_killed_anywhere_while_it_repairs_the_next_one_completes(
    place: Callable[[int], Place], version: int, kind: type[Step], moment: Moment
) -> None:
    changed = place(version)
    changed.change()
    assert killed_at(changed.site.objects.file, changed.name, kind, moment).exitcode == -signal.SIGKILL
    await repaired(changed)
    assert changed.snapshot() == changed.undisturbed
    assert changed.rows() == [(1,)]
    for role in ("migrator", "readOnly", "keeper"):
        changed.site.login(changed.name, role).close()
