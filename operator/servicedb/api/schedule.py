"""Times that come again: lines of cron and time zones."""

from typing import Annotated, Final

from pydantic import Field

_FIELD: Final = r"[-*/,0-9A-Za-z]+"

CronSchedule = Annotated[
    str,
    Field(
        min_length=6,
        max_length=128,
        pattern=rf"^(@(yearly|annually|monthly|weekly|daily|midnight|hourly)|{_FIELD}( {_FIELD}){{4}})$",
    ),
]
"""Five fields, or a word such as @daily. Source: Kubernetes documentation, "CronJob", Schedule syntax."""

TimeZone = Annotated[str, Field(min_length=1, max_length=64, pattern=r"^[A-Za-z][-+_A-Za-z0-9]*(/[-+_A-Za-z0-9]+)*$")]
"""A name of the time zone database, such as Europe/Berlin."""
