"""Which memberships a database's logins need, and the steps that get there."""

from collections.abc import Collection, Iterator

from servicedb.plan.observed import Membership
from servicedb.plan.steps import Grant, Revoke
from servicedb.plan.wanted import Access, Login, Wanted

_READS_ALL_DATA = "pg_read_all_data"


def wanted_memberships(wanted: Wanted) -> frozenset[Membership]:
    """Each half of a login is a member of the role that it works as, or of PostgreSQL's that reads everything."""
    return frozenset(
        Membership(_group(login), half, inherit=login.inherits, set_role=True) for half, login in wanted.halves()
    )


def _group(login: Login) -> str:
    return _READS_ALL_DATA if login.access is Access.ALL_DATA else login.works_as


def membership_steps(
    wanted: frozenset[Membership], seen: frozenset[Membership], *, leaving: Collection[str] = ()
) -> Iterator[Grant | Revoke]:
    """Yield the steps from `seen` to `wanted`; none when they agree. The roles in `leaving` keep what they have.

    Grants come before revokes, so that a login never stands without the role it works as.
    A grant with the wrong options is granted again: GRANT replaces options in place, all but ADMIN.

    Source: PostgreSQL documentation, GRANT, "GRANT on Roles".
    """
    pairs = {(m.group, m.member) for m in wanted}
    unwanted = [membership for membership in sorted(seen - wanted) if membership.member not in leaving]
    for membership in unwanted:
        if membership.grantable and (membership.group, membership.member) in pairs:
            yield Revoke("could be passed on", membership)
    there = {(m.group, m.member) for m in seen}
    for membership in sorted(wanted - seen):
        known = (membership.group, membership.member) in there
        yield Grant("granted with other options" if known else "missing", membership)
    for membership in unwanted:
        if (membership.group, membership.member) not in pairs:
            yield Revoke("not in the spec", membership)
