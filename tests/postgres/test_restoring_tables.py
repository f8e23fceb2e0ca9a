"""Some tables of a backup, restored with what they need and what is theirs, and nothing else."""

import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from servicedb.jobs.restore.request import Request as RestoreRequest
from servicedb.store.folder import FolderStore

from tests.postgres.binaries import bin_directory
from tests.postgres.dumped import NEWEST, Database, databases, folder
from tests.postgres.killed_backup import killed_at, moments
from tests.postgres.server import Server
from tests.postgres.test_backup_kills import empty

SHOP = """
CREATE SCHEMA "Odd one";
CREATE TYPE state AS ENUM ('open', 'shut');
CREATE FUNCTION stamp() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END';
CREATE FUNCTION three() RETURNS int LANGUAGE sql AS 'SELECT 3';
CREATE FUNCTION unused() RETURNS int LANGUAGE sql AS 'SELECT 1';
CREATE TABLE customers (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, name text CHECK (name <> ''));
CREATE TABLE orders (id serial PRIMARY KEY, customer int REFERENCES customers, state state, pieces int DEFAULT three());
CREATE INDEX ON orders (customer);
CREATE STATISTICS together ON customer, pieces FROM orders;
CREATE TRIGGER stamped BEFORE UPDATE ON orders FOR EACH ROW EXECUTE FUNCTION stamp();
ALTER TABLE orders ENABLE ROW LEVEL SECURITY;
CREATE POLICY known ON orders USING (customer IN (SELECT id FROM customers));
CREATE POLICY whole ON orders USING (pieces > 0);
CREATE VIEW busy AS SELECT customer FROM orders;
CREATE TABLE events (id int, at date) PARTITION BY RANGE (at);
CREATE TABLE events_1 PARTITION OF events FOR VALUES FROM ('2020-01-01') TO ('2021-01-01');
CREATE TABLE events_2 PARTITION OF events FOR VALUES FROM ('2021-01-01') TO ('2022-01-01');
CREATE INDEX ON events (id);
CREATE TABLE parcels (id int PRIMARY KEY) PARTITION BY HASH (id);
CREATE TABLE parcels_1 PARTITION OF parcels FOR VALUES WITH (MODULUS 2, REMAINDER 0);
CREATE TABLE parcels_2 PARTITION OF parcels FOR VALUES WITH (MODULUS 2, REMAINDER 1);
CREATE TABLE "Odd one"."a.b ""c" (id int);
COMMENT ON TABLE orders IS 'what was ordered';
INSERT INTO customers (name) SELECT 'customer ' || g FROM generate_series(1, 10) g;
INSERT INTO orders (customer) SELECT g % 10 + 1 FROM generate_series(1, 50) g;
INSERT INTO events SELECT g, '2020-06-01'::date + g * 30 FROM generate_series(1, 12) g;
INSERT INTO parcels SELECT generate_series(1, 20);
INSERT INTO "Odd one"."a.b ""c" VALUES (1);
SELECT lo_from_bytea(4711, 'large');
"""
TABLES = """
SELECT array_agg(c.oid::regclass::text ORDER BY c.relname) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'p', 'v') AND n.nspname !~ '^(pg_|information_schema)'
"""
FUNCTIONS = "SELECT array_agg(proname::text ORDER BY proname) FROM pg_proc WHERE pronamespace = 'public'::regnamespace"
NEEDS = "is left out: it needs TABLE public customers, which is not asked for"
LEFT_OUT = [f"FK CONSTRAINT public orders orders_customer_fkey {NEEDS}", f"POLICY public orders known {NEEDS}"]


@pytest.fixture(scope="module")
def stored(servers: Callable[[int], Server], tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, str]]:
    """A folder, and the key of a backup in it."""
    root = tmp_path_factory.mktemp("store")
    with databases(servers(15)) as (source,):
        source.as_owner(SHOP)
        source.as_owner(f'GRANT SELECT ON orders TO "{source.name}__ro"')
        key = source.backed_up(folder(root)).key
        assert key is not None
        yield root, key


