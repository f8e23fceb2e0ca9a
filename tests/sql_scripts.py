"""Scripts made of statements that are known: to compare with what a lexer, or a server, makes of them."""

from dataclasses import dataclass

from hypothesis import strategies as st

STATEMENTS = [
    b"SELECT 1",
    b"SELECT 'a;b', 'it''s;', ''",
    b"SELECT E'a\\';b', e'\\\\'",
    b"SELECT E'a'\n  'b\\';c'",
    b"SELECT E'a' -- x; '\n -- '\n 'b\\';c'",
    b"SELECT 'back\\', ';'",
    b"SELECT U&'d\\0061t\\+000061;'",
    b'SELECT 1 AS "a;b", 2 AS "a""b;", 3 AS U&"d\\0061;"',
    b"SELECT B'1', X'1F', N'a;'",
    b"SELECT $$a;b$$, $x$ $$;$y$; $x$, $\xc3\xa4$;$\xc3\xa4$",
    b"SELECT 1+$$1$$::int",
    b"SELECT 1 AS a$b$c, 2 AS e1, 3 AS ae",
    b"SELECT 1 /* ; /* ; */ ' ; */ + 1 -- ;'\n + 1",
    b"SELECT 4/ 2, 4 - 2, 4 *- 2, -1 + - 1",
    b"SELECT 1.5, 1e3, .5",
    b"SELECT '\xc3\xa4;' AS \xc3\xa4",
    b"DO $$ BEGIN PERFORM 1; END $$",
    b"SELECT CASE WHEN true THEN 1 ELSE 2 END",
    b"CREATE OR REPLACE FUNCTION pg_temp.f() RETURNS int LANGUAGE sql BEGIN ATOMIC SELECT 1;"
    b" SELECT CASE WHEN true THEN 1 END; END",
    b"CREATE OR REPLACE FUNCTION pg_temp.g() RETURNS int BEGIN ATOMIC SELECT 1 AS end; SELECT 2 AS case; END",
    b"CREATE OR REPLACE PROCEDURE pg_temp.p() LANGUAGE sql BEGIN ATOMIC SELECT 1; SELECT 2; END",
    b"CREATE OR REPLACE FUNCTION pg_temp.begin(a int) RETURNS int LANGUAGE sql AS 'SELECT 1; SELECT 2'",
    b"CREATE TEMP TABLE IF NOT EXISTS r (begin int, a text DEFAULT ';')",
    b"VALUES (1, ';'), (2, $$;$$)",
    b"SELECT 1 WHERE 'a' LIKE 'a;%'",
    b"SELECT (ARRAY[1, 2])[1], '{a;b}'::text[]",
]
"""Each can be run alone, in any order and again, by anybody."""

GAPS = [
    b"",
    b" ",
    b"\n",
    b"\r\n",
    b"\t\f\n",
    b"-- ; ' $$\n",
    b"/* ; ' */",
    b"/* a /* ; */ b */",
    b"--\n",
    b"\n-- \xc3\xa4;\n",
]


@dataclass(frozen=True)
class Script:
    """`text` is made of `statements`, each of which begins on its line of `lines`."""

    text: bytes
    statements: list[bytes]
    lines: list[int]


@st.composite
def scripts(draw: st.DrawFn) -> Script:
    text, statements, lines = b"", [], []
    for statement in draw(st.lists(st.sampled_from(STATEMENTS), max_size=12)):
        text += b"".join(draw(st.lists(st.sampled_from(GAPS), max_size=3)))
        statements.append(statement)
        lines.append(text.count(b"\n") + 1)
        text += statement + b"".join(draw(st.lists(st.sampled_from(GAPS), max_size=2))) + b";"
    unended = draw(st.booleans())
    if statements and unended:
        text = text.removesuffix(b";")
    return Script(text, statements, lines)
