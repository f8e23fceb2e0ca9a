"""The operator killed at every step of a creation: it goes on by itself, loses nothing and leaves nothing behind."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final

import pytest
from servicedb.plan.steps import CREATION, ActivateSecret, CreateExtension, PrepareSecret, ProveLogin

from tests.cluster.harness.cluster import Cluster
from tests.cluster.objects import Objects
from tests.cluster.operator_launcher import REPORT
from tests.cluster.operator_process import OperatorProcess, Point, steps_done
from tests.cluster.tenant import Tenant, expected_roles, open_unmarked_databases, roles_of
from tests.postgres.server import Server

EXTENSIONS: Final = {15: ["pg_trgm"], 18: []}
"""By version: PostgreSQL 18 for tests comes without any that may be made by who is no superuser."""

ROLES: Final = ("app", "migrator", "readonly", "analytics")
LATER: Final = (PrepareSecret, ProveLogin, ActivateSecret)
"""The steps that come once for each Secret, with all others in between."""

ONLY_WITH_AN_EXTENSION: Final = CreateExtension
POINTS: Final = [
    *((step.__name__, 1) for step in CREATION if step is not ONLY_WITH_AN_EXTENSION),
    *((step.__name__, 3) for step in LATER),
    (REPORT, 1),
]


@dataclass(frozen=True, slots=True)
class Kills:
    """A tenant, and an operator that can be armed while it runs."""

    tenant: Tenant
    operator: OperatorProcess


def steps_of(version: int) -> set[str]:
    """The steps of a creation on a server of that version."""
    return {step.__name__ for step in CREATION if EXTENSIONS[version] or step is not ONLY_WITH_AN_EXTENSION}


@pytest.fixture(scope="module")
def kills(
    request: pytest.FixtureRequest,
    objects: Objects,
    cluster: Cluster,
    postgres: Callable[[int], Server],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Kills]:
    folder = tmp_path_factory.mktemp("kills")
    nowhere = Point("servicedatabases/none/none", "")
    with (
        Tenant.on(objects, postgres(request.param)) as tenant,
        OperatorProcess.running(cluster.kubeconfig, folder, points=[nowhere]) as operator,
    ):
        yield Kills(tenant, operator)


def everything(tenant: Tenant, name: str) -> dict[str, Any]:
    """Changes to a spec that make a creation take every step that there is."""
    return {
        "spec.schemas": [{"name": "app"}],
        "spec.extensions": [{"name": extension} for extension in EXTENSIONS[tenant.server.version]],
        "spec.parameters": {"statement_timeout": "30s"},
        "spec.roles": {
            "app": {"secretName": f"{name}-app"},
            "migrator": {"secretName": f"{name}-migrator"},
            "readOnly": {"secretName": f"{name}-readonly"},
            "extra": [{"name": "analytics", "access": "ReadOnly", "secretName": f"{name}-analytics"}],
        },
    }


def assert_whole(tenant: Tenant, name: str) -> None:
    """Everything is there that the spec asks for, and nothing else: in PostgreSQL, and in the Secrets."""
    assert roles_of(tenant.server, name) == expected_roles(name, *ROLES)
    assert open_unmarked_databases(tenant.server) == set()
    owner, read_write, read_only = f"{name}__owner", f"{name}__rw", f"{name}__ro"
    works_as = {"app": read_write, "migrator": owner, "readonly": read_only, "analytics": read_only}
    assert {role: tenant.works_as(f"{name}-{role}") for role in ROLES} == works_as
    held = [values for secret, values in tenant.secrets().items() if secret.startswith(f"{name}-")]
    assert len(held) == len(ROLES)
    assert not [key for values in held for key in values if key.startswith("pending")]
    with tenant.log_in(f"{name}-migrator") as migrator:
        migrator.execute("CREATE TABLE app.note (text text)")
    with tenant.log_in(f"{name}-app") as app:
        app.execute("INSERT INTO app.note VALUES ('kept')")
    with tenant.log_in(f"{name}-readonly") as reader:
        assert reader.execute("SELECT text FROM app.note").fetchall() == [("kept",)]


on_each = pytest.mark.parametrize("kills", EXTENSIONS, ids=lambda version: f"pg{version}", indirect=True)


@on_each
@pytest.mark.parametrize(("step", "occurrence"), POINTS)
def test_killed_it_goes_on_by_itself(step: str, occurrence: int, kills: Kills) -> None:
    assert_survives(step, occurrence, kills)


@pytest.mark.parametrize("kills", [15], ids=["pg15"], indirect=True)
def test_killed_before_it_makes_an_extension_it_goes_on_by_itself(kills: Kills) -> None:
    assert_survives(ONLY_WITH_AN_EXTENSION.__name__, 1, kills)


def assert_survives(step: str, occurrence: int, kills: Kills) -> None:
    """Killed there, an operator that is started again finishes the work, with what was in use still in use."""
    tenant, operator = kills.tenant, kills.operator
    name = f"{step.lower()}{occurrence}"
    if not operator.is_running:
        operator.start()
    point = operator.arm(Point(f"servicedatabases/{tenant.name}/{name}", step, occurrence))
    tenant.create(name, everything(tenant, name))
    operator.wait_killed()
    assert operator.was_hit(point)
    active = {
        secret: (values["username"], values["password"])
        for secret, values in tenant.secrets().items()
        if secret.startswith(f"{name}-") and "password" in values
    }
    operator.start()
    tenant.wait_ready(name)
    assert_whole(tenant, name)
    after = tenant.secrets()
    assert active == {secret: (after[secret]["username"], after[secret]["password"]) for secret in active}
    tenant.change(name, {"spec": {"suspend": True}})  # or each later start would try all its logins again


@on_each
def test_a_creation_takes_every_step_at_which_it_was_killed(kills: Kills) -> None:
    tenant, operator = kills.tenant, kills.operator
    if not operator.is_running:
        operator.start()
    tenant.create("whole", everything(tenant, "whole"))
    tenant.wait_ready("whole")
    assert_whole(tenant, "whole")
    taken = steps_done(operator.entries(), f"servicedatabases/{tenant.name}/whole")
    assert taken == steps_of(tenant.server.version)
