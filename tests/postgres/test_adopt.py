"""Adoption on real servers: by spec.adoptable, one at a time, and by `servicedb adopt`, a whole cluster's at once."""

from collections.abc import Callable
from pathlib import Path

import pytest
from psycopg import sql
from servicedb.errors import Problem
from servicedb.kube import resources
from servicedb.plan.adoption import Adoption
from servicedb.plan.steps import CommentOnRole, Step
from servicedb.reconcile.adopt import adopt, adoptions
from servicedb.reconcile.world import World
from servicedb.settings import Settings

from tests.postgres.conftest import as_admin, on_versions
from tests.postgres.deleted import deletable, delete, keep_a_row, kept, look, marker_of, there
from tests.postgres.objects import NAMESPACE
from tests.postgres.provision import AT_ONCE, Operator, Site, full_spec, key_of, unused_name
from tests.postgres.server import Server

Sites = Callable[[Server, str], Site]


async def bring(site: Site, name: str) -> tuple[str, str]:
    """One round of an operator just started: why it ended, and its message."""
    async with Operator(site.objects) as operator:
        done = await operator.bring(name)
        return done.reason, done.message


def list_adoptable(site: Site, name: str) -> None:
    site.serve(adoptable=[{"databaseName": name, "namespace": NAMESPACE, "name": key_of(name).name}])


@pytest.mark.parametrize("policy", ["Retain", "Delete"])
async def test_a_database_that_another_cluster_let_go_is_had_by_who_is_listed(
    shared_site: Sites, server: Server, admin: str, database: str, policy: str
) -> None:
    first, second = shared_site(server, admin), shared_site(server, admin)
    first.provision(database, full_spec(database, deletion={"policy": policy, "gracePeriod": "7d"}))
    keep_a_row(first, database)
    second.want(database)
    list_adoptable(second, database)
    reason, message = await bring(second, database)
    assert (reason, "belongs to" in message) == ("Conflict", True)  # it is held: being listed changes nothing
    delete(first, database)
    await look(first)
    assert marker_of(first, database).let_go
    second.serve(adoptable=[])
    reason, message = await bring(second, database)
    assert reason == "Conflict"
    assert f"{{databaseName: {database}, namespace: {NAMESPACE}" in message
    list_adoptable(second, database)
    assert (await bring(second, database))[0] == "Ready"
    assert kept(second, database) == [("still here",)]
    assert (await look(first, times=3)).reason == "Ready"  # theirs no more, whatever its grace was
    assert marker_of(second, database).cluster == second.objects.cluster_uid
    assert kept(second, database) == [("still here",)]


@pytest.mark.parametrize("comment", ["NULL", "'by hand'"])
async def test_a_lost_marker_is_written_again_for_who_is_listed(site: Site, database: str, comment: str) -> None:
    site.provision(database)
    keep_a_row(site, database)
    before = marker_of(site, database)
    with site.as_superuser() as connection:
        text = sql.SQL("COMMENT ON ROLE {} IS " + comment)
        connection.execute(text.format(sql.Identifier(f"{database}__owner")))
    reason, message = await bring(site, database)
    assert reason == "MarkerLost"
    assert f"adds {{databaseName: {database}, namespace: {NAMESPACE}" in message
    list_adoptable(site, database)
    assert (await bring(site, database))[0] == "Ready"
    assert marker_of(site, database) == before
    assert kept(site, database) == [("still here",)]


def rebuilt(old: Site, tmp_path: Path, *databases: str, **changes: object) -> Site:
    """A new cluster of the same manifests as `old`, whose objects all have other UIDs; its Secrets are lost."""
    new = Site.new(old.server, old.admin, tmp_path)
    for name in databases:
        new.want(name)
    return new


def world(site: Site) -> World:
    return World(site.objects, Settings(), site.objects.cluster_uid)


