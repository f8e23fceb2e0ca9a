"""The marker: read back as it was written, and never from what was not written so."""

import json
from dataclasses import fields, replace
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st
from servicedb.plan.marker import LeftSecret, Marker, Restored, RoleNote

from tests.unit.given import MARKER

TEXTS = st.text(min_size=1, max_size=20)
MARKERS = st.builds(
    Marker,
    cluster=TEXTS,
    crd=TEXTS,
    namespace=TEXTS,
    namespace_uid=TEXTS,
    name=TEXTS,
    uid=TEXTS,
    policy=TEXTS,
    grace=TEXTS,
    oid=st.none() | st.integers(1, 2**32 - 1),
    released=st.none() | TEXTS,
    deleted_at=st.none() | TEXTS,
)
TIMES = st.datetimes(timezones=st.just(UTC))
LEFT = st.dictionaries(TEXTS, st.none() | TIMES, max_size=3).map(
    lambda left: tuple(LeftSecret(name, until) for name, until in sorted(left.items()))
)
NOTES = st.builds(RoleNote, TEXTS, TEXTS, st.none() | TEXTS, st.none() | TIMES, st.none() | TEXTS, LEFT)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


def written(**changes: object) -> str:
    """The comment of MARKER with other values."""
    return json.dumps({**json.loads(MARKER.comment()), **changes})


@given(MARKERS)
def test_a_marker_is_read_as_it_was_written(marker):
    assert Marker.read(marker.comment()) == marker


@given(NOTES)
def test_a_note_is_read_as_it_was_written(note):
    assert RoleNote.read(note.comment()) == note


@given(NOTES)
def test_a_note_is_no_marker(note):
    assert Marker.read(note.comment()) is None


@given(MARKERS)
def test_a_marker_is_no_note(marker):
    assert RoleNote.read(marker.comment()) is None


NO_MARKERS = [
    pytest.param(None, id="no comment"),
    pytest.param("", id="empty"),
    pytest.param("orders of the shop", id="prose"),
    pytest.param("null", id="null"),
    pytest.param("[]", id="list"),
    pytest.param('"servicedb"', id="text"),
    pytest.param("{}", id="no format"),
    pytest.param("[" * 100_000, id="nested deeply"),
    pytest.param('{"servicedb": 1, "oid": ' + "9" * 5000 + "}", id="an endless number"),
    pytest.param('{"servicedb": 1}', id="format alone"),
]


@pytest.mark.parametrize(
    "comment",
    [
        *NO_MARKERS,
        pytest.param(MARKER.comment()[:-1], id="truncated"),
        pytest.param(written(servicedb=2), id="later format"),
        pytest.param(written(servicedb="1"), id="format as text"),
        pytest.param(written(servicedb=True), id="format true"),
        pytest.param(written(uid=None), id="null uid"),
        pytest.param(written(uid=""), id="empty uid"),
        pytest.param(written(cluster=["cluster-1"]), id="cluster in a list"),
        pytest.param(written(namespace_uid=7), id="number for a text"),
        pytest.param(written(oid="16400"), id="oid as text"),
        pytest.param(written(oid=True), id="oid true"),
        pytest.param(written(oid=1.5), id="oid with a fraction"),
        pytest.param(written(released=1), id="released as number"),
        pytest.param(written(released={}), id="released as object"),
        pytest.param(written(deleted_at=False), id="deleted_at false"),
        pytest.param(written(policy=None), id="null policy"),
        pytest.param(written(grace=7), id="grace as number"),
    ],
)
def test_what_is_no_marker_is_none(comment):
    assert Marker.read(comment) is None


@pytest.mark.parametrize("field", ["cluster", "crd", "namespace", "namespace_uid", "name", "uid"])
def test_a_marker_lacks_nothing_that_says_whose_it_is(field):
    values = json.loads(MARKER.comment())
    del values[field]
    assert Marker.read(json.dumps(values)) is None


