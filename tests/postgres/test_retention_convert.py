"""A plain table that is divided by time while others write: nothing is lost, and all that belongs to it comes along."""

import json
import signal
import threading
from collections.abc import Callable, Iterator
from typing import Any, Self

import psycopg
import pytest
from servicedb.jobs.retain.convert import Request, Result, convert
from servicedb.plan.retention.calendar import Interval
from servicedb.plan.retention.rule import Name
from servicedb.postgres.backups.session import Way

from tests.postgres.conftest import on_versions
from tests.postgres.dumped import Told
from tests.postgres.killed_conversion import converted_and_killed
from tests.postgres.retained import Retained, command, folder, policy, retained
from tests.postgres.server import Server

TABLE = """
CREATE TABLE kinds (name text PRIMARY KEY);
INSERT INTO kinds VALUES ('a'), ('b');
CREATE SEQUENCE ticks;
CREATE FUNCTION stamped() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN NEW.changed := true; RETURN NEW; END$$;
CREATE TABLE metrics (
    id bigint GENERATED ALWAYS AS IDENTITY (START 1000 INCREMENT 2),
    gone text,
    at timestamptz NOT NULL DEFAULT now(),
    tick bigint NOT NULL DEFAULT nextval('ticks'),
    kind text CONSTRAINT metrics_of_kind REFERENCES kinds,
    value numeric CONSTRAINT not_negative CHECK (value >= 0),
    twice numeric GENERATED ALWAYS AS (value * 2) STORED,
    changed boolean,
    CONSTRAINT "The Key" PRIMARY KEY (id, at),
    UNIQUE (tick, at)
);
ALTER TABLE metrics DROP COLUMN gone;
ALTER SEQUENCE ticks OWNED BY metrics.tick;
CREATE INDEX metrics_by_time ON metrics (at DESC) WHERE value > 0;
CREATE TRIGGER stamp BEFORE UPDATE ON metrics FOR EACH ROW EXECUTE FUNCTION stamped();
COMMENT ON TABLE metrics IS 'what was measured';
COMMENT ON COLUMN metrics.value IS 'in kelvin';
GRANT SELECT ON metrics TO PUBLIC;
GRANT INSERT, UPDATE (value) ON metrics TO "{name}__rw" WITH GRANT OPTION;
ALTER DEFAULT PRIVILEGES GRANT DELETE ON TABLES TO "{name}__ro";
INSERT INTO metrics (at, kind, value) SELECT now() - g * interval '1 day', 'a', g FROM generate_series(0, 300) g;
"""
REQUEST = Request(name=Name("public", "metrics"), column="at", interval=Interval.MONTH, premake=2)
MOMENTS = 51
"""As many as there are: a test says so. Three each are of AddCheck, Validate and Analyze, the rest of the swap."""
TRIED = (*range(2, 7), *range(7, 47, 8), *range(47, MOMENTS + 1))
"""Those between two steps, and some of the swap, which is one transaction."""

SHAPE = """
SELECT 'column', attname::text,
       format_type(atttypid, atttypmod) || attnotnull || attidentity::text || attgenerated::text,
       coalesce(attacl::text, '') || coalesce(col_description(attrelid, attnum), '')
FROM pg_attribute WHERE attrelid = 'metrics'::regclass AND attnum > 0 AND NOT attisdropped
UNION ALL SELECT 'default', pg_get_expr(adbin, adrelid), '', '' FROM pg_attrdef WHERE adrelid = 'metrics'::regclass
UNION ALL SELECT 'constraint', conname::text, pg_get_constraintdef(oid), '' FROM pg_constraint
WHERE conrelid = 'metrics'::regclass
UNION ALL SELECT 'index', c.relname::text, replace(pg_get_indexdef(c.oid), 'ON ONLY', 'ON'), indisvalid::text
FROM pg_index JOIN pg_class c ON c.oid = indexrelid WHERE indrelid = 'metrics'::regclass
UNION ALL SELECT 'trigger', tgname::text, pg_get_triggerdef(oid), '' FROM pg_trigger
WHERE tgrelid = 'metrics'::regclass AND NOT tgisinternal
UNION ALL SELECT 'sequence', c.relname::text, s.seqstart || ' ' || s.seqincrement,
       coalesce(c.relacl, acldefault('s', c.relowner))::text
FROM pg_depend d JOIN pg_class c ON c.oid = d.objid AND c.relkind = 'S' JOIN pg_sequence s ON s.seqrelid = c.oid
WHERE d.refobjid = 'metrics'::regclass
UNION ALL SELECT 'right', coalesce(nullif(grantee, 0)::regrole::text, 'PUBLIC'), privilege_type, is_grantable::text
FROM pg_class, aclexplode(relacl) WHERE oid = 'metrics'::regclass
UNION ALL SELECT 'table', pg_get_userbyid(relowner)::text, obj_description(oid), '' FROM pg_class
WHERE oid = 'metrics'::regclass
ORDER BY 1, 2, 3, 4
"""
"""All that belongs to the table, in words that are the same for a plain and a partitioned one."""

