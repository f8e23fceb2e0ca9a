"""Archives in a source, read as the files that they hold: in memory, with bounds, and nothing but plain files.

Who made one is unknown: what can't be read, leads elsewhere or grows without end is refused. Sources: GNU tar manual,
"Basic Tar Format"; RFC 8878, "Window Descriptor".
"""

import gzip
import io
import tarfile
import zlib
from collections.abc import Iterator, Mapping
from typing import IO, Final, Protocol, Self, cast

import zstandard

from servicedb.errors import Terminal
from servicedb.plan.migrations.bounds import SOURCE_BYTES, Bounds

GZIP: Final = (".tar.gz", ".tgz")
ZSTANDARD: Final = (".tar.zst",)

_WINDOW = 1 << 27
"""As much memory as zstd itself allows a reader by default."""

_TAR_BYTES = 2 * SOURCE_BYTES
"""With the headers and the padding of small files."""

_MEMBERS = 40_000
"""Folders, and what is left out, are counted here, too."""

_UNREADABLE = (
    tarfile.TarError,
    zlib.error,
    zstandard.ZstdError,
    EOFError,
    OSError,
    ValueError,
    ArithmeticError,
    MemoryError,
    RecursionError,
)
"""What tarfile and the decompressors raise for damaged input, by experience: their manuals name the first three."""


class _Readable(Protocol):
    def read(self, size: int, /) -> bytes: ...


def unpacked(files: Mapping[str, bytes]) -> dict[str, bytes]:
    """`files` with each archive replaced by what it holds, in the folder that it stands in.

    Raises Terminal for an archive that can't be read or holds what is no plain file, for more than a source may hold,
    and for a path that there would be twice.
    """
    bounds = Bounds()
    found: dict[str, bytes] = {}
    source_of: dict[str, str] = {}
    for name, content in files.items():
        folder = f"{name.rpartition('/')[0]}/" if "/" in name else ""
        inside = _inside(name, content, bounds) if name.endswith(GZIP + ZSTANDARD) else [(name[len(folder) :], content)]
        for path, one in inside:
            whole = folder + path
            if whole in found:
                raise Terminal(
                    "DuplicateFile", f'file "{whole}" stands in {source_of[whole]} and in {name}; take it out of one'
                )
            found[whole], source_of[whole] = one, name
    return found


def _inside(name: str, content: bytes, bounds: Bounds) -> Iterator[tuple[str, bytes]]:
    packed = io.BytesIO(content)
    plain = _Bounded(gzip.GzipFile(fileobj=packed) if name.endswith(GZIP) else _zstandard(packed))
    try:
        # A stream: it never goes back, whatever a header says.
        with tarfile.open(fileobj=cast("IO[bytes]", plain), mode="r|", errors="strict", tarinfo=_Header) as tar:
            for number, member in enumerate(tar):
                if number >= _MEMBERS:
                    raise Terminal("SourceTooLarge", f"{name} holds more than {_MEMBERS} entries; put in fewer")
                path = _path(name, member)
                if path is None or member.isdir():
                    continue
                bounds.take(member.size)
                extracted = tar.extractfile(member)
                assert extracted is not None
                yield path, extracted.read()
        while plain.read(tarfile.RECORDSIZE):  # the checksum stands at the end
            pass
    except _UNREADABLE as error:
        raise Terminal(
            "BadArchive", f"{name} can't be unpacked ({type(error).__name__}); was it made by tar, and copied whole?"
        ) from None


def _zstandard(packed: IO[bytes]) -> _Readable:
    decompressor = zstandard.ZstdDecompressor(max_window_size=_WINDOW)
    return decompressor.stream_reader(packed, read_across_frames=True)


def _path(archive: str, member: tarfile.TarInfo) -> str | None:
    """The member's path, None where a part of it is hidden. Raises Terminal for what has no place in a source."""
    parts = [part for part in member.name.split("/") if part not in ("", ".")]
    if member.name.startswith("/") or ".." in parts:
        raise Terminal("UnsafeSource", f'{archive} holds "{_shown(member.name)}", which leads out of it; leave it out')
    # A sparse file is as large as it says, whatever the archive holds of it.
    if not (member.isdir() or (member.isreg() and not member.issparse())):
        raise Terminal(
            "UnsafeSource",
            f'{archive} holds "{_shown(member.name)}", which is no plain file; put the file itself there',
        )
    return None if any(part.startswith(".") for part in parts) or not parts else "/".join(parts)


def _shown(name: str) -> str:
    return ascii(name[:200])[1:-1]


class _Header(tarfile.TarInfo):
    """A member whose header is whole: tarfile takes one that is damaged for the end."""

    @classmethod
    def fromtarfile(cls, tar: tarfile.TarFile) -> Self:
        try:
            return super().fromtarfile(tar)
        except tarfile.EOFHeaderError:  # type: ignore[attr-defined]
            raise
        except tarfile.HeaderError as error:
            raise tarfile.ReadError(str(error)) from None


class _Bounded:
    """What is decompressed, up to as much as an archive may be."""

    def __init__(self, plain: _Readable) -> None:
        self._plain = plain
        self._left = _TAR_BYTES

    def read(self, size: int) -> bytes:
        found = self._plain.read(size)
        self._left -= len(found)
        if self._left < 0:
            raise Terminal(
                "SourceTooLarge",
                f"an archive unpacks to more than {_TAR_BYTES} bytes; load data of that size otherwise",
            )
        return found
