"""The way back to a version: by the SQL that the history keeps, never by a file that may have changed since."""

from dataclasses import dataclass

from servicedb.errors import Terminal
from servicedb.plan.migrations.history import Applied, History, State
from servicedb.plan.migrations.script import Script, pieces, script
from servicedb.plan.migrations.versions import Version


@dataclass(frozen=True, slots=True)
class Revert:
    """Take one migration back. `goes_on`: that had begun before."""

    applied: Applied
    script: Script

    @property
    def goes_on(self) -> bool:
        return self.applied.state is State.LEAVING


def plan_down(history: History, target: Version) -> tuple[Revert, ...]:
    """The migrations above `target` to take back, the highest first. Version 0 is before all.

    Raises Terminal where one has no way back, was begun and not ended, or `target` was never applied: nothing is done
    then.
    """
    if target.numbers != (0,) and ((at := history.find(str(target))) is None or at.state is not State.APPLIED):
        raise Terminal("UnknownTarget", f"version {target} is not applied, so there is no way back to it")
    above = sorted(
        (one for one in history.applied if one.version is not None and one.version > target),
        key=lambda one: one.version or target,
        reverse=True,
    )
    for one in above:
        if one.state is State.BEGUN:
            raise Terminal("HalfApplied", f"version {one.key} ({one.file}) has begun and not ended; go up first")
    without = [one.key for one in above if not one.down]
    if without:
        raise Terminal(
            "NoWayBack",
            f"the history holds no way back from version {', '.join(without)}: its file had none when it was applied; "
            "nothing was done. Write a new migration that goes back, and go up",
        )
    return tuple(Revert(one, _script(one)) for one in above)


def _script(applied: Applied) -> Script:
    file = f"way back of {applied.file}"
    return script(pieces(applied.down or b"", file=file), file=file, in_transaction=applied.down_in_transaction)