CATALOGUE = "SELECT oid, xmin FROM pg_class UNION ALL SELECT oid, xmin FROM pg_constraint ORDER BY 1"
"""Changed by whatever changes a table."""


class Writers:
    """Inserts and updates rows, and knows what there has to be: the last of each that was committed."""

    def __init__(self, database: Retained) -> None:
        self._database = database
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._write)
        self.errors: list[psycopg.Error] = []
        self.model: dict[int, Any] = dict(database.rows("SELECT id, value FROM metrics"))

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _write(self) -> None:
        try:
            with self._database.as_superuser(prepare_threshold=1) as connection:
                while not self._over.wait(0.002):
                    rows = connection.execute(
                        "INSERT INTO metrics (at, kind, value) SELECT now() - g * interval '9 days', 'b', g "
                        "FROM generate_series(0, 4) g RETURNING id, value"
                    ).fetchall()
                    self.model.update(rows)
                    rows = connection.execute(
                        "UPDATE metrics SET value = value + 1 WHERE id = ANY (%s) RETURNING id, value",
                        ([key for key, _ in rows[:3]],),
                    ).fetchall()
                    self.model.update(rows)
        except psycopg.Error as error:
            self.errors.append(error)


@pytest.fixture
def metrics(server: Server) -> Iterator[Retained]:
    with retained(server, "", []) as made:
        made.as_owner(TABLE.replace("{name}", made.name))
        yield made


@pytest.fixture(scope="module")
def database(servers: Callable[[int], Server]) -> Iterator[Retained]:
    with retained(servers(16), "", []) as made:
        yield made


@pytest.fixture(scope="module")
def newest(servers: Callable[[int], Server]) -> Iterator[Retained]:
    with retained(servers(18), "", []) as made:
        yield made


def made_anew(database: Retained) -> None:
    database.as_owner("DROP TABLE IF EXISTS metrics, kinds, child, other CASCADE; DROP FUNCTION IF EXISTS stamped")
    database.execute("DROP SEQUENCE IF EXISTS ticks")
    names = database.rows("SELECT relname::text FROM pg_class WHERE relname LIKE 'metrics%' AND relkind = 'r'")
    database.execute("".join(f"DROP TABLE {name} CASCADE;" for (name,) in names) or "SELECT 1")
    database.as_owner(TABLE.replace("{name}", database.name))


def converted(database: Retained, request: Request = REQUEST, **options: Any) -> Result:
    return convert(request, way(database), **options)


def way(database: Retained) -> Way:
    return database.owner_way


def rows(database: Retained) -> dict[int, Any]:
    found = database.rows("SELECT id, value FROM metrics")
    assert len(found) == len(dict(found))
    return dict(found)


def test_a_table_is_divided_while_it_is_written_to_and_all_that_belongs_to_it_comes_along(metrics):
    before = metrics.rows(SHAPE)
    with Writers(metrics) as writers:
        result = converted(metrics)
    assert (result.outcome, result.message, writers.errors) == ("Succeeded", "", [])
    assert [one.step for one in result.steps] == ["AddCheck", "Validate", "Swap", "Analyze"]
    assert rows(metrics) == writers.model
    assert metrics.rows(SHAPE) == before
    assert metrics.value("SELECT relkind FROM pg_class WHERE oid = 'metrics'::regclass") == "p"
    assert metrics.value("SELECT count(*) FROM pg_inherits WHERE inhparent = 'metrics'::regclass") == 3
    assert not metrics.rows("SELECT FROM pg_constraint WHERE conname LIKE 'servicedb%'")
    last = metrics.value("SELECT max(id) FROM metrics")
    metrics.as_owner("INSERT INTO metrics (at, value) VALUES (now() + interval '2 months', 7)")
    assert metrics.rows("SELECT id, twice FROM metrics WHERE id > " + str(last)) == [(last + 2, 14)]
    again = converted(metrics)
    assert (again.outcome, again.steps) == ("Succeeded", [])
    assert "already" in again.message


