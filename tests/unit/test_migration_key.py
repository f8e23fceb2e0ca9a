"""When a run is another one, and when it is the same."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from servicedb.api.migration_run import MigrationRun
from servicedb.plan.migration_key import RunKey, identity, run_key

from tests.api.examples import MINIMAL_RUN, changed


def key(changes: dict[str, Any], *, source_digest: str = "sha256:1", database_oid: str = "16400") -> RunKey:
    run = MigrationRun.parse(changed(MINIMAL_RUN, changes))
    return run_key(run, source_digest=source_digest, database_oid=database_oid)


SAME = key({})


@pytest.mark.parametrize(
    "changes",
    [
        {"spec.target": "7"},
        {"spec.action": "Verify"},
        {"spec.retries": 6},
        {"spec.decisions": [{"version": "7", "digest": "sha256:" + "0" * 64, "choice": "Done"}]},
        {"metadata.annotations": {"servicedb.io/reconcile-at": "now"}},
    ],
    ids=str,
)
def test_what_is_asked_makes_it_another_one(changes: dict[str, Any]) -> None:
    assert key(changes).value != SAME.value
    assert key(changes).job_name != SAME.job_name


def test_so_do_other_files_and_another_database() -> None:
    assert key({}, source_digest="sha256:2").value != SAME.value
    assert key({}, database_oid="16401").value != SAME.value


@pytest.mark.parametrize(
    "changes",
    [
        {"spec.job": {"ttl": "2h", "resources": {"limits": {"memory": "2Gi"}}}},
        {"spec.source": {"configMaps": [{"name": "another-of-the-same-content"}]}},
        {"metadata.labels": {"team": "kyc"}},
        {"metadata.generation": 7},
    ],
    ids=str,
)
def test_how_it_is_run_does_not_count(changes: dict[str, Any]) -> None:
    assert key(changes) == SAME


def test_an_annotation_that_was_acted_on_and_taken_away_asks_for_nothing() -> None:
    asked = key({"metadata.annotations": {"servicedb.io/reconcile-at": "now"}})
    assert key({"status": {"handled": {"reconcileAt": "now"}}}) == asked


def test_an_object_made_again_gets_a_job_of_its_own_for_the_same_run() -> None:
    again = key({"metadata.uid": "another"})
    assert again.value == SAME.value
    assert again.job_name != SAME.job_name


@given(st.from_regex(r"[a-z0-9]([-a-z0-9.]{0,250}[a-z0-9])?", fullmatch=True).filter(lambda name: ".." not in name))
def test_a_job_has_a_name_that_a_pod_can_have(name: str) -> None:
    made = run_key(
        MigrationRun.parse({**MINIMAL_RUN, "metadata": {"name": name, "namespace": "kyc"}}),
        source_digest="1",
        database_oid="2",
    )
    assert len(made.job_name) <= 52
    assert "." not in made.job_name


def test_who_asks_for_a_way_back_is_the_same_when_the_object_is_made_again() -> None:
    down = {"spec.action": "Down", "spec.target": "1"}
    one, again, other = (
        identity(MigrationRun.parse(changed(MINIMAL_RUN, {**down, **more})))
        for more in ({"metadata.uid": "1"}, {"metadata.uid": "2"}, {"spec.target": "2"})
    )
    assert one == again != other
