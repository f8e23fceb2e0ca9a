"""Where backups are kept: an S3-compatible store or a mounted volume, and how they are encrypted and compressed."""

from typing import Annotated

from pydantic import ConfigDict, Field

from servicedb.api.common import Part
from servicedb.api.schema import LIST_SET, Rule, validations
from servicedb.api.strings import ObjectName, Word

StoragePath = Annotated[
    str, Field(max_length=512, pattern=r"^([-_=a-zA-Z0-9][-._=a-zA-Z0-9]*(/[-_=a-zA-Z0-9][-._=a-zA-Z0-9]*)*)?$")
]
"""Folders below a bucket or a volume; none begins with a dot, so that none leads out of it."""

AgeRecipient = Annotated[str, Field(max_length=80, pattern=r"^age1[ac-hj-np-z02-9]{58}$")]
"""A public key of age. Source: The age file encryption format, "The X25519 recipient type"."""


class StorageSecretReference(Part):
    """A Secret with keys for a store."""

    name: Annotated[
        ObjectName,
        Field(
            description="Name of a Secret in this namespace with AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, and "
            "where they are needed AWS_SESSION_TOKEN and ca.crt."
        ),
    ]


class S3Storage(Part):
    """A bucket of an S3-compatible store."""

    bucket: Annotated[
        str,
        Field(
            description="Name of the bucket.",
            min_length=3,
            max_length=63,
            pattern=r"^[a-z0-9][-.a-z0-9]*[a-z0-9]$",
        ),
    ]
    prefix: Annotated[StoragePath, Field(description="The folder in the bucket. Left out: the bucket as a whole.")] = ""
    endpoint: Annotated[
        str | None,
        Field(
            description="Address of the store, such as https://s3.example.org. Left out: that of AWS in the region.",
            max_length=512,
            pattern=r"^https?://[-._a-zA-Z0-9]+(:[0-9]{1,5})?$",
        ),
    ] = None
    region: Annotated[Word | None, Field(description="The store's region, such as eu-central-1.")] = None
    force_path_style: Annotated[
        bool, Field(description="true: the bucket stands in the path instead of the host name.")
    ] = False
    write_secret_ref: Annotated[
        StorageSecretReference | None,
        Field(
            description="Keys that may put objects, for the backups themselves. Left out: what the pod's "
            "ServiceAccount may do (spec.job.serviceAccountName)."
        ),
    ] = None
    read_secret_ref: Annotated[
        StorageSecretReference | None,
        Field(description="Keys that may list and get objects, to verify and restore. Left out: writeSecretRef."),
    ] = None
    prune_secret_ref: Annotated[
        StorageSecretReference | None,
        Field(description="Keys that may list, get and delete objects, for pruning. Left out: writeSecretRef."),
    ] = None


class VolumeStorage(Part):
    """A folder on a volume."""

    claim_name: Annotated[
        ObjectName,
        Field(description="Name of a PersistentVolumeClaim in this namespace that pods of several nodes may mount."),
    ]
    path: Annotated[StoragePath, Field(description="The folder on the volume. Left out: the volume as a whole.")] = ""


_ONE_PLACE = validations(
    Rule(
        "(has(self.s3) ? 1 : 0) + (has(self.volume) ? 1 : 0) == 1",
        "a storage takes exactly one of s3 and volume: leave the other out",
    )
)


class Storage(Part):
    """One place for backups."""

    model_config = ConfigDict(json_schema_extra=_ONE_PLACE)

    s3: Annotated[S3Storage | None, Field(description="A bucket of an S3-compatible store.")] = None
    volume: Annotated[VolumeStorage | None, Field(description="A folder on a volume.")] = None


class Copy(Part):
    """A second place."""

    model_config = ConfigDict(json_schema_extra=_ONE_PLACE)

    name: Annotated[Word, Field(description="What this place is called in conditions.")]
    s3: Annotated[S3Storage | None, Field(description="A bucket of an S3-compatible store.")] = None
    volume: Annotated[VolumeStorage | None, Field(description="A folder on a volume.")] = None


class IdentityReference(Part):
    """A Secret with an age identity."""

    name: Annotated[
        ObjectName,
        Field(description="Name of a Secret in this namespace whose key `identity` holds the private key, as of age."),
    ]


class Encryption(Part):
    """Who can read the backups."""

    age_recipients: Annotated[
        tuple[AgeRecipient, ...],
        Field(
            description="Public keys of age. What is stored can be read with the private key of any of them, and with "
            "nothing else: keep one of them away from this cluster.",
            min_length=1,
            max_length=16,
            json_schema_extra=LIST_SET,
        ),
    ]
    identity_secret_ref: Annotated[
        IdentityReference | None,
        Field(
            description="The private key, for verify and restore alone: pods that back up never see it. Left out: "
            "nothing is verified."
        ),
    ] = None


class Compression(Part):
    """How backups are compressed."""

    level: Annotated[int, Field(description="Level of zstd; 0: not at all.", ge=0, le=19)] = 1
