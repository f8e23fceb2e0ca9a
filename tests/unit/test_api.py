"""The small things of the models: durations, shares, the names of roles, and what is said of an unreadable object."""

from datetime import timedelta

import pytest
from servicedb.api.common import Unreadable
from servicedb.api.service_database import ServiceDatabase
from servicedb.api.strings import Duration, Percent

from tests.api.examples import FULL_DATABASE, MINIMAL_DATABASE, changed


@pytest.mark.parametrize(
    ("text", "duration"),
    [
        ("0s", timedelta(0)),
        ("250ms", timedelta(milliseconds=250)),
        ("30s", timedelta(seconds=30)),
        ("10m", timedelta(minutes=10)),
        ("1h", timedelta(hours=1)),
        ("7d", timedelta(days=7)),
        ("999999d", timedelta(days=999_999)),
    ],
)
def test_a_duration_is_a_number_and_a_unit(text: str, duration: timedelta) -> None:
    assert Duration(text).timedelta == duration


@pytest.mark.parametrize("text", ["", "1", "h", "1w", "-1h", "1h30m", "01h", "1 h", "1h\n", "1000000s", "\u0661h"])
def test_what_is_no_duration_says_what_one_is(text: str) -> None:
    with pytest.raises(ValueError, match="write one number and one unit"):
        _ = Duration(text).timedelta


@pytest.mark.parametrize(
    ("share", "total", "part"), [("10%", 55, 5), ("0%", 500, 0), ("100%", 7, 7), ("1%", 99, 0), ("33%", 0, 0)]
)
def test_a_share_is_rounded_down(share: str, total: int, part: int) -> None:
    assert Percent(share).of(total) == part


def test_roles_bear_the_names_that_they_have_in_postgresql() -> None:
    roles = ServiceDatabase.parse(FULL_DATABASE).spec.roles
    assert [(name, role.secret_name) for name, role in roles.named()] == [
        ("app", "onboarding-app"),
        ("migrator", "onboarding-migrator"),
        ("readonly", "onboarding-readonly"),
        ("analytics", "onboarding-analytics"),
    ]


def test_roles_that_are_not_asked_for_are_not_made() -> None:
    assert [name for name, _ in ServiceDatabase.parse(MINIMAL_DATABASE).spec.roles.named()] == ["app"]


def test_metadata_is_read_as_far_as_it_is_acted_on() -> None:
    manifest = changed(
        MINIMAL_DATABASE,
        {
            "metadata.uid": "3f2c",
            "metadata.generation": 4,
            "metadata.annotations": {"servicedb.io/rotate-at": "today"},
            "metadata.deletionTimestamp": "2025-01-01T00:00:00Z",
            "metadata.managedFields": [{"manager": "kubectl"}],
        },
    )
    metadata = ServiceDatabase.parse(manifest).metadata
    assert (metadata.namespace, metadata.name, metadata.uid, metadata.generation) == ("kyc", "onboarding", "3f2c", 4)
    assert metadata.annotations == {"servicedb.io/rotate-at": "today"}
    assert metadata.deletion_timestamp is not None


def test_an_unreadable_object_is_named_with_its_faults_and_without_its_values() -> None:
    manifest = changed(FULL_DATABASE, {"spec.mode": "hunter2", "spec.deletion.gracePeriod": "soon"})
    with pytest.raises(Unreadable) as raised:
        ServiceDatabase.parse(manifest)
    sentence = str(raised.value)
    assert sentence.startswith("ServiceDatabase kyc/onboarding cannot be read: spec.mode: ")
    assert "spec.deletion.gracePeriod: " in sentence
    assert sentence.endswith("correct it, and apply the CRDs of this release")
    assert "hunter2" not in sentence


@pytest.mark.parametrize("manifest", [{}, {"metadata": None}, {"metadata": {"name": 7}}, {"metadata": [], "spec": 1}])
def test_what_is_no_object_at_all_is_unreadable(manifest: dict[str, object]) -> None:
    with pytest.raises(Unreadable):
        ServiceDatabase.parse(manifest)


def test_unknown_fields_are_dropped_as_the_api_server_does() -> None:
    manifest = changed(MINIMAL_DATABASE, {"spec.maintenance": {"schedule": "@daily"}, "status": {"later": 1}})
    assert ServiceDatabase.parse(manifest) == ServiceDatabase.parse(MINIMAL_DATABASE)
