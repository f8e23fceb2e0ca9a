"""Where a store is: `s3://bucket/prefix?endpoint=https://...&region=...&pathStyle=true`, or `file:///path`."""

import re
from pathlib import Path
from typing import Final
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

from servicedb.store.folder import FolderStore
from servicedb.store.interface import Store
from servicedb.store.problems import StoreRefused
from servicedb.store.s3 import Bucket, S3Store

_BUCKET = re.compile(r"[a-z0-9][-.a-z0-9]{1,61}[a-z0-9]", re.ASCII)
_PREFIX = re.compile(r"([A-Za-z0-9!_.*'()=-]+/)*[A-Za-z0-9!_.*'()=-]+", re.ASCII)
"""Characters that every S3 takes as they are. Source: Amazon S3 documentation, "Naming Amazon S3 objects"."""
_REGION = re.compile(r"[A-Za-z0-9-]{1,63}", re.ASCII)
_OPTIONS: Final = {"endpoint", "region", "pathStyle"}


def open_store(url: str, credentials: Path | None = None) -> Store:
    """The store at `url`. Nothing is asked of it yet.

    `credentials` is a folder with AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, and maybe AWS_SESSION_TOKEN and ca.crt,
    as a mounted Secret is one; they are read again for each request, since a rotation may come in between. Without it
    the environment's credentials count, or the identity that the cloud gives the pod. A folder needs none.

    Raises:
        StoreRefused: the URL says no store.
    """
    parts = urlsplit(url)
    if parts.scheme == "s3":
        return S3Store(bucket(url), credentials)
    if parts.scheme == "file" and not parts.netloc and not parts.query and not parts.fragment:
        path = Path(unquote(parts.path))
        if path.is_absolute() and ".." not in path.parts:
            return FolderStore(path)
    raise StoreRefused(
        f"{_shown(parts)} is no location; write s3://bucket/prefix?endpoint=https://...&region=...&pathStyle=true, "
        "or file:///path"
    )


def bucket(url: str) -> Bucket:
    """The bucket that an s3:// URL names.

    Raises:
        StoreRefused: it names none, or holds what does not belong there.
    """
    parts = urlsplit(url)
    options = dict(parse_qsl(parts.query, keep_blank_values=True))
    prefix = parts.path.strip("/")
    endpoint = options.get("endpoint")
    faults = [
        *([] if _BUCKET.fullmatch(parts.netloc) else ["the name of its bucket is none"]),
        *([] if not prefix or _is_prefix(prefix) else ["its prefix holds other than letters, digits and !_.*'()=-"]),
        *([] if endpoint is None or _is_endpoint(endpoint) else ["its endpoint is no https://host or http://host"]),
        *([] if _REGION.fullmatch(options.get("region", "x")) else ["its region is none"]),
        *([] if options.get("pathStyle", "true") in {"true", "false"} else ["its pathStyle is neither true nor false"]),
        *(f"{name} is no option" for name in sorted(options.keys() - _OPTIONS)),
        *(["it ends in a fragment"] if parts.fragment else []),
    ]
    if faults:
        raise StoreRefused(f"location {_shown(parts)} is wrong: {'; '.join(faults)}; correct it")
    return Bucket(
        name=parts.netloc,
        prefix=prefix,
        endpoint=endpoint,
        region=options.get("region"),
        path_style=options.get("pathStyle", "true" if endpoint else "false") == "true",
    )


def _is_prefix(prefix: str) -> bool:
    return _PREFIX.fullmatch(prefix) is not None and not {".", ".."} & set(prefix.split("/"))


def _is_endpoint(endpoint: str) -> bool:
    parts = urlsplit(endpoint)
    return (
        parts.scheme in {"http", "https"}
        and bool(parts.hostname)
        and "@" not in parts.netloc
        and not (parts.query or parts.fragment)
    )


def _shown(parts: SplitResult) -> str:
    """The location without what may be credentials: somebody may have written them before an @, or as an option."""
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"
