"""What stands in a Secret, and how each value is written in the formats that applications read."""

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from urllib.parse import quote

from pydantic import SecretStr

from servicedb.errors import Terminal

SECRET_TYPE = "servicebinding.io/postgresql"  # noqa: S105 - a type, no secret
PENDING_USERNAME, PENDING_PASSWORD = "pending-username", "pending-password"


@dataclass(frozen=True, slots=True)
class ConnectionDetails:
    """What an application needs to log in. `ca_certificate` is PEM, None where the system's roots do."""

    host: str
    port: int
    database: str
    user: str
    password: SecretStr
    sslmode: str
    ca_file: str
    ca_certificate: str | None


def check_metadata(labels: Iterable[str], annotations: Iterable[str], prefixes: tuple[str, ...]) -> None:
    """Raise Terminal for a name in spec.credentials.secretLabels or secretAnnotations that begins with none of
    `prefixes`: a replicator's annotation would copy the password elsewhere."""
    for place, names in (("secretLabels", labels), ("secretAnnotations", annotations)):
        for name in names:
            if not name.startswith(prefixes or ("\0",)):
                raise Terminal(
                    "SecretMetadataNotAllowed",
                    f'spec.credentials.{place} names "{name}", which no prefix in the operator\'s settings allows; '
                    "remove it, or have an admin add its prefix to SERVICEDB_SECRET_METADATA_PREFIXES",
                    condition="CredentialsReady",
                )


def secret_data(details: ConnectionDetails, template: Mapping[str, str]) -> dict[str, str]:
    """Every key of an active Secret, the template's included. Source: Service Binding specification, "Well-known
    Secret Entries"; PostgreSQL documentation, "Connection URIs" and "The Password File"."""
    password = details.password.get_secret_value()
    root = details.ca_file if details.ca_certificate is not None else "system"
    uri_parts = [f"sslmode={quote(details.sslmode)}"]
    jdbc_parts = [f"user={_percent(details.user)}", f"password={_percent(password)}", f"sslmode={details.sslmode}"]
    if details.sslmode in ("verify-ca", "verify-full"):  # libpq refuses to verify without being told by what
        uri_parts.append(f"sslrootcert={quote(root, safe='/')}")
        if details.ca_certificate is not None:
            jdbc_parts.append(f"sslrootcert={quote(root, safe='/')}")
    host = f"[{details.host}]" if ":" in details.host else details.host
    place = f"{host}:{details.port}/{_percent(details.database)}"
    data = {
        "type": "postgresql",
        "provider": "servicedb",
        "username": details.user,
        "user": details.user,
        "password": password,
        "dbname": details.database,
        "host": details.host,
        "port": str(details.port),
        "sslmode": details.sslmode,
        "uri": f"postgresql://{_percent(details.user)}:{_percent(password)}@{place}?{'&'.join(uri_parts)}",
        "jdbc-uri": f"jdbc:postgresql://{place}?{'&'.join(jdbc_parts)}",
        "pgpass": ":".join(
            _pgpass(value) for value in (details.host, str(details.port), details.database, details.user, password)
        ),
    }
    if details.ca_certificate is not None:
        data["ca.crt"] = details.ca_certificate
    values = {
        "host": details.host,
        "port": str(details.port),
        "dbname": details.database,
        "user": details.user,
        "password": password,
        "sslmode": details.sslmode,
        "caFile": details.ca_file,
    }
    return {**{key: rendered(text, values) for key, text in template.items()}, **data}


def rendered(text: str, values: Mapping[str, str]) -> str:
    """`text` with `{host}`, `{password}` and so on filled in, each escaped for the format that the text is in.

    A URI has `://`, a libpq string `host=... user=...`, an ADO.NET string `Host=...;`; anything else is taken as it
    is. Between quotes that stand in the text already a value is escaped for what is inside of them. Unknown
    placeholders stay as they are, so that braces of other formats survive.
    """
    escape, quoted = _format_of(text)
    spans = [(match.start(1), match.end(1), match[1][0]) for match in quoted.finditer(text)] if quoted else []

    def filled_in(match: re.Match[str]) -> str:
        if match[1] not in values:
            return match[0]
        mark = next((mark for start, end, mark in spans if start < match.start() < end), None)
        return escape(values[match[1]], mark)

    return _PLACEHOLDER.sub(filled_in, text)


# A team writes the template: `*+` and `++` never go back, or a text could be found that takes years to look through.
_PLACEHOLDER = re.compile(r"\{([a-zA-Z]+)\}")
_LIBPQ_QUOTED = re.compile(r"=\s*('(?:[^'\\]|\\.)*')", re.DOTALL)
_LIBPQ = re.compile(r"\s*+(?:[a-z_]++\s*+=\s*+(?:'(?:[^'\\]|\\.)*+'|[^\s']\S*+)\s*+){2,}+", re.DOTALL)
_ADO_NET_QUOTED = re.compile(r"""=\s*("(?:[^"]|"")*"|'(?:[^']|'')*')""")
_ADO_NET = re.compile(r"\s*+[A-Za-z][A-Za-z ]*+=[^;]*+;")

_Escape = Callable[[str, str | None], str]
"""Escapes a value; the second argument is the quotation mark that stands around it already, None for none."""


def _format_of(text: str) -> tuple[_Escape, re.Pattern[str] | None]:
    """How values are escaped in `text`, and what stands between quotes there (group 1)."""
    if "://" in text:
        return _percent_anywhere, None
    if _ADO_NET.match(text):
        return _ado_net, _ADO_NET_QUOTED
    if _LIBPQ.fullmatch(text):
        return _libpq, _LIBPQ_QUOTED
    return _as_it_is, None


def _as_it_is(value: str, mark: str | None) -> str:  # noqa: ARG001
    return value


def _percent_anywhere(value: str, mark: str | None) -> str:  # noqa: ARG001
    return _percent(value)


def _percent(value: str) -> str:
    return quote(value, safe="")


def _ado_net(value: str, mark: str | None) -> str:
    """Source: Microsoft's documentation, "Connection String Syntax" (ADO.NET)."""
    if mark is not None:
        return value.replace(mark, mark * 2)
    if re.fullmatch(r"[^;'\"=\s{}](?:[^;'\"={}]*[^;'\"=\s{}])?", value):
        return value
    return '"' + value.replace('"', '""') + '"'


def _libpq(value: str, mark: str | None) -> str:
    """Source: PostgreSQL documentation, "Keyword/Value Connection Strings"."""
    if mark is None and re.fullmatch(r"[^\s'\\]+", value):
        return value
    escaped = value.replace("\\", "\\\\").replace("'", "\\'")
    return escaped if mark is not None else f"'{escaped}'"


def _pgpass(value: str) -> str:
    return value.replace("\\", "\\\\").replace(":", "\\:")
