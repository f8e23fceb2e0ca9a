"""What the kinds share: how an object is read, its metadata, references and conditions."""

from collections.abc import Mapping
from typing import Annotated, Any, Final, Literal, Self

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError
from pydantic.alias_generators import to_camel

from servicedb.api.schema import list_map
from servicedb.api.strings import Namespace, ObjectName, SecretKey

GROUP: Final = "servicedb.io"
VERSION: Final = "v1alpha1"
API_VERSION: Final = f"{GROUP}/{VERSION}"

MANAGED_BY: Final = "app.kubernetes.io/managed-by"
RECONCILE_AT: Final = f"{GROUP}/reconcile-at"
ROTATE_AT: Final = f"{GROUP}/rotate-at"
RECREATE: Final = f"{GROUP}/recreate"
ACKNOWLEDGE: Final = f"{GROUP}/acknowledge"
RUN_AT: Final = f"{GROUP}/run-at"
CONFIRM_DELETE: Final = f"{GROUP}/confirm-delete"

NEVER_OBSERVED: Final = -1
"""observedGeneration of an object that no operator has seen yet."""


class Unreadable(ValueError):
    """An object that does not fit these models: the CRD in the cluster is older or newer than they are."""


class Part(BaseModel):
    """A piece of an object. Unknown fields are dropped: the API server prunes them, too."""

    model_config = ConfigDict(
        alias_generator=to_camel, populate_by_name=True, frozen=True, extra="ignore", defer_build=True
    )

    def as_json(self) -> dict[str, Any]:
        """As the API server takes it: camelCase, without what is unset."""
        return self.model_dump(mode="json", by_alias=True, exclude_none=True)


class Metadata(Part):
    """The object's metadata, as far as it is acted on. Empty uid: not from an API server."""

    name: str
    uid: str = ""
    generation: int = 0
    resource_version: str = ""
    labels: dict[str, str] = Field(default_factory=dict)
    annotations: dict[str, str] = Field(default_factory=dict)
    creation_timestamp: AwareDatetime | None = None
    deletion_timestamp: AwareDatetime | None = None


class NamespacedMetadata(Metadata):
    namespace: str


class Object(Part):
    """An object of one of our kinds."""

    @classmethod
    def parse(cls, manifest: Mapping[str, Any]) -> Self:
        """The object in `manifest`, as read from the API server or a file.

        Raises:
            Unreadable: it lacks a field, or a field holds what the schema does not allow.
        """
        try:
            return cls.model_validate(manifest)
        except ValidationError as error:
            raise Unreadable(_sentence(cls.__name__, manifest, error)) from error


def _sentence(kind: str, manifest: Mapping[str, Any], error: ValidationError) -> str:
    metadata = manifest.get("metadata")
    names = [metadata.get(key) for key in ("namespace", "name")] if isinstance(metadata, Mapping) else []
    name = "/".join(str(part) for part in names if part)
    faults = "; ".join(
        f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}"
        for fault in error.errors(include_url=False, include_context=False, include_input=False)
    )
    return f"{kind} {name} cannot be read: {faults}; correct it, and apply the CRDs of this release"


class ServerReference(Part):
    name: Annotated[ObjectName, Field(description="Name of the DatabaseServer.")]


class SecretReference(Part):
    """A Secret in a namespace, which only DatabaseServer may name."""

    namespace: Annotated[
        Namespace,
        Field(
            description="Namespace of the Secret: one that the operator's settings allow (by default, only its own)."
        ),
    ]
    name: Annotated[
        ObjectName,
        Field(description='Name of the Secret. It carries the label servicedb.io/admin-credentials: "true".'),
    ]


class AdminSecretReference(SecretReference):
    username_key: Annotated[SecretKey, Field(description="Key of the Secret that holds the admin's name.")] = "username"
    password_key: Annotated[SecretKey, Field(description="Key of the Secret that holds the admin's password.")] = (
        "password"  # noqa: S105  (the key's name)
    )


class CASecretReference(SecretReference):
    key: Annotated[SecretKey, Field(description="Key of the Secret that holds the certificates, in PEM.")] = "ca.crt"


ConditionStatus = Literal["True", "False", "Unknown"]


class Condition(Part):
    """One aspect of the object's state, as Kubernetes' own metav1.Condition."""

    type: Annotated[
        str,
        Field(
            description="Name of the condition, such as Ready.",
            min_length=1,
            max_length=63,
            pattern=r"^[A-Za-z][A-Za-z0-9]*$",
        ),
    ]
    status: Annotated[ConditionStatus, Field(description="True, False, or Unknown where it could not be tried.")]
    reason: Annotated[
        str,
        Field(
            description="Why, in one CamelCase word that stays the same between releases.",
            min_length=1,
            max_length=63,
            pattern=r"^[A-Za-z][A-Za-z0-9]*$",
        ),
    ]
    message: Annotated[
        str,
        Field(
            description="What is wrong, where, and what to do, for people. It never holds credentials or row values.",
            max_length=8192,
        ),
    ] = ""
    last_transition_time: Annotated[AwareDatetime, Field(description="When the condition's status last changed.")]
    observed_generation: Annotated[
        int, Field(description="The metadata.generation that the condition speaks of.", ge=NEVER_OBSERVED)
    ] = NEVER_OBSERVED


Conditions = Annotated[
    tuple[Condition, ...],
    Field(
        description="The object's state: Ready, and what it is made of. While working towards it there is Reconciling; "
        "when only a person can go on there is Stalled, whose message says how.",
        max_length=16,
        json_schema_extra=list_map("type"),
    ),
]

ObservedGeneration = Annotated[
    int,
    Field(
        description="The metadata.generation that the operator last looked at; -1 before its first look.",
        ge=NEVER_OBSERVED,
        json_schema_extra={"format": "int64"},
    ),
]

HANDLED_LENGTH: Final = 256
"""As much of an annotation's value is compared and remembered."""

Handled = Annotated[
    str | None,
    Field(description="Value of the annotation that was last acted on.", max_length=HANDLED_LENGTH),
]
