"""Steps about the Secrets that applications read, and the logins that are proved with them."""

from dataclasses import dataclass

from servicedb.plan.steps.base import Step


@dataclass(frozen=True, slots=True)
class SecretStep(Step):
    """A change to the Secret of one entry of spec.roles, or a login made with it."""

    role: str
    half: str


@dataclass(frozen=True, slots=True)
class PrepareSecret(SecretStep):
    """Write a new password as `pending-password`, before any role has it; or the one that the Secret `taken_from`
    holds already, where a login that has no other half moves from Secret to Secret. `repairs`: the present one does
    not work any more."""

    taken_from: str | None = None
    repairs: bool = False


@dataclass(frozen=True, slots=True)
class ProveLogin(SecretStep):
    """Log in as an application would, through the client endpoint."""


@dataclass(frozen=True, slots=True)
class ActivateSecret(SecretStep):
    """Make the proved pending password the one that applications read, in one write."""


@dataclass(frozen=True, slots=True)
class DeleteSecret(Step):
    """Delete a Secret whose passwords nobody is to use any more, if it is ours. `role` is that of its login."""

    role: str
    name: str
