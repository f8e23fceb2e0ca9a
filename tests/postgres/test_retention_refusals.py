"""What a rule is refused for, on real tables: nothing is deleted, and the sentence says what to do."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta

import pytest
from servicedb.jobs.retain.plan import plan

from tests.postgres.retained import Retained, folder, policy, retained
from tests.postgres.server import Server

TABLES = """
CREATE TABLE good (id int PRIMARY KEY, at timestamptz, secret text);
INSERT INTO good VALUES (1, '2020-01-01', 'x'), (2, NULL, 'y'), (3, now(), 'z');
CREATE TABLE cascades (id int PRIMARY KEY, at timestamptz);
CREATE TABLE child (id int PRIMARY KEY, parent int CONSTRAINT of_parent REFERENCES cascades ON DELETE CASCADE);
CREATE TABLE emptied (id int PRIMARY KEY, at timestamptz);
CREATE TABLE holder (id int PRIMARY KEY, of int CONSTRAINT of_emptied REFERENCES emptied ON DELETE SET NULL);
CREATE TABLE referred (id int PRIMARY KEY, at timestamptz);
CREATE TABLE refers (id int PRIMARY KEY, of int REFERENCES referred);
INSERT INTO referred VALUES (1, '2020-01-01');
INSERT INTO refers VALUES (1, 1);
CREATE TABLE triggers (id int PRIMARY KEY, at timestamptz);
CREATE FUNCTION no() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END';
CREATE TRIGGER keeps BEFORE DELETE ON triggers FOR EACH ROW EXECUTE FUNCTION no();
CREATE TABLE rules (id int PRIMARY KEY, at timestamptz);
CREATE RULE keeps AS ON DELETE TO rules DO INSTEAD NOTHING;
CREATE TABLE parents (id int PRIMARY KEY, at timestamptz);
CREATE TABLE children () INHERITS (parents);
CREATE TABLE secured (id int PRIMARY KEY, at timestamptz);
ALTER TABLE secured ENABLE ROW LEVEL SECURITY;
CREATE TABLE keyless (at timestamptz);
CREATE TABLE numbers (id int PRIMARY KEY, at bigint);
CREATE VIEW shown AS SELECT * FROM good;
CREATE MATERIALIZED VIEW kept AS SELECT * FROM good;
CREATE TABLE divided (at timestamptz, host text) PARTITION BY RANGE (at);
CREATE TABLE divided_all PARTITION OF divided DEFAULT;
CREATE TABLE hashed (id int, at timestamptz) PARTITION BY HASH (id);
CREATE TABLE two_keys (host text, at timestamptz) PARTITION BY RANGE (host, at);
CREATE TABLE expressed (at timestamptz) PARTITION BY RANGE (date_trunc('day', at AT TIME ZONE 'UTC'));
"""
NAMES = """good cascades emptied referred triggers rules parents secured keyless numbers shown kept divided hashed
two_keys expressed""".split()
DELETE = "column: at, deleteAfter: 30d"
PARTITION = f"{DELETE}, partition: {{interval: Day}}"


@pytest.fixture(scope="module")
def database(servers: Callable[[int], Server]) -> Iterator[Retained]:
    with retained(servers(18), TABLES, NAMES) as made:
        made.execute(
            "CREATE FOREIGN DATA WRAPPER none; CREATE SERVER none FOREIGN DATA WRAPPER none;"
            "CREATE FOREIGN TABLE public.elsewhere (id int, at timestamptz) SERVER none"
        )
        yield made


@pytest.mark.parametrize(
    ("rule", "says"),
    [
        (f"table: public.missing, {DELETE}", "public.missing does not exist"),
        ("table: public.good, column: gone, deleteAfter: 30d", 'has no column "gone"'),
        ("table: public.good, column: secret, deleteAfter: 30d", "of type text, which is no time"),
        (f"table: public.numbers, {DELETE}", "of type bigint, which is no time"),
        (f"table: public.shown, {DELETE}", "public.shown is a view"),
        (f"table: public.kept, {DELETE}", "public.kept is a materialized view"),
        (f"table: public.elsewhere, {DELETE}", "public.elsewhere is a foreign table"),
        (f"table: public.divided_all, {DELETE}", "is a partition; name the table"),
        (f"table: public.keyless, {DELETE}", "has no primary key"),
        (f"table: public.secured, {DELETE}", "has row-level security"),
        (f"table: public.cascades, {DELETE}", "foreign key of_parent of public.child is ON DELETE CASCADE"),
        (f"table: public.emptied, {DELETE}", "foreign key of_emptied of public.holder is ON DELETE SET NULL"),
        (f"table: public.triggers, {DELETE}", "trigger keeps runs when rows are deleted"),
        (f"table: public.rules, {DELETE}", "rule keeps rewrites"),
        (f"table: public.parents, {DELETE}", "table public.children inherits from it"),
        (f"table: public.divided, {DELETE}", "it is partitioned; give the rule"),
        (f"table: public.good, {PARTITION}", "it is not partitioned"),
        (f"table: public.hashed, {PARTITION}", "divided by hash of id"),
        (f"table: public.two_keys, {PARTITION}", "divided by range of host, at"),
        (f"table: public.expressed, {PARTITION}", "divided by range of an expression"),
    ],
)  # fmt: skip
def test_a_rule_is_refused_with_what_to_do(database, tmp_path, rule, says):
    result = database.retained(policy(rule), folder(tmp_path))
    assert (result.outcome, result.reason) == ("Terminal", "RuleRefused")
    assert says in result.message
    assert result.rules[0].problem == result.message
    assert result.rules[0].deleted_rows == 0
    planned = plan(policy(rule), database.way)
    assert (planned.outcome, planned.message) == ("Terminal", result.message)


@pytest.mark.parametrize(
    ("rule", "says"),
    [
        (f"table: public.good, {DELETE}, where: \"id > 1; DROP TABLE good\"", "where holds a semicolon"),
        (f"table: public.good, {DELETE}, where: id IN (SELECT 1)", "a sub-select is not possible"),
        (f"table: public.good, {DELETE}, where: \"true) OR (true\"", "parentheses of where don't match"),
        (f"table: public.good, {DELETE}, where: \"true -- \"", "where holds a comment"),
        ("table: public.good, column: at, archiveAfter: 31d, deleteAfter: 30d", "archiveAfter is longer"),
        ("table: public.good, column: at, deleteAfter: 0s", "an age of 0"),
        ("table: good, column: at, deleteAfter: 1d", "write it with its schema"),
        (f"table: public.good, {DELETE}, archive: false, dropArchiveAfter: 40d", "nothing is archived"),
    ],
)  # fmt: skip
def test_a_rule_that_can_t_be_is_refused_before_anything_is_asked_of_the_database(database, tmp_path, rule, says):
    result = database.retained(policy(rule), folder(tmp_path))
    assert (result.outcome, result.reason) == ("Terminal", "InvalidRule")
    assert says in result.message


def test_one_table_has_one_rule(database, tmp_path):
    result = database.retained(
        policy(f"table: public.good, {DELETE}", f'table: PUBLIC."good", {DELETE}'), folder(tmp_path)
    )
    assert "public.good is there twice" in result.message


def test_a_rule_that_is_refused_holds_up_no_other(database, tmp_path):
    database.execute("INSERT INTO good VALUES (7, '2020-01-01', 'x')")
    rules = (f"table: public.missing, {DELETE}", f"table: public.good, {DELETE}, where: id = 7")
    result = database.retained(policy(*rules), folder(tmp_path), run="two rules")
    assert result.outcome == "Terminal"
    assert [one.deleted_rows for one in result.rules] == [0, 1]
    assert result.rules[1].null_times == 1


def test_what_is_listed_is_allowed(database, tmp_path):
    rule = f"table: public.cascades, {DELETE}, allow: [of_parent]"
    assert database.retained(policy(rule), folder(tmp_path), run="listed").outcome == "Succeeded"


def test_rows_that_others_refer_to_stay(database, tmp_path):
    result = database.retained(policy(f"table: public.referred, {DELETE}"), folder(tmp_path), run="referred")
    assert (result.outcome, result.reason) == ("Terminal", "StillReferenced")
    assert "rows of table refers" in result.message
    assert database.value("SELECT count(*) FROM referred") == 1


def test_a_rule_that_would_take_more_than_a_person_said_takes_nothing(database, tmp_path):
    database.execute("INSERT INTO cascades SELECT g, '2020-01-01' FROM generate_series(1, 11) g")
    rule = f"table: public.cascades, {DELETE}, allow: [of_parent]"
    result = database.retained(policy(rule, limits="{maxRowsPerRun: 10}"), folder(tmp_path), run="many")
    assert (result.outcome, result.reason) == ("Terminal", "TooManyRows")
    assert database.value("SELECT count(*) FROM cascades") == 11


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({}, "none was named"),
        (
            {"backup_digest": "sha256:1", "backup_time": datetime.now(UTC) - timedelta(hours=27)},
            "is older than the 26h",
        ),
    ],
)
def test_without_a_young_backup_nothing_is_deleted(database, tmp_path, given, says):
    spec = policy(f"table: public.good, {DELETE}", requireBackup="{scheduleRef: {name: nightly}}")
    result = database.retained(spec, folder(tmp_path), run="gate", **given)
    assert (result.outcome, result.reason) == ("Retryable", "BackupRequired")
    assert says in result.message
    assert database.value("SELECT count(*) FROM good WHERE at < '2021-01-01'") == 1


def test_a_plan_warns_of_a_missing_index_and_of_rows_without_a_time(database):
    planned = plan(policy(f"table: public.good, {DELETE}"), database.way)
    assert planned.outcome == "Succeeded"
    (rule,) = planned.rules
    assert (rule.rows, rule.index) == (1, False)
    assert "CREATE INDEX CONCURRENTLY ON public.good (at)" in rule.warnings[0]
    assert "1 rows have no time" in rule.warnings[1]


def test_nobody_else_gets_at_the_ledger(database, tmp_path):
    database.retained(policy(f"table: public.rules, {DELETE}, allow: [keeps]"), folder(tmp_path), run="ledger")
    for role in ("rw", "ro"):
        assert not database.value(
            f"SELECT has_schema_privilege('{database.name}__{role}', 'servicedb_retention', 'USAGE')"
        )
    for privilege, given in (("INSERT", True), ("UPDATE", False), ("DELETE", False), ("TRUNCATE", False)):
        query = f"SELECT has_table_privilege('{database.name}__retain', 'servicedb_retention.entries', '{privilege}')"
        assert database.value(query) == given
