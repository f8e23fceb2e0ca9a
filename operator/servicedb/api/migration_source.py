"""Where a MigrationRun's files come from, and how they are read."""

from typing import Annotated, Literal

from pydantic import ConfigDict, Field

from servicedb.api.common import Part
from servicedb.api.schema import LIST_ATOMIC, Rule, list_map, validations
from servicedb.api.strings import NO_CONTROL_CHARACTERS, Identifier, ObjectName

MigrationFormat = Literal["Auto", "Flyway", "GolangMigrate", "Goose", "Dbmate", "Plain"]
HistoryFormat = Literal["Flyway", "GolangMigrate", "Goose", "Dbmate", "EntityFramework", "Table"]

IMAGE_REFERENCE = (
    r"^[a-zA-Z0-9][-.a-zA-Z0-9]*(:[0-9]+)?(/[a-z0-9]+([._-]+[a-z0-9]+)*)*"
    r"(:[_a-zA-Z0-9][-._a-zA-Z0-9]{0,127})?(@sha256:[0-9a-f]{64})?$"
)
"""Source: the grammar of distribution/reference, which Kubernetes reads images by."""

FileName = Annotated[str, Field(min_length=1, max_length=253, pattern=r"^[-._a-zA-Z0-9]+(/[-._a-zA-Z0-9]+)*$")]
FilePath = Annotated[str, Field(min_length=1, max_length=1024, pattern=NO_CONTROL_CHARACTERS)]


class ConfigMapSource(Part):
    """A ConfigMap with migrations."""

    name: Annotated[
        ObjectName,
        Field(
            description="Name of a ConfigMap in this namespace; each of its keys is a file, or an archive of files "
            "(.tar.gz, .tgz, .tar.zst). Best one with a hash."
        ),
    ]
    path: Annotated[
        str | None,
        Field(
            description="The folder of the source that its files stand in, such as seeds/dev. Left out: the top.",
            min_length=1,
            max_length=253,
            pattern=r"^[-_a-zA-Z0-9][-._a-zA-Z0-9]*(/[-_a-zA-Z0-9][-._a-zA-Z0-9]*)*$",
        ),
    ] = None


class ImageSource(Part):
    """An image with migrations."""

    reference: Annotated[
        str,
        Field(
            description="The image, best by its digest: a tag that is moved is not noticed. It needs a cp of its own.",
            min_length=1,
            max_length=512,
            pattern=IMAGE_REFERENCE,
        ),
    ]
    path: Annotated[
        str,
        Field(
            description="The folder in the image that holds the files.",
            max_length=1024,
            pattern=r"^(/[-_a-zA-Z0-9][-._a-zA-Z0-9]*)+$",
        ),
    ] = "/migrations"


class InlineFile(Part):
    """A migration that stands in the object itself."""

    name: Annotated[FileName, Field(description="Name of the file, such as V1__init.sql.")]
    content: Annotated[str, Field(description="The SQL that the file holds.", max_length=131_072)]


class MigrationSource(Part):
    """The migrations, in one of three places."""

    model_config = ConfigDict(
        json_schema_extra=validations(
            Rule(
                "(has(self.configMaps) ? 1 : 0) + (has(self.image) ? 1 : 0) + (has(self.inline) ? 1 : 0) == 1",
                "spec.source takes exactly one of configMaps, image and inline: leave the others out",
            )
        )
    )

    config_maps: Annotated[
        tuple[ConfigMapSource, ...],
        Field(
            description="ConfigMaps whose keys are files. No file may stand in two of them.",
            min_length=1,
            max_length=16,
            json_schema_extra=list_map("name"),
        ),
    ] = ()
    image: Annotated[ImageSource | None, Field(description="An image that holds the files.")] = None
    inline: Annotated[
        tuple[InlineFile, ...],
        Field(
            description="The files themselves, 128 KiB together at most.",
            min_length=1,
            max_length=64,
            json_schema_extra=list_map("name"),
        ),
    ] = ()


class AdoptHistory(Part):
    """The history of another tool, taken over once."""

    model_config = ConfigDict(
        json_schema_extra=validations(
            Rule(
                "self.format != 'Table' || (has(self.table) && has(self.versionColumn))",
                "spec.adoptHistory.format Table needs table and versionColumn: say where the versions stand",
            ),
            Rule(
                "self.format == 'Table' || !(has(self.versionColumn) || has(self.nameColumn))",
                "spec.adoptHistory.versionColumn and nameColumn are for format Table: other tools' columns are known",
            ),
        )
    )

    format: Annotated[HistoryFormat, Field(description="Which tool wrote it; Table: any table with a version column.")]
    table: Annotated[
        str | None,
        Field(
            description="The table, with its schema where it is not public. Left out: the tool's own.",
            min_length=1,
            max_length=127,
            pattern=NO_CONTROL_CHARACTERS,
        ),
    ] = None
    version_column: Annotated[Identifier | None, Field(description="With Table: the column with the version.")] = None
    name_column: Annotated[Identifier | None, Field(description="With Table: the column with the name.")] = None


class Hooks(Part):
    """Files that run around the migrations."""

    before: Annotated[
        tuple[FilePath, ...],
        Field(description="Files that run before the first.", max_length=16, json_schema_extra=LIST_ATOMIC),
    ] = ()
    after: Annotated[
        tuple[FilePath, ...],
        Field(description="Files that run after the last.", max_length=16, json_schema_extra=LIST_ATOMIC),
    ] = ()