def test_what_was_converted_is_what_a_policy_with_partitions_takes(metrics, tmp_path):
    converted(metrics)
    metrics.let("metrics")
    rule = "table: public.metrics, column: at, partition: {interval: Month, premake: 4}, deleteAfter: 90d"
    result = metrics.retained(policy(rule), folder(tmp_path))
    assert (result.outcome, result.message, result.partitions_ahead) == ("Succeeded", "", True)
    assert result.rules[0].partitions_created == 1


@on_versions(18)
def test_the_old_rows_go_with_the_old_table_when_all_of_them_are_over(metrics, tmp_path):
    result = converted(metrics)
    metrics.let("metrics")
    old = result.old
    rule = "table: public.metrics, column: at, partition: {interval: Month, premake: 2}, deleteAfter: 1d"
    metrics.execute(
        f"ALTER TABLE metrics DETACH PARTITION {old}; DELETE FROM {old} WHERE at >= '2020-01-01';"
        f"ALTER TABLE metrics ATTACH PARTITION {old} FOR VALUES FROM (MINVALUE) TO ('2020-01-01 00:00+00');"
        "INSERT INTO metrics (at, value) VALUES ('2019-05-05 00:00+00', 5)"
    )
    result = metrics.retained(policy(rule), folder(tmp_path))
    assert (result.outcome, result.rules[0].partitions_dropped, result.rules[0].deleted_rows) == ("Succeeded", 1, 1)
    assert len(metrics.archived(tmp_path, "at, value", "metrics")) == 1


def test_the_swap_reads_no_row(metrics):
    noticed: list[str] = []

    class Noticed(Way):
        def open(self, *, application: str = "") -> psycopg.Connection[Any]:
            connection = super().open(application=application)
            connection.add_notice_handler(lambda notice: noticed.append(notice.message_primary or ""))
            connection.execute("SET client_min_messages = debug1")
            return connection

    assert convert(REQUEST, Noticed(way(metrics).connect_to, way(metrics).as_role)).outcome == "Succeeded"
    assert [one for one in noticed if "implied by existing constraints" in one and '"metrics_until_' in one]
    assert not [one for one in noticed if one.startswith('verifying table "metrics_until_')]
    assert not [one for one in noticed if one.startswith("building index") and '"metrics_until_' in one]


@on_versions(16)
def test_a_plan_shows_every_statement_and_changes_nothing(metrics):
    before = metrics.rows(CATALOGUE)
    arguments = ("--table", "public.metrics", "--column", "at", "--interval", "Month", "--plan")
    shown = command(metrics, "convert", *arguments)
    assert (shown.returncode, "SHARE UPDATE EXCLUSIVE" in shown.stdout) == (0, True)
    said = json.loads(command(metrics, "convert", *arguments, "-o", "json").stdout)
    assert [one["step"] for one in said["steps"]] == ["AddCheck", "Validate", "Swap", "Analyze"]
    assert any("PARTITION BY RANGE" in one for one in said["steps"][2]["statements"])
    assert metrics.rows(CATALOGUE) == before
    done = command(metrics, "convert", *arguments[:-1])
    assert (done.returncode, done.stdout) == (
        0,
        f"public.metrics is divided; its rows before {said['until']} are in {said['old']}\n",
    )


@on_versions(18)
def test_a_table_that_was_changed_since_it_was_planned_is_looked_at_anew(metrics):
    class Changing(Told):
        def tell(self, line: str) -> None:
            if line.endswith("Swap"):
                metrics.as_owner("CREATE INDEX later ON metrics (kind)")

    result = converted(metrics, progress=Changing())
    assert (result.outcome, result.reason) == ("Retryable", "TableChanged")
    assert "a CHECK of public.metrics refuses rows from" in result.message
    before = metrics.rows(SHAPE)
    again = converted(metrics)
    assert (again.outcome, [one.step for one in again.steps]) == ("Succeeded", ["Swap", "Analyze"])
    assert metrics.rows(SHAPE) == [one for one in before if not one[1].startswith("servicedb_convert_")]