async def test_the_databases_of_a_rebuilt_cluster_are_adopted_at_once(site: Site, tmp_path: Path) -> None:
    names = {kind: unused_name(kind) for kind in ("held", "released", "deleted", "elsewhere")}
    try:
        for name in names.values():
            site.provision(name, deletable(name, "7d") if name == names["deleted"] else None)
            keep_a_row(site, name)
        for kind in ("released", "deleted"):
            delete(site, names[kind])
        await look(site)
        new = rebuilt(site, tmp_path, names["held"], names["released"], names["deleted"])
        assert (await bring(new, names["held"]))[0] == "Conflict"
        here = world(new)
        found, faults = await adoptions(here, site.objects.cluster_uid)
        assert faults == []
        assert {one.database: (one.state, one.obstacle) for one in found} == {
            names["held"]: ("Held", None),
            names["released"]: ("Released", None),
            names["deleted"]: ("Deleted", None),
            names["elsewhere"]: (
                "Held",
                f"there is no ServiceDatabase {NAMESPACE}/{key_of(names['elsewhere']).name} here",
            ),
        }
        for one in found:
            if one.obstacle is None:
                await adopt(here, one)
        await here.close()
        for kind in ("held", "released", "deleted"):
            before, now = next(one.marker for one in found if one.database == names[kind]), marker_of(new, names[kind])
            assert (now.cluster, now.oid, now.let_go) == (new.objects.cluster_uid, before.oid, False)
            assert (await bring(new, names[kind]))[0] == "Ready"
            assert kept(new, names[kind]) == [("still here",)]
        assert marker_of(site, names["elsewhere"]).cluster == site.objects.cluster_uid
    finally:
        for name in names.values():
            site.drop(name)


async def stale(site: Site, new: Site, database: str) -> tuple[World, Adoption]:
    here = world(new)
    found, _ = await adoptions(here, site.objects.cluster_uid)
    return here, next(one for one in found if one.database == database)


@on_versions(16)
@as_admin("createrole")
@pytest.mark.parametrize("change", ["marker", "object", "namespace", "lock"])
async def test_what_changed_since_it_was_shown_is_left_alone(
    site: Site, database: str, tmp_path: Path, change: str
) -> None:
    site.provision(database)
    new = rebuilt(site, tmp_path, database)
    here, adoption = await stale(site, new, database)
    assert adoption.obstacle is None
    before = marker_of(site, database)
    with site.as_superuser("servicedb") as other:
        match change:
            case "marker":
                delete(site, database)
                await look(site)
                before = marker_of(site, database)
            case "object":
                delete(new, database)
            case "namespace":
                new.objects.remove(resources.namespace(NAMESPACE))
            case "lock":
                other.execute("SELECT pg_advisory_lock(hashtextextended(%s, 0))", (database,))
        with pytest.raises(Problem):
            await adopt(here, adoption)
    assert marker_of(site, database) == before
    await here.close()


@on_versions(16)
@as_admin("createrole")
async def test_this_cluster_itself_and_servers_that_are_not_there_are_refused(site: Site, database: str) -> None:
    site.provision(database)
    here = world(site)
    with pytest.raises(Problem, match="is this cluster itself"):
        await adoptions(here, site.objects.cluster_uid)
    with pytest.raises(Problem, match="there is no DatabaseServer other"):
        await adoptions(here, "another-uid", only="other")
    assert await adoptions(here, "another-uid", only="main") == ([], [])
    await here.close()


@on_versions(16)
@as_admin("createrole")
async def test_a_server_that_is_away_is_told_and_the_rest_is_shown(site: Site, database: str, tmp_path: Path) -> None:
    site.provision(database)
    new = rebuilt(site, tmp_path, database)
    away = {**new.objects.read()["/apis/servicedb.io/v1alpha1/databaseservers/main"]["spec"], "port": 1}
    path = "/apis/servicedb.io/v1alpha1/databaseservers/away"
    new.objects.put(path, {"metadata": {"name": "away"}, "spec": away})
    here = world(new)
    found, faults = await adoptions(here, site.objects.cluster_uid)
    assert [one.obstacle for one in found if one.database == database] == [None]
    assert len(faults) == 1
    assert faults[0].startswith("DatabaseServer away was not looked at: ")
    await here.close()


async def test_the_marker_is_all_that_an_adoption_changes(site: Site, database: str, tmp_path: Path) -> None:
    steps: list[Step] = []
    site.provision(database)
    before = there(site, database)
    here, adoption = await stale(site, rebuilt(site, tmp_path, database), database)
    here.on_step = steps.append
    await adopt(here, adoption)
    await here.close()
    assert [(type(step), step.reason) for step in steps] == [(CommentOnRole, "adopted from another cluster")]
    assert there(site, database) == before
    site.login(database, "app").close()
    async with Operator(site.objects, settings=AT_ONCE) as old:
        assert (await old.bring(database)).reason == "Conflict"
