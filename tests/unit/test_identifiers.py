"""Names of tables as SQL writes them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from servicedb.errors import Terminal
from servicedb.plan.identifiers import parsed_table


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("public.orders", ("public", "orders")),
        ("Public.ORDERS", ("public", "orders")),
        ('app."Order Lines"', ("app", "Order Lines")),
        ('"a.b"."c""d"', ("a.b", 'c"d')),
        ("app . lines", ("app", "lines")),
        ("app.straße", ("app", "straße")),
        ("app.ÄPFEL", ("app", "Äpfel")),
        ("app._1$", ("app", "_1$")),
    ],
)
def test_a_name_is_read_as_postgresql_reads_it(text, expected):
    assert parsed_table(text, where="here") == expected


@pytest.mark.parametrize(
    "text", ["orders", "a.b.c", '"a.b', 'a."b', 'a.""', "a.1b", "a.b; DROP TABLE c", "a.b-c", "", ".", 'a."b"c']
)
def test_what_is_no_name_of_a_table_is_refused(text):
    with pytest.raises(Terminal) as raised:
        parsed_table(text, where="here")
    assert raised.value.reason == "InvalidOverride"


def test_a_name_that_postgresql_would_cut_is_refused():
    with pytest.raises(Terminal, match="64 bytes"):
        parsed_table("app." + "ä" * 32, where="here")


@given(st.tuples(*[st.text(st.characters(exclude_characters="\0", codec="utf-8"), min_size=1, max_size=15)] * 2))
def test_whatever_is_quoted_comes_back(names):
    quoted = ".".join('"' + name.replace('"', '""') + '"' for name in names)
    assert parsed_table(quoted, where="here") == names