@on_versions(18)
def test_writers_are_let_in_again_where_the_check_s_day_has_come(metrics):
    until = "servicedb_convert_until_20200101"
    metrics.as_owner(f"ALTER TABLE metrics ADD CONSTRAINT {until} CHECK (at < '2020-01-01 00:00+00') NOT VALID")
    result = converted(metrics)
    assert (result.outcome, result.steps[0].step) == ("Succeeded", "DropCheck")
    metrics.as_owner("INSERT INTO metrics (value) VALUES (1)")


@on_versions(16)
def test_a_table_that_is_in_use_is_not_waited_for_for_long(metrics):
    pauses = []
    with metrics.as_superuser() as other, other.transaction():
        other.execute("SELECT count(*) FROM metrics")

        def pause(seconds: float) -> None:
            pauses.append(seconds)
            other.execute("ROLLBACK") if len(pauses) == 1 else None

        result = converted(metrics, sleep=pause)
    assert (result.outcome, len(pauses)) == ("Succeeded", 1)


@pytest.mark.parametrize(
    ("statement", "words"),
    [
        ("DROP TABLE metrics", "does not exist"),
        ("ALTER TABLE metrics RENAME at TO other", 'no column "at"'),
        ("CREATE UNIQUE INDEX alone ON metrics (id)", "alone is unique without"),
        ("CREATE TABLE child (id bigint, at timestamptz, FOREIGN KEY (id, at) REFERENCES metrics)", "child_id_at_fkey"),
        ("CREATE VIEW v AS SELECT id FROM metrics", "view public.v"),
        ("CREATE FUNCTION f(metrics) RETURNS int LANGUAGE sql RETURN 1", "function public.f"),
        ("CREATE TABLE other (one metrics)", "column one of table"),
        ("CREATE RULE r AS ON DELETE TO metrics DO ALSO NOTHING", "rule r"),
        ("ALTER TABLE metrics ENABLE ROW LEVEL SECURITY", "row-level security"),
        ("CREATE POLICY p ON metrics", "policy p"),
        ("CREATE TABLE child () INHERITS (metrics)", "is inherited from"),
        ("ALTER TABLE metrics ADD CONSTRAINT late CHECK (value < 9999) NOT VALID", "late is not validated"),
        ("ALTER TABLE metrics ADD CONSTRAINT own CHECK (value < 9999) NO INHERIT", "own is NO INHERIT"),
        ("ALTER TABLE metrics DISABLE TRIGGER stamp", "trigger stamp"),
        ("ALTER TABLE metrics SET UNLOGGED", "not kept in the log"),
        ("UPDATE metrics SET at = 'infinity' WHERE id = 1000", "after the year 9000"),
    ],
)  # fmt: skip
def test_what_can_t_be_carried_over_is_refused_by_name(newest, statement, words):
    made_anew(newest)
    newest.as_owner(statement)
    before = newest.rows(CATALOGUE)
    result = converted(newest)
    assert (result.outcome, result.reason) == ("Terminal", "NotConvertible")
    assert words in result.message
    assert newest.rows(CATALOGUE) == before


@on_versions(18)
def test_a_publication_and_another_owner_are_refused(metrics):
    metrics.execute("CREATE PUBLICATION everything FOR TABLE metrics")
    assert "publication everything" in converted(metrics).message
    metrics.execute(f'DROP PUBLICATION everything; ALTER TABLE metrics OWNER TO "{metrics.name}__rw"')
    assert f'is owned by "{metrics.name}__rw"' in converted(metrics).message


def killed(database: Retained, moment: int, *count: Any) -> int | None:
    owner = f"{database.name}__owner"
    return converted_and_killed(REQUEST, database.dsn("partition"), owner, moment, *count).exitcode


def test_there_are_as_many_moments_as_those_that_are_tried_are_chosen_from(database, tmp_path):
    made_anew(database)
    assert killed(database, 0, tmp_path / "count") == 0
    assert json.loads((tmp_path / "count").read_text()) == MOMENTS


@pytest.mark.parametrize("moment", TRIED)
def test_killed_anywhere_the_table_is_as_it_was_or_done_and_the_same_command_ends_it(database, moment):
    made_anew(database)
    before = database.rows(SHAPE)
    with Writers(database) as writers:
        assert killed(database, moment) == -signal.SIGKILL
        between = [one for one in database.rows(SHAPE) if not one[1].startswith("servicedb_convert_")]
        result = converted(database)
    assert between == before
    assert (result.outcome, writers.errors) == ("Succeeded", [])
    assert rows(database) == writers.model
    assert database.rows(SHAPE) == before
