"""The soak itself: operations and kills at random, a look after each, and the end at which everything is at rest."""

import contextlib
import os
import random
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import psycopg

from tests.cluster.harness.cluster import Cluster
from tests.cluster.objects import Away, Refused, condition, wait_for
from tests.cluster.operator_process import OperatorProcess
from tests.cluster.soak import invariants
from tests.cluster.soak.invariants import AtRest, Look
from tests.cluster.soak.logins import Logins
from tests.cluster.soak.look import at_rest, look, written_table
from tests.cluster.soak.model import APP, MIGRATOR, READ_ONLY, Asked, Model, Policy, secret_name
from tests.cluster.tenant import Tenant
from tests.postgres.server import Server

API_SERVER = "kube-apiserver"
OVERLAP = 6
SHORT_GRACE, LONG_GRACE = 3, 3600
_REST_WITHIN = 240.0
_LOGINS, _LONGER = 20, 4


@dataclass(slots=True)
class Soak:
    """`model` is what was asked for. `violations` are what `invariants.always` said on the way, each once. `told` is
    what was done, in order, a line each."""

    tenant: Tenant
    server: Server
    operator: OperatorProcess
    cluster: Cluster
    rng: random.Random
    count: int
    kills: bool = True
    model: Model = field(init=False)
    logins: Logins = field(init=False)
    bystander: str = ""
    violations: dict[str, None] = field(default_factory=dict)
    told: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.model = Model(self.tenant.name)
        self.model.asked = {name: Asked(name) for name in (f"soak-{number:02d}" for number in range(self.count))}
        self.logins = Logins(self.tenant, random.Random(self.rng.random()))
        self.bystander = look(self.server).bystander

    def run(self, seconds: float) -> None:
        """Operations and kills for `seconds`, with applications logging in all the while; on a busy machine for longer,
        until some logins have worked."""
        until = time.monotonic() + seconds
        at_most = until + _LONGER * seconds
        with self.logins.going_on():
            for asked in self.model.asked.values():
                self._create(asked)
            while time.monotonic() < (until if self.logins.worked >= _LOGINS else at_most):
                self._one()
                self.look_around()

    def come_to_rest(self) -> list[str]:
        """Wait until nothing is wrong any more; gives what still is when that does not come."""
        found: list[str] = ["nothing was looked at"]

        def nothing_wrong() -> bool:
            self.look_around()
            try:
                seen = look(self.server)
                rest = self._at_rest(seen)
            except psycopg.Error as error:  # a database that is just being dropped
                found[:] = [str(error)]
                return False
            found[:] = invariants.at_rest(seen, rest, self.model)
            return not found

        with contextlib.suppress(AssertionError):
            wait_for("rest", nothing_wrong, within=_REST_WITHIN)
        return found

    def stand_after(self, scans: int) -> list[str]:
        """What is wrong, or was on the way, once the operator has looked at the server so often."""
        until = self.operator.scans() + scans

        def passed() -> bool:
            self.look_around()
            return self.operator.scans() >= until

        wait_for(f"{scans} scans", passed, told=self.operator.last_lines)
        seen = look(self.server)
        try:
            rest = self._at_rest(seen)
        except psycopg.Error as error:  # a database that is closed, and should not be
            return [*self.violations, str(error)]
        return [*self.violations, *invariants.at_rest(seen, rest, self.model)]

    def _at_rest(self, seen: Look) -> AtRest:
        return at_rest(self.tenant, self.server, self.model, seen)

    # What people do

    def _one(self) -> None:
        """One operation or kill. What the API server did not answer is asked again until it does."""
        choices: list[tuple[int, Callable[[], None]]] = [
            (4, lambda: self._with(present=False, does=self._create)),
            (3, lambda: self._with(present=True, does=self.delete)),
            (4, lambda: self._with(present=True, does=self.change)),
            (4, lambda: self._with(present=True, does=self._rotate)),
            (6, lambda: self._with(present=True, does=self.write)),
            (3, lambda: self._with(present=True, does=self._tamper)),
        ]
        if self.kills:
            choices += [(2, self._kill_operator), (1, self._kill_server), (1, self._kill_api_server)]
        weights, operations = zip(*choices, strict=True)
        self.rng.choices(operations, weights)[0]()

    def _with(self, *, present: bool, does: Callable[[Asked], None]) -> None:
        candidates = [asked for asked in self.model.asked.values() if asked.present == present]
        if candidates:
            does(self.rng.choice(candidates))

    def _tell(self, what: str, whom: str = "", details: str = "") -> None:
        self.told.append(f"{time.time():.2f} {what}: {whom} {details}".rstrip(": "))

    def _create(self, asked: Asked) -> None:
        roles = frozenset({APP, MIGRATOR, *self.rng.sample([READ_ONLY], self.rng.randrange(2))})
        policies: tuple[Policy, ...] = ("Retain", "Delete")
        self.create(asked, roles, self.rng.choice(policies), self.rng.choice((SHORT_GRACE, LONG_GRACE)))

    def create(self, asked: Asked, roles: frozenset[str], policy: Policy, grace: int) -> None:
        self._tell("create", asked.name, f"{policy} {grace} s, {', '.join(sorted(roles))}")
        asked.made(roles, policy, grace)
        body = self.tenant.manifest(asked.name, {"spec.roles": _roles(asked.name, roles)})
        body["spec"]["deletion"] = {"policy": policy, "gracePeriod": f"{grace}s"}
        body["spec"]["credentials"] = {"overlap": f"{OVERLAP}s"}
        self._ask(lambda: self.tenant.objects.create(body), settled=409)

    def delete(self, asked: Asked) -> None:
        self._tell("delete", asked.name, "seen by the operator" if asked.known else "not seen by the operator yet")
        asked.deleted(time.time())
        self._ask(lambda: self.tenant.delete(asked.name))

    def change(self, asked: Asked) -> None:
        roles = asked.wanted_roles ^ {READ_ONLY}
        self._tell("change", asked.name, ", ".join(sorted(roles)))
        asked.changed(roles)
        change: dict[str, Any] = {"roles": {"readOnly": _roles(asked.name, roles).get("readOnly")}}
        change["connectionLimit"] = self.rng.randrange(10, 99)
        self._ask(lambda: self.tenant.change(asked.name, {"spec": change}))

    def _rotate(self, asked: Asked) -> None:
        asked.rotations += 1
        self._tell("rotate", asked.name)
        self._ask(lambda: self.tenant.annotate(asked.name, "rotate-at", f"{asked.rotations}"))

    def write(self, asked: Asked) -> None:
        """As a team does: with what its Secrets say, where its object says that it is ready."""
        with contextlib.suppress(Away, Refused):
            manifest = self.tenant.get(asked.name)
            if (condition(manifest) or {}).get("status") != "True" or not self._note_oid(asked, manifest):
                return
            word = f"{self.rng.getrandbits(64):x}"
            self._tell("write", asked.name)
            asked.doubtful.add(word)
            with contextlib.suppress(psycopg.Error, AssertionError, KeyError):  # logins are checked elsewhere
                written_table(self.tenant, asked.name, word)
                asked.doubtful.discard(word)
                asked.rows.add(word)

    def _tamper(self, asked: Asked) -> None:
        """What an administrator does by hand and should not; nothing that ends logins, those are checked."""
        names = asked.database
        statements = (
            f"ALTER DATABASE \"{names}\" SET work_mem TO '7MB'",
            f'GRANT CONNECT ON DATABASE "{names}" TO bystander_reader',
            f'ALTER ROLE "{names}__rw" CONNECTION LIMIT 3',
            f'GRANT "{names}__rw" TO "{names}__ro"',
            f'COMMENT ON ROLE "{names}__app_a" IS \'{{"servicedb":1,"owner":"{names}__owner","role":"app"}}\'',
        )
        with contextlib.suppress(psycopg.Error), self.server.connect(connect_timeout=5) as connection:
            statement = self.rng.choice(statements)
            self._tell("tamper", asked.name, statement)
            connection.execute(statement.encode())

    def _ask(self, request: Callable[[], object], *, settled: int | None = None) -> None:
        """Until it is answered. `settled` is the status that says that an earlier, unanswered one did it."""
        for attempt in range(100):
            try:
                request()
            except Away:
                time.sleep(0.2)
            except Refused as refused:
                if attempt and refused.status == settled:
                    return
                if refused.status not in (404, 429, 500, 503):
                    raise
                if refused.status == 404:
                    return
                time.sleep(0.2)
            else:
                return
        raise AssertionError("the API server did not come back")

    # What happens to them

    def _kill_operator(self) -> None:
        self._tell("kill operator")
        self.operator.kill()
        time.sleep(self.rng.uniform(0, 2))
        self.operator.start()

    def _kill_server(self) -> None:
        self._tell("kill server")
        with self._outage():
            self.server.kill()
            time.sleep(self.rng.uniform(0, 3))
            self.server.start()

    @contextlib.contextmanager
    def _outage(self) -> Iterator[None]:
        self.logins.outages += 1
        try:
            yield
        finally:
            self.logins.outages += 1

    def _kill_api_server(self) -> None:
        self._tell("kill API server")
        self.cluster.kill(API_SERVER)
        time.sleep(self.rng.uniform(0, 2))
        self.cluster.start(API_SERVER)

    # What is seen of it

    def look_around(self) -> None:
        """The statuses first, then the server: an object's status never knows of a database that comes later."""
        with contextlib.suppress(Away, Refused):
            listed = self.tenant.objects.listed("ServiceDatabase", self.tenant.name)
            there = {one["metadata"]["name"]: one for one in listed}
            for asked in self.model.asked.values():
                if asked.present:
                    self._note_oid(asked, there.get(asked.name))
        with contextlib.suppress(psycopg.OperationalError):
            for violation in invariants.always(look(self.server), self.model, bystander=self.bystander):
                self.violations.setdefault(violation)

    def _note_oid(self, asked: Asked, manifest: Any) -> bool:
        oid = ((manifest or {}).get("status") or {}).get("databaseOid")
        if oid is None:
            return False
        if asked.oid != int(oid) or not asked.known:
            asked.seen(int(oid))
        return True


def seed() -> int:
    """SERVICEDB_SOAK_SEED, or a new one."""
    return int(os.environ.get("SERVICEDB_SOAK_SEED") or random.SystemRandom().getrandbits(32))


def _roles(name: str, roles: frozenset[str]) -> dict[str, Any]:
    fields = {APP: "app", MIGRATOR: "migrator", READ_ONLY: "readOnly"}
    return {fields[role]: {"secretName": secret_name(name, role)} for role in sorted(roles)}
