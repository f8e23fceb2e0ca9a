"""What reads otherwise after a restore and is the same, what is left out and named, and what is made beforehand."""

from collections.abc import Iterable, Iterator

import pytest
from servicedb.errors import Terminal
from servicedb.plan.backups.manifest import Extension
from servicedb.postgres.backups.extensions import make_missing
from servicedb.postgres.backups.programs import access
from servicedb.postgres.backups.relations import HASHABLE
from servicedb.store.folder import FolderStore

from tests.postgres.conftest import on_versions
from tests.postgres.dumped import Database, databases, folder
from tests.postgres.server import Server

REWORDED = """
CREATE TABLE jobs (id int PRIMARY KEY, status varchar CHECK (status IN ('new', 'done')), flags bit(3), more varbit);
INSERT INTO jobs VALUES (1, 'new', '101', '11');
CREATE INDEX open_jobs ON jobs (id) WHERE status IN ('new', 'late');
CREATE VIEW open AS SELECT id FROM jobs WHERE status IN ('new', 'late');
CREATE TABLE parts (id int, job int REFERENCES jobs) PARTITION BY RANGE (id);
CREATE TABLE parts_1 PARTITION OF parts FOR VALUES FROM (0) TO (10);
ALTER TABLE parts ADD CONSTRAINT other FOREIGN KEY (job) REFERENCES jobs;
CREATE TABLE refers (a int PRIMARY KEY) PARTITION BY RANGE (a);
CREATE TABLE refers_1 PARTITION OF refers FOR VALUES FROM (0) TO (10);
CREATE TABLE refers_2 PARTITION OF refers FOR VALUES FROM (10) TO (20);
INSERT INTO refers VALUES (1);
ALTER TABLE jobs ADD CONSTRAINT to_parts FOREIGN KEY (id) REFERENCES refers;
"""

VALUES = {
    "bool": "t",
    "cidr": "10.0.0.0/8",
    "date": "2024-02-29",
    "inet": "10.0.0.1",
    "macaddr": "08:00:2b:01:02:03",
    "time": "10:00",
    "timestamp": "2024-02-29 10:00",
    "timestamptz": "2024-02-29 10:00+01",
    "timetz": "10:00+01",
    "uuid": "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11",
}
"""A value of each type that takes no number."""


@pytest.fixture
def pair(server: Server) -> Iterator[list[Database]]:
    with databases(server, server) as made:
        yield made


@on_versions(15, 18)
def test_what_a_server_words_otherwise_after_a_restore_is_the_same(pair, tmp_path):
    source, target = pair
    source.as_owner(REWORDED)
    made = source.backed_up(folder(tmp_path))
    restored = target.restored(folder(tmp_path), made.key)
    assert (restored.outcome, restored.message, restored.mismatches) == ("Succeeded", "", [])


LEFT_OUT = """
CREATE EXTENSION postgres_fdw SCHEMA extensions;
CREATE PUBLICATION whole FOR ALL TABLES;
COMMENT ON PUBLICATION whole IS 'of all';
CREATE PUBLICATION a_few FOR TABLE public.kept, TABLES IN SCHEMA public;
GRANT USAGE ON FOREIGN DATA WRAPPER postgres_fdw TO "{n}__owner";
ALTER ROLE "{admin}" IN DATABASE "{n}" SET work_mem = '8MB';
CREATE TABLE extensions.of_postgres_fdw AS SELECT 1 AS a;
ALTER EXTENSION postgres_fdw ADD TABLE extensions.of_postgres_fdw;
UPDATE pg_extension SET extconfig = ARRAY['extensions.of_postgres_fdw'::regclass], extcondition = ARRAY['WHERE a = 1']
WHERE extname = 'postgres_fdw';
"""


