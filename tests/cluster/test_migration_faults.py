"""MigrationRuns when things go wrong, come late or come twice: each ends as if nothing had been."""

import contextlib
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from servicedb.plan.steps import MIGRATION, DeleteJob

from tests.cluster.harness.cluster import Cluster
from tests.cluster.objects import Objects, condition, wait_for
from tests.cluster.operator_process import OperatorProcess, Point, steps_done
from tests.cluster.shop import PATIENCE, Shop, inline, migrating, open_shop

LEDGER = "ledger"
"""The database of this file; each test has a set, and tables, of its own."""


@pytest.fixture(scope="module")
def shop(cluster: Cluster, objects: Objects, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    nowhere = Point("migrationruns/none/none", "")
    with open_shop(cluster, objects, tmp_path_factory.mktemp("operator"), points=[nowhere]) as shop:
        shop.provision(LEDGER)
        yield shop


def set_of(name: str, files: dict[str, str], **more: Any) -> dict[str, Any]:
    return {"spec.set": name, "spec.source": inline(files), **{f"spec.{field}": value for field, value in more.items()}}


def held(number: int, table: str) -> str:
    """A migration that stops in the middle for as long as somebody holds lock `number`."""
    return f"CREATE TABLE {table} (); SELECT pg_advisory_xact_lock({number}); COMMENT ON TABLE {table} IS 'whole';\n"


@contextlib.contextmanager
def holding(shop: Shop, number: int) -> Iterator[None]:
    """Hold the lock. The server may go away meanwhile."""
    with shop.tenant.server.connect(dbname=LEDGER) as connection, contextlib.suppress(psycopg.OperationalError):
        connection.execute("SELECT pg_advisory_lock(%s)", (number,))
        yield


def wait_in_the_middle(shop: Shop) -> None:
    wait_for("a migration in the middle", lambda: shop.waits(LEDGER) == 1, within=PATIENCE)


def applied(shop: Shop, of: str) -> list[str]:
    """Versions in the history of a set."""
    query = "SELECT key FROM servicedb_migrations.history WHERE set_name = %s AND state = 'applied' ORDER BY position"
    with shop.tenant.server.connect(dbname=LEDGER) as connection:
        return [row[0] for row in connection.execute(query, (of,)).fetchall()]


def test_things_may_come_in_any_order(shop: Shop) -> None:
    """The run before its database, that before it may be worked on, and its files at the end."""
    shop.migrate("atlas", "atlas")
    shop.wait_told("atlas", "DatabaseNotFound")
    shop.tenant.create(
        "atlas",
        {
            "spec.suspend": True,
            "spec.roles.migrator": {"secretName": "atlas-migrator"},
            "spec.extensions": [{"name": "not_there"}],
            "spec.credentials.caFile": str(shop.tenant.server.ca_certificate),
        },
    )
    shop.wait_told("atlas", "Suspended", "Reconciling")
    shop.tenant.change("atlas", {"spec": {"suspend": False}})
    shop.wait_told("atlas", "DatabaseNotReady")
    shop.tenant.change("atlas", {"spec": {"extensions": None}})
    shop.wait_told("atlas", "ConfigMapMissing")
    assert shop.jobs("atlas") == []
    shop.write_files("atlas", {"V1__maps.sql": "CREATE TABLE maps ();"})
    assert shop.wait("atlas", status="True", reason="Ready")["status"]["version"] == "1"
    assert len(shop.jobs("atlas")) == 1


def test_a_way_back_is_taken_once_also_when_the_object_is_made_again(shop: Shop) -> None:
    files = {
        "V1__prices.sql": "CREATE TABLE prices ();",
        "V2__net.sql": "ALTER TABLE prices ADD net int;",
        "U2__net.sql": "ALTER TABLE prices DROP net;",
    }
    up = set_of("prices", files)
    shop.migrate("prices", LEDGER, up)
    assert shop.wait("prices", status="True", reason="Ready")["status"]["version"] == "2"
    shop.change("prices", {"action": "Down", "target": "1"})
    back = shop.wait("prices", status="True", reason="Ready")
    assert (condition(back, "Succeeded") or {})["reason"] == "Reverted"
    assert applied(shop, "prices") == ["1"]
    shop.objects.delete("MigrationRun", "prices", shop.tenant.name)
    shop.migrate("prices", LEDGER, {**up, "spec.action": "Down", "spec.target": "1"})
    again = shop.wait("prices", status="True", reason="AlreadyDone")
    assert (again["status"]["version"], applied(shop, "prices")) == ("1", ["1"])


def test_what_a_killed_pod_leaves_in_doubt_is_asked_and_answered(shop: Shop) -> None:
    files = {
        "V1__pause.sql": "CREATE PROCEDURE pause() LANGUAGE plpgsql AS "
        "$$ BEGIN COMMIT; PERFORM pg_advisory_xact_lock(51); END $$;",
        "V2__paused.sql": "-- servicedb: no-transaction\nCALL pause();\nCREATE TABLE paused ();\n",
    }
    with holding(shop, 51):
        shop.migrate("doubt", LEDGER, set_of("doubt", files, lockTimeout="10m"))
        wait_in_the_middle(shop)
        migrating("--set=doubt").kill()
        asked = shop.wait("doubt", status="False", reason="Interrupted")
    assert shop.exit_codes("doubt") == {137, 3}
    assert applied(shop, "doubt") == ["1"]
    digest = re.search("sha256:[0-9a-f]{64}", (condition(asked, "Stalled") or {})["message"])
    assert digest is not None
    shop.change("doubt", {"decisions": [{"version": "2", "digest": digest[0], "choice": "Retry"}]})
    shop.wait("doubt", status="True", reason="Ready")
    assert applied(shop, "doubt") == ["1", "2"]


def test_a_rotation_in_the_middle_is_not_noticed(shop: Shop) -> None:
    files = {"V1__ledger.sql": held(52, "rotated"), "V2__more.sql": "CREATE TABLE after_rotation ();"}
    before = (shop.tenant.secret("ledger-migrator") or {})["user"]
    with holding(shop, 52):
        shop.migrate("rotated", LEDGER, set_of("rotated", files, lockTimeout="10m"))
        wait_in_the_middle(shop)
        shop.tenant.annotate(LEDGER, "rotate-at", "now")
        wait_for(
            "another login of the migrator", lambda: (shop.tenant.secret("ledger-migrator") or {})["user"] != before
        )
        shop.tenant.wait_ready(LEDGER)
    key = shop.wait("rotated", status="True", reason="Ready")["status"]["runKey"]
    assert applied(shop, "rotated") == ["1", "2"]
    assert (shop.exit_codes("rotated"), len(shop.jobs("rotated"))) == ({0}, 1)
    shop.migrate("later", LEDGER, set_of("rotated-later", {"V1__later.sql": "CREATE TABLE by_the_new_login ();"}))
    shop.wait("later", status="True", reason="Ready")
    assert (shop.get("rotated")["status"]["runKey"], len(shop.jobs("rotated"))) == (key, 1)


def test_a_server_that_restarts_in_the_middle_is_waited_for(shop: Shop) -> None:
    with holding(shop, 53):
        shop.migrate("restart", LEDGER, set_of("restart", {"V1__a.sql": held(53, "restarted")}, lockTimeout="10m"))
        wait_in_the_middle(shop)
        shop.tenant.server.restart("immediate")
    shop.wait("restart", status="True", reason="Ready")
    assert applied(shop, "restart") == ["1"]
    with shop.tenant.server.connect(dbname=LEDGER) as connection:
        row = connection.execute("SELECT obj_description('restarted'::regclass)").fetchone()
    assert row == ("whole",)


def test_an_operator_that_is_killed_at_any_step_goes_on_and_nothing_is_done_twice(shop: Shop) -> None:
    """One run for each step; the operator is started again after each kill."""
    operator, points = shop.operator, {}
    for step in MIGRATION:
        name = step.__name__.lower()
        points[name] = operator.arm(Point(f"migrationruns/{shop.tenant.name}/{name}", step.__name__))
        kept = {"ttl": "1s" if step is DeleteJob else "1h"}
        shop.migrate(name, LEDGER, set_of(name, {"V1__a.sql": f"CREATE TABLE by_{name} ();"}, job=kept))
    for _ in MIGRATION:
        operator.wait_killed()
        operator.start()
    assert {name: operator.was_hit(point) for name, point in points.items()} == dict.fromkeys(points, True)
    for name in points:
        status = shop.wait(name, status="True", reason="Ready")["status"]
        assert (status["version"], applied(shop, name)) == ("1", ["1"])
    wait_for("a Job that was kept for long enough", lambda: not shop.jobs("deletejob"))
    for name in points.keys() - {"deletejob"}:
        assert len(shop.jobs(name)) == 1
    assert "job" not in shop.get("deletejob")["status"]
    taken = steps_done(operator.entries(), f"migrationruns/{shop.tenant.name}/deletejob")
    assert taken == {step.__name__ for step in MIGRATION}


def test_two_operators_make_one_job_and_either_may_be_killed(shop: Shop, cluster: Cluster, tmp_path: Path) -> None:
    names = ("one", "two", "three")
    with OperatorProcess.running(cluster.kubeconfig, tmp_path, environment=shop.operator.environment) as other:
        other.wait_serving()
        with holding(shop, 54):
            for name in names:
                shop.migrate(name, LEDGER, set_of(name, {"V1__a.sql": held(54, f"by_{name}")}, lockTimeout="10m"))
            wait_for("migrations in the middle", lambda: shop.waits(LEDGER) == len(names), within=PATIENCE)
            shop.operator.kill()
        for name in names:
            shop.wait(name, status="True", reason="Ready")
        shop.operator.start()
        shop.operator.wait_serving()
        for name in names:
            assert (applied(shop, name), len(shop.jobs(name))) == (["1"], 1)
