"""What a run of migrations is asked for: all that its Job is made from."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from servicedb.api.migration_run import MigrationRun
from servicedb.api.migration_source import ImageSource
from servicedb.plan.job_pod import Endpoint

FILES: Final = "/run/servicedb/migrations"
"""Where a pod sees the source."""

_WITHOUT_FILES = frozenset({"Down", "ClearSeeds"})


@dataclass(frozen=True, slots=True)
class Order:
    """A run that is to be carried out. `source_digest` is that of the files that were seen: the pod refuses others.
    None where nobody can see them before, in an image.

    `keys`: of each ConfigMap whose files stand in a folder of the source, its keys.
    """

    run: MigrationRun
    name: str
    source_digest: str | None
    secret_name: str
    endpoint: Endpoint
    image: str
    keys: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    @property
    def copied(self) -> ImageSource | None:
        """The image that files are copied from. None also for an action that needs none: its SQL is in the history."""
        return self.run.spec.source.image if self.run.spec.action not in _WITHOUT_FILES else None
