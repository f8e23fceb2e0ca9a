"""Statements outside a transaction: how each is run, where a killed run goes on, and what a failure means."""

import pytest
from servicedb.errors import Retryable, Terminal
from servicedb.plan.migrations.failure import StatementFailed, failure
from servicedb.plan.migrations.lexer import cut
from servicedb.plan.migrations.resume import Noted, question_digest, resume, statement_digest
from servicedb.plan.migrations.script import Script
from servicedb.plan.migrations.statements import Kind, traits


@pytest.mark.parametrize(
    ("statement", "kind", "waits", "index"),
    [
        ("INSERT INTO t VALUES (1)", Kind.TOGETHER, False, None),
        ("CREATE TABLE t (a int)", Kind.TOGETHER, False, None),
        ("CREATE INDEX i ON t (a)", Kind.TOGETHER, False, None),
        ("CREATE INDEX CONCURRENTLY i ON t (a)", Kind.CREATES_INDEX, True, "i"),
        ("create unique index concurrently if not exists Idx on t (a)", Kind.CREATES_INDEX, True, "idx"),
        ('CREATE INDEX /* a */ CONCURRENTLY "A ""b" -- c\n ON t (a)', Kind.CREATES_INDEX, True, 'A "b'),
        ("CREATE INDEX CONCURRENTLY ON t (a)", Kind.CREATES_INDEX, True, None),
        ("DROP INDEX CONCURRENTLY i", Kind.DROPS_INDEX, True, None),
        ("REINDEX INDEX CONCURRENTLY i", Kind.REPEATABLE, True, None),
        ("VACUUM t", Kind.REPEATABLE, False, None),
        ("ALTER TABLE t DETACH PARTITION p CONCURRENTLY", Kind.ALONE, True, None),
        ("ALTER TABLE t DETACH PARTITION p", Kind.TOGETHER, False, None),
        ("CALL p()", Kind.ALONE, False, None),
        ("DO $$ BEGIN COMMIT; END $$", Kind.ALONE, False, None),
        ("DO $$ BEGIN PERFORM 1; END $$", Kind.TOGETHER, False, None),
        ("ALTER SYSTEM SET a = 1", Kind.ALONE, False, None),
        ("REFRESH MATERIALIZED VIEW CONCURRENTLY v", Kind.TOGETHER, False, None),
        ("(SELECT 1)", Kind.TOGETHER, False, None),
    ],
)
def test_how_a_statement_is_run(statement, kind, waits, index):
    (one,) = cut(statement.encode()).statements
    found = traits(one)
    assert (found.kind, found.waits, found.index) == (kind, waits, index)


@pytest.mark.parametrize(
    ("statement", "relation"),
    [
        ("CREATE INDEX CONCURRENTLY i ON t (a)", "t"),
        ("CREATE INDEX CONCURRENTLY ON ONLY t (a)", "t"),
        ("CREATE UNIQUE INDEX CONCURRENTLY i ON only_t USING gin(a)", "only_t"),
        ('CREATE INDEX CONCURRENTLY i ON "A ""b" . /* c */ T(a)', '"A ""b" .   T'),
        ("CREATE INDEX CONCURRENTLY i ON a.b.t (a)", None),
        ('CREATE INDEX CONCURRENTLY i ON U&"t" (a)', None),
        ("REINDEX INDEX CONCURRENTLY s.i", "s.i"),
        ("REINDEX (VERBOSE) TABLE CONCURRENTLY t", "t"),
        ("REINDEX (CONCURRENTLY) TABLE t", "t"),
        ("REINDEX SCHEMA CONCURRENTLY s", None),
        ("VACUUM t", None),
    ],
)
def test_of_which_relation_an_index_may_be_left(statement, relation):
    (one,) = cut(statement.encode()).statements
    assert traits(one).relation == relation


SCRIPT = Script("1_a.sql", cut(b"SELECT 1;SELECT 2;SELECT 3").statements, (None, None, None), in_transaction=False)