@pytest.fixture
def target(request: pytest.FixtureRequest, servers: Callable[[int], Server]) -> Iterator[Database]:
    with databases(servers(getattr(request, "param", 18))) as (made,):
        yield made


@pytest.mark.parametrize("target", [15, 18], indirect=True)
def test_a_table_comes_with_what_it_needs_and_what_is_its_own(stored: tuple[Path, str], target: Database) -> None:
    root, key = stored
    restored = target.restored(folder(root), key, tables=("public.orders",))
    assert (restored.outcome, restored.message, restored.rows) == ("Succeeded", "", 50)
    assert sorted(restored.mismatches) == LEFT_OUT
    assert target.value(TABLES) == ["orders"]
    assert target.value(FUNCTIONS) == ["stamp", "three"]
    assert target.value("SELECT obj_description('orders'::regclass)") == "what was ordered"
    assert target.value("SELECT array_agg(polname::text) FROM pg_policy") == ["whole"]
    assert target.value("SELECT count(*) FROM pg_index WHERE indrelid = 'orders'::regclass") == 2
    assert target.value("SELECT array_agg(tgname::text) FROM pg_trigger WHERE NOT tgisinternal") == ["stamped"]
    assert target.value("SELECT count(*) FROM pg_statistic_ext") == 1
    assert target.value("INSERT INTO orders (customer) VALUES (1) RETURNING id") == 51
    assert target.value(f"SELECT has_table_privilege('{target.name}__ro', 'orders', 'SELECT')")
    assert target.value("SELECT count(*) FROM pg_largeobject_metadata") == 0


@pytest.mark.parametrize(
    ("tables", "there", "rows"),
    [
        pytest.param(("public.orders", "public.customers"), ["customers", "orders"], 60, id="with what it refers to"),
        pytest.param(("public.events_1",), ["events", "events_1", "events_2"], 12, id="a partition with its table"),
        pytest.param(("public.parcels",), ["parcels", "parcels_1", "parcels_2"], 20, id="divided by hash"),
        pytest.param(('"Odd one"."a.b ""c"',), ['"Odd one"."a.b ""c"'], 1, id="an odd name"),
    ],
)
def test_what_hangs_together_comes_together(
    stored: tuple[Path, str], target: Database, tables: tuple[str, ...], there: list[str], rows: int
) -> None:
    root, key = stored
    restored = target.restored(folder(root), key, tables=tables)
    assert (restored.outcome, restored.message, restored.mismatches) == ("Succeeded", "", [])
    assert (target.value(TABLES), restored.rows) == (there, rows)


@pytest.mark.parametrize("table", ["orders", "public.ORDERS", "public.busy", "public.orders_id_seq"])
def test_what_is_no_table_of_the_backup_is_refused_before_anything_is_done(
    stored: tuple[Path, str], target: Database, table: str
) -> None:
    root, key = stored
    refused = target.restored(folder(root), key, tables=("public.customers", table))
    assert (refused.outcome, refused.reason) == ("Terminal", "NoSuchTable")
    other = target.restored(folder(root), key, tables=("public.orders",), schemas=("Odd one",))
    assert (other.reason, other.message) == (
        "NoSuchTable",
        "table public.orders is in none of the schemas that are asked for; name its schema",
    )
    assert target.value("SELECT to_regnamespace('servicedb_restore') IS NULL")


def test_killed_anywhere_the_next_one_begins_anew(stored: tuple[Path, str], target: Database, tmp_path: Path) -> None:
    root, key = stored
    tables = ("public.orders", "public.events")
    request = RestoreRequest(key=key, tables=tables, as_role=f"{target.name}__owner", programs=bin_directory(NEWEST))
    count = moments(request, target.dsn("restore"), root, tmp_path / "count")
    contents, schema = target.contents(), target.schema()
    assert count > 20
    for moment in range(1, count - 1, 9):
        empty(target, key)
        process = killed_at(request, target.dsn("restore"), root, moment)
        assert process.exitcode == -signal.SIGKILL
        if target.value("SELECT to_regnamespace('servicedb_restore') IS NOT NULL"):
            assert target.restored(FolderStore(root), key, tables=tables).outcome == "Succeeded"
        assert (target.contents(), target.schema()) == (contents, schema)
