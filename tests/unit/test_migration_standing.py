"""How a MigrationRun stands, whether it may go on, and which files it has."""

import base64
from typing import Any

import pytest
from servicedb.api.migration_run import MigrationRun
from servicedb.api.service_database import ServiceDatabase
from servicedb.errors import NeedsDecision, Problem, Retryable, Terminal
from servicedb.plan.migration_admission import (
    check_alone,
    check_environment,
    check_ready,
    waits_because,
)
from servicedb.plan.migration_files import INLINE_BYTES, config_map_files, inline_files, seen
from servicedb.plan.migration_result import Result
from servicedb.plan.migration_standing import ended, is_settled, refused, seen_in, settled

from tests.api.examples import FULL_DATABASE, GONE, MINIMAL_DATABASE, MINIMAL_RUN, changed

T = "2025-01-01T00:00:00Z"


def run(changes: dict[str, Any] | None = None) -> MigrationRun:
    base = changed(MINIMAL_RUN, {"metadata.uid": "2", "metadata.creationTimestamp": "2025-01-01T00:00:02Z"})
    return MigrationRun.parse(changed(base, changes or {}))


def condition(kind: str, status: str, reason: str, message: str = "") -> dict[str, Any]:
    times = {"lastTransitionTime": T, "observedGeneration": 0}
    return {"type": kind, "status": status, "reason": reason, "message": message, **times}


def ended_as(status: str, reason: str = "Applied", *, key: str = "sha256:1") -> MigrationRun:
    return run({"status": {"runKey": key, "conditions": [condition("Succeeded", status, reason, "so")]}})


# Its conditions

FAILED = (("Ready", "False"), ("Stalled", "True"), ("Succeeded", "False"))


@pytest.mark.parametrize(
    ("result", "found"),
    [
        pytest.param(Result("Applied"), [("Ready", "True", "Ready"), ("Succeeded", "True", "Applied")], id="applied"),
        pytest.param(
            Result("DatabaseAhead", "..."),
            [("Ready", "True", "DatabaseAhead"), ("Succeeded", "True", "DatabaseAhead")],
            id="ahead",
        ),
        pytest.param(
            Result("MigrationFailed", "x", Terminal("MigrationFailed", "x")),
            [(kind, status, "MigrationFailed") for kind, status in FAILED],
            id="terminal",
        ),
        pytest.param(
            Result("Interrupted", "x", NeedsDecision("Interrupted", "x")),
            [
                ("Ready", "False", "Interrupted"),
                ("Stalled", "True", "Interrupted"),
                ("Succeeded", "False", "Interrupted"),
            ],
            id="a question",
        ),
        pytest.param(
            Result("ConnectionLost", "x", Retryable("ConnectionLost", "x")),
            [("Ready", "False", "ConnectionLost"), ("Reconciling", "True", "ConnectionLost")],
            id="tried again",
        ),
    ],
)
def test_a_result_makes_conditions(result: Result, found: list[tuple[str, str, str]]) -> None:
    assert [(one.type, one.status, one.reason) for one in ended(result)] == found


@pytest.mark.parametrize(
    ("seen", "so"),
    [
        pytest.param(run(), False, id="new"),
        pytest.param(ended_as("True"), True, id="went well"),
        pytest.param(ended_as("False"), True, id="failed"),
        pytest.param(ended_as("Unknown"), False, id="a new generation"),
        pytest.param(ended_as("True", key="sha256:2"), False, id="another run"),
    ],
)
def test_a_run_is_settled_by_its_own_end(seen: MigrationRun, so: bool) -> None:
    assert is_settled(seen, "sha256:1") is so


@pytest.mark.parametrize(
    ("seen", "found"),
    [
        (ended_as("True"), [("Ready", "True", "Ready"), ("Succeeded", "True", "Applied")]),
        (
            ended_as("False", "MigrationFailed"),
            [("Ready", "False", "MigrationFailed"), ("Stalled", "True", "MigrationFailed")],
        ),
    ],
    ids=["well", "failed"],
)
def test_a_settled_run_says_the_same_again_whatever_ready_said_meanwhile(
    seen: MigrationRun, found: list[tuple[str, str, str]]
) -> None:
    assert [(one.type, one.status, one.reason) for one in settled(seen)] == found


@pytest.mark.parametrize(
    ("seen", "says"),
    [
        pytest.param(run(), ("Succeeded", "Unknown", "Duplicate"), id="new"),
        pytest.param(ended_as("Unknown"), ("Succeeded", "Unknown", "Duplicate"), id="not ended"),
        pytest.param(ended_as("True"), None, id="ended"),
    ],
)
def test_a_problem_before_there_is_a_job_leaves_the_last_end_as_it_was(
    seen: MigrationRun, says: tuple[str, str, str] | None
) -> None:
    found = [(one.type, one.status, one.reason) for one in refused(seen, Terminal("Duplicate", "x"))]
    assert found[:2] == [("Ready", "False", "Duplicate"), ("Stalled", "True", "Duplicate")]
    assert found[2:] == ([says] if says else [])


