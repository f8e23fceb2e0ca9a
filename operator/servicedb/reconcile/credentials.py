"""The Secrets of one ServiceDatabase: written as pending, proved by a login, then made active."""

import asyncio
import secrets as randomness
import string
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime

from pydantic import SecretStr

from servicedb.api.common import HANDLED_LENGTH, ROTATE_AT
from servicedb.api.service_database import ServiceDatabase
from servicedb.errors import Problem
from servicedb.kube import secrets
from servicedb.kube.resources import Key
from servicedb.kube.secrets import Address, Written
from servicedb.plan.credentials import LoginState, SeenSecret, login_state, overtaken_by, secret_steps, secrets_before
from servicedb.plan.observed import Role
from servicedb.plan.roles import earlier_access
from servicedb.plan.rotation import Rotation, Schedule, is_handled, next_rotation, rotations
from servicedb.plan.secret import ConnectionDetails, secret_data
from servicedb.plan.steps import ActivateSecret, DeleteSecret, PrepareSecret, ProveLogin, Step
from servicedb.plan.wanted import Login, Wanted
from servicedb.postgres.connections import Account, Endpoint
from servicedb.postgres.session import Session
from servicedb.reconcile.proof import is_accepted
from servicedb.reconcile.world import Looked, Server, World

_ALPHABET = string.ascii_letters + string.digits
_PASSWORD_LENGTH = 32


def new_password() -> SecretStr:
    """32 letters and digits, 190 bits: nothing in it has to be escaped in any format."""
    return SecretStr("".join(randomness.choice(_ALPHABET) for _ in range(_PASSWORD_LENGTH)))


