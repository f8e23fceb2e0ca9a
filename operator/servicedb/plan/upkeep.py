"""What is done even where changes are only listed: the marker, the end of an overlap, the way of a new password."""

from collections.abc import Iterable, Iterator

from servicedb.plan.steps import CloseLogin, CommentOnRole, LoginStep, RoleStep, SetPassword
from servicedb.plan.wanted import Wanted


def upkeep(steps: Iterable[RoleStep], wanted: Wanted) -> Iterator[RoleStep]:
    """Yield those of `steps` that no change by hand made necessary: a rotation goes on, an overlap ends."""
    for step in steps:
        if isinstance(step, LoginStep | SetPassword) or _is_marker(step, wanted):
            yield step


def upkeep_at_rest(steps: Iterable[RoleStep], wanted: Wanted) -> Iterator[RoleStep]:
    """Yield those of `steps` that are due even where nothing is to change: what a rotation began is brought to its
    end, and the marker says who holds the database and what a deletion means."""
    for step in steps:
        if isinstance(step, CloseLogin) or _is_marker(step, wanted):
            yield step


def _is_marker(step: RoleStep, wanted: Wanted) -> bool:
    return isinstance(step, CommentOnRole) and step.name == wanted.names.owner