@on_versions(15)  # the others have no postgres_fdw
def test_what_only_a_superuser_may_make_is_left_out_and_named(pair, tmp_path):
    source, target = pair
    source.as_owner("CREATE TABLE kept AS SELECT 1 AS a")
    source.execute(LEFT_OUT.format(n=source.name, admin=source.server.admin.name))
    source.as_owner("CREATE SERVER there FOREIGN DATA WRAPPER postgres_fdw")
    made = source.backed_up(folder(tmp_path))
    assert made.not_included == [
        "publication whole: it is FOR ALL TABLES, and only a superuser may make such a one",
        "schema public in publication a_few: only a superuser may publish TABLES IN SCHEMA",
        f"setting work_mem of role {source.server.admin.name} in the database (ALTER ROLE ... IN DATABASE ... SET)",
        "rows in table extensions.of_postgres_fdw of extension postgres_fdw: only the extension's owner may insert",
    ]
    target.execute("CREATE EXTENSION postgres_fdw SCHEMA extensions")
    refused = target.restored(folder(tmp_path), made.key)
    assert (refused.outcome, refused.reason) == ("Terminal", "NoPrivilege")
    assert "may not use here; have an admin make it" in refused.message
    assert target.value("SELECT to_regclass('kept')") is None
    target.execute(f'GRANT USAGE ON FOREIGN DATA WRAPPER postgres_fdw TO "{target.name}__owner"')
    restored = target.restored(folder(tmp_path), made.key)
    assert (restored.outcome, restored.message, restored.mismatches) == ("Succeeded", "", [])
    assert target.rows("SELECT pubname, tablename FROM pg_publication_tables") == [("a_few", "kept")]


@on_versions(15, 16, 18)
def test_every_type_that_is_hashed_has_a_hash(pair):
    source, _ = pair
    with source.as_superuser() as connection:
        for name in HASHABLE:
            for kind in (name, f"{name}[]"):
                query = f"SELECT hash_record_extended(ROW(NULL::{kind}, v), 0) FROM (SELECT %s::{kind} AS v) t"
                given = VALUES.get(name, "1")
                connection.execute(query.encode(), (f"{{{given}}}" if kind != name else given,))


def test_extensions_that_need_each_other_are_made_whatever_their_order(servers):
    wanted = [
        Extension(name=name, version="1.0", schema_=schema)
        for name, schema in (("earthdistance", "public"), ("cube", "public"), ("adminpack", "pg_catalog"))
    ]
    with databases(servers(15)) as (made,), made.as_superuser() as connection:
        assert make_missing(connection, wanted) is None
        assert make_missing(connection, wanted) is None
        nowhere = Extension(name="nowhere", version="1.0", schema_="public")
        failed = make_missing(connection, [nowhere])
        assert failed is not None
        assert (failed[0], "nowhere" in failed[1]) == (nowhere, True)


def test_a_schema_that_is_there_needs_nobody_who_may_make_one(servers):
    with databases(servers(15)) as (made,), made.as_superuser() as connection:
        connection.execute(f'REVOKE CREATE ON DATABASE "{made.name}" FROM "{made.name}__owner"'.encode())
        connection.execute(f'GRANT CREATE ON SCHEMA extensions TO "{made.name}__owner"'.encode())
        connection.execute(f'SET ROLE "{made.name}__owner"'.encode())
        failed = make_missing(connection, [Extension(name="citext", version="1.6", schema_="extensions")])
        assert failed is not None
        assert "permission denied to create extension" in failed[1]


@pytest.mark.parametrize("name", ["sslpassword", "scram_client_key"])
def test_a_secret_that_would_stand_in_an_argument_is_refused(name):
    with pytest.raises(Terminal, match=f"has {name}, which PostgreSQL's programs take as an argument alone") as told:
        access(f"host=a {name}=of-the-tests-alone", application="servicedb-backup")
    assert "of-the-tests-alone" not in told.value.message


@on_versions(15, 18)
def test_a_store_is_told_beforehand_how_much_large_objects_are(pair, tmp_path):
    source, _ = pair
    source.as_owner("SELECT lo_from_bytea(4711, decode(repeat('00', 1000000), 'hex'))")
    source.execute("ANALYZE pg_largeobject")
    (tmp_path / "store").mkdir()
    told = {}

    class Told(FolderStore):
        def put(self, key: str, chunks: Iterable[bytes], *, expected_bytes: int = 0) -> None:
            told[key.rpartition("/")[2].partition(".")[0]] = expected_bytes
            super().put(key, chunks, expected_bytes=expected_bytes)

    made = source.backed_up(Told(tmp_path / "store"), level=0)
    assert (made.outcome, made.message) == ("Succeeded", "")
    assert told["rest"] >= 1_000_000
