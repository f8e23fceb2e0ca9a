"""What an admin sets for the operator as a whole, in environment variables with the prefix SERVICEDB_."""

import math
import os
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Self, TypeVar


class InvalidSetting(ValueError):
    """A variable whose value can't be used; the message names it and says what can."""


@dataclass(frozen=True, slots=True)
class Settings:
    """Times in seconds. Lists are written with commas between.

    namespace: the operator's own. admin_namespaces: where Secrets that a DatabaseServer names may stand (empty: the
    operator's own). secret_metadata_prefixes: under which spec.credentials may set labels and annotations. job_image:
    what Jobs run (empty: what the operator's own pod runs, which `pod` names).
    """

    namespace: str = "servicedb-system"
    admin_namespaces: tuple[str, ...] = ()
    secret_metadata_prefixes: tuple[str, ...] = ()
    job_image: str = ""
    pod: str = ""
    resync: float = 600.0
    probe: float = 30.0
    workers: int = 24
    proof_age: float = 86_400.0
    http_host: str = "0.0.0.0"  # noqa: S104 - probes come from the kubelet, scrapes from Prometheus
    http_port: int = 8080
    log_level: str = "INFO"
    stop_grace: float = 20.0

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> Self:
        """Raises InvalidSetting, with a sentence, for a value that can't be read."""
        values: dict[str, Any] = {}
        for field in fields(cls):
            name = f"SERVICEDB_{field.name.upper()}"
            if name in environment:
                values[field.name] = _read(name, environment[name], field.default)
        return cls(**values)

    def admin_secret_allowed(self, namespace: str) -> bool:
        """Whether a Secret in `namespace` may be named by a DatabaseServer."""
        return namespace in (self.admin_namespaces or (self.namespace,))


def _read(name: str, text: str, default: object) -> object:
    try:
        match default:
            case tuple():
                return tuple(part.strip() for part in text.split(",") if part.strip())
            case int():
                return _positive(int(text))
            case float():
                return _positive(float(text))
    except ValueError:
        raise InvalidSetting(f'{name} is "{text}"; it has to be a number above 0') from None
    if name == "SERVICEDB_LOG_LEVEL" and text.upper() not in ("DEBUG", "INFO", "WARNING", "ERROR"):
        raise InvalidSetting(f'{name} is "{text}"; use DEBUG, INFO, WARNING or ERROR')
    return text


_Number = TypeVar("_Number", int, float)


def _positive(number: _Number) -> _Number:
    if number <= 0 or not math.isfinite(number):
        raise ValueError(number)
    return number
