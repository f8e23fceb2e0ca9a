"""Killed anywhere while it adopts a database, an operator leaves the applications of before at work, and the next one
completes what it began."""

import signal
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from servicedb.plan.steps import (
    ADOPTION,
    ChangeDatabaseOwner,
    ChangeObjectOwner,
    ChangeSchemaOwner,
    Grant,
    NoteGranted,
    Step,
)

from tests.postgres.foreign import Foreign, applications, work
from tests.postgres.killed import Moment, killed_at
from tests.postgres.provision import Operator, Site, unused_name
from tests.postgres.server import Server
from tests.postgres.snapshot import Snapshot, snapshot

TRANSACTIONS: tuple[type[Step], ...] = (Grant, ChangeDatabaseOwner, ChangeSchemaOwner, ChangeObjectOwner, NoteGranted)
"""One kind of step from each kind of transaction."""


def kills() -> list[Any]:
    """After every kind of step on one version, on the others once in each transaction."""
    moments = [(16, kind, Moment.AFTER) for kind in ADOPTION]
    moments += [(16, kind, Moment.UNCOMMITTED) for kind in TRANSACTIONS]
    moments += [(version, kind, Moment.AFTER) for version in (15, 18) for kind in TRANSACTIONS]
    return [
        pytest.param(version, kind, moment, id=f"pg{version}-{moment}-{kind.__name__}")
        for version, kind, moment in moments
    ]


@pytest.fixture(scope="module")
def original(
    servers: Callable[[int], Server], shared_site: Callable[[Server, str], Site]
) -> Iterator[Callable[[int], Foreign]]:
    """Gives a database that servicedb never made, on a server of that version, with a site by an admin that is no
    superuser."""
    made: dict[int, Foreign] = {}

    def original_on(version: int) -> Foreign:
        if version not in made:
            foreign = Foreign.new(shared_site(servers(version), "createrole"), unused_name("legacy"))
            foreign.grant_to_admin()
            made[version] = foreign
        return made[version]

    yield original_on
    for foreign in made.values():
        foreign.remove()


def snapshot_of(foreign: Foreign) -> Snapshot:
    with foreign.site.as_superuser(foreign.name) as connection:
        return snapshot(connection, admin=foreign.site.admin.name)


async def adopted(foreign: Foreign) -> list[type[Step]]:
    """The kinds of step that came, in the order in which they first did."""
    kinds: dict[type[Step], None] = {}

    def note(step: Step) -> None:
        kinds.setdefault(type(step))

    async with Operator(foreign.site.objects, on_step=note) as operator:
        done = await operator.bring(foreign.name)
    assert (done.reason, done.drift) == ("Ready", []), done.message
    return list(kinds)


@pytest.fixture
def place(original: Callable[[int], Foreign]) -> Iterator[Callable[[int], Foreign]]:
    """Gives a copy of that database which may be adopted."""
    made: list[Foreign] = []

    def copy(version: int) -> Foreign:
        of = original(version)
        made.append(of.copy(of.site, unused_name("adopted")))
        made[-1].list_adoptable()
        made[-1].want()
        return made[-1]

    yield copy
    for foreign in made:
        foreign.site.drop(foreign.name)


@pytest.fixture(scope="module")
def undisturbed() -> dict[int, Snapshot]:
    """What a database that was adopted without being disturbed looks like, by version."""
    return {}


async def test_an_adoption_takes_the_steps_of_its_course(place: Callable[[int], Foreign]) -> None:
    assert await adopted(place(16)) == list(ADOPTION)


@pytest.mark.parametrize(("version", "kind", "moment"), kills())
async def test_killed_anywhere_while_it_adopts_nobody_notices_and_the_next_one_completes(
    place: Callable[[int], Foreign],
    undisturbed: dict[int, Snapshot],
    version: int,
    kind: type[Step],
    moment: Moment,
) -> None:
    if version not in undisturbed:
        whole = place(version)
        await adopted(whole)
        with applications(whole) as sessions:
            assert work(whole, sessions) == []
        undisturbed[version] = snapshot_of(whole)
    foreign = place(version)
    before = foreign.contents()
    with applications(foreign) as sessions:
        assert killed_at(foreign.site.objects.file, foreign.name, kind, moment).exitcode == -signal.SIGKILL
        assert foreign.contents() == before
        assert work(foreign, sessions) == []
        before = foreign.contents()
        await adopted(foreign)
        assert foreign.contents() == before
        assert work(foreign, sessions) == []
    assert snapshot_of(foreign) == undisturbed[version]
    for role in ("app", "migrator", "readOnly", "keeper"):
        foreign.site.login(foreign.name, role).close()