def test_the_last_twenty_migrations_are_listed() -> None:
    before = [{"version": str(number), "name": "x"} for number in range(19)]
    seen = run({"status": {"applied": before}})
    new = tuple({"version": version, "name": "y"} for version in ("18", "19", "20"))
    applied = seen_in(seen, Result("Applied", applied=new))["applied"]
    assert [one["version"] for one in applied] == [str(number) for number in range(1, 21)]
    assert applied[-3]["name"] == "y"


def test_what_was_taken_back_is_no_longer_listed() -> None:
    seen = run({"spec.action": "Down", "spec.target": "1", "status": {"applied": [{"version": "1"}, {"version": "2"}]}})
    assert seen_in(seen, Result("Reverted", applied=({"version": "2"},)))["applied"] == [{"version": "1"}]


def test_rows_of_seeds_are_kept_until_they_are_cleared() -> None:
    before = {"seeds": [{"file": "seeds/dev/1.sql", "rows": 3}, {"file": "seeds/dev/2.sql", "rows": 1}]}
    again = Result("Seeded", seeds=({"file": "seeds/dev/2.sql", "rows": 2},))
    assert [one["rows"] for one in seen_in(run({"status": before}), again)["seeds"]] == [3, 2]
    clear = {"status": before, "spec.action": "ClearSeeds", "spec.seeds": {"environment": "dev"}}
    assert seen_in(run(clear), Result("Cleared"))["seeds"] == []


# Whether it may go on


@pytest.mark.parametrize(
    ("environment", "action", "words"),
    [
        ("dev", "Up", None),
        ("Production", "Up", 'is of environment "Production"'),
        ("Production", "Seed", 'is of environment "Production"'),
        (GONE, "Up", "names no environment"),
        ("Production", "ClearSeeds", None),
        ("Production", "Down", None),
    ],
    ids=str,
)
def test_seeds_stay_out_of_other_environments(environment: Any, action: str, words: str | None) -> None:
    asked = run({"spec.seeds": {"environment": "dev"}, "spec.action": action, "spec.target": "1"}).spec
    given = database("True", {"spec.environment": environment})
    if words is None:
        check_environment(asked, given)
        return
    with pytest.raises(Terminal, match=words):
        check_environment(asked, given)


def other(changes: dict[str, Any] | None = None) -> dict[str, Any]:
    """An older one for the same set, unless `changes` say otherwise."""
    base = {"metadata.name": "older", "metadata.uid": "1", "metadata.creationTimestamp": "2025-01-01T00:00:01Z"}
    return changed(changed(MINIMAL_RUN, base), changes or {})


@pytest.mark.parametrize(
    "changes",
    [{}, {"metadata.creationTimestamp": "2025-01-01T00:00:02Z"}, {"spec.action": "Down"}, {"spec.set": "default"}],
    ids=str,
)
def test_an_older_one_for_the_same_set_goes_first(changes: dict[str, Any]) -> None:
    with pytest.raises(Terminal, match='MigrationRun "older" migrates set "default"'):
        check_alone(run(), [other(changes)])


@pytest.mark.parametrize(
    "changes",
    [
        {"spec.set": "reports"},
        {"spec.databaseRef.name": "other"},
        {"spec.action": "Verify"},
        {"metadata.creationTimestamp": "2025-01-01T00:00:03Z"},
        {"metadata.creationTimestamp": "2025-01-01T00:00:02Z", "metadata.uid": "3"},
        {"metadata.deletionTimestamp": T},
        {"metadata.uid": "2", "metadata.creationTimestamp": "2025-01-01T00:00:02Z"},
    ],
    ids=str,
)
def test_others_are_no_rivals(changes: dict[str, Any]) -> None:
    check_alone(run(), [other(changes)])


def test_who_only_looks_has_no_rival() -> None:
    check_alone(run({"spec.action": "Verify"}), [other()])


def database(ready: str, changes: dict[str, Any] | None = None) -> ServiceDatabase:
    status = {"conditions": [condition("Ready", ready, "Why", "the server is away")]}
    return ServiceDatabase.parse(changed(FULL_DATABASE, {"status": status, **(changes or {})}))


