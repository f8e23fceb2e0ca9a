"""Files of migrations, read in five formats: what they are called, what they hold, and what can't be read."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from servicedb.errors import Terminal
from servicedb.plan.migrations.checksum import checksum
from servicedb.plan.migrations.formats import migrations
from servicedb.plan.migrations.problems import BadFile
from servicedb.plan.migrations.sections import Format
from servicedb.plan.migrations.source import digest, read_source
from servicedb.plan.migrations.versions import Version

GOOSE = (
    b"-- +goose Up\nSELECT 1;\n-- +goose StatementBegin\nSELECT ';';\n-- +goose StatementEnd\n"
    b"-- +goose Down\nSELECT 3;\n"
)
DBMATE = b"-- migrate:up\nSELECT 1;\nSELECT ';'\n-- migrate:down\nSELECT 3;\n"


@pytest.mark.parametrize(
    ("kind", "files"),
    [
        (Format.FLYWAY, {"V1.2__first_one.sql": b"SELECT 1;SELECT ';'", "U1.2__first_one.sql": b"SELECT 3"}),
        (Format.FLYWAY, {"sql/V1_2__first_one.sql": b"SELECT 1;SELECT ';'\n-- servicedb: down\nSELECT 3"}),
        (
            Format.GOLANG_MIGRATE,
            {"0012_first_one.up.sql": b"SELECT 1;SELECT ';'", "0012_first_one.down.sql": b"SELECT 3"},
        ),
        (Format.GOOSE, {"00012_first_one.sql": GOOSE}),
        (Format.DBMATE, {"12_first_one.sql": DBMATE}),
        (Format.PLAIN, {"012_first_one.sql": b"SELECT 1;SELECT ';'\n-- servicedb: down\nSELECT 3"}),
        (Format.PLAIN, {"12_first_one.sql": b"SELECT 1;SELECT ';'", "012_first_one.down.sql": b"SELECT 3"}),
        (Format.PLAIN, {"1.2-first_one.sql": b"SELECT 1;SELECT ';'\n-- servicedb: down\nSELECT 3"}),
    ],
)
@pytest.mark.parametrize("named", [True, False])
def test_every_format_says_the_same(kind, files, named):
    (migration,) = migrations(files | {"README.md": b"", "other.txt": b""}, kind if named else Format.AUTO)
    assert (migration.key in ("12", "1.2"), migration.name, migration.format) == (True, "first_one", kind)
    assert [statement.text for statement in migration.up.statements] == [b"SELECT 1", b"SELECT ';'"]
    assert migration.down is not None
    assert [statement.text for statement in migration.down.statements] == [b"SELECT 3"]
    assert migration.up.in_transaction


@pytest.mark.parametrize(
    ("kind", "files", "up", "down"),
    [
        (Format.FLYWAY, {"V1__a.sql": b"VACUUM", "V1__a.sql.conf": b"executeInTransaction=false"}, False, None),
        (Format.FLYWAY, {"V1__a.sql": b"VACUUM", "V1__a.sql.conf": b"encoding=UTF-8"}, True, None),
        (
            Format.GOOSE,
            {"1_a.sql": b"-- +goose NO TRANSACTION\n-- +goose Up\nVACUUM;\n-- +goose Down\nVACUUM;"},
            False,
            False,
        ),
        (
            Format.DBMATE,
            {"1_a.sql": b"-- migrate:up transaction:false\nVACUUM;\n-- migrate:down\nSELECT 1;"},
            False,
            True,
        ),
        (
            Format.PLAIN,
            {"1_a.sql": b"-- servicedb: no-transaction\nVACUUM;\n-- servicedb: down\nSELECT 1"},
            False,
            True,
        ),
        (
            Format.PLAIN,
            {"1_a.sql": b"SELECT 1;\n-- servicedb: down\n-- servicedb: no-transaction\nVACUUM"},
            True,
            False,
        ),
        (Format.GOLANG_MIGRATE, {"1_a.up.sql": b"-- servicedb: no-transaction\nVACUUM"}, False, None),
    ],
)
def test_each_format_has_its_word_for_no_transaction(kind, files, up, down):
    (migration,) = migrations(files, kind)
    assert migration.up.in_transaction is up
    assert (migration.down and migration.down.in_transaction) is down


def test_repeatable_migrations_have_a_name_and_come_last():
    files = {"R__views.sql": b"SELECT 1", "V10__b.sql": b"SELECT 1", "V9__a.sql": b"SELECT 1", "R__a.sql": b"SELECT 1"}
    assert [migration.key for migration in migrations(files, Format.AUTO)] == ["9", "10", "R:a", "R:views"]


@pytest.mark.parametrize(
    ("files", "reason", "message"),
    [
        ({}, "NoMigrations", "holds no file that ends in .sql"),
        ({"a.txt": b""}, "NoMigrations", "holds no file that ends in .sql"),
        (
            {"1_a.sql": b"SELECT 1", "01_b.sql": b"SELECT 1"},
            "DuplicateVersion",
            "01_b.sql and 1_a.sql are both version 1",
        ),
        ({"V1__a.sql": b"", "V1.0__b.sql": b""}, "DuplicateVersion", "are both version 1"),
        ({"1_a.up.sql": b"", "1_b.up.sql": b""}, "DuplicateVersion", "1_a.up.sql and 1_b.up.sql are both version 1"),
        ({"x/V1__a.sql": b"", "y/V1__a.sql": b""}, "DuplicateVersion", "x/V1__a.sql and y/V1__a.sql"),
        ({"U1__a.sql": b"", "U1__b.sql": b"", "V1__a.sql": b""}, "DuplicateVersion", "U1__a.sql and U1__b.sql"),
        ({"R__a.sql": b"", "x/R__a.sql": b""}, "DuplicateVersion", "version R:a"),
        ({"first.sql": b"SELECT 1"}, "BadMigration", "first.sql: is no name of a Plain migration"),
        ({"V1_a.sql": b"SELECT 1", "V2__b.sql": b""}, "MixedFormats", "V1_a.sql (Plain), V2__b.sql (Flyway)"),
        ({"V1__a.sql": b"", "002_b.up.sql": b""}, "MixedFormats", "002_b.up.sql (GolangMigrate), V1__a.sql (Flyway)"),
        ({"1_a.sql": GOOSE, "2_b.sql": DBMATE}, "MixedFormats", "1_a.sql (Goose), 2_b.sql (Dbmate)"),
        ({"2_b.down.sql": b"", "1_a.sql": b""}, "BadMigration", "2_b.down.sql: leads back from version 2"),
    ],
)
def test_files_that_contradict_each_other_are_refused(files, reason, message):
    with pytest.raises(Terminal) as refused:
        migrations(files, Format.AUTO)
    assert refused.value.reason == reason
    assert message in refused.value.message


@pytest.mark.parametrize(
    ("kind", "name", "message"),
    [
        (Format.GOOSE, "1_a.sql", "has no part that goes up; is Goose the right format?"),
        (Format.DBMATE, "1_a.sql", "has no part that goes up; is Dbmate the right format?"),
        (Format.FLYWAY, "1_a.sql", "is no name of a Flyway migration: they are called V1__name.sql"),
        (Format.GOLANG_MIGRATE, "1_a.sql", "is no name of a GolangMigrate migration"),
        (Format.PLAIN, "V1__a.sql", "is no name of a Plain migration"),
    ],
)
def test_the_wrong_format_is_said_with_the_file(kind, name, message):
    with pytest.raises(BadFile) as refused:
        migrations({name: b"SELECT 1"}, kind)
    assert refused.value.message.startswith(f"{name}: {message}")


@pytest.mark.parametrize(
    ("content", "line", "message"),
    [
        (b"", None, "is empty"),
        (b" \n\n", None, "is empty"),
        ("SELECT 1;\nSELECT 'für';".encode("latin-1"), 2, "is not UTF-8"),
        ("SELECT 1;".encode("utf-16"), None, "is UTF-16"),
        (b"SELECT 1;\nSELECT '\0';", 2, "zero byte"),
        (b"SELECT 1;\n\\i x.sql", 2, "\\i is a command of psql"),
        (b"SELECT 1;\nBEGIN;\nSELECT 2;COMMIT;", 2, "BEGIN has no place here"),
        (b"SELECT 1; commit and chain;", 1, "COMMIT AND has no place here"),
        (b"ROLLBACK;", 1, "ROLLBACK has no place here"),
        (b"ABORT", 1, "ABORT has no place here"),
        (b"END;", 1, "END has no place here"),
        (b"START TRANSACTION;", 1, "START TRANSACTION has no place here"),
        (b"PREPARE /* */ TRANSACTION 'x'", 1, "PREPARE TRANSACTION has no place here"),
        (b"-- servicedb: no-transaction\nBEGIN;", 2, "BEGIN has no place here"),
        (b"\n\nDROP DATABASE orders;", 3, "DROP DATABASE is no migration"),
        (b"-- servicedb: no-transactions\nSELECT 1", 1, "can't be followed here"),
        (b"-- servicedb: batch key=id\nUPDATE t SET a = 1", 1, "batch is written as"),
        (b"SELECT 1;\n-- servicedb: batch key=id size=5\n", 2, "batch has no statement below it"),
        (b"-- servicedb: batch key=id size=5\nUPDATE t SET a = 1 WHERE id > :from", 2, "BETWEEN :from AND :to"),
        (
            b"-- servicedb: batch key=id size=5\nUPDATE t SET a = 1 WHERE id > :from AND id <= :to",
            2,
            "BETWEEN :from AND",
        ),
        (
            b"-- servicedb: batch key=id size=5\nUPDATE t SET id = 1 WHERE id BETWEEN :from AND :to",
            2,
            "must not be updated",
        ),
        (
            b"-- servicedb: batch key=id size=5\nINSERT INTO u SELECT FROM t WHERE id BETWEEN :from AND :to",
            1,
            "name the table",
        ),
        (b"-- servicedb: remaining SELECT 0\nSELECT 1", 1, "between batch and its statement"),
    ],
)
def test_what_cannot_be_run_is_refused_with_its_line(content, line, message):
    (migration,) = migrations({"1_a.sql": content}, Format.PLAIN)
    with pytest.raises(BadFile) as refused:
        _ = migration.up
    assert refused.value.place.line == line
    assert refused.value.message.startswith(f"1_a.sql, line {line}: " if line else "1_a.sql: ")
    assert message in refused.value.message


@pytest.mark.parametrize(
    "content",
    [
        b"SAVEPOINT a; ROLLBACK TO a; ROLLBACK WORK TO SAVEPOINT a; RELEASE a",
        b"PREPARE x AS SELECT 1; EXECUTE x",
        b"DO $$ BEGIN PERFORM 1; END $$",
        b"CREATE FUNCTION f() RETURNS int LANGUAGE sql BEGIN ATOMIC SELECT 1; END",
        b"-- just a note",
    ],
)
def test_what_only_looks_like_it_is_run(content):
    (migration,) = migrations({"1_a.sql": content}, Format.PLAIN)
    assert migration.up.in_transaction


def test_batches_and_what_remains_belong_to_the_statement_below():
    content = (
        b"-- servicedb: batch key=id size=500\n-- servicedb: remaining SELECT count(*) FROM app.t WHERE a IS NULL;\n"
        b"UPDATE app.T SET a = 1 WHERE id BETWEEN :from AND :to;\nSELECT 1;\n"
        b'-- servicedb: batch key="Id" size=1 table=u\nINSERT INTO v SELECT * FROM u WHERE "Id" BETWEEN :from AND :to;'
    )
    (migration,) = migrations({"1_a.sql": content}, Format.PLAIN)
    first, none, second = migration.up.batches
    assert none is None
    assert first is not None
    assert second is not None
    assert (first.schema, first.table, first.key, first.size) == ("app", "t", "id", 500)
    assert first.remaining == "SELECT count(*) FROM app.t WHERE a IS NULL"
    assert (second.schema, second.table, second.key, second.size, second.remaining) == (None, "u", "Id", 1, None)
    assert not migration.up.in_transaction


@given(st.lists(st.sampled_from([b"a", b"\n", b"SELECT", b" "]), max_size=60).map(b"".join))
def test_line_endings_and_a_byte_order_mark_do_not_count_as_a_change(content):
    copies = (content.replace(b"\n", b"\r\n"), content.replace(b"\n", b"\r"), b"\xef\xbb\xbf" + content)
    assert {checksum(copy) for copy in copies} == {checksum(content)}


def test_a_line_ending_across_two_chunks_is_one():
    rows = b"x" * ((1 << 20) - 1) + b"\n" + b"y" * (1 << 20)
    assert checksum(rows.replace(b"\n", b"\r\n")) == checksum(rows)


@given(st.binary(max_size=20), st.binary(max_size=20))
def test_another_content_has_another_checksum(one, other):
    def plain(content: bytes) -> bytes:
        return content.removeprefix(b"\xef\xbb\xbf").replace(b"\r\n", b"\n").replace(b"\r", b"\n")

    assert (checksum(one) == checksum(other)) is (plain(one) == plain(other))


@given(st.lists(st.lists(st.integers(0, 99), min_size=1, max_size=4), min_size=2, max_size=2))
def test_versions_are_compared_as_numbers(versions):
    one, other = versions
    width = max(map(len, versions))
    padded = [v + [0] * (width - len(v)) for v in versions]
    left, right = (Version.parse(".".join(f"{number:03}" for number in v)) for v in (one, other))
    assert (left < right, left == right) == (padded[0] < padded[1], padded[0] == padded[1])
    assert Version.parse(str(left)) == left


@pytest.mark.parametrize("text", ["", "a", "1a", "1.", ".1", "-1", "1..2", "٣"])
def test_what_is_no_version_is_refused(text):
    with pytest.raises(ValueError, match="is no version"):
        Version.parse(text)


def test_seeds_and_hooks_are_no_migrations():
    files = {"1_a.sql": b"SELECT 1", "seeds/dev/1.sql": b"SELECT 2", "seeds/dev/x.md": b"", "before.sql": b"SELECT 3"}
    source = read_source(files, before=["before.sql"])
    assert [migration.key for migration in source.migrations] == ["1"]
    assert source.seeds == {"dev": {"seeds/dev/1.sql": b"SELECT 2"}}
    assert [statement.text for statement in source.before[0].statements] == [b"SELECT 3"]
    with pytest.raises(Terminal, match=r"the hook after\.sql is not in the source"):
        read_source(files, after=["after.sql"])


@given(
    st.dictionaries(st.text(max_size=3), st.binary(max_size=3)),
    st.dictionaries(st.text(max_size=3), st.binary(max_size=3)),
)
def test_the_digest_of_a_source_is_that_of_all_names_and_contents(one, other):
    assert (digest(one) == digest(other)) is (one == other)


@pytest.mark.parametrize("ending", ["\n", "\r\n"])
@pytest.mark.parametrize("mark", ["", "\N{ZERO WIDTH NO-BREAK SPACE}"])
def test_a_file_of_another_system_says_the_same(ending, mark):
    text = mark + "-- servicedb: no-transaction\nSELECT 1;\nSELECT 2;\n-- servicedb: down\nSELECT 3;\n".replace(
        "\n", ending
    )
    (migration,) = migrations({"1_a.sql": text.encode()}, Format.AUTO)
    assert [(statement.text, statement.line) for statement in migration.up.statements] == [
        (b"SELECT 1", 2),
        (b"SELECT 2", 3),
    ]
    assert not migration.up.in_transaction
    assert migration.down is not None
    assert [statement.line for statement in migration.down.statements] == [5]
