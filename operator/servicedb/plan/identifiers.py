"""Names of tables as SQL writes them: `public.orders`, `app."Order Lines"`.

Source: PostgreSQL documentation, "Lexical Structure", "Identifiers and Key Words".
"""

import re

from servicedb.errors import Terminal
from servicedb.naming import NAME_BYTES

_PART = r'(?:"((?:[^"\0]|"")+)"|([A-Za-z_\u0080-\U0010ffff][A-Za-z0-9_$\u0080-\U0010ffff]*))'
_TABLE = re.compile(rf"\s*{_PART}\s*\.\s*{_PART}\s*")
_NAME = re.compile(rf"\s*(?:{_PART}\s*\.\s*)?{_PART}\s*")


def parsed_table(text: str, *, where: str) -> tuple[str, str]:
    """Schema and name of the table that `text` means. Raises Terminal (InvalidOverride), naming the field `where`."""
    match = _TABLE.fullmatch(text)
    if match is None:
        raise Terminal(
            "InvalidOverride",
            f'{where} names the table "{ascii(text)[1:-1]}"; write it with its schema, as in public.orders, and with '
            'double quotes around what holds other characters or capitals, as in app."Order Lines"',
            condition="RolesReady",
        )
    schema, name = _folded(match[1], match[2]), _folded(match[3], match[4])
    for part in (schema, name):
        if len(part.encode()) > NAME_BYTES:
            raise Terminal(
                "InvalidOverride",
                f'{where} names "{ascii(part)[1:-1]}", which has {len(part.encode())} bytes; PostgreSQL allows '
                f"{NAME_BYTES} in a name",
                condition="RolesReady",
            )
    return schema, name


def parsed_name(text: str) -> tuple[str | None, str] | None:
    """Schema (None where `text` has none) and name of a table; None for what is no such name."""
    match = _NAME.fullmatch(text)
    if match is None:
        return None
    schema = _folded(match[1], match[2]) if match[1] is not None or match[2] is not None else None
    name = _folded(match[3], match[4])
    return None if any(len(part.encode()) > NAME_BYTES for part in (schema or "", name)) else (schema, name)


def _folded(quoted: str | None, bare: str | None) -> str:
    """Quoted, as it stands; bare, in lower case, but only the letters of ASCII: others depend on the server."""
    if quoted is not None:
        return quoted.replace('""', '"')
    return re.sub("[A-Z]", lambda letter: letter[0].lower(), bare or "")
