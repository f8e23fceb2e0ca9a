"""Scripts are cut where PostgreSQL and psql would cut them; not a byte is lost or joined."""

import re
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st
from servicedb.plan.migrations.lexer import NotSql, cut

from tests.sql_scripts import GAPS, STATEMENTS, scripts


def texts(script: bytes) -> list[bytes]:
    return [statement.text for statement in cut(script).statements]


@pytest.mark.parametrize("statement", STATEMENTS)
def test_a_statement_is_one_whatever_it_holds(statement):
    assert texts(statement + b";" + statement + b";\nSELECT 1") == [statement, statement, b"SELECT 1"]


@pytest.mark.parametrize("gap", GAPS)
def test_what_stands_between_statements_belongs_to_none(gap):
    assert texts(gap + b"SELECT 1;" + gap + b";;" + gap + b"SELECT 2" + gap) == [b"SELECT 1", b"SELECT 2"]


@given(scripts())
def test_any_script_is_cut_into_the_statements_it_was_made_of(script):
    assert texts(script.text) == script.statements
    assert [statement.line for statement in cut(script.text).statements] == script.lines


@given(st.lists(st.sampled_from([*b"'\"$$;-/*\\\n\rEe()ax1 U&.+"]), max_size=40).map(bytes))
def test_no_byte_is_lost_joined_or_out_of_order(script):
    """Whatever the bytes, the statements stand in the script in this order, and only gaps stand between them."""
    try:
        statements = cut(script).statements
    except NotSql:
        return
    position = 0
    for statement in statements:
        rest = after_gap(script[position:])
        assert rest.startswith(statement.text), rest
        position = len(script) - len(rest)
        assert script.count(b"\n", 0, position) + 1 == statement.line
        position += len(statement.text)
    assert not after_gap(script[position:])


def after_gap(text: bytes) -> bytes:
    """What follows spaces, semicolons and comments, by a slow and simple reading."""
    while text:
        if text[:1] in (b" ", b"\n", b"\r", b";"):
            text = text[1:]
        elif text.startswith(b"--"):
            text = re.split(rb"[\r\n]", text, maxsplit=1)[1] if re.search(rb"[\r\n]", text) else b""
        elif text.startswith(b"/*"):
            depth, position = 1, 2
            while depth:
                if text.startswith(b"/*", position):
                    depth, position = depth + 1, position + 2
                elif text.startswith(b"*/", position):
                    depth, position = depth - 1, position + 2
                else:
                    position += 1
            text = text[position:]
        else:
            break
    return text


def test_the_data_of_a_copy_are_not_looked_into():
    script = b"COPY t (a) FROM stdin;\nit's; \\\\ $$ -- /*\n\\.x\nx\\.\n\\.\nSELECT 1;"
    copy, select = cut(script).statements
    assert (copy.text, select.text, select.line) == (b"COPY t (a) FROM stdin", b"SELECT 1", 6)
    assert bytes(copy.data or b"") == b"it's; \\\\ $$ -- /*\n\\.x\nx\\.\n"


@pytest.mark.parametrize("end", [b"\n\\.\n", b"\r\n\\.\r\n", b"\n\\.", b"\r\n\\.\r"])
def test_the_data_of_a_copy_end_in_any_line_ending(end):
    (copy,) = cut(b"COPY t FROM STDIN WITH (FORMAT csv); -- data\n1,2" + end).statements
    assert bytes(copy.data or b"") == b"1,2" + end[: end.index(b"\\")]


def test_a_copy_without_rows_has_empty_data():
    (copy,) = cut(b"copy t from stdin;\n\\.\n").statements
    assert copy.data is not None
    assert bytes(copy.data) == b""


@pytest.mark.parametrize(
    "statement", [b"COPY t TO STDOUT", b"COPY t FROM '/file'", b"COPY (SELECT 1 FROM stdin) TO '/f'"]
)
def test_only_copy_from_stdin_has_data(statement):
    assert cut(statement + b";\nSELECT 1").statements[0].data is None


@pytest.mark.parametrize(
    ("script", "line", "message"),
    [
        (b"SELECT 1;\n\\i other.sql", 2, r"\i is a command of psql"),
        (b"\\restrict x\nSELECT 1", 1, r"\restrict is a command of psql"),
        (b"SELECT 1 \\gset", 1, r"\gset is a command of psql"),
        (b"SELECT 1;\nSELECT 'a", 2, "string that begins here has no end"),
        (b'SELECT "a', 1, "quoted name that begins here has no end"),
        (b"\n\nDO $body$ x $bod$", 3, "begins here with $body$ has no end"),
        (b"SELECT 1\n/* /* */", 2, "comment that begins here has no end"),
        (b"SELECT 1;\nCOPY t FROM stdin;\n1\n2\n", 2, "data of COPY ... FROM stdin have no end"),
        (b"COPY t FROM stdin; SELECT 1;\n1\n\\.\n", 1, "has to be the last statement of its line"),
        (b"SELECT E'a\\';", 1, "string that begins here has no end"),
    ],
)
def test_what_is_not_sql_is_refused_with_its_line(script, line, message):
    with pytest.raises(NotSql) as refused:
        cut(script)
    assert refused.value.line == line
    assert message in refused.value.message


def test_comments_know_their_line_and_what_they_stand_behind():
    comments = cut(b"-- one\nSELECT 1; -- two\nSELECT '-- no', $$\n-- no\n$$\n-- three\n;").comments
    assert [(c.text, c.line, c.ahead) for c in comments] == [("-- one", 1, 0), ("-- two", 2, 1), ("-- three", 6, 1)]


def test_a_comment_can_end_the_statement_before_it():
    script = b"SELECT 1\n-- +goose Down\nSELECT '\n-- +goose Down\n'"
    result = cut(script, ends_statement=re.compile(r"--\s*\+goose\s+Down"))
    assert [statement.text for statement in result.statements] == [b"SELECT 1", b"SELECT '\n-- +goose Down\n'"]
    assert [comment.ahead for comment in result.comments] == [1]


def test_the_time_it_takes_grows_with_the_size_alone():
    """Twenty times the statements take about twenty times as long: nothing is counted from the start again."""

    def seconds(count: int) -> float:
        script = b"INSERT INTO t (a, b) VALUES (1, 'text');\n" * count
        begun = time.process_time()
        assert len(cut(script).statements) == count
        return time.process_time() - begun

    assert seconds(50_000) < 60 * min(seconds(2_500) for _ in range(3))


def test_a_copy_of_100_megabytes_is_a_view_into_the_script():
    row = b"1\tsome words that take up room in a row of this table\n"
    script = b"COPY t FROM stdin;\n" + row * (100_000_000 // len(row)) + b"\\.\n"
    begun = time.process_time()
    (copy,) = cut(script).statements
    assert copy.data is not None
    assert copy.data.obj is script
    assert time.process_time() - begun < 10  # a tenth of a second; a loop in Python over its bytes takes a minute
