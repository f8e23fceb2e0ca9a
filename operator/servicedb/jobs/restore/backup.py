"""A backup as it is read from a store: nothing of a part is whole before its digest has been seen."""

from collections.abc import Iterable, Iterator, Sequence

from pyrage import x25519

from servicedb.api.common import Unreadable
from servicedb.errors import Terminal
from servicedb.jobs.encoding import Damaged, WrongKey, checked, decompressed, decrypting
from servicedb.plan.backups.keys import OBJECTS, SCHEMA, Key
from servicedb.plan.backups.manifest import LONGEST_BYTES, Manifest, ManifestPart, manifest_digest
from servicedb.plan.backups.objects import Objects
from servicedb.store.interface import Store
from servicedb.store.problems import NoSuchObject


class Backup:
    """The backup whose manifest is `key`. Raises Problems."""

    def __init__(self, store: Store, key: str, identities: Sequence[x25519.Identity]) -> None:
        self._store = store
        self._identities = identities
        content = _short(store.read(_manifest_key(key)), key)
        try:
            self.manifest = Manifest.parse(content, key)
        except Unreadable as error:
            raise Terminal("BackupDamaged", str(error)) from error
        self.digest = manifest_digest(content)
        self._parts = {part.name: part for part in self.manifest.parts}
        if self.manifest.encryption is not None and not identities:
            raise Terminal("NoIdentity", f"backup {key} is encrypted; name the age identity with --identity")

    @property
    def data_parts(self) -> list[ManifestPart]:
        """The parts with tables' rows, largest first."""
        data = [part for part in self.manifest.parts if part.name.startswith("data-")]
        return sorted(data, key=lambda part: -part.raw_bytes)

    def part(self, name: str) -> ManifestPart:
        if name not in self._parts:
            raise Terminal("BackupDamaged", f"backup {self.manifest.key} has no part {name}; restore another one")
        return self._parts[name]

    def check_parts(self) -> None:
        """Raises Terminal where a part is missing, or longer or shorter than it was."""
        for part in self.manifest.parts:
            try:
                end = self._store.read_range(part.key, max(part.size_bytes - 1, 0), 2)
            except NoSuchObject as missing:
                raise self._missing(part, missing) from missing
            if len(end) != min(part.size_bytes, 1):
                raise self._altered(part)

    def check_part(self, part: ManifestPart) -> None:
        """Read all of a part. Raises Terminal where it is not what was stored."""
        for _ in self.read(part):
            continue

    def schema(self) -> bytes:
        """The dump of what comes before and after the rows, as pg_restore reads it."""
        return b"".join(self.read(self.part(SCHEMA)))

    def objects(self) -> Objects:
        """What there was, object by object."""
        return Objects.parse(b"".join(self.read(self.part(OBJECTS))))

    def read(self, part: ManifestPart) -> Iterator[bytes]:
        """What pg_dump wrote. The last piece comes only when all before was what the manifest says."""
        try:
            yield from _whole(self._decoded(part), part.raw_bytes)
        except NoSuchObject as missing:
            raise self._missing(part, missing) from missing
        except WrongKey:
            raise Terminal(
                "WrongKey",
                f"none of the age identities opens backup {self.manifest.key}: it is encrypted to "
                f"{', '.join(self.manifest.encryption.recipients) if self.manifest.encryption else 'nobody'}",
            ) from None
        except Damaged:
            raise self._altered(part) from None

    def _missing(self, part: ManifestPart, missing: NoSuchObject) -> Terminal:
        return Terminal(
            "BackupDamaged",
            f"part {part.name} of backup {self.manifest.key} is missing: {missing}; restore another backup",
        )

    def _altered(self, part: ManifestPart) -> Terminal:
        return Terminal(
            "BackupDamaged",
            f"part {part.name} of backup {self.manifest.key} is not what was stored: it was cut or altered since; "
            "restore another backup",
        )

    def _decoded(self, part: ManifestPart) -> Iterator[bytes]:
        chunks = checked(self._store.read(part.key), part.size_bytes, part.sha256)
        if self.manifest.encryption is not None:
            chunks = decrypting(chunks, self._identities)
        return chunks if self.manifest.compression.level == 0 else decompressed(chunks)


def _manifest_key(key: str) -> str:
    parsed = Key.parse(key)
    if parsed is None or parsed.place.manifest != key:
        raise Terminal("BadKey", f"{key} is no backup's key; `servicedb list` shows those that there are")
    return key


def _short(chunks: Iterable[bytes], key: str) -> bytes:
    content = bytearray()
    for chunk in chunks:
        content += chunk
        if len(content) > LONGEST_BYTES:
            raise Terminal("BackupDamaged", f"manifest {key} is longer than any; restore another backup")
    return bytes(content)


def _whole(chunks: Iterable[bytes], size: int) -> Iterator[bytes]:
    """`chunks`, of which the last one is held back until it is sure that there is no more, and all was right."""
    held = b""
    total = 0
    for chunk in chunks:
        total += len(chunk)
        if total > size:
            raise Damaged
        if held:
            yield held
        held = chunk
    if total != size:
        raise Damaged
    yield held