@dataclass(slots=True)
class Credentials:
    """The Secrets as last read or written, by the role of their login.

    `refused`: logins the server turned down; `renewed`: those that got a new password in this round. `before`: by
    the role, the Secret that a login had until its secretName was changed.
    """

    key: Key
    sdb: ServiceDatabase
    wanted: Wanted
    server: Server
    world: World
    written: dict[str, Written | None] = field(default_factory=dict)
    refused: frozenset[str] = frozenset()
    renewed: frozenset[str] = frozenset()
    before: dict[str, Written] = field(default_factory=dict)

    async def read(self) -> None:
        """Read the Secrets as they are now: under the lock, nobody else writes them.

        Raises a Problem where the operator may not.
        """
        logins = self.wanted.logins
        found = await asyncio.gather(*(secrets.read(self.world.kube, self._address(login)) for login in logins))
        self.written = {login.role: there for login, there in zip(logins, found, strict=True)}

    def steps(self, roles: Mapping[str, Role]) -> list[PrepareSecret]:
        """The new passwords that are needed; raises Terminal for a Secret of somebody else's."""
        return secret_steps(
            self._open,
            self.seen(),
            roles,
            refused=self.refused,
            rotate={due.login.role: due.reason for due in self.rotations(roles) if not due.waits},
            before={role: (there.name, there.seen) for role, there in self.before.items()},
        )

    def rotations(self, roles: Mapping[str, Role]) -> list[Rotation]:
        return rotations(self._open, self.seen(), roles, self.schedule, now=self.world.now())

    def next_rotation(self, roles: Mapping[str, Role]) -> datetime | None:
        return next_rotation(self._open, self.seen(), roles, self.schedule, now=self.world.now())

    @property
    def schedule(self) -> Schedule:
        asked = self.sdb.metadata.annotations.get(ROTATE_AT)
        every = self.sdb.spec.credentials.rotate_every
        return Schedule(
            asked[:HANDLED_LENGTH] if asked is not None else None, every.timedelta if every is not None else None
        )

    def handled(self) -> str | None:
        """The value of the annotation, once every login has been rotated for it."""
        asked = self.schedule.asked
        return asked if asked is not None and is_handled(self.wanted, self.seen(), asked) else None

    def seen(self) -> dict[str, SeenSecret | None]:
        return {role: there.seen if there is not None else None for role, there in self.written.items()}

    def states(self) -> dict[str, LoginState]:
        return {login.role: login_state(login, self._seen(login)) for login in self.wanted.logins}

    def pending_passwords(self) -> dict[str, SecretStr]:
        """Half -> the password that it is about to get."""
        found = {}
        for login in self.wanted.logins:
            state, seen = self.states()[login.role], self._seen(login)
            if state.pending is not None and seen is not None and seen.pending_password is not None:
                found[state.pending] = seen.pending_password
        return found

    def as_it_stands(self, roles: Mapping[str, Role], states: Mapping[str, LoginState] | None = None) -> Wanted:
        """What is wanted for the time being: a half that is on its way out keeps the access that it had. `states` by
        the login's role; left out, those of the Secrets."""
        earlier = earlier_access(self.wanted, self.states() if states is None else states, roles)
        return replace(self.wanted, earlier=earlier)

    def unproved(self, roles: Mapping[str, Role]) -> bool:
        """Whether some login has not been proved with what its Secret says now."""
        return any(not self._proved(login) for login in self._in_use(roles))

    @property
    def _open(self) -> Wanted:
        """What is wanted, without the logins that nobody may use for the time being."""
        return replace(self.wanted, logins=self.wanted.open_logins)

    def _in_use(self, roles: Mapping[str, Role]) -> list[Login]:
        """Each login as it stands for the half that its Secret names."""
        of_half = dict(self.as_it_stands(roles).halves())
        states = self.states()
        halves = {login.role: states[login.role].pending or states[login.role].active for login in self.wanted.logins}
        return [of_half.get(halves[login.role] or "", login) for login in self.wanted.open_logins]

    def outdated(self) -> bool:
        """Whether some Secret says something else than it should, its password apart."""
        return any(self._data(login) is None or not self._up_to_date(login) for login in self.wanted.open_logins)

    def forget_proofs(self) -> None:
        """Have every login tried again."""
        for login in self.wanted.logins:
            self.world.logins.pop((self.key, login.role), None)

    async def prepare(self, roles: Mapping[str, Role]) -> list[Step]:
        """Write a pending password wherever one is needed."""
        await self._forget_overtaken(roles)
        await self._read_before(roles)
        steps = self.steps(roles)
        for step in steps:
            self.world.step(step)
            login = self._login(step.role)
            before = self.before[step.role].seen.password if step.taken_from is not None else None
            self.written[step.role] = await secrets.prepare(
                self.world.kube,
                self._address(login),
                self.written[step.role],
                username=step.half,
                password=before or new_password(),
            )
            if before is None:
                self.renewed |= {step.role}
        self.refused = frozenset()
        return list(steps)

    async def _forget_overtaken(self, roles: Mapping[str, Role]) -> None:
        """Go on with no pending password of a half that is in use by what another Secret says."""
        for login in self.wanted.logins:
            there = self.written[login.role]
            name = overtaken_by(login, self._seen(login), roles)
            if there is None or name is None:
                continue
            other = await secrets.read(self.world.kube, self._secret(name, login.role))
            if other is None or not other.seen.holds_what_is_pending_in(there.seen):
                self.written[login.role] = replace(there, seen=there.seen.without_pending())

    async def _read_before(self, roles: Mapping[str, Role]) -> None:
        """Read the Secret of before of each login whose present one says nothing yet."""
        for login in self.wanted.logins:
            if self.states()[login.role] != LoginState(None, None):
                continue
            for name in secrets_before(login, roles):
                there = await secrets.read(self.world.kube, self._secret(name, login.role))
                if there is not None and there.seen.ours and login_state(login, there.seen).active is not None:
                    self.before[login.role] = there
                    break

    async def delete(self, step: DeleteSecret) -> None:
        """Delete a Secret of before, if it is ours."""
        self.world.step(step)
        await secrets.delete(self.world.kube, self._secret(step.name, step.role))

    async def prove_and_activate(self, connection: Session, roles: Mapping[str, Role]) -> list[Step]:
        """Try every login that has not been tried with its present password, and activate the pending ones that work.

        Afterwards `refused` holds the active logins that the server turned down although nothing stood in the way.
        """
        done: list[Step] = []
        problems: list[Problem] = []
        for login in self._in_use(roles):  # one that can't be tried must not keep the others waiting
            try:
                done += await self._prove_and_activate(connection, login)
            except Problem as problem:
                problems.append(problem)
        if problems:
            raise problems[0]
        return done

    def status(self) -> list[dict[str, str]]:
        """Each login as status.roles shows it."""
        rows = []
        for login in self.wanted.logins:
            there = self.written[login.role]
            row = {"name": login.role, "secretName": login.secret_name}
            if there is not None and there.seen.username is not None:
                row["loginName"] = there.seen.username
            if there is not None and there.rotated_at is not None:
                row["rotatedAt"] = there.rotated_at.replace("+00:00", "Z")
            rows.append(row)
        return rows

    async def _prove_and_activate(self, connection: Session, login: Login) -> list[Step]:
        """`login` as it stands for the half that is tried."""
        done: list[Step] = []
        state = self.states()[login.role]
        if state.pending is not None:
            if await self._is_accepted(connection, login, state.pending, self._pending(login)):
                done.append(await self._activate(login, state.pending, self._pending(login), renewed=True))
        elif state.active is not None:
            if not self._proved(login):
                await self._is_accepted(connection, login, state.active, self._active(login))
            if login.role not in self.refused and not self._up_to_date(login):
                done.append(await self._activate(login, state.active, self._active(login), renewed=False))
        if login.role not in self.refused:
            self._note_proof(login)
        return done

    async def _is_accepted(self, connection: Session, login: Login, half: str, password: SecretStr) -> bool:
        self.world.step(ProveLogin("not proved with its present password", login.role, half))
        new, account = login.role in self.renewed, Account(half, password)
        accepted = await is_accepted(self.server, connection, self.wanted.database, login, account, new=new)
        if not accepted:
            self.refused |= {login.role}
        return accepted

    async def _activate(self, login: Login, half: str, password: SecretStr, *, renewed: bool) -> ActivateSecret:
        there = self.written[login.role]
        assert there is not None
        reason = "its login was proved" if renewed else "it differs from what it should say"
        step = ActivateSecret(reason, login.role, half)
        self.world.step(step)
        self.written[login.role] = await secrets.activate(
            self.world.kube,
            self._address(login),
            there,
            secret_data(self._details(half, password), self.sdb.spec.credentials.secret_template),
            labels=self.sdb.spec.credentials.secret_labels,
            annotations=self.sdb.spec.credentials.secret_annotations,
            now=self.world.now() if renewed else None,
            rotate_at=self.schedule.asked,
        )
        return step

    def _note_proof(self, login: Login) -> None:
        self.world.logins[(self.key, login.role)] = Looked(self._proof_version(login), time.monotonic())

    def _proved(self, login: Login) -> bool:
        proof = self.world.logins.get((self.key, login.role))
        return (
            proof is not None
            and proof.version == self._proof_version(login)
            and time.monotonic() - proof.at < self.world.settings.proof_age
        )

    def _proof_version(self, login: Login) -> object:
        seen = self._seen(login)
        return (seen.version if seen is not None else None, self._endpoint(), login.works_as)

    def _up_to_date(self, login: Login) -> bool:
        there, data = self.written[login.role], self._data(login)
        spec = self.sdb.spec.credentials
        return (
            there is not None
            and data is not None
            and secrets.up_to_date(there, self._address(login), data, spec.secret_labels, spec.secret_annotations)
        )

    def _data(self, login: Login) -> dict[str, str] | None:
        """What the Secret should say with the password that it has; None where it has none in use."""
        state, seen = self.states()[login.role], self._seen(login)
        if state.active is None or seen is None or seen.password is None:
            return None
        return secret_data(self._details(state.active, seen.password), self.sdb.spec.credentials.secret_template)

    def _details(self, user: str, password: SecretStr) -> ConnectionDetails:
        endpoint = self._endpoint()
        return ConnectionDetails(
            host=endpoint.host,
            port=endpoint.port,
            database=self.wanted.database,
            user=user,
            password=password,
            sslmode=endpoint.tls.sslmode,
            ca_file=self.sdb.spec.credentials.ca_file,
            ca_certificate=self.server.ca_certificate,
        )

    def _endpoint(self) -> Endpoint:
        assert self.server.client_endpoint is not None
        return self.server.client_endpoint

    def _seen(self, login: Login) -> SeenSecret | None:
        there = self.written.get(login.role)
        return there.seen if there is not None else None

    def _pending(self, login: Login) -> SecretStr:
        seen = self._seen(login)
        assert seen is not None
        assert seen.pending_password is not None
        return seen.pending_password

    def _active(self, login: Login) -> SecretStr:
        seen = self._seen(login)
        assert seen is not None
        assert seen.password is not None
        return seen.password

    def _login(self, role: str) -> Login:
        return next(login for login in self.wanted.logins if login.role == role)

    def _address(self, login: Login) -> Address:
        return self._secret(login.secret_name, login.role)

    def _secret(self, name: str, role: str) -> Address:
        return Address(
            self.sdb.metadata.namespace,
            name,
            self.server.mark_of(self.wanted.database),
            role,
            formerly=self.server.former_marks_of(self.wanted.database, self.sdb.status.system_identifier),
        )
