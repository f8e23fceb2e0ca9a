"""Settings: read from the environment, or refused with a sentence that names the variable."""

import pytest
from servicedb.settings import InvalidSetting, Settings


def test_without_any_variable_the_defaults_hold():
    assert Settings.from_environment({"PATH": "/bin"}) == Settings()


@pytest.mark.parametrize(
    ("name", "text", "field", "value"),
    [
        pytest.param("NAMESPACE", "databases", "namespace", "databases", id="text"),
        pytest.param("WORKERS", "4", "workers", 4, id="number"),
        pytest.param("RESYNC", "90", "resync", 90.0, id="seconds"),
        pytest.param("PROBE", "5", "probe", 5.0, id="the probe"),
        pytest.param("STOP_GRACE", "0.5", "stop_grace", 0.5, id="part of a second"),
        pytest.param("ADMIN_NAMESPACES", "a, b,", "admin_namespaces", ("a", "b"), id="list"),
        pytest.param("ADMIN_NAMESPACES", "", "admin_namespaces", (), id="empty list"),
        pytest.param("SECRET_METADATA_PREFIXES", "x.org/", "secret_metadata_prefixes", ("x.org/",), id="prefix"),
        pytest.param("LOG_LEVEL", "debug", "log_level", "debug", id="level in lower case"),
    ],
)
def test_a_variable_sets_its_field(name, text, field, value):
    settings = Settings.from_environment({f"SERVICEDB_{name}": text})
    assert getattr(settings, field) == value
    assert type(getattr(settings, field)) is type(value)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        pytest.param("WORKERS", "many", id="no number"),
        pytest.param("WORKERS", "", id="empty"),
        pytest.param("WORKERS", "0", id="no worker"),
        pytest.param("WORKERS", "-1", id="negative"),
        pytest.param("WORKERS", "1.5", id="part of a worker"),
        pytest.param("RESYNC", "10m", id="unit"),
        pytest.param("RESYNC", "0", id="no time"),
        pytest.param("RESYNC", "nan", id="not a number"),
        pytest.param("RESYNC", "inf", id="endless"),
        pytest.param("LOG_LEVEL", "LOUD", id="no level"),
    ],
)
def test_a_value_that_can_not_be_used_is_refused_by_name(name, text):
    with pytest.raises(InvalidSetting, match=f'SERVICEDB_{name} is "{text}"'):
        Settings.from_environment({f"SERVICEDB_{name}": text})


@pytest.mark.parametrize(
    ("admin_namespaces", "namespace", "allowed"),
    [
        pytest.param((), "servicedb-system", True, id="its own"),
        pytest.param((), "shop", False, id="another"),
        pytest.param(("shop",), "shop", True, id="listed"),
        pytest.param(("shop",), "servicedb-system", False, id="its own, but others are listed"),
    ],
)
def test_admin_secrets_stand_only_where_an_admin_says(admin_namespaces, namespace, allowed):
    assert Settings(admin_namespaces=admin_namespaces).admin_secret_allowed(namespace) is allowed
