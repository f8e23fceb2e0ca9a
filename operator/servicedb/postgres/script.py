"""Steps as a script that people read: the SQL of each in one line, with secrets left out."""

from collections.abc import Mapping
from dataclasses import dataclass

from servicedb.plan.lines import one_line
from servicedb.plan.steps import ActivateSecret, PrepareSecret, ProveLogin, SetPassword, Step
from servicedb.postgres.execute import statements


@dataclass(frozen=True, slots=True)
class Planned:
    """One step: its kind, why it is needed, and what would be done. `text` is SQL, or a comment in SQL's form."""

    step: str
    reason: str
    text: str


def script(step: Step, *, server_version: int, namespace: str, secrets: Mapping[str, str]) -> Planned:
    """`step` in words. `secrets` names the Secret of each role of spec.roles."""
    return Planned(type(step).__name__, step.reason, one_line(_text(step, server_version, namespace, secrets)))


def _text(step: Step, server_version: int, namespace: str, secrets: Mapping[str, str]) -> str:
    match step:
        case PrepareSecret():
            return f"-- Secret {namespace}/{secrets[step.role]}: a new password, pending"
        case ProveLogin():
            return f"-- a login as {step.half}, with the password of Secret {namespace}/{secrets[step.role]}"
        case ActivateSecret():
            return f"-- Secret {namespace}/{secrets[step.role]}: the password becomes the one that is read"
        case SetPassword():
            # An identifier in as_string() is quoted; the verifier itself does not exist yet.
            return f"ALTER ROLE \"{step.half}\" PASSWORD '<SCRAM verifier>'"
    parts = [part.as_string(None) for part in statements(step, server_version=server_version)]
    return "; ".join(parts)
