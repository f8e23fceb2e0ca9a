"""Checksums of files: what a copy through another system changes does not count."""

import hashlib

BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_CHUNK = 1 << 20


def checksum(content: bytes) -> str:
    """`sha256:` and the digest of `content` without a byte order mark, with every line ending as a line feed."""
    digest = hashlib.sha256()
    start = len(BYTE_ORDER_MARK) if content.startswith(BYTE_ORDER_MARK) else 0
    if b"\r" not in content:
        digest.update(memoryview(content)[start:])
        return f"sha256:{digest.hexdigest()}"
    while start < len(content):
        end = start + _CHUNK
        if content[end - 1 : end] == b"\r":  # its line feed may be the next byte
            end += 1
        digest.update(content[start:end].replace(b"\r\n", b"\n").replace(b"\r", b"\n"))
        start = end
    return f"sha256:{digest.hexdigest()}"
