"""How a script goes on that runs outside a transaction: what was done of it, and what nobody can know."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

from servicedb.errors import Terminal
from servicedb.plan.migrations.lexer import Statement
from servicedb.plan.migrations.script import Script


@dataclass(frozen=True, slots=True)
class Noted:
    """What was noted of one statement (`number` counts from 1). `ended` None: begun, and nothing is known since.

    `indexes` are the OIDs of all indexes when it began; `cursor` is how far its batches got, `attempt` counts from 1.
    """

    number: int
    digest: str
    ended: bool | None
    attempt: int
    indexes: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Resume:
    """The script goes on with statement `number`; `unknown` is what was noted where it may have been done or not, and
    `failed` where it is known to have failed."""

    number: int
    unknown: Noted | None = None
    failed: Noted | None = None


def statement_digest(statement: Statement) -> str:
    """Tells whether a statement is still the one that was run."""
    digest = hashlib.sha256(statement.text.replace(b"\r\n", b"\n"))
    if statement.data is not None:
        digest.update(b"\0")
        digest.update(statement.data)
    return digest.hexdigest()


def resume(script: Script, noted: Sequence[Noted]) -> Resume:
    """Where to go on. Raises Terminal where a statement that was done already now says something else."""
    done = 0
    for one in sorted(noted, key=lambda one: one.number):
        if one.ended is not True:
            continue
        done = one.number
        if done > len(script.statements) or statement_digest(script.statements[done - 1]) != one.digest:
            raise Terminal(
                "ChangedMigration",
                f"{script.file} was changed in statement {done}, which was carried out already; put it back and "
                "change only what comes after it",
            )
    last = next((one for one in noted if one.number == done + 1), None)
    if last is None or last.ended is not None:
        return Resume(done + 1, failed=last)
    if done == len(script.statements):
        raise Terminal(
            "ChangedMigration",
            f"{script.file} ends before statement {done + 1}, which was begun and may have been done; put it back",
        )
    return Resume(done + 1, unknown=last)


def question_digest(*, set_name: str, schema: str, key: str, noted: Noted) -> str:
    """Names one question: the same statement, interrupted again, is another one."""
    parts = (set_name, schema, key, str(noted.number), str(noted.attempt), noted.digest)
    return "sha256:" + hashlib.sha256("\0".join(parts).encode()).hexdigest()
