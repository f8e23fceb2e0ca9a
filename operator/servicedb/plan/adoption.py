"""Databases of a cluster that is no more, and what makes them this cluster's."""

from dataclasses import dataclass, replace

from servicedb.naming import RoleNames
from servicedb.plan.marker import Marker
from servicedb.plan.release import LiveObject
from servicedb.plan.steps import CommentOnRole


@dataclass(frozen=True, slots=True)
class Here:
    """What this cluster has under the namespace and name of a marker; None: nothing."""

    namespace_uid: str | None
    object_uid: str | None
    live: LiveObject | None


@dataclass(frozen=True, slots=True)
class Adoption:
    """A database that carries the mark of the other cluster. `obstacle` says why it can't be had; None: it can."""

    server: str
    database: str
    marker: Marker
    here: Here
    obstacle: str | None = None

    @property
    def state(self) -> str:
        """How the other cluster left it."""
        if self.marker.dropping is not None:
            return "Dropping"
        if self.marker.deleted_at is not None:
            return "Deleted"
        return "Released" if self.marker.released is not None else "Held"

    def marker_here(self, *, cluster: str, crd: str) -> Marker:
        """The marker that makes it this cluster's. What the other one had let go is held again: its object is here."""
        assert self.here.namespace_uid is not None
        assert self.here.object_uid is not None
        return replace(
            self.marker,
            cluster=cluster,
            crd=crd,
            namespace_uid=self.here.namespace_uid,
            uid=self.here.object_uid,
            released=None,
            deleted_at=None,
        )

    def step(self, marker: Marker) -> CommentOnRole:
        return CommentOnRole("adopted from another cluster", RoleNames(self.database).owner, marker.comment())


def obstacle(database: str, marker: Marker, here: Here, *, server_identifier: str) -> str | None:
    """Why the database that `marker` speaks of can't be this cluster's, as a clause; None where it can."""
    name = f"{marker.namespace}/{marker.name}"
    if marker.dropping is not None:
        return "it is being dropped"
    if here.namespace_uid is None:
        return f"there is no namespace {marker.namespace} here"
    if here.object_uid is None or here.live is None:
        return f"there is no ServiceDatabase {name} here"
    if here.live.server is None:
        return f"ServiceDatabase {name} can't be read, or its DatabaseServer was not looked at"
    if (here.live.server, here.live.database) != (server_identifier, database):
        return f"ServiceDatabase {name} stands for another database here"
    return None
