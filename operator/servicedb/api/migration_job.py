"""The pods that work is done in."""

from typing import Annotated, Literal

from pydantic import Field

from servicedb.api.common import Part
from servicedb.api.schema import list_map
from servicedb.api.strings import Duration, LabelKeyed, LabelValue, ObjectName

Quantity = Annotated[str, Field(min_length=1, max_length=24, pattern=r"^[0-9]+([.][0-9]+)?(m|k|M|G|Ki|Mi|Gi)?$")]


class Amounts(Part):
    """Processor and memory."""

    cpu: Annotated[Quantity | None, Field(description="Processors, as a string, such as 500m.")] = None
    memory: Annotated[Quantity | None, Field(description="Memory, such as 256Mi.")] = None


class JobResources(Part):
    """What the pod may use."""

    requests: Annotated[Amounts, Field(description="What the pod is sure to get.")] = Amounts(cpu="50m", memory="64Mi")
    limits: Annotated[Amounts, Field(description="More than that it does not get.")] = Amounts(memory="512Mi")


class Toleration(Part):
    """A taint of a node that the pod may run in spite of."""

    key: Annotated[str, Field(description="The taint's key.", min_length=1, max_length=317)]
    operator: Annotated[
        Literal["Exists", "Equal"] | None, Field(description="Exists, or Equal with a value. Left out: Equal.")
    ] = None
    value: Annotated[LabelValue | None, Field(description="The taint's value.")] = None
    effect: Annotated[
        Literal["NoSchedule", "PreferNoSchedule", "NoExecute"] | None,
        Field(description="The taint's effect. Left out: all of them."),
    ] = None


class ImagePullSecret(Part):
    """A Secret that images are pulled with."""

    name: Annotated[ObjectName, Field(description="Name of the Secret in this namespace.")]


class JobSettings(Part):
    """How a pod of ours is run."""

    resources: Annotated[JobResources, Field(description="What the pod may use.")] = JobResources()
    node_selector: Annotated[
        dict[str, LabelValue],
        LabelKeyed,
        Field(description="Labels of the nodes that the pod may run on.", max_length=16),
    ] = Field(default_factory=dict)
    tolerations: Annotated[
        tuple[Toleration, ...],
        Field(description="Taints that the pod may run in spite of.", max_length=16, json_schema_extra=list_map("key")),
    ] = ()
    image_pull_secrets: Annotated[
        tuple[ImagePullSecret, ...],
        Field(description="Secrets that images are pulled with.", max_length=8, json_schema_extra=list_map("name")),
    ] = ()
    service_account_name: Annotated[
        ObjectName | None,
        Field(
            description='The ServiceAccount to run as, which carries the label servicedb.io/jobs: "allowed". '
            "Its token is not mounted."
        ),
    ] = None
    ttl: Annotated[Duration, Field(description="How long a Job that has ended is kept, for its log.")] = Duration("1h")


class MigrationJob(JobSettings):
    """How the pod of a migration is run."""

    deadline: Annotated[Duration, Field(description="After that time a Job is ended, and tried again later.")] = (
        Duration("1h")
    )
