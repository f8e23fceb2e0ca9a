"""Bounded strings: the names, words and durations that specs are made of."""

import re
from datetime import timedelta
from typing import Annotated, Any, Final

from pydantic import Field, GetCoreSchemaHandler
from pydantic.config import JsonDict
from pydantic_core import CoreSchema, core_schema

from servicedb.api.schema import Rule, validations

NO_CONTROL_CHARACTERS: Final = r"^[^\x00-\x1F\x7F-\x9F]*$"
_LABEL: Final = r"[a-z0-9]([-a-z0-9]*[a-z0-9])?"

_UNITS: Final = {
    "ms": timedelta(milliseconds=1),
    "s": timedelta(seconds=1),
    "m": timedelta(minutes=1),
    "h": timedelta(hours=1),
    "d": timedelta(days=1),
}


class Duration(str):
    """A duration of one unit, as it stands in a spec: `500ms`, `30s`, `10m`, `1h`, `7d`."""

    __slots__ = ()

    PATTERN: Final = r"^(0|[1-9][0-9]{0,5})(ms|s|m|h|d)$"
    LONGEST: Final = 8

    @property
    def timedelta(self) -> timedelta:
        match = re.fullmatch(self.PATTERN, self)
        if match is None:
            raise ValueError(f'"{self}" is not a duration; write one number and one unit: 500ms, 30s, 10m, 1h or 7d')
        return int(match[1]) * _UNITS[match[2]]

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        text = core_schema.str_schema(pattern=cls.PATTERN, max_length=cls.LONGEST)
        return core_schema.no_info_after_validator_function(cls, text)

    @staticmethod
    def cel_milliseconds(value: str) -> str:
        """CEL for the milliseconds in `value`, an expression: CEL's own duration() knows no days."""
        factors = f"{value}.endsWith('ms') ? 1 : {value}.endsWith('s') ? 1000 : {value}.endsWith('m') ? 60000"
        return f"int({value}.find('^[0-9]+')) * ({factors} : {value}.endsWith('h') ? 3600000 : 86400000)"


class Percent(str):
    """A share in whole percent, as it stands in a spec: `10%`."""

    __slots__ = ()

    PATTERN: Final = r"^(100|[1-9]?[0-9])%$"
    LONGEST: Final = 4

    def of(self, total: int) -> int:
        """This share of `total`, rounded down."""
        return total * int(self.removesuffix("%")) // 100

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        text = core_schema.str_schema(pattern=cls.PATTERN, max_length=cls.LONGEST)
        return core_schema.no_info_after_validator_function(cls, text)


_BYTES: JsonDict = validations(
    Rule("bytes(self).size() <= 63", "PostgreSQL cuts names after 63 bytes: choose a shorter one")
)

Identifier = Annotated[str, Field(min_length=1, max_length=63, pattern=NO_CONTROL_CHARACTERS, json_schema_extra=_BYTES)]
"""A name in PostgreSQL, of at most 63 bytes. The operator checks what more its use asks for."""

Namespace = Annotated[str, Field(min_length=1, max_length=63, pattern=f"^{_LABEL}$")]
ObjectName = Annotated[str, Field(min_length=1, max_length=253, pattern=rf"^{_LABEL}(\.{_LABEL})*$")]
SecretKey = Annotated[str, Field(min_length=1, max_length=253, pattern=r"^[-._a-zA-Z0-9]+$")]
Host = Annotated[
    str,
    Field(
        min_length=1,
        max_length=253,
        pattern=r"^([a-zA-Z0-9]([-._a-zA-Z0-9]*[a-zA-Z0-9])?|[0-9a-fA-F:]*:[0-9a-fA-F:.]*)$",
    ),
]
"""One host name or address: a comma or a slash would mean several hosts, or a socket's folder, to libpq."""

Port = Annotated[int, Field(ge=1, le=65535)]
Word = Annotated[str, Field(min_length=1, max_length=63, pattern=r"^[A-Za-z0-9]([-._A-Za-z0-9]*[A-Za-z0-9])?$")]
LabelValue = Annotated[str, Field(max_length=63, pattern=r"^([A-Za-z0-9]([-._A-Za-z0-9]*[A-Za-z0-9])?)?$")]
LabelKeyed = Field(
    json_schema_extra=validations(
        Rule(
            r"self.all(key, key.matches('^([-.a-z0-9]{1,253}/)?[A-Za-z0-9]([-._A-Za-z0-9]{0,61}[A-Za-z0-9])?$'))",
            "a key is not what Kubernetes takes as the name of a label or an annotation: "
            "write it as name or as prefix.example.com/name",
        )
    )
)
"""On a map whose keys are names of labels or annotations."""

Parameters = Annotated[
    dict[str, Annotated[str, Field(max_length=1024, pattern=NO_CONTROL_CHARACTERS)]],
    Field(
        max_length=64,
        json_schema_extra=validations(
            Rule(
                "self.all(key, key.matches('^[A-Za-z_][A-Za-z0-9_]{0,62}([.][A-Za-z_][A-Za-z0-9_]{0,62})?$'))",
                "a key is not the name of a PostgreSQL setting: write it with letters, digits and _, as in work_mem",
            )
        ),
    ),
]
"""Settings of PostgreSQL by their names. The operator knows which are allowed."""

Line = Annotated[str, Field(max_length=1024)]
"""One line of text. Whatever it quotes from a server, it is never refused for a character."""

Number64 = Annotated[str, Field(max_length=20, pattern=r"^[0-9]+$")]
"""A 64-bit number, as a string: JSON's numbers lose digits above 2**53."""
