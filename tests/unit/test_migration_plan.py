"""From a source and a history to the steps between them, or to the reason why there are none."""

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from servicedb.errors import Problem, Retryable, Terminal
from servicedb.plan.migrations.down import plan_down
from servicedb.plan.migrations.formats import Migration
from servicedb.plan.migrations.history import Applied, Choice, Decision, History, State
from servicedb.plan.migrations.sections import Format
from servicedb.plan.migrations.up import Apply, TakeChecksum, plan_up
from servicedb.plan.migrations.versions import Version


def migration(version: str, content: str = "SELECT 1") -> Migration:
    return Migration(Version.parse(version), "name", f"{version}_name.sql", content.encode(), Format.PLAIN)


def repeatable(name: str, content: str = "SELECT 1") -> Migration:
    return Migration(None, name, f"R__{name}.sql", content.encode(), Format.FLYWAY)


def requiring(version: str, *others: str) -> Migration:
    return migration(version, f"-- servicedb: requires {', '.join(others)}\nSELECT 1")


def applied(one: Migration, **changes: object) -> Applied:
    given: dict[str, object] = {"checksum": one.checksum} | changes
    return Applied(one.key, one.name, one.file, **given)  # type: ignore[arg-type]


ONE, TWO, THREE = migration("1"), migration("2"), migration("3")


@pytest.mark.parametrize(
    ("source", "seen", "options", "keys"),
    [
        pytest.param([ONE, TWO], [], {}, ["1", "2"], id="nothing yet"),
        pytest.param([ONE, TWO], [applied(ONE)], {}, ["2"], id="one is there"),
        pytest.param([ONE, TWO], [applied(ONE), applied(TWO)], {}, [], id="up to date"),
        pytest.param([ONE, TWO, THREE], [], {"target": Version((2,))}, ["1", "2"], id="to a target"),
        pytest.param([ONE, TWO], [applied(ONE), applied(TWO)], {"target": Version((1,))}, [], id="target is behind"),
        pytest.param([ONE, TWO], [applied(TWO)], {"allow_out_of_order": True}, ["1"], id="out of order is allowed"),
        pytest.param([ONE, TWO], [applied(ONE, state=State.BEGUN)], {}, ["1", "2"], id="the first had begun"),
        pytest.param([ONE, TWO, THREE], [applied(ONE)], {}, ["2", "3"], id="gaps are fine"),
        pytest.param([repeatable("a"), repeatable("b")], [], {}, ["R:a", "R:b"], id="repeatables"),
        pytest.param([repeatable("a", "SELECT 2")], [applied(repeatable("a"))], {}, ["R:a"], id="a repeatable changed"),
        pytest.param([repeatable("a")], [applied(repeatable("a"))], {}, [], id="a repeatable did not change"),
        pytest.param([ONE, repeatable("a")], [], {"target": Version((1,))}, ["1"], id="no repeatable before the end"),
        pytest.param([requiring("1", "2"), TWO], [], {}, ["2", "1"], id="requires a later"),
        pytest.param(
            [requiring("1", "2"), TWO], [applied(TWO)], {}, ["1"], id="killed in between"
        ),
        pytest.param([requiring("1", "3"), TWO, THREE], [applied(TWO), applied(THREE)], {}, ["1"], id="one beside it"),
        pytest.param(
            [requiring("1", "users", "users/7")], [], {"others": {"users": {"7"}}}, ["1"],
            id="another set is there",
        ),
    ],
)  # fmt: skip
def test_steps_lead_from_the_history_to_the_source(source, seen, options, keys):
    others = {name: frozenset(done) for name, done in options.pop("others", {}).items()}
    plan = plan_up(source, History(tuple(seen), others), **options)
    assert [step.migration.key for step in plan.steps] == keys
    assert all(isinstance(step, Apply) for step in plan.steps)


CHANGED = migration("1", "SELECT 2")


@pytest.mark.parametrize(
    ("source", "seen", "reason", "words"),
    [
        ([CHANGED], [applied(ONE)], "ChangedMigration", [ONE.checksum, CHANGED.checksum, "1_name.sql"]),
        ([ONE, TWO], [applied(TWO)], "OutOfOrder", ["1_name.sql", "older than version 2"]),
        ([ONE, THREE], [applied(ONE), applied(TWO), applied(THREE)], "MissingMigration", ["version 2", "2_name.sql"]),
        ([requiring("1", "9")], [], "MissingRequirement", ["requires version 9"]),
        (
            [
                migration("1", "-- servicedb: requires 2\nSELECT 1"),
                migration("2", "-- servicedb: requires 1\nSELECT 1"),
            ],
            [],
            "RequirementCycle",
            ["1 requires 2"],
        ),
        ([requiring("1", "users/8")], [], "WaitingForSet", ["requires users/8"]),
        ([migration("1", "SELECT 1;\nCOMMIT")], [], "BadMigration", ["line 2", "COMMIT"]),
        ([ONE], [applied(ONE, state=State.LEAVING)], "HalfReverted", ["version 1"]),
    ],
)
def test_where_they_contradict_each_other_nothing_is_done(source, seen, reason, words):
    with pytest.raises(Problem) as refused:
        plan_up(source, History(tuple(seen)))
    assert refused.value.reason == reason
    assert isinstance(refused.value, Retryable if reason == "WaitingForSet" else Terminal)
    for word in words:
        assert word in refused.value.message


