"""Backups that were never made: their manifests, for tests of what is decided by them."""

from datetime import UTC, datetime

from servicedb.plan.backups.keys import Place
from servicedb.plan.backups.manifest import Compression, GroupOf, Manifest, ManifestPart, Table, Totals, manifest_digest

NOW = datetime(2026, 11, 21, 22, 53, tzinfo=UTC)


def manifest(place: Place, *, sizes: tuple[int, ...] = (100, 20), completed_at: datetime = NOW) -> Manifest:
    """The manifest of a backup at `place`, with the schema and further parts of these `sizes` in bytes."""
    names = ("schema", "rest", *(f"data-{number}" for number in range(1, len(sizes))))[: len(sizes)]
    return Manifest(
        id=place.id,
        group=GroupOf(system_identifier=place.group.system_identifier, database_oid=place.group.database_oid),
        database="orders",
        started_at=NOW,
        completed_at=completed_at,
        servicedb="0.1.0",
        server_version=18_00_00,
        dump_version="18.0",
        compression=Compression(level=1),
        parts=tuple(
            ManifestPart(
                name=name,
                key=place.part(name, compressed=True, encrypted=False),
                size_bytes=size,
                raw_bytes=2 * size,
                sha256=manifest_digest(content(size)),
            )
            for name, size in zip(names, sizes, strict=True)
        ),
        tables=(Table(schema_="public", name="orders", rows=3),),
        schema_fingerprint=manifest_digest(b""),
        totals=Totals(rows=3, size_bytes=sum(sizes), raw_bytes=2 * sum(sizes)),
    )


def content(size: int) -> bytes:
    """What is stored as a part of that size."""
    return b"x" * size