def noted(number: int, ended: bool | None, digest: str | None = None) -> Noted:
    return Noted(number, digest or statement_digest(SCRIPT.statements[number - 1]), ended, 1)


@pytest.mark.parametrize(
    ("seen", "number", "unknown"),
    [
        ([], 1, False),
        ([noted(1, True)], 2, False),
        ([noted(1, True), noted(2, None)], 2, True),
        ([noted(1, True), noted(2, False)], 2, False),
        ([noted(1, True), noted(2, True), noted(3, True)], 4, False),
        ([noted(1, None, "another text")], 1, True),
    ],
)
def test_where_a_script_goes_on(seen, number, unknown):
    at = resume(SCRIPT, seen)
    assert (at.number, at.unknown is not None) == (number, unknown)


@pytest.mark.parametrize("seen", [[noted(1, True, "another text")], [Noted(4, "x", True, 1)]])
def test_what_was_carried_out_must_not_be_changed(seen):
    with pytest.raises(Terminal, match="carried out already"):
        resume(SCRIPT, seen)


def test_what_may_have_been_carried_out_must_not_be_gone():
    with pytest.raises(Terminal, match="ends before statement 4"):
        resume(SCRIPT, [*(noted(number, True) for number in (1, 2, 3)), Noted(4, "x", None, 1)])


def test_each_interruption_is_a_question_of_its_own():
    known = {"set_name": "default", "schema": "", "key": "7"}
    one = question_digest(**known, noted=Noted(1, "d", None, 1))
    others = {
        question_digest(**known, noted=Noted(1, "d", None, 2)),
        question_digest(**known, noted=Noted(2, "d", None, 1)),
        question_digest(**known | {"key": "8"}, noted=Noted(1, "d", None, 1)),
        question_digest(**known | {"schema": "tenant"}, noted=Noted(1, "d", None, 1)),
    }
    assert one not in others
    assert len(others) == 4
    assert one == question_digest(**known, noted=Noted(1, "d", None, 1))


def failed(sqlstate: str | None, **changes: object) -> StatementFailed:
    return StatementFailed("the words", sqlstate=sqlstate, name="UniqueViolation", line=3, **changes)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("sqlstate", "kind", "reason"),
    [
        ("42601", Terminal, "MigrationFailed"),
        ("23505", Terminal, "MigrationFailed"),
        ("57014", Terminal, "MigrationFailed"),
        ("25001", Terminal, "MigrationFailed"),
        ("55P03", Retryable, "TryAgain"),
        ("40P01", Retryable, "TryAgain"),
        ("40001", Retryable, "TryAgain"),
        ("53300", Retryable, "TryAgain"),
        ("57P01", Retryable, "TryAgain"),
        (None, Retryable, "ConnectionLost"),
    ],
)
def test_what_a_failure_means(sqlstate, kind, reason):
    found = failure(failed(sqlstate), version="1", file="1_a.sql", detail="Code")
    assert type(found.problem) is kind
    assert (found.problem.reason, found.place.file, found.place.line, found.place.sqlstate) == (
        reason,
        "1_a.sql",
        3,
        sqlstate,
    )
    assert found.problem.message.startswith("1_a.sql, line 3: ")


@pytest.mark.parametrize("sqlstate", ["23505", "22P02", "P0001", "23514"])
def test_words_that_may_hold_values_of_rows_are_left_out(sqlstate):
    error = failed(sqlstate, constraint="c", detail="Key (id)=(4711)")
    assert failure(error, version="1", file="f", detail="Code").problem.message == (
        f"f, line 3: SQLSTATE {sqlstate} (unique violation), constraint c"
    )
    full = failure(error, version="1", file="f", detail="Full").problem.message
    assert "the words" in full
    assert "4711" in full
    assert "4711" not in str(error)


@pytest.mark.parametrize("sqlstate", ["25001", "55P04"])
def test_it_is_said_what_has_to_stand_outside_a_transaction(sqlstate):
    assert "no-transaction" in failure(failed(sqlstate), version="1", file="f", detail="Code").problem.message