def test_an_unknown_target_is_refused():
    with pytest.raises(Terminal, match="version 5 is not in the source"):
        plan_up([ONE], History(), target=Version((5,)))


def test_a_database_that_is_ahead_of_its_source_is_left_alone():
    plan = plan_up([ONE], History((applied(ONE), applied(TWO), applied(THREE))))
    assert (plan.steps, plan.ahead) == ((), ("2", "3"))


def test_a_decision_accepts_this_change_and_no_other():
    accept = Decision("1", CHANGED.checksum, Choice.ACCEPT)
    (step,) = plan_up([CHANGED], History((applied(ONE),)), decisions=[accept]).steps
    assert isinstance(step, TakeChecksum)
    assert step.checksum == CHANGED.checksum
    with pytest.raises(Terminal):
        plan_up([migration("1", "SELECT 3")], History((applied(ONE),)), decisions=[accept])


def test_what_another_tool_applied_is_taken_as_its_file_says_now():
    (step,) = plan_up([ONE], History((applied(ONE, checksum=None),))).steps
    assert isinstance(step, TakeChecksum)


def test_files_that_were_applied_are_not_read_again():
    """Another tool allowed what servicedb refuses: that matters only where it would be run."""
    old = migration("1", "BEGIN; SELECT 1; COMMIT;")
    assert [step.migration.key for step in plan_up([old, TWO], History((applied(old),))).steps] == ["2"]


WITH_WAY_BACK = [applied(one, down=b"SELECT 1;\nSELECT 2") for one in (ONE, TWO, THREE)]


def test_the_way_down_is_the_way_up_backwards():
    steps = plan_down(History(tuple(WITH_WAY_BACK)), Version((1,)))
    assert [step.applied.key for step in steps] == ["3", "2"]
    assert [statement.text for statement in steps[0].script.statements] == [b"SELECT 1", b"SELECT 2"]
    assert [step.applied.key for step in plan_down(History(tuple(WITH_WAY_BACK)), Version((0,)))] == ["3", "2", "1"]
    assert plan_down(History(tuple(WITH_WAY_BACK)), Version((3,))) == ()


@pytest.mark.parametrize(
    ("seen", "target", "reason"),
    [
        ([WITH_WAY_BACK[0], applied(TWO), WITH_WAY_BACK[2]], "1", "NoWayBack"),
        (WITH_WAY_BACK, "7", "UnknownTarget"),
        ([WITH_WAY_BACK[0], applied(TWO, state=State.BEGUN, down=b"SELECT 1")], "1", "HalfApplied"),
    ],
)
def test_without_a_whole_way_down_nothing_is_done(seen, target, reason):
    with pytest.raises(Terminal) as refused:
        plan_down(History(tuple(seen)), Version.parse(target))
    assert refused.value.reason == reason


@given(
    st.lists(st.integers(1, 30), unique=True, max_size=10),
    st.dictionaries(st.integers(1, 30), st.sets(st.integers(1, 30), max_size=3), max_size=10),
)
def test_every_migration_comes_once_and_after_all_that_it_requires(versions, requires):
    source = [
        migration(
            str(version), "".join(f"-- servicedb: requires {one}\n" for one in requires.get(version, ())) + "SELECT 1"
        )
        for version in sorted(versions)
    ]
    try:
        plan = plan_up(source, History())
    except Terminal as refused:
        assume(refused.reason in ("RequirementCycle", "MissingRequirement"))
        return
    keys = [step.migration.key for step in plan.steps]
    assert sorted(keys) == sorted(map(str, versions))
    for position, key in enumerate(keys):
        assert {str(one) for one in requires.get(int(key), ())} <= set(keys[:position])
    # Killed after any step, the next run finds no contradiction and brings the rest in the same order.
    by_key = {one.key: one for one in source}
    for done in range(len(keys) + 1):
        history = History(tuple(applied(by_key[key]) for key in keys[:done]))
        assert [step.migration.key for step in plan_up(source, history).steps] == keys[done:]
