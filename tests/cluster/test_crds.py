"""What the API server takes and refuses, and the sentence that it says."""

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy
from servicedb.api.common import Object
from servicedb.api.crd import KINDS, crds
from servicedb.api.strings import Duration

from tests.api.examples import (
    FULL_EXAMPLES,
    MINIMAL_DATABASE,
    MINIMAL_EXAMPLES,
    Manifest,
    changed,
)
from tests.api.generated import (
    backup_manifests,
    database_manifests,
    policy_manifests,
    restore_manifests,
    run_manifests,
    schedule_manifests,
    server_manifests,
)
from tests.api.violations import Violation, violations
from tests.cluster.api_server import ApiServer, placed
from tests.cluster.crd_cases import BAD_VALUES, BROKEN_RULES, GOOD

SCHEMAS = {crd["spec"]["names"]["kind"]: crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"] for crd in crds()}
MODELS: dict[str, type[Object]] = {resource.kind: model for resource, model in KINDS}


@pytest.mark.parametrize(("base", "changes"), [pytest.param(*case, id=name) for name, *case in GOOD])
def test_a_good_spec_is_taken(base: Manifest, changes: dict[str, Any], api: ApiServer, namespace: str) -> None:
    manifest = placed(changed(base, changes), namespace)
    assert api.verdict(manifest) == ""
    MODELS[manifest["kind"]].parse(api.create(manifest, dry_run=True))


@pytest.mark.parametrize(
    ("base", "changes", "sentence"), [pytest.param(*case, id=name) for name, *case in BROKEN_RULES]
)
def test_a_broken_rule_is_told_in_a_sentence(
    base: Manifest, changes: dict[str, Any], sentence: str, api: ApiServer, namespace: str
) -> None:
    assert sentence in api.verdict(placed(changed(base, changes), namespace))


@pytest.mark.parametrize(("base", "changes", "path"), [pytest.param(*case, id=name) for name, *case in BAD_VALUES])
def test_a_bad_value_is_refused_by_name(
    base: Manifest, changes: dict[str, Any], path: str, api: ApiServer, namespace: str
) -> None:
    assert path in api.verdict(placed(changed(base, changes), namespace))


@pytest.mark.parametrize(
    "violation",
    [violation for example in FULL_EXAMPLES for violation in violations(example, SCHEMAS[example["kind"]])],
    ids=str,
)
def test_every_bound_of_the_schema_holds(violation: Violation, api: ApiServer, namespace: str) -> None:
    assert violation.told in api.verdict(placed(violation.manifest, namespace))


AGAINST_A_SERVER = settings(
    max_examples=150,
    deadline=None,
    # One API server and one namespace for all examples: a dry run leaves nothing in either.
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


@given(manifest=server_manifests())
@AGAINST_A_SERVER
def test_the_api_server_takes_what_is_generated_for_servers(manifest: Manifest, api: ApiServer, namespace: str) -> None:
    assert api.verdict(placed(manifest, namespace)) == ""


@given(manifest=database_manifests())
@AGAINST_A_SERVER
def test_the_api_server_takes_what_is_generated_for_databases(
    manifest: Manifest, api: ApiServer, namespace: str
) -> None:
    assert api.verdict(placed(manifest, namespace)) == ""


@given(manifest=run_manifests())
@AGAINST_A_SERVER
def test_the_api_server_takes_what_is_generated_for_runs(manifest: Manifest, api: ApiServer, namespace: str) -> None:
    assert api.verdict(placed(manifest, namespace)) == ""


@pytest.mark.parametrize("manifests", [schedule_manifests, backup_manifests, restore_manifests, policy_manifests])
def test_the_api_server_takes_what_is_generated_for_backups(
    manifests: Callable[[], SearchStrategy[Manifest]], api: ApiServer, namespace: str
) -> None:
    @given(manifest=manifests())
    @settings(AGAINST_A_SERVER, max_examples=50)
    def taken(manifest: Manifest) -> None:
        assert api.verdict(placed(manifest, namespace)) == ""

    taken()


DURATIONS = st.from_regex(r"(0|[1-9][0-9]{0,5})(ms|s|m|h|d)", fullmatch=True)


@given(overlap=DURATIONS, rotate_every=DURATIONS)
@AGAINST_A_SERVER
def test_the_rule_in_cel_and_the_models_compare_durations_alike(
    overlap: str, rotate_every: str, api: ApiServer, namespace: str
) -> None:
    changes = {"spec.credentials": {"overlap": overlap, "rotateEvery": rotate_every}}
    shorter = Duration(overlap).timedelta < Duration(rotate_every).timedelta
    assert (api.verdict(placed(changed(MINIMAL_DATABASE, changes), namespace)) == "") == shorter


@pytest.mark.parametrize("base", MINIMAL_EXAMPLES, ids=lambda manifest: manifest["kind"])
def test_the_api_server_and_the_models_fill_in_the_same(base: Manifest, api: ApiServer, namespace: str) -> None:
    stored = api.create(placed(base, namespace), dry_run=True)
    model = MODELS[base["kind"]]
    assert model.parse(stored).as_json()["spec"] == model.parse(base).as_json()["spec"]
