"""What a Secret says is read back by libpq as it was meant, whatever stands in it."""

import re
from dataclasses import replace
from urllib.parse import parse_qs, unquote, urlsplit

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from psycopg.conninfo import conninfo_to_dict
from pydantic import SecretStr
from servicedb.api.credentials import SECRET_KEYS
from servicedb.plan.secret import ConnectionDetails, rendered, secret_data

DETAILS = ConnectionDetails(
    host="db.example.org",
    port=6432,
    database="orders",
    user="orders__app_a",
    password=SecretStr("s3cret"),
    sslmode="verify-full",
    ca_file="/etc/servicedb/ca.crt",
    ca_certificate="-----BEGIN CERTIFICATE-----",
)
HOSTILE = "p@ss:w/or?d#&=%+ '\"\\;{}[]$\u00e4\u20ac"
TEXTS = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1, max_size=20)
WORDS = st.text("abcXYZ019", min_size=1, max_size=20)
HOSTS = st.sampled_from(["db.example.org", "db", "10.0.0.5", "::1", "2001:db8::5", "fe80::1234:5678"])
PATHS = TEXTS.map("/".__add__)


def data(**changes: object) -> dict[str, str]:
    return secret_data(replace(DETAILS, **changes), {})  # type: ignore[arg-type]


def test_all_keys_of_the_specification_are_there():
    assert data() == {
        "type": "postgresql",
        "provider": "servicedb",
        "username": "orders__app_a",
        "user": "orders__app_a",
        "password": "s3cret",
        "dbname": "orders",
        "host": "db.example.org",
        "port": "6432",
        "sslmode": "verify-full",
        "uri": "postgresql://orders__app_a:s3cret@db.example.org:6432/orders"
        "?sslmode=verify-full&sslrootcert=/etc/servicedb/ca.crt",
        "jdbc-uri": "jdbc:postgresql://db.example.org:6432/orders"
        "?user=orders__app_a&password=s3cret&sslmode=verify-full&sslrootcert=/etc/servicedb/ca.crt",
        "pgpass": "db.example.org:6432:orders:orders__app_a:s3cret",
        "ca.crt": "-----BEGIN CERTIFICATE-----",
    }


def test_the_keys_are_those_that_a_template_may_not_have():
    assert set(data()) | {"pending-username", "pending-password"} == set(SECRET_KEYS)


@pytest.mark.parametrize(
    ("sslmode", "certificate", "root"),
    [
        pytest.param("verify-full", "PEM", "/etc/servicedb/ca.crt", id="CA of its own"),
        pytest.param("verify-full", None, "system", id="the system's authorities"),
        pytest.param("verify-ca", "PEM", "/etc/servicedb/ca.crt", id="verify-ca"),
        pytest.param("require", None, None, id="require"),
        pytest.param("disable", None, None, id="disable"),
    ],
)
def test_libpq_is_told_by_what_to_verify(sslmode, certificate, root):
    found = data(sslmode=sslmode, ca_certificate=certificate)
    read = conninfo_to_dict(found["uri"])
    assert (read["sslmode"], read.get("sslrootcert")) == (sslmode, root)
    assert ("ca.crt" in found) is (certificate is not None)
    assert ("sslrootcert" in found["jdbc-uri"]) is (certificate is not None)


@given(TEXTS, TEXTS, TEXTS, HOSTS, PATHS)
@example(HOSTILE, HOSTILE, HOSTILE, "::1", "/" + HOSTILE)
def test_libpq_reads_the_uri_as_it_was_meant(user, password, database, host, ca_file):
    found = data(user=user, password=SecretStr(password), database=database, host=host, ca_file=ca_file)
    assert conninfo_to_dict(found["uri"]) == {
        "user": user,
        "password": password,
        "host": host,
        "port": "6432",
        "dbname": database,
        "sslmode": "verify-full",
        "sslrootcert": ca_file,
    }


@given(TEXTS, TEXTS, TEXTS, HOSTS, PATHS)
@example(HOSTILE, HOSTILE, HOSTILE, "::1", "/" + HOSTILE)
def test_a_jdbc_driver_reads_its_uri_as_it_was_meant(user, password, database, host, ca_file):
    found = data(user=user, password=SecretStr(password), database=database, host=host, ca_file=ca_file)
    parts = urlsplit(found["jdbc-uri"].removeprefix("jdbc:"))
    assert (parts.hostname, parts.port, unquote(parts.path[1:])) == (host, 6432, database)
    assert parse_qs(parts.query) == {
        "user": [user], "password": [password], "sslmode": ["verify-full"], "sslrootcert": [ca_file],
    }  # fmt: skip


@given(TEXTS, TEXTS, HOSTS)
@example("a:b", "c\\:d\\", "::1")
def test_a_password_file_is_read_as_it_was_meant(user, password, host):
    fields = re.findall(
        r"((?:\\.|[^\\:])*)(?::|$)", data(user=user, password=SecretStr(password), host=host)["pgpass"], re.DOTALL
    )
    read = [re.sub(r"\\(.)", r"\1", field, flags=re.DOTALL) for field in fields[:5]]
    assert read == [host, "6432", "orders", user, password]