@pytest.mark.parametrize(
    ("given", "kind", "words"),
    [
        pytest.param(database("False"), Retryable, "is not Ready, which is waited for: the server is away", id="not"),
        pytest.param(database("Unknown"), Retryable, "is not Ready", id="unknown"),
        pytest.param(ServiceDatabase.parse(MINIMAL_DATABASE), Retryable, "is not Ready", id="new"),
        pytest.param(
            database("True", {"metadata.generation": 2}), Retryable, "is not Ready", id="not as its spec is now"
        ),
        pytest.param(database("True", {"spec.roles.migrator": GONE}), Terminal, "add spec.roles.migrator", id="nobody"),
    ],
)
def test_a_database_has_to_be_ready_and_to_have_a_migrator(
    given: ServiceDatabase, kind: type[Problem], words: str
) -> None:
    with pytest.raises(kind, match=words):
        check_ready(given)


def test_a_database_that_rests_lets_migrations_rest() -> None:
    assert waits_because(database("True")) is None
    assert "spec.suspend" in (waits_because(database("True", {"spec.suspend": True})) or "")
    assert "is Plan" in (waits_because(database("True", {"spec.mode": "Plan"})) or "")


# Its files


LATIN = base64.b64encode(b"\xe4").decode()
CONFIG_MAPS = {
    "a": {"data": {"V1__a.sql": "SELECT 'ä'", ".hidden": "x"}},
    "b": {"binaryData": {"V2__b.sql": LATIN, "more.tar.zst": LATIN}},
}


def of_config_maps(*sources: dict[str, str]) -> MigrationRun:
    return run({"spec.source": {"configMaps": list(sources)}})


def test_the_files_are_those_that_the_pod_sees() -> None:
    files = config_map_files(of_config_maps({"name": "a"}, {"name": "b", "path": "seeds/dev"}), CONFIG_MAPS)
    assert files == {
        "V1__a.sql": "SELECT 'ä'".encode(),
        "seeds/dev/V2__b.sql": b"\xe4",
        "seeds/dev/more.tar.zst": b"\xe4",
    }


def test_of_a_folder_the_pod_is_told_its_files() -> None:
    found = seen(of_config_maps({"name": "a", "path": "seeds/dev"}, {"name": "b"}), CONFIG_MAPS)
    assert (found.asked, found.keys) == (found.digest, {"a": ("V1__a.sql",)})


@pytest.mark.parametrize("path", [None, "seeds/dev"])
def test_a_file_may_stand_in_one_config_map_alone(path: str | None) -> None:
    where = {} if path is None else {"path": path}
    twice = of_config_maps({"name": "a", **where}, {"name": "again", **where})
    with pytest.raises(Terminal, match='in the ConfigMaps "a" and "again"'):
        config_map_files(twice, {**CONFIG_MAPS, "again": CONFIG_MAPS["a"]})
    config_map_files(
        of_config_maps({"name": "a"}, {"name": "again", "path": "x"}), {**CONFIG_MAPS, "again": CONFIG_MAPS["a"]}
    )


def test_an_image_is_known_by_its_name() -> None:
    def asked(reference: str, path: str = "/migrations") -> str:
        found = seen(run({"spec.source": {"image": {"reference": reference, "path": path}}}), {})
        assert found.digest is None
        return found.asked

    assert asked("a:1") == asked("a:1")
    assert len({asked("a:1"), asked("a:2"), asked("a:1", "/sql")}) == 3


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("1.sql", "x" * INLINE_BYTES, None),
        ("1.sql", "ä" * (INLINE_BYTES // 2 + 1), "SourceTooLarge"),
        ("../1.sql", "", "BadFileName"),
        ("seeds/.dev/1.sql", "", "BadFileName"),
    ],
    ids=str,
)
def test_inline_files_are_bounded_in_bytes_and_stay_in_their_folder(
    name: str, content: str, reason: str | None
) -> None:
    source = run({"spec.source": {"inline": [{"name": name, "content": content}]}})
    if reason is None:
        assert inline_files(source) == {name: content.encode()}
        return
    with pytest.raises(Terminal) as raised:
        inline_files(source)
    assert raised.value.reason == reason


def test_a_migration_of_many_schemas_is_listed_once() -> None:
    one = {"version": "1", "name": "first", "checksum": "sha256:1", "milliseconds": 3}
    listed = seen_in(run(), Result("Applied", applied=(one, {**one, "milliseconds": 5})))["applied"]
    assert listed == [{**one, "milliseconds": 5}]


def test_a_failure_leaves_nothing_of_the_one_before() -> None:
    seen = seen_in(
        run(), Result("MigrationFailed", "x", Terminal("MigrationFailed", "x"), failed={"file": "V1__a.sql"})
    )
    assert seen["failed"] == {"version": None, "file": "V1__a.sql", "line": None, "sqlstate": None, "constraint": None}
