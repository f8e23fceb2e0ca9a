"""Migrations of the example isp-multitenant that fail, and ways back: whatever was there is there again."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from psycopg import Error

from tests.postgres.conftest import as_admin, on_versions
from tests.postgres.isp import Isp, isolation
from tests.postgres.migrations import until
from tests.postgres.provision import Operator, Site

pytestmark = [on_versions(18), as_admin("createrole")]

SEVERITY = """
ALTER TABLE activity_logs ADD COLUMN severity integer NOT NULL DEFAULT 0;
CREATE INDEX activity_logs_by_severity ON activity_logs (tenant_id, severity);
UPDATE activity_logs SET severity = {value};
ALTER TABLE activity_logs ADD CHECK (severity BETWEEN 0 AND 5);
"""
FAILS = {
    "007_severity.up.sql": SEVERITY.format(value="(detail->>'severity')::integer"),
    "007_severity.down.sql": "ALTER TABLE activity_logs DROP COLUMN severity;",
}
CORRECTED = FAILS | {
    "007_severity.up.sql": SEVERITY.format(
        value="CASE detail->>'severity' WHEN 'high' THEN 5 ELSE (detail->>'severity')::integer END"
    )
}


@pytest.fixture
def isp(site: Site, database: str) -> Isp:
    isp = Isp.provisioned(site, database)
    assert isp.up().outcome == "Succeeded"
    return isp


@pytest.mark.parametrize("rows", [10_000, 200_000])
def test_a_transformation_that_fails_half_way_is_corrected_and_taken_back(isp: Isp, rows: int) -> None:
    isp.fill(rows)
    isp.execute(f"""
        UPDATE activity_logs SET detail = '{{"severity": "high"}}'
        WHERE id = (SELECT id FROM activity_logs ORDER BY ctid OFFSET {rows // 2} LIMIT 1)
    """)
    before = isp.state()
    failed = isp.up(FAILS)
    assert (failed.outcome, failed.reason) == ("Terminal", "MigrationFailed")
    assert failed.failed is not None
    assert (failed.failed.file, failed.failed.line, failed.failed.sqlstate) == ("007_severity.up.sql", 4, "22P02")
    assert isp.state() == before
    done = isp.up(CORRECTED)
    assert (done.outcome, [one.version for one in done.applied]) == ("Succeeded", ["7"])
    assert isp.rows("SELECT count(*), sum((severity = 5)::int), sum((severity = 1)::int) FROM activity_logs") == [
        (rows, 1, rows // 5)
    ]
    assert isp.state() != before
    result = isp.down("6")
    assert (result.outcome, result.reason, result.version) == ("Succeeded", "Reverted", "6")
    assert isp.state() == before


@pytest.mark.parametrize(
    ("statements", "sqlstate"),
    [
        pytest.param(
            """
            ALTER TABLE users DROP CONSTRAINT users_tenant_id_email_key;
            UPDATE users SET email = regexp_replace(email, '[0-9]+', '');
            ALTER TABLE users ADD UNIQUE (tenant_id, email);
            """,
            "23505",
            id="a unique constraint, taken off and not to be had again",
        ),
        pytest.param(
            """
            ALTER TABLE activity_logs DROP CONSTRAINT activity_logs_tenant_id_user_id_fkey;
            DELETE FROM users WHERE email LIKE 'user7%';
            ALTER TABLE activity_logs ADD FOREIGN KEY (tenant_id, user_id) REFERENCES users (tenant_id, id);
            """,
            "23503",
            id="a foreign key, taken off and not to be had again",
        ),
        pytest.param(
            """
            ALTER TABLE users ADD CONSTRAINT later UNIQUE (tenant_id, name) DEFERRABLE INITIALLY DEFERRED;
            UPDATE users SET name = 'the same';
            """,
            "23505",
            id="a constraint that is looked at in the end",
        ),
        pytest.param(
            """
            DROP TABLE activity_logs;
            CREATE TABLE activity_logs (id uuid PRIMARY KEY, tenant_id uuid NOT NULL, what text NOT NULL);
            INSERT INTO activity_logs SELECT id, tenant_id, NULL FROM users;
            """,
            "23502",
            id="a table, dropped and made again",
        ),
        pytest.param(
            """
            CREATE TABLE others (LIKE users INCLUDING ALL);
            INSERT INTO others SELECT * FROM users;
            DROP TABLE users CASCADE;
            ALTER TABLE others RENAME TO users;
            ALTER TABLE user_sessions ADD FOREIGN KEY (tenant_id, user_id) REFERENCES users (tenant_id, id);
            SELECT 1 / 0;
            """,
            "22012",
            id="a table that others refer to, made again under its name",
        ),
    ],
)
def test_constraints_and_tables_are_there_again(isp: Isp, statements: str, sqlstate: str) -> None:
    isp.fill(10_000)
    before = isp.state()
    result = isp.up({"007_change.up.sql": statements})
    assert result.outcome == "Terminal"
    assert result.failed is not None
    assert result.failed.sqlstate == sqlstate
    assert isp.state() == before


async def test_a_table_that_was_made_again_has_lost_its_policy_and_that_is_said(isp: Isp) -> None:
    isp.fill(1000)
    again = """
        CREATE TABLE others (LIKE activity_logs INCLUDING ALL);
        INSERT INTO others SELECT * FROM activity_logs;
        DROP TABLE activity_logs;
        ALTER TABLE others RENAME TO activity_logs;
    """
    forgotten = {"007_again.up.sql": again}
    assert isp.up(forgotten).outcome == "Succeeded"
    with isp.as_tenant(None) as session:
        assert session.execute("SELECT count(*) FROM activity_logs").fetchone() == (1000,)
    async with Operator(isp.site.objects) as operator:
        found = await operator.bring(isp.name)
        assert isolation(found.conditions) == ("False", "row-level security is not enabled: public.activity_logs")
        policy = """
            ALTER TABLE activity_logs ENABLE ROW LEVEL SECURITY;
            CREATE POLICY by_tenant ON activity_logs
                USING (tenant_id = nullif(current_setting('app.current_tenant_id', true), '')::uuid);
        """
        assert isp.up(forgotten | {"008_policy.up.sql": policy}).outcome == "Succeeded"
        assert isolation((await operator.bring(isp.name)).conditions) == ("True", "")
    with isp.as_tenant(None) as session:
        assert session.execute("SELECT count(*) FROM activity_logs").fetchone() == (0,)


def test_a_way_back_that_fails_leaves_a_version_that_is_true(isp: Isp) -> None:
    isp.fill(1000)
    added = {
        "007_names.up.sql": "ALTER TABLE users ALTER COLUMN name TYPE text; ALTER TABLE users ADD COLUMN phone text",
        "007_names.down.sql": "ALTER TABLE users DROP COLUMN phone, ALTER COLUMN name TYPE varchar(8)",
        "008_notes.up.sql": "ALTER TABLE users ADD COLUMN note text",
        "008_notes.down.sql": "ALTER TABLE users DROP COLUMN note",
    }
    assert isp.up({name: text for name, text in added.items() if name < "008"}).version == "7"
    at_7 = isp.state()
    assert isp.up(added).version == "8"
    isp.execute("UPDATE users SET name = 'A name that is too long' WHERE email = 'user7@example.org'")
    long_name = isp.state()["rows"]
    failed = isp.down("6")
    assert (failed.outcome, failed.reason, failed.version) == ("Terminal", "MigrationFailed", "7")
    assert failed.failed is not None
    assert (failed.failed.version, failed.failed.sqlstate) == ("7", "22001")
    assert [key for _, _, key, state, _ in isp.state()["history"] if state == "applied"] == list("1234567")
    assert isp.value("SELECT count(*) FROM pg_attribute WHERE attname = 'phone' AND attrelid = 'users'::regclass") == 1
    assert {**isp.state(), "rows": None} == {**at_7, "rows": None}
    assert isp.state()["rows"]["users"][0] == long_name["users"][0]
    with isp.as_tenant(str(isp.value("SELECT id FROM tenants"))) as session:  # the application goes on
        assert session.execute("SELECT count(*) FROM users WHERE phone IS NULL").fetchone() == (100,)
    isp.execute("UPDATE users SET name = 'Short' WHERE email = 'user7@example.org'")
    assert isp.down("6").version == "6"


def test_connections_live_through_it(isp: Isp) -> None:
    """Two sessions of the application write all the time: a migration that fails, one that does not, a way back."""
    isp.fill(10_000)
    fails = FAILS | {"007_severity.up.sql": FAILS["007_severity.up.sql"] + "SELECT 1 / 0;"}
    with writing(isp, sessions=2) as told:
        told.goes_on()
        assert isp.up(fails).reason == "MigrationFailed"
        told.goes_on()
        assert isp.up(CORRECTED).reason == "Applied"
        told.goes_on()
        assert isp.down("6").reason == "Reverted"
        told.goes_on()
        assert isp.up(CORRECTED).reason == "Applied"
        told.goes_on()
    assert told.errors == []
    found = {
        number for (number,) in isp.rows("SELECT (detail->>'number')::int FROM activity_logs WHERE action = 'live'")
    }
    assert found == set(told.written)
    assert isp.value("SELECT count(*) FROM activity_logs") == 10_000 + len(told.written)


class Told:
    """What the writers have committed, and what they heard instead."""

    def __init__(self) -> None:
        self.written: list[int] = []
        self.errors: list[str] = []

    def goes_on(self) -> None:
        """Wait until more is written, or can't be."""
        before = len(self.written)
        until(lambda: self.errors or len(self.written) > before + 20)


@contextmanager
def writing(isp: Isp, *, sessions: int) -> Iterator[Told]:
    told, enough, numbers = Told(), threading.Event(), iter(range(10_000_000))
    (tenant,) = isp.rows("SELECT id::text FROM tenants")[0]

    def write() -> None:
        with isp.as_app() as session:
            while not enough.is_set():
                number = next(numbers)
                try:
                    with session.transaction():
                        session.execute("SELECT set_config('app.current_tenant_id', %s, true)", (tenant,))
                        session.execute(
                            "INSERT INTO activity_logs (tenant_id, action, detail) "
                            "VALUES (%s, 'live', jsonb_build_object('number', %s::int, 'severity', 1))",
                            (tenant, number),
                        )
                    told.written.append(number)
                except Error as error:
                    told.errors.append(str(error))

    threads = [threading.Thread(target=write) for _ in range(sessions)]
    for thread in threads:
        thread.start()
    try:
        yield told
    finally:
        enough.set()
        for thread in threads:
            thread.join()