VALUES = {
    "host": "db.example.org",
    "port": "6432",
    "dbname": "orders",
    "user": "orders__app_a",
    "password": "p;w'\"=\\ {d}/",
    "sslmode": "verify-full",
    "caFile": "/etc/servicedb/ca.crt",
}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param("{host}", "db.example.org", id="one value"),
        pytest.param("{password}", VALUES["password"], id="plain"),
        pytest.param("pw={password}", "pw=" + VALUES["password"], id="one pair is plain"),
        pytest.param("", "", id="empty"),
        pytest.param("no placeholder", "no placeholder", id="none"),
        pytest.param(
            "postgres://{user}:{password}@{host}:{port}/{dbname}",
            "postgres://orders__app_a:p%3Bw%27%22%3D%5C%20%7Bd%7D%2F@db.example.org:6432/orders",
            id="URI",
        ),
        pytest.param(
            "Host={host};Port={port};Password={password};SSL Mode=VerifyFull;Root Certificate={caFile}",
            'Host=db.example.org;Port=6432;Password="p;w\'""=\\ {d}/";SSL Mode=VerifyFull;'
            "Root Certificate=/etc/servicedb/ca.crt",
            id="ADO.NET",
        ),
        pytest.param(
            "host={host} user={user} password={password}",
            "host=db.example.org user=orders__app_a password='p;w\\'\"=\\\\ {d}/'",
            id="libpq",
        ),
        pytest.param(
            "Host={host};Password=\"{password}\";Username='{password}';Pooling=true",
            "Host=db.example.org;Password=\"p;w'\"\"=\\ {d}/\";Username='p;w''\"=\\ {d}/';Pooling=true",
            id="ADO.NET with quotes of its own",
        ),
        pytest.param(
            "host={host} password='{password}' options='-c a={user}'",
            "host=db.example.org password='p;w\\'\"=\\\\ {d}/' options='-c a=orders__app_a'",
            id="libpq with quotes of its own",
        ),
        pytest.param('{"pw": "{user}", "x": {}}', '{"pw": "orders__app_a", "x": {}}', id="braces of another format"),
        pytest.param("{unknown} {Host} {pass word} {}", "{unknown} {Host} {pass word} {}", id="unknown placeholders"),
        pytest.param("{{host}}", "{db.example.org}", id="braces around"),
    ],
)
def test_placeholders_are_filled_in_as_the_format_wants_it(text, expected):
    assert rendered(text, VALUES) == expected


@pytest.mark.parametrize("part", ["a=a", "a='", "a=' ", "a ", " ", "a", "=", 'a="', "{a", "\\", "='\\"])
@pytest.mark.parametrize("end", ["", " !", ";", "'", '"'])
def test_no_template_takes_long(part, end):
    text = (part * 4096)[: 4096 - len(end)] + end
    assert rendered(text, VALUES) == text  # with a pattern that goes back and forth this never ends


def test_what_was_filled_in_is_not_filled_in_again():
    assert rendered("{password} {user}", {"password": "{user}", "user": "{password}"}) == "{user} {password}"


@given(TEXTS, TEXTS)
@example(HOSTILE, HOSTILE)
def test_libpq_reads_a_template_of_its_kind_as_it_was_meant(user, password):
    text = rendered("user={user} password={password} dbname=orders", {"user": user, "password": password})
    assert conninfo_to_dict(text) == {"user": user, "password": password, "dbname": "orders"}


@given(TEXTS, TEXTS)
@example(HOSTILE, HOSTILE)
@example("\\", "'")
def test_libpq_reads_values_between_quotes_of_the_template_as_they_were_meant(user, password):
    text = rendered("user='{user}' password = 'x {password} y' dbname=orders", {"user": user, "password": password})
    assert conninfo_to_dict(text) == {"user": user, "password": f"x {password} y", "dbname": "orders"}


@given(TEXTS, TEXTS)
@example(HOSTILE, HOSTILE)
def test_libpq_reads_a_template_that_is_a_uri_as_it_was_meant(user, password):
    text = rendered("postgresql://{user}:{password}@db/orders", {"user": user, "password": password})
    assert conninfo_to_dict(text) == {"user": user, "password": password, "host": "db", "dbname": "orders"}


def ado_net(text: str) -> dict[str, str]:
    """A connection string as ADO.NET reads it: pairs between semicolons, a value in quotes with its quotes doubled."""
    pairs = re.findall(r"""([^=;]+)=(?:"((?:[^"]|"")*)"|'((?:[^']|'')*)'|([^;]*))(?:;|$)""", text, re.DOTALL)
    return {
        key: double.replace('""', '"') or single.replace("''", "'") or plain for key, double, single, plain in pairs
    }


@given(TEXTS, TEXTS)
@example(HOSTILE, HOSTILE)
@pytest.mark.parametrize("mark", ["", '"', "'"], ids=["none", "double", "single"])
def test_ado_net_reads_a_template_of_its_kind_as_it_was_meant(mark, user, password):
    template = "Username=%{user}%;Password=%{password}%;Pooling=true".replace("%", mark)
    text = rendered(template, {"user": user, "password": password})
    assert ado_net(text) == {"Username": user, "Password": password, "Pooling": "true"}


@given(st.sampled_from(sorted(SECRET_KEYS)))
def test_a_template_never_changes_what_servicedb_writes_itself(key):
    if key in data():
        assert secret_data(DETAILS, {key: "x", "OTHER": "{user}"}) == {**data(), "OTHER": "orders__app_a"}
