"""Adoption from a cluster that is no more: only what this cluster has an object for, and only its marker changes."""

import json
from dataclasses import replace

import pytest
from servicedb.adopt_command import show
from servicedb.plan.adoption import Adoption, Here, obstacle
from servicedb.plan.marker import Marker
from servicedb.plan.release import LiveObject

from tests.unit.given import MARKER, NOW, OWNER

SERVER = "7300000000000000001"
THEIRS = replace(MARKER, cluster="cluster-0", crd="crd-0", namespace_uid="namespace-0", uid="object-0", oid=16_400)
HERE = Here("namespace-1", "object-1", LiveObject(SERVER, "orders"))
DELETED = replace(THEIRS, policy="Delete", deleted_at=NOW.isoformat())


@pytest.mark.parametrize(
    ("marker", "here", "words"),
    [
        pytest.param(THEIRS, HERE, None, id="its object is here"),
        pytest.param(replace(THEIRS, released=NOW.isoformat()), HERE, None, id="released there, its object is here"),
        pytest.param(DELETED, HERE, None, id="deleted there, its object is here"),
        pytest.param(replace(DELETED, dropping=NOW.isoformat()), HERE, "being dropped", id="being dropped"),
        pytest.param(THEIRS, Here(None, None, None), "no namespace shop", id="no namespace"),
        pytest.param(THEIRS, Here("namespace-1", None, None), "no ServiceDatabase shop/orders", id="no object"),
        pytest.param(THEIRS, replace(HERE, live=LiveObject(None, "")), "can't be read", id="an unreadable object"),
        pytest.param(
            THEIRS, replace(HERE, live=LiveObject(SERVER, "invoices")), "another database", id="another database"
        ),
        pytest.param(THEIRS, replace(HERE, live=LiveObject("73", "orders")), "another database", id="another server"),
    ],
)
def test_what_can_be_adopted(marker, here, words):
    found = obstacle("orders", marker, here, server_identifier=SERVER)
    assert found is None if words is None else words in str(found)


@pytest.mark.parametrize(
    ("marker", "state"),
    [
        (THEIRS, "Held"),
        (replace(THEIRS, released=NOW.isoformat()), "Released"),
        (DELETED, "Deleted"),
        (replace(DELETED, dropping=NOW.isoformat()), "Dropping"),
    ],
)
def test_how_the_other_cluster_left_it(marker, state):
    assert Adoption("main", "orders", marker, HERE).state == state


@pytest.mark.parametrize("marker", [THEIRS, replace(THEIRS, released=NOW.isoformat()), DELETED])
def test_an_adopted_database_is_this_clusters_and_held(marker):
    adoption = Adoption("main", "orders", marker, HERE)
    ours = adoption.marker_here(cluster="cluster-1", crd="crd-1")
    assert ours == replace(MARKER, oid=16_400, policy=marker.policy)
    step = adoption.step(ours)
    assert (step.name, Marker.read(step.comment)) == (OWNER, ours)


TITLES = ("server", "database", "namespace", "name", "state", "result")
ROWS = [
    dict(zip(TITLES, ("main", "orders", "shop", "orders", "Held", "adopted"), strict=True)),
    dict(zip(TITLES, ("main", "[bold]" + "x" * 80, "s", "n", "Held", ":1:"), strict=True)),
]


def test_a_table_is_never_cut_and_says_what_stands_there(capsys):
    show(ROWS, "table")
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["SERVER", "DATABASE", "NAMESPACE", "NAME", "STATE", "RESULT"]
    assert [line.split() for line in lines[1:]] == [list(row.values()) for row in ROWS]


def test_json_is_for_programs(capsys):
    show(ROWS, "json")
    assert json.loads(capsys.readouterr().out) == ROWS
    show([], "json")
    assert json.loads(capsys.readouterr().out) == []
