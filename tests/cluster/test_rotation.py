"""Rotations under applications that never stop logging in: by the clock alone, and with an operator that is killed."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final

import pytest
from servicedb.plan.steps import CREATION, DEPARTURE, ROTATION, RevokeOnDatabase, Step

from tests.cluster.harness.cluster import Cluster
from tests.cluster.objects import Objects, wait_for
from tests.cluster.operator_process import OperatorProcess, Point
from tests.cluster.secret_readers import reading
from tests.cluster.tenant import Tenant, expected_roles, logins_of, roles_of, shown
from tests.postgres.server import Server

OVERLAP: Final = 2.0
ROTATIONS: Final = 50
_NEVER: Final = 3600


@dataclass(frozen=True, slots=True)
class Place:
    """A tenant, and an operator that can be armed while it runs. Nothing is looked at again but when it is due."""

    tenant: Tenant
    operator: OperatorProcess

    def running(self) -> OperatorProcess:
        if not self.operator.is_running:
            self.operator.start()
        return self.operator

    def provision(self, name: str, **changes: Any) -> None:
        self.tenant.create(name, {"spec.credentials": {"overlap": f"{OVERLAP:.0f}s"}, **changes})
        self.tenant.wait_ready(name)

    def wait_rotated(self, name: str, value: str) -> None:
        def handled() -> bool:
            status = (self.tenant.get(name) or {}).get("status", {})
            return bool(status.get("handled", {}).get("rotateAt") == value)

        wait_for(f"{name} rotated for {value}", handled, told=lambda: shown(self.tenant.get(name)))

    def wait_roles(self, name: str, *roles: str) -> None:
        """Wait until the logins of `roles` are there and no others, and one half of each logs in."""
        server = self.tenant.server

        def so() -> bool:
            return roles_of(server, name) == expected_roles(name, *roles) and len(logins_of(server, name)) == len(roles)

        wait_for(f"only {roles} in {name}", so, told=lambda: f"{roles_of(server, name)} {logins_of(server, name)}")


@pytest.fixture(scope="module")
def place(
    objects: Objects,
    cluster: Cluster,
    postgres: Callable[[int], Server],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Place]:
    nowhere = Point("servicedatabases/none/none", "")
    folder = tmp_path_factory.mktemp("rotation")
    with (
        Tenant.on(objects, postgres(18)) as tenant,
        OperatorProcess.running(cluster.kubeconfig, folder, points=[nowhere], resync=_NEVER) as operator,
    ):
        yield Place(tenant, operator)


def test_fifty_rotations_under_applications_that_never_stop_logging_in(place: Place) -> None:
    place.running()
    place.provision(
        "busy",
        **{
            "spec.roles.migrator": {"secretName": "busy-migrator"},
            "spec.roles.readOnly": {"secretName": "busy-readonly"},
        },
    )
    tenant = place.tenant
    with (
        tenant.log_in("busy-app") as pooled,
        reading(tenant, "busy-app", overlap=OVERLAP, holders=3) as app,
        reading(tenant, "busy-migrator", overlap=OVERLAP) as migrator,
        reading(tenant, "busy-readonly", overlap=OVERLAP) as reader,
    ):
        for number in range(ROTATIONS):
            tenant.annotate("busy", "rotate-at", str(number))
            place.wait_rotated("busy", str(number))
        place.wait_roles("busy", "app", "migrator", "readonly")
        pooled.execute("SELECT 1")
    for seen, role in ((app, "app"), (migrator, "migrator"), (reader, "readonly")):
        assert seen.users == {f"busy__{role}_a", f"busy__{role}_b"}
        assert len(seen.passwords) == ROTATIONS + 1
        assert seen.succeeded > ROTATIONS
    tenant.change("busy", {"spec": {"suspend": True}})


def test_a_password_is_renewed_when_it_is_old_without_being_asked(place: Place) -> None:
    place.running()
    place.provision("aging", **{"spec.credentials": {"overlap": "1s", "rotateEvery": "3s"}})
    with reading(place.tenant, "aging-app", overlap=1.0) as seen:
        wait_for("three rotations", lambda: len(seen.passwords) > 3, told=lambda: shown(place.tenant.get("aging")))
    place.tenant.change("aging", {"spec": {"suspend": True}})


def points(course: tuple[type[Step], ...]) -> list[tuple[str, int]]:
    """The first step of each kind in the course, where a creation of the same operator's has gone before."""
    at_creation: dict[type[Step], int] = {RevokeOnDatabase: 2}
    return [(kind.__name__, at_creation.get(kind, 1) + 1 if kind in CREATION else 1) for kind in course]


@pytest.mark.parametrize(("step", "occurrence"), points(ROTATION))
def test_killed_anywhere_in_a_rotation_nobody_is_cut_off(place: Place, step: str, occurrence: int) -> None:
    name = f"rotated{step.lower()}"
    operator, tenant = place.running(), place.tenant
    place.provision(name)
    before = tenant.secret(f"{name}-app") or {}
    with reading(tenant, f"{name}-app", overlap=OVERLAP) as seen:
        point = operator.arm(Point(f"servicedatabases/{tenant.name}/{name}", step, occurrence))
        tenant.annotate(name, "rotate-at", "now")
        operator.wait_killed()
        assert operator.was_hit(point)
        so_far = seen.succeeded
        wait_for("logins without an operator", lambda: seen.succeeded > so_far + 10)
        operator.start()
        place.wait_rotated(name, "now")
        place.wait_roles(name, "app")
    after = tenant.secret(f"{name}-app") or {}
    assert (before["username"], after["username"]) == (f"{name}__app_a", f"{name}__app_b")
    assert seen.passwords == {before["password"], after["password"]}
    assert not [key for key in after if key.startswith("pending")]
    tenant.change(name, {"spec": {"suspend": True}})  # or each later start would try its logins again


@pytest.mark.parametrize(("step", "occurrence"), points(DEPARTURE))
def test_killed_anywhere_when_a_role_leaves_it_is_gone_in_the_end(place: Place, step: str, occurrence: int) -> None:
    name = f"left{step.lower()}"
    operator, tenant = place.running(), place.tenant
    place.provision(name, **{"spec.roles.migrator": {"secretName": f"{name}-migrator"}})
    with tenant.log_in(f"{name}-migrator") as migrator:
        migrator.execute(f"CREATE TABLE goods (); GRANT SELECT ON goods TO {name}__migrator_a".encode())
    with reading(tenant, f"{name}-app", overlap=OVERLAP):
        point = operator.arm(Point(f"servicedatabases/{tenant.name}/{name}", step, occurrence))
        tenant.change(name, {"spec": {"roles": {"migrator": None}}})
        operator.wait_killed()
        assert operator.was_hit(point)
        operator.start()
        place.wait_roles(name, "app")
        wait_for("the end of its Secret", lambda: tenant.secret(f"{name}-migrator") is None)
        tenant.wait_ready(name)
    tenant.change(name, {"spec": {"suspend": True}})
