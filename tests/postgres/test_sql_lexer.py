"""Scripts are cut where real servers cut them."""

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from psycopg import sql
from psycopg.pq import ExecStatus
from servicedb.plan.migrations.lexer import NotSql, cut

from tests.postgres.server import Server
from tests.sql_scripts import STATEMENTS, scripts

ON_A_SERVER = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture(scope="module")
def connection(server: Server):
    with server.connect() as connection:
        yield connection


def results(connection: psycopg.Connection, script: bytes) -> int | None:
    """How many statements the server itself finds in `script`; None where it refuses one. Nothing is kept."""
    connection.execute("BEGIN")
    try:
        cursor = connection.execute(script)
        count = 0 if cursor.pgresult is not None and cursor.pgresult.status == ExecStatus.EMPTY_QUERY else 1
        while cursor.nextset():
            count += 1
    except psycopg.Error:
        return None
    finally:
        connection.execute("ROLLBACK")
    return count


@pytest.mark.parametrize("statement", STATEMENTS)
def test_each_of_the_statements_is_one_for_the_server(connection, statement):
    assert results(connection, statement + b";" + statement + b";") == 2


@ON_A_SERVER
@given(scripts())
def test_a_script_has_as_many_statements_as_the_server_counts(connection, script):
    assert results(connection, script.text) == len(cut(script.text).statements)


@ON_A_SERVER
@given(
    st.lists(st.sampled_from([*STATEMENTS, b";", b"'", b'"', b"$$", b"--", b"\n", b"/*", b"*/", b"E'", b"$a$", b"("]))
)
def test_where_the_server_understands_a_broken_script_it_counts_the_same(connection, pieces):
    script = b" ".join(pieces)
    counted = results(connection, script)
    try:
        statements = len(cut(script).statements)
    except NotSql:
        assert counted is None
        return
    assert counted in (None, statements)


def test_what_is_fed_to_copy_is_what_stood_in_the_script(connection):
    script = b"CREATE TEMP TABLE fed (a text);COPY fed FROM stdin;\na;'\n$$\\\\\n--\n\\.\nSELECT 1"
    create, copy, _ = cut(script).statements
    connection.execute(create.text)
    with connection.cursor().copy(sql.SQL(copy.text.decode())) as feed:
        feed.write(copy.data)
    assert connection.execute("SELECT a FROM fed").fetchall() == [("a;'",), ("$$\\",), ("--",)]
