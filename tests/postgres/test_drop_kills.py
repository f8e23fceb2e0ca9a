"""Killed anywhere while it deletes, or undoes that, an operator leaves it to the next one, and nothing is lost."""

import signal
from collections.abc import Callable
from typing import Any

import psycopg
import pytest
from servicedb.plan.steps import DELETION, UNDO, CloseDatabase, CreateDatabase, OpenDatabase, Step

from tests.postgres.binaries import VERSIONS
from tests.postgres.conftest import on_versions
from tests.postgres.deleted import NOTHING, deletable, delete, everything, keep_a_row, kept, look, marker_of, there
from tests.postgres.killed import Moment, killed_at, killed_while_deleting
from tests.postgres.provision import Site, unused_name
from tests.postgres.server import Server

ELSEWHERE = "SELECT lo_from_bytea(0, 'a large object')"


def kills(sequence: tuple[type[Step], ...]) -> list[Any]:
    """By an admin without superuser rights everywhere; a superuser does the same with less."""
    places = [(version, "createrole", moment) for version in VERSIONS for moment in (Moment.BEFORE, Moment.AFTER)]
    return [
        pytest.param(version, admin, kind, moment, id=f"pg{version}-{admin}-{moment}-{kind.__name__}")
        for version, admin, moment in (*places, (16, "superuser", Moment.AFTER))
        for kind in sequence
    ]


@pytest.fixture(scope="module")
def place(servers: Callable[[int], Server], shared_site: Callable[[Server, str], Site]) -> Callable[[int, str], Site]:
    """Gives a site for a server and a kind of admin."""
    made: dict[tuple[int, str], Site] = {}

    def place_of(version: int, admin: str) -> Site:
        if (version, admin) not in made:
            made[version, admin] = shared_site(servers(version), admin)
        return made[version, admin]

    return place_of


@pytest.mark.parametrize(("version", "admin", "kind", "moment"), kills(DELETION))
async def test_killed_anywhere_while_it_deletes_the_next_one_leaves_nothing(
    place: Callable[[int, str], Site], version: int, admin: str, kind: type[Step], moment: Moment
) -> None:
    site, name = place(version, admin), unused_name("deleted")
    before = everything(site)
    try:
        site.provision(name, deletable(name))
        with site.login(name, "app", "postgres") as elsewhere:
            elsewhere.execute(ELSEWHERE)
        session = site.login(name, "app")
        delete(site, name)
        assert killed_while_deleting(site.objects.file, kind, moment).exitcode == -signal.SIGKILL
        assert (await look(site, times=3)).reason == "Ready"
        assert there(site, name) == NOTHING
        assert [path for path in site.objects.read() if f"/secrets/{name.replace('_', '-')}-" in path] == []
        with pytest.raises(psycopg.OperationalError):
            session.execute("SELECT 1")
        assert everything(site) == before
    finally:
        site.drop(name)


def undoable() -> list[Any]:
    """With the operator killed here the data is still there."""
    last = DELETION.index(CloseDatabase)
    return [
        pytest.param(kind, moment, id=f"{moment}-{kind.__name__}")
        for kind in DELETION[: last + 1]
        for moment in (Moment.BEFORE, Moment.AFTER)
    ]


@on_versions(16)
@pytest.mark.parametrize(("kind", "moment"), undoable())
async def test_a_deletion_that_was_cut_off_is_undone(
    site: Site, database: str, kind: type[Step], moment: Moment
) -> None:
    site.provision(database, deletable(database))
    keep_a_row(site, database)
    session = site.login(database, "app", "postgres")
    oid = marker_of(site, database).oid
    before = there(site, database)
    delete(site, database)
    assert killed_while_deleting(site.objects.file, kind, moment).exitcode == -signal.SIGKILL
    session.close()
    site.provision(database, deletable(database))
    marker = marker_of(site, database)
    assert (marker.oid, marker.let_go, marker.dropping) == (oid, False, None)
    assert there(site, database) == before
    assert kept(site, database) == [("still here",)]
    assert (await look(site, times=3)).reason == "Ready"
    assert kept(site, database) == [("still here",)]


@pytest.mark.parametrize(("version", "admin", "kind", "moment"), kills(UNDO))
async def test_killed_anywhere_while_it_undoes_a_deletion_the_next_one_completes(
    place: Callable[[int, str], Site], version: int, admin: str, kind: type[Step], moment: Moment
) -> None:
    site, name = place(version, admin), unused_name("undone")
    try:
        site.provision(name, deletable(name, "7d"))
        keep_a_row(site, name)
        before = there(site, name)
        delete(site, name)
        await look(site)
        assert marker_of(site, name).deleted_at is not None
        site.want(name, deletable(name, "7d"))
        assert killed_at(site.objects.file, name, kind, moment).exitcode == -signal.SIGKILL
        site.provision(name, deletable(name, "7d"))
        assert there(site, name) == before
        assert kept(site, name) == [("still here",)]
    finally:
        site.drop(name)


@pytest.mark.parametrize("kind", [CreateDatabase, OpenDatabase], ids=lambda kind: kind.__name__)
@pytest.mark.parametrize("moment", [Moment.BEFORE, Moment.AFTER])
@on_versions(16)
async def test_what_was_never_finished_is_dropped_too(
    site: Site, database: str, kind: type[Step], moment: Moment
) -> None:
    before = everything(site)
    site.want(database, deletable(database))
    assert killed_at(site.objects.file, database, kind, moment).exitcode == -signal.SIGKILL
    delete(site, database)
    assert (await look(site)).reason == "Ready"
    assert there(site, database) == NOTHING
    assert everything(site) == before
