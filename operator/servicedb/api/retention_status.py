"""What the status of a RetentionPolicy says of its runs and plans."""

from typing import Annotated

from pydantic import AwareDatetime, Field

from servicedb.api.common import NEVER_OBSERVED, Conditions, Handled, ObservedGeneration, Part
from servicedb.api.migration_run import JobStatus
from servicedb.api.schema import LIST_ATOMIC, list_map
from servicedb.api.strings import Line

MOST_LINES = 20
"""So many of a list are shown."""

_Table = Annotated[str, Field(description="The table.", min_length=3, max_length=127)]
_Rows = Annotated[int, Field(ge=0)]
_Lines = Annotated[tuple[Line, ...], Field(max_length=MOST_LINES, json_schema_extra=LIST_ATOMIC)]


class RuleRun(Part):
    """What a run has done by one rule."""

    table: _Table
    archived_rows: Annotated[_Rows, Field(description="How many rows were archived.")] = 0
    deleted_rows: Annotated[_Rows, Field(description="How many rows were deleted.")] = 0
    archived_bytes: Annotated[_Rows, Field(description="How many bytes that took in the archive.")] = 0
    partitions_created: Annotated[_Rows, Field(description="How many partitions were made ahead.")] = 0
    partitions_dropped: Annotated[_Rows, Field(description="How many partitions were dropped.")] = 0
    archives_dropped: Annotated[_Rows, Field(description="How many objects left the archive.")] = 0
    null_times: Annotated[_Rows, Field(description="How many rows have NULL as their time, and stay for good.")] = 0
    oldest: Annotated[
        str | None, Field(description="Time of the oldest row that is left, as the server shows it.", max_length=64)
    ] = None
    problem: Annotated[Line | None, Field(description="Why not all of it was done.")] = None


class RetentionRun(Part):
    """What the last run that ended has done."""

    started: Annotated[AwareDatetime | None, Field(description="When it began.")] = None
    completed: Annotated[AwareDatetime | None, Field(description="When it ended.")] = None
    archived_rows: Annotated[_Rows, Field(description="How many rows were archived.")] = 0
    deleted_rows: Annotated[_Rows, Field(description="How many rows were deleted.")] = 0
    rules: Annotated[
        tuple[RuleRun, ...],
        Field(description="What was done by each rule.", max_length=32, json_schema_extra=list_map("table")),
    ] = ()
    warnings: Annotated[_Lines, Field(description="What the run could not see to.")] = ()


class RulePlan(Part):
    """What a run would do by one rule."""

    table: _Table
    rows: Annotated[_Rows, Field(description="How many rows are due.")] = 0
    bytes_: Annotated[_Rows, Field(alias="bytes", description="About how many bytes they are.")] = 0
    oldest: Annotated[
        str | None, Field(description="Time of the oldest row, as the server shows it.", max_length=64)
    ] = None
    null_times: Annotated[_Rows, Field(description="How many rows have NULL as their time, and stay for good.")] = 0
    index: Annotated[
        bool | None, Field(description="Whether an index finds the rows. false: each batch reads the whole table.")
    ] = None
    partitions_to_create: Annotated[_Lines, Field(description="Partitions that would be made ahead.")] = ()
    partitions_to_drop: Annotated[_Lines, Field(description="Partitions that would be dropped.")] = ()
    warnings: Annotated[_Lines, Field(description="What to think about first.")] = ()
    problem: Annotated[Line | None, Field(description="Why a run would not follow the rule.")] = None


class RetentionPlan(Part):
    """What a run would do."""

    at: Annotated[AwareDatetime | None, Field(description="When it was looked at.")] = None
    rules: Annotated[
        tuple[RulePlan, ...],
        Field(description="What would be done by each rule.", max_length=32, json_schema_extra=list_map("table")),
    ] = ()


class RetentionPolicyHandled(Part):
    """The annotations that were acted on, and the work that was begun."""

    reconcile_at: Handled = None
    run_at: Handled = None
    planned_generation: Annotated[
        int | None, Field(description="The metadata.generation that was last looked at in mode Plan.", ge=0)
    ] = None
    ran_for: Annotated[
        AwareDatetime | None, Field(description="The time of spec.schedule that was last run for, or left out.")
    ] = None


class RetentionPolicyStatus(Part):
    """What the operator found and did."""

    observed_generation: ObservedGeneration = NEVER_OBSERVED
    conditions: Conditions = ()
    last_run: Annotated[RetentionRun | None, Field(description="What the last run that ended has done.")] = None
    next_run: Annotated[
        str | None, Field(description="When the next run is due, in the policy's time zone.", max_length=40)
    ] = None
    plan: Annotated[RetentionPlan | None, Field(description="With mode Plan, what a run would do.")] = None
    job: Annotated[JobStatus | None, Field(description="The Job of the latest run.")] = None
    handled: Annotated[
        RetentionPolicyHandled, Field(description="Annotations that were acted on, and work that was begun.")
    ] = RetentionPolicyHandled()
