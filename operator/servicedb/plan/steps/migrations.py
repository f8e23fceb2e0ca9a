"""Steps of a MigrationRun, whose work is a Job's: what the operator itself writes for it."""

from dataclasses import dataclass

from servicedb.plan.steps.base import Step


@dataclass(frozen=True, slots=True)
class MigrationStep(Step):
    """Something that is written at the API server for a MigrationRun."""


@dataclass(frozen=True, slots=True)
class BeginRun(MigrationStep):
    """Say in the status that a new spec is worked on, and that how it ends is open."""


@dataclass(frozen=True, slots=True)
class CreateJob(MigrationStep):
    """Make the Job of a run. Its name follows from what is asked, so that there is one."""

    name: str


@dataclass(frozen=True, slots=True)
class NoteResult(MigrationStep):
    """Note in the status what the Job has come to, and the run that is not to be done again."""


@dataclass(frozen=True, slots=True)
class DeleteJob(MigrationStep):
    """Delete a Job: it was kept for long enough, is to be tried again, or gives way to another."""

    name: str
