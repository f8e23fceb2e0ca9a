"""A bucket of S3, or of what speaks as S3 does, as a store."""

import contextlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Final

import obstore
from obstore.exceptions import BaseError
from obstore.store import S3Store as Client

from servicedb.store.answers import problem
from servicedb.store.interface import Stored
from servicedb.store.problems import StoreRefused

if TYPE_CHECKING:
    from obstore.store import ClientConfig, S3Credential

MOST_PIECES: Final = 10_000
"""Source: Amazon S3 documentation, "Amazon S3 multipart upload limits"."""

_PIECE: Final = 8 << 20
_LARGEST_PIECE: Final = -(-(5 << 40) // MOST_PIECES)
"""No object may have more than 5 TiB."""
_PIECES_AT_ONCE: Final = 4
_BYTES_AT_ONCE: Final = 64 << 20
"""What an upload may hold in memory: the pieces of a huge object go one after the other."""
_READ_PIECE: Final = 8 << 20


@dataclass(frozen=True, slots=True)
class Bucket:
    """Where the objects are. `endpoint` None is AWS; `path_style` puts the bucket's name into the path of a request."""

    name: str
    prefix: str = ""
    endpoint: str | None = None
    region: str | None = None
    path_style: bool = False

    def __str__(self) -> str:
        at = f" at {self.endpoint}" if self.endpoint else ""
        return f"s3://{self.name}{'/' if self.prefix else ''}{self.prefix}{at}"


@dataclass(frozen=True, slots=True)
class Patience:
    """How long a store may take. A request that has no answer after `request` is tried again, as is one that failed
    with the store's fault, until `total` is over: it must stay below 5 minutes, for which a signature is good."""

    request: timedelta = timedelta(seconds=60)
    total: timedelta = timedelta(minutes=4)
    tries: int = 10


class S3Store:
    """Objects in a bucket. Each request is signed with the credentials of that moment."""

    def __init__(self, bucket: Bucket, credentials: Path | None, patience: Patience | None = None) -> None:
        self._bucket = bucket
        self.credentials = credentials
        self._mounted = _Mounted(credentials) if credentials is not None else None
        self._client = _client(bucket, self._mounted, patience or Patience())

    @property
    def location(self) -> str:
        return str(self._bucket)

    def put(self, key: str, chunks: Iterable[bytes], *, expected_bytes: int = 0) -> None:
        # Some stores want pieces of one size, so it can't grow later: a quarter more than expected is allowed for.
        piece = min(max(_PIECE, -(-expected_bytes * 5 // 4 // MOST_PIECES)), _LARGEST_PIECE)
        rest = iter(chunks)
        first, small = _first(rest, piece)
        if small:
            with self._classed(key, "PUT"):
                obstore.put(self._client, key, b"".join(first), use_multipart=False)
            return
        at_once = max(1, min(_PIECES_AT_ONCE, _BYTES_AT_ONCE // piece))
        raised: list[BaseException] = []
        whole = _kept(self._counted(chain(first, rest), key, piece * MOST_PIECES), raised)
        try:
            with self._classed(key, "PUT"):
                obstore.put(self._client, key, whole, use_multipart=True, chunk_size=piece, max_concurrency=at_once)
        except BaseException:
            if raised:  # whatever the store says then: it was told to give up
                raise raised[0] from None
            raise

    def read(self, key: str) -> Iterator[bytes]:
        # Piece by piece: one long answer would have to come within the time for a request.
        with self._classed(key, "GET"):
            size = self._size(key)
        for start in range(0, size, _READ_PIECE):
            yield self.read_range(key, start, min(_READ_PIECE, size - start))

    def read_range(self, key: str, start: int, length: int) -> bytes:
        if length == 0:
            return b""
        with self._classed(key, "GET"):
            return bytes(obstore.get_range(self._client, key, start=start, length=length))

    def list(self, prefix: str) -> Iterator[Stored]:
        with self._classed(prefix, "LIST"):
            for page in obstore.list(self._client, prefix or None):
                for one in page:
                    yield Stored(one["path"], one["size"], one["last_modified"])

    def delete(self, key: str) -> None:
        with self._classed(key, "DELETE"):
            obstore.delete(self._client, key)

    def _size(self, key: str) -> int:
        try:
            return obstore.head(self._client, key)["size"]
        except (BaseError, FileNotFoundError):
            return obstore.get(self._client, key).meta["size"]  # the answer to a HEAD does not say what is wrong

    def _counted(self, chunks: Iterator[bytes], key: str, most: int) -> Iterator[bytes]:
        size = 0
        for chunk in chunks:
            size += len(chunk)
            if size > most:
                raise StoreRefused(
                    f"{key} is larger than {most} bytes, of which {self.location} could be told beforehand; "
                    "what is dumped is much larger written out than in the server's files, or has grown meanwhile: "
                    "compress it more (--compression), or try again"
                )
            yield chunk

    @contextlib.contextmanager
    def _classed(self, key: str, action: str) -> Iterator[None]:
        try:
            yield
        except (BaseError, FileNotFoundError, TimeoutError) as error:
            if self._mounted is not None:
                self._mounted()  # where the Secret is gone, that is what is wrong
            # From None: what obstore says holds whole answers, which are nobody's business.
            raise problem(str(error), key, action, self.location) from None


def _first(chunks: Iterator[bytes], size: int) -> tuple[list[bytes], bool]:
    """The chunks up to `size` bytes, and whether they are all."""
    first: list[bytes] = []
    while size > 0:
        chunk = next(chunks, None)
        if chunk is None:
            return first, True
        first.append(chunk)
        size -= len(chunk)
    return first, False


def _kept(chunks: Iterator[bytes], raised: list[BaseException]) -> Iterator[bytes]:
    """The chunks; what they raise is put into `raised`, so that it is told from the store's own errors."""
    try:
        yield from chunks
    except BaseException as error:
        raised.append(error)
        raise


def _client(bucket: Bucket, mounted: "_Mounted | None", patience: Patience) -> Client:
    options: ClientConfig = {"connect_timeout": patience.request, "timeout": patience.request}
    if bucket.endpoint is not None and bucket.endpoint.startswith("http://"):
        options["allow_http"] = True
    if mounted is not None and mounted.authority is not None:
        options["root_certificate"] = mounted.authority
    config: dict[str, object] = {
        "prefix": bucket.prefix or None,
        "endpoint": bucket.endpoint,
        # At AWS the environment's counts where none is given; others ask for one, and care little which.
        "region": bucket.region or ("us-east-1" if bucket.endpoint is not None else None),
        "virtual_hosted_style_request": not bucket.path_style,
    }
    if bucket.endpoint is None:
        # A bucket of AWS with Object Lock asks for a checksum. Others may not know them; the signature of a request
        # covers its content anyway.
        config["checksum_algorithm"] = "SHA256"
    return Client(
        bucket.name,
        **{name: value for name, value in config.items() if value is not None},  # type: ignore[arg-type]
        client_options=options,
        retry_config={
            "max_retries": patience.tries,
            "retry_timeout": patience.total,
            "backoff": {"init_backoff": timedelta(milliseconds=200), "max_backoff": timedelta(seconds=15), "base": 2},
        },
        credential_provider=mounted,
    )


class _Mounted:
    """The credentials in a mounted Secret, as they are when obstore asks: before each request, since what it is given
    expires at once."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self()  # says what is missing at once

    def __call__(self) -> "S3Credential":
        found = {name: self._read(name) for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN")}
        key, secret = found["AWS_ACCESS_KEY_ID"], found["AWS_SECRET_ACCESS_KEY"]
        if not key or not secret:
            raise StoreRefused(
                f"{self._folder} holds no AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY: is the Secret mounted there, "
                "and does it have those keys?"
            )
        return {
            "access_key_id": key,
            "secret_access_key": secret,
            "token": found["AWS_SESSION_TOKEN"] or None,
            "expires_at": datetime.now(UTC),
        }

    @property
    def authority(self) -> bytes | None:
        """The certificates that the store's has to be signed by, besides the well-known ones."""
        file = self._folder / "ca.crt"
        return file.read_bytes() if file.is_file() else None

    def _read(self, name: str) -> str:
        file = self._folder / name
        return file.read_text().strip() if file.is_file() else ""
