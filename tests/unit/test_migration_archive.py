"""Archives in a source: what they hold is read, and nothing that a stranger could do harm with."""

import gzip
import io
import random
import tarfile
from collections.abc import Callable, Mapping

import pytest
import zstandard
from servicedb.errors import Terminal
from servicedb.plan.migrations.archive import unpacked
from servicedb.plan.migrations.bounds import SOURCE_BYTES, SOURCE_FILES

FILES = {"./V1__a.sql": b"SELECT 1", "seeds/dev/1.sql": b"SELECT 2", "seeds/._1.sql": b"", ".git/x.sql": b""}
READ = {"V1__a.sql": b"SELECT 1", "seeds/dev/1.sql": b"SELECT 2"}
LONG = "folder/" * 30 + "1.sql"


def member(name: str, kind: bytes = tarfile.REGTYPE, **fields: object) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type = kind
    for field, value in fields.items():
        setattr(info, field, value)
    return info


def tar(files: Mapping[str, bytes], *others: tarfile.TarInfo, format: int = tarfile.PAX_FORMAT) -> bytes:  # noqa: A002
    output = io.BytesIO()
    with tarfile.open(fileobj=output, mode="w", format=format) as archive:
        for name, content in files.items():
            info = member(name, size=len(content))
            archive.addfile(info, io.BytesIO(content))
        for info in others:
            archive.addfile(info)
    return output.getvalue()


@pytest.mark.parametrize(
    ("suffix", "pack"), [("tar.gz", gzip.compress), ("tgz", gzip.compress), ("tar.zst", zstandard.compress)]
)
@pytest.mark.parametrize("format", [tarfile.PAX_FORMAT, tarfile.GNU_FORMAT])
def test_an_archive_is_read_as_the_files_that_it_holds(
    suffix: str,
    pack: Callable[[bytes], bytes],
    format: int,  # noqa: A002
) -> None:
    packed = pack(tar({**FILES, LONG: b"3"}, member("empty", tarfile.DIRTYPE), format=format))
    assert unpacked({f"all.{suffix}": packed, "V9__z.sql": b""}) == {**READ, LONG: b"3", "V9__z.sql": b""}
    assert unpacked({f"seeds/dev/all.{suffix}": pack(tar({"2.sql": b"x"}))}) == {"seeds/dev/2.sql": b"x"}


def test_what_is_no_archive_stays_as_it_is() -> None:
    files = {"V1__a.sql": b"1", "data.zip": b"PK", "seeds/dev/1.sql": b"2"}
    assert unpacked(files) == files


@pytest.mark.parametrize(
    "others",
    [
        pytest.param(member("1.sql", tarfile.SYMTYPE, linkname="/run/servicedb/credentials/password"), id="a link"),
        pytest.param(member("1.sql", tarfile.SYMTYPE, linkname="V1__a.sql"), id="a link inside"),
        pytest.param(member("1.sql", tarfile.LNKTYPE, linkname="V1__a.sql"), id="a hard link"),
        pytest.param(member("1.sql", tarfile.CHRTYPE, devmajor=1, devminor=5), id="a device"),
        pytest.param(member("1.sql", tarfile.BLKTYPE), id="a disk"),
        pytest.param(member("1.sql", tarfile.FIFOTYPE), id="a pipe"),
        pytest.param(member("1.sql", tarfile.GNUTYPE_SPARSE), id="a sparse file"),
        pytest.param(member("../1.sql"), id="above"),
        pytest.param(member("a/../../1.sql"), id="above by a detour"),
        pytest.param(member("a/.."), id="the folder above"),
        pytest.param(member("/etc/1.sql"), id="absolute"),
    ],
)
def test_only_plain_files_inside_are_read(others: tarfile.TarInfo) -> None:
    with pytest.raises(Terminal) as refused:
        unpacked({"all.tgz": gzip.compress(tar(FILES, others))})
    assert refused.value.reason == "UnsafeSource"
    assert refused.value.message.startswith("all.tgz holds ")


def test_a_file_that_stands_there_twice_is_refused() -> None:
    packed = gzip.compress(tar({"./V1__a.sql": b"1"}))
    with pytest.raises(Terminal, match=r'"V1__a.sql" stands in all.tgz and in more.tgz; take it out of one'):
        unpacked({"all.tgz": packed, "more.tgz": packed})
    with pytest.raises(Terminal, match=r'"V1__a.sql" stands in all.tgz and in all.tgz'):
        unpacked({"all.tgz": gzip.compress(tar({"./V1__a.sql": b"1", "V1__a.sql": b"2"}))})


@pytest.mark.parametrize(("suffix", "pack"), [("tgz", gzip.compress), ("tar.zst", zstandard.compress)])
def test_a_bomb_is_refused_before_it_is_unpacked(suffix: str, pack: Callable[[bytes], bytes]) -> None:
    """Behind the last file, where nobody looks at it, and within one that says its size."""
    behind = pack(tar(FILES) + bytes(2 * SOURCE_BYTES))
    header = member("1.sql", size=SOURCE_BYTES + 1).tobuf()
    for bomb in (behind, pack(header + bytes(1 << 20))):
        assert len(bomb) < 1 << 20
        with pytest.raises(Terminal) as refused:
            unpacked({f"all.{suffix}": bomb})
        assert refused.value.reason == "SourceTooLarge"


def test_neither_are_more_files_read_than_a_source_may_hold() -> None:
    with pytest.raises(Terminal, match=f"more than {SOURCE_FILES} files"):
        unpacked({"all.tgz": gzip.compress(tar({f"{number}.sql": b"" for number in range(SOURCE_FILES + 1)}))})


def test_what_has_no_right_window_is_refused() -> None:
    parameters = zstandard.ZstdCompressionParameters(window_log=30)
    compressor = zstandard.ZstdCompressor(compression_params=parameters).compressobj()
    packed = compressor.compress(tar(FILES)) + compressor.flush()
    with pytest.raises(Terminal, match=r"all.tar.zst can't be unpacked"):
        unpacked({"all.tar.zst": packed})


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"SELECT 1",
        gzip.compress(b"SELECT 1" * 100),
        gzip.compress(tar(FILES))[:-30],
        gzip.compress(tar(FILES)[:600]),
    ],
    ids=["empty", "a file", "no tar", "cut short", "a tar cut short"],
)
def test_a_damaged_archive_is_said(content: bytes) -> None:
    with pytest.raises(Terminal, match=r"all.tgz can't be unpacked .* was it made by tar, and copied whole\?"):
        unpacked({"all.tgz": content})


def test_an_archive_with_any_damage_is_read_whole_or_refused() -> None:
    """Without a checksum over it: what is wrong then is left to tar's headers alone."""
    names = set(READ)
    whole = tar(FILES)
    generator = random.Random(7)
    for _ in range(2000):
        damaged = bytearray(whole)
        for _ in range(generator.randint(1, 3)):
            damaged[generator.randrange(len(FILES) * 1024)] = generator.randrange(256)
        try:
            found = unpacked({"all.tgz": gzip.compress(bytes(damaged), 0)})
        except Terminal:
            continue
        assert set(found) == names