def test_a_later_release_may_add_fields():
    assert Marker.read(written(colour="red")) == MARKER


@given(st.text())
def test_no_comment_raises(comment):
    Marker.read(comment)
    RoleNote.read(comment)


@given(st.integers(0, len(MARKER.comment()) - 1))
def test_a_truncated_marker_is_none(length):
    assert Marker.read(MARKER.comment()[:length]) is None


@given(st.sampled_from([field.name for field in fields(Marker)]), JSON)
def test_no_value_of_another_type_raises_or_gets_through(name, value):
    marker = Marker.read(written(**{name: value}))
    if marker is not None:
        held = getattr(marker, name)
        if name == "shared_with":
            assert held is None or all(type(role) is str for role in held)
            return
        if name == "restored":
            assert held is None or isinstance(held, Restored)
            return
        assert type(held) is (int if name == "oid" else str) or (
            held is None and name in ("oid", "released", "deleted_at", "dropping", "job", "since", "aside_of")
        )


@pytest.mark.parametrize(
    ("changes", "same"),
    [
        pytest.param({}, True, id="the same"),
        pytest.param({"uid": "object-2"}, True, id="made again"),
        pytest.param({"crd": "crd-2"}, True, id="CRD made again"),
        pytest.param({"oid": 5, "released": "2025-01-01T00:00:00+00:00", "policy": "Delete"}, True, id="other state"),
        pytest.param({"cluster": "cluster-2"}, False, id="other cluster"),
        pytest.param({"namespace": "shop2"}, False, id="other namespace"),
        pytest.param({"namespace_uid": "namespace-2"}, False, id="namespace made again"),
        pytest.param({"name": "invoices"}, False, id="other name"),
    ],
)
def test_an_object_made_again_is_the_same_one(changes, same):
    assert MARKER.same_object(replace(MARKER, **changes)) is same


def test_the_holder_is_named_with_where_to_find_it():
    assert MARKER.holder == "ServiceDatabase shop/orders (uid object-1, cluster cluster-1)"


NOTE = {"servicedb": 1, "owner": "orders__owner", "role": "app", "secret": "orders-app"}


@pytest.mark.parametrize(
    "comment",
    [
        *NO_MARKERS,
        pytest.param(json.dumps({**NOTE, "servicedb": 2}), id="later format"),
        pytest.param(json.dumps({**NOTE, "servicedb": True}), id="format true"),
        pytest.param(json.dumps({**NOTE, "owner": None}), id="null owner"),
        pytest.param(json.dumps({**NOTE, "role": 5}), id="number for the role"),
    ],
)
def test_what_is_no_note_is_none(comment):
    assert RoleNote.read(comment) is None


@pytest.mark.parametrize(
    ("text", "time"),
    [
        pytest.param("2025-03-01T12:00:00+00:00", datetime(2025, 3, 1, 12, tzinfo=UTC), id="UTC"),
        pytest.param("2025-03-01T12:00:00Z", datetime(2025, 3, 1, 12, tzinfo=UTC), id="Z"),
        pytest.param(
            "2025-03-01T14:00:00+02:00",
            datetime(2025, 3, 1, 14, tzinfo=timezone(timedelta(hours=2))),
            id="other time zone",
        ),
        pytest.param("2025-03-01T12:00:00", None, id="no time zone"),
        pytest.param("soon", None, id="no time"),
        pytest.param(1740830400, None, id="number"),
        pytest.param(None, None, id="null"),
    ],
)
def test_a_time_that_can_not_be_read_counts_as_not_noted(text, time):
    assert RoleNote.read(json.dumps({**NOTE, "retire_at": text})) == RoleNote(
        "orders__owner", "app", "orders-app", time
    )


def test_a_secret_that_is_no_name_counts_as_not_noted():
    assert RoleNote.read(json.dumps({**NOTE, "secret": ["a"]})) == RoleNote("orders__owner", "app")
