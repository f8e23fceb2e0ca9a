"""Names: what is refused, what fits, and that no two databases ever share a role."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from servicedb.api.roles import RESERVED
from servicedb.naming import (
    LOCK_DATABASE,
    NAME_BYTES,
    RoleNames,
    database_name_fault,
    database_of_owner,
    default_database_name,
    login_name_fault,
)

LONGEST = "a" * (NAME_BYTES - len("__migrator_a"))
LETTERS = st.text("abc019_", min_size=1, max_size=8)
DATABASES = LETTERS.filter(lambda name: database_name_fault(name, ()) is None)
EXTRA_ROLES = st.from_regex(r"[a-z][a-z0-9]{0,5}", fullmatch=True).filter(lambda name: name not in RESERVED)


def all_roles(database: str, extra: list[str]) -> list[str]:
    names = RoleNames(database)
    duties = ["app", "migrator", "readonly", "backup", "retain", *extra]
    return [names.owner, names.read_write, names.read_only, *(half for duty in duties for half in names.pair(duty))]


@pytest.mark.parametrize(
    "name",
    [
        pytest.param("orders", id="plain"),
        pytest.param("o", id="one letter"),
        pytest.param("shop_orders_2", id="digits and single underscores"),
        pytest.param("pg", id="not quite pg_"),
        pytest.param("postgres2", id="longer than a reserved one"),
        pytest.param(LONGEST, id="as long as its roles allow"),
    ],
)
def test_a_name_that_can_be_a_databases(name):
    assert database_name_fault(name, ()) is None


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        pytest.param("", "not usable", id="empty"),
        pytest.param("1orders", "not usable", id="digit first"),
        pytest.param("_orders", "not usable", id="underscore first"),
        pytest.param("Orders", "not usable", id="capital"),
        pytest.param("shop-orders", "not usable", id="hyphen"),
        pytest.param("shop.orders", "not usable", id="dot"),
        pytest.param("my orders", "not usable", id="blank"),
        pytest.param('orders"', "not usable", id="double quote"),
        pytest.param("orders'; --", "not usable", id="single quote"),
        pytest.param("orders\\", "not usable", id="backslash"),
        pytest.param("orders\n", "not usable", id="newline at the end"),
        pytest.param("or\nders", "not usable", id="newline"),
        pytest.param("orders\0", "not usable", id="NUL"),
        pytest.param("\u043erders", "not usable", id="Cyrillic o"),
        pytest.param("orders\u0661", "not usable", id="Arabic digit"),
        pytest.param("o\uff52ders", "not usable", id="full-width r"),
        pytest.param("\u0131d", "not usable", id="dotless i"),
        pytest.param("orders\u200b", "not usable", id="zero-width space"),
        pytest.param("shop__orders", '"__"', id="separator of role names"),
        pytest.param("orders_", 'ends in "_"', id="underscore last"),
        pytest.param("postgres", "reserved", id="postgres"),
        pytest.param(LOCK_DATABASE, "reserved", id="the operator's own"),
        pytest.param("template1", "reserved", id="template1"),
        pytest.param("templates", "reserved", id="template prefix"),
        pytest.param("pg_orders", "reserved", id="pg_ prefix"),
        pytest.param(LONGEST + "a", "too long", id="one byte too long"),
    ],
)
def test_a_name_that_can_not_be_a_databases(name, sentence):
    fault = database_name_fault(name, ())
    assert fault is not None
    assert sentence in fault
    assert fault.isascii()
    assert fault.isprintable()


def test_a_name_that_is_too_long_is_said_with_how_much_shorter_it_has_to_be():
    names = RoleNames(LONGEST)
    fault = database_name_fault(LONGEST, names.pair("quarterlyreports"))
    assert fault is not None
    assert fault.endswith("choose a spec.databaseName shorter by 8")


@given(DATABASES, DATABASES, st.lists(EXTRA_ROLES, max_size=3), st.lists(EXTRA_ROLES, max_size=3))
def test_no_two_databases_share_a_role(first, second, extra_of_first, extra_of_second):
    shared = set(all_roles(first, extra_of_first)) & set(all_roles(second, extra_of_second))
    assert not shared or first == second


@given(DATABASES, st.lists(EXTRA_ROLES, unique=True))
def test_the_roles_of_a_database_are_all_different(database, extra):
    roles = all_roles(database, extra)
    assert len(roles) == len(set(roles))


@given(st.text("ab1_", min_size=30, max_size=70), st.lists(st.text("ab1", min_size=1, max_size=32), max_size=4))
def test_a_name_that_is_accepted_fits_with_all_its_roles(database, extra):
    halves = tuple(half for role in extra for half in RoleNames(database).pair(role))
    if database_name_fault(database, halves) is None:
        assert all(len(role.encode()) <= NAME_BYTES for role in (database, *all_roles(database, extra)))


@given(st.text())
def test_whatever_is_accepted_needs_no_quotes(text):
    if database_name_fault(text, ()) is None or login_name_fault(text) is None:
        assert set(text) <= set("abcdefghijklmnopqrstuvwxyz0123456789_")


@given(DATABASES)
def test_the_owner_role_leads_back_to_its_database(database):
    assert database_of_owner(RoleNames(database).owner) == database


@pytest.mark.parametrize("role", ["orders", "orders__rw", "__owner", "owner", "", "orders_owner", "orders__owner_a"])
def test_other_roles_are_no_owner_roles(role):
    assert database_of_owner(role) is None


@pytest.mark.parametrize(
    ("style", "name"),
    [pytest.param("Name", "my_orders", id="Name"), pytest.param("NamespaceName", "the_shop_my_orders", id="both")],
)
def test_a_database_without_a_name_is_called_after_its_object(style, name):
    assert default_database_name(namespace="the-shop", name="my-orders", style=style) == name


@pytest.mark.parametrize("login", ["orders_user", "o", "a" * NAME_BYTES, "orders_"])
def test_a_name_that_can_be_a_fixed_login(login):
    assert login_name_fault(login) is None


@pytest.mark.parametrize(
    ("login", "sentence"),
    [
        pytest.param("", "not usable", id="empty"),
        pytest.param("Orders", "not usable", id="capital"),
        pytest.param("1orders", "not usable", id="digit first"),
        pytest.param('o"', "not usable", id="quote"),
        pytest.param("orders\n", "not usable", id="newline"),
        pytest.param("orders\0", "not usable", id="NUL"),
        pytest.param("\u043erders", "not usable", id="Cyrillic o"),
        pytest.param("a" * (NAME_BYTES + 1), "not usable", id="one byte too long"),
        pytest.param("orders__owner", '"__"', id="as servicedb's own"),
        pytest.param("postgres", "reserved", id="postgres"),
        pytest.param("public", "reserved", id="public"),
        pytest.param("none", "reserved", id="none"),
        pytest.param("servicedb", "reserved", id="servicedb"),
        pytest.param("session_user", "reserved", id="session_user"),
        pytest.param("pg_monitor", "reserved", id="pg_ prefix"),
    ],
)
def test_a_name_that_can_not_be_a_fixed_login(login, sentence):
    fault = login_name_fault(login)
    assert fault is not None
    assert sentence in fault
    assert fault.isascii()
    assert fault.isprintable()


@given(st.text("abc019_", min_size=1), DATABASES, st.lists(EXTRA_ROLES, max_size=3))
def test_a_fixed_login_is_never_a_role_that_servicedb_names(login, database, extra):
    if login_name_fault(login) is None:
        assert login not in all_roles(database, extra)
