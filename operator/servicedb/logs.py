"""Logs: one JSON object a line, with the id of the round of work that it belongs to."""

import logging
from contextvars import ContextVar

from pythonjsonlogger.json import JsonFormatter

RECONCILE_ID: ContextVar[str | None] = ContextVar("reconcile_id", default=None)
OBJECT: ContextVar[str | None] = ContextVar("object", default=None)


def set_up(level: str) -> None:
    """Send everything to standard error as JSON; kopf's chatter only where it warns."""
    handler = logging.StreamHandler()
    handler.setFormatter(
        JsonFormatter(
            "{asctime}{levelname}{name}{message}",
            style="{",
            rename_fields={"asctime": "time", "levelname": "level", "name": "logger"},
        )
    )
    handler.addFilter(_with_context)
    handler.addFilter(_patience_is_no_error)
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    logging.getLogger("kopf").setLevel(logging.WARNING)
    logging.getLogger("aiohttp.access").setLevel(logging.WARNING)


def _with_context(record: logging.LogRecord) -> bool:
    for name, variable in (("reconcile_id", RECONCILE_ID), ("object", OBJECT)):
        value = variable.get()
        if value is not None and not hasattr(record, name):
            setattr(record, name, value)
    return True


def _patience_is_no_error(record: logging.LogRecord) -> bool:
    """kopf calls an API server that is away, a CRD that is removed or made anew, or a session that ends with the
    operator an error; it tries again, or the watch is begun anew, and so it is a warning here: nobody has to be woken
    up for it."""
    if record.name.startswith("kopf."):
        removed = record.exc_info is not None and type(record.exc_info[1]).__name__ == "APINotFoundError"
        if removed or any(words in record.getMessage() for words in _PATIENT):
            record.levelno, record.levelname, record.exc_info = logging.WARNING, "WARNING", None
    return True


_PATIENT = ("; will retry: ", "; will re-authenticate: ")
