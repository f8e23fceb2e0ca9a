"""How a ServiceDatabase's credentials are renewed, and written into Secrets."""

from typing import Annotated, Final

from pydantic import ConfigDict, Field

from servicedb.api.common import Part
from servicedb.api.schema import Rule, validations
from servicedb.api.strings import Duration, LabelKeyed, LabelValue

SECRET_KEYS: Final = (
    "type",
    "provider",
    "username",
    "user",
    "password",
    "pending-username",
    "pending-password",
    "dbname",
    "host",
    "port",
    "uri",
    "jdbc-uri",
    "pgpass",
    "sslmode",
    "ca.crt",
)
"""The keys of a Secret that servicedb writes itself; a template has others."""


class Credentials(Part):
    """How credentials are renewed and written."""

    model_config = ConfigDict(
        json_schema_extra=validations(
            Rule(
                f"!has(self.rotateEvery) || !has(self.overlap) || "
                f"{Duration.cel_milliseconds('self.overlap')} < {Duration.cel_milliseconds('self.rotateEvery')}",
                "spec.credentials.overlap must be shorter than rotateEvery: "
                "shorten overlap (1h when left out), or rotate less often",
            ),
            Rule(
                "!has(self.secretTemplate) || self.secretTemplate.all(key, key.matches('^[-._a-zA-Z0-9]{1,253}$'))",
                "a key of spec.credentials.secretTemplate is not what a Secret takes as a key: "
                "use up to 253 letters, digits, '-', '_' and '.'",
            ),
            Rule(
                f"!has(self.secretTemplate) || !self.secretTemplate.exists(key, key in {list(SECRET_KEYS)!r})",
                "a key of spec.credentials.secretTemplate is one that servicedb writes itself: choose another "
                f"than {', '.join(SECRET_KEYS)}",
            ),
        )
    )

    rotate_every: Annotated[
        Duration | None,
        Field(
            description="Time between two rotations, such as 30d. "
            "Left out: only when the annotation servicedb.io/rotate-at gets a new value."
        ),
    ] = None
    overlap: Annotated[
        Duration,
        Field(description="Time for which the old credentials go on working after a rotation, such as 1h."),
    ] = Duration("1h")
    ca_file: Annotated[
        str,
        Field(
            description="Path at which applications mount the Secret's ca.crt: it goes into the connection strings.",
            max_length=255,
            pattern=r"^/[^\x00-\x1F\x7F-\x9F]*$",
        ),
    ] = "/etc/servicedb/ca.crt"
    secret_template: Annotated[
        dict[str, Annotated[str, Field(max_length=4096)]],
        Field(
            description="Further keys of each Secret, such as DB_HOST: '{host}'. In the values stand {host}, {port}, "
            "{dbname}, {user}, {password}, {sslmode} and {caFile}.",
            max_length=64,
        ),
    ] = Field(default_factory=dict)
    secret_labels: Annotated[
        dict[str, LabelValue],
        LabelKeyed,
        Field(
            description="Labels for each Secret. Only under prefixes that the operator's settings allow.",
            max_length=32,
        ),
    ] = Field(default_factory=dict)
    secret_annotations: Annotated[
        dict[str, Annotated[str, Field(max_length=4096)]],
        LabelKeyed,
        Field(
            description="Annotations for each Secret. Only under prefixes that the operator's settings allow.",
            max_length=32,
        ),
    ] = Field(default_factory=dict)
