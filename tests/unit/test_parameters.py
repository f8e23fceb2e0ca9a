"""Parameters: those on the list under their own spelling, nothing else."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from servicedb.errors import Terminal
from servicedb.plan.parameters import ALLOWED, checked_parameters

KEPT_BACK = [
    "search_path", "role", "session_authorization", "session_preload_libraries", "local_preload_libraries",
    "shared_preload_libraries", "dynamic_library_path", "jit_provider", "log_statement", "session_replication_role",
    "event_triggers", "allow_system_table_mods", "createrole_self_grant", "password_encryption", "application_name",
    "lc_messages", "temp_tablespaces", "default_tablespace", "default_table_access_method", "check_function_bodies",
]  # fmt: skip


@pytest.mark.parametrize("name", sorted(ALLOWED))
def test_a_parameter_on_the_list_may_be_set_in_any_spelling(name):
    for spelling in (name, name.lower(), name.upper()):
        assert checked_parameters({spelling: "1"}, where="spec.parameters", condition="DatabaseReady") == {name: "1"}


@pytest.mark.parametrize("name", KEPT_BACK)
def test_a_parameter_that_could_do_harm_is_not_on_the_list(name):
    with pytest.raises(Terminal, match=f'spec.parameters names "{name}"') as raised:
        checked_parameters({name: "1", "work_mem": "1"}, where="spec.parameters", condition="DatabaseReady")
    assert (raised.value.reason, raised.value.condition) == ("InvalidParameter", "DatabaseReady")


@pytest.mark.parametrize(
    "name", ["", "app.tenant", "work_mem ", "work_mem\n", "wor\u212a_mem", 'work"mem', "work_mem\0"]
)
def test_a_name_that_is_none_is_shown_harmless(name):
    with pytest.raises(Terminal) as raised:
        checked_parameters({name: "1"}, where="spec.parameters", condition="DatabaseReady")
    assert raised.value.message.isascii()
    assert raised.value.message.isprintable()


@given(st.dictionaries(st.sampled_from(sorted(ALLOWED)) | st.text(), st.text()))
def test_what_passes_is_on_the_list(parameters):
    try:
        found = checked_parameters(parameters, where="spec.parameters", condition="DatabaseReady")
    except Terminal:
        return
    assert set(found) <= ALLOWED
    assert sorted(found.values()) == sorted(parameters.values())


def test_no_two_parameters_differ_in_case_alone():
    assert len({name.lower() for name in ALLOWED}) == len(ALLOWED)
