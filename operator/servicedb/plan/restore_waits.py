"""What a DatabaseRestore waits for before it may begin, in the words of what holds it up."""

from servicedb.api.service_database import ServiceDatabase
from servicedb.plan.conditions import READY, condition_of


def waits_for(database: ServiceDatabase) -> str:
    """The sentence, where `database` has not let that restore in: by the restore that holds it, or its own Ready."""
    name, holder = database.metadata.name, database.status.restore
    if holder is not None:
        what = "has it to itself" if holder.state == "Admitted" else "asked first, and was refused"
        return (
            f'ServiceDatabase "{name}" can\'t be restored into now: DatabaseRestore "{holder.name}" {what}; this one '
            "goes on when that has succeeded, or is deleted"
        )
    ready = condition_of(database.status.conditions, READY)
    if ready is None or ready.status == "True":
        return f'ServiceDatabase "{name}" is to be made ready for the restore'
    return f'ServiceDatabase "{name}" is to be made ready for the restore, and says {ready.reason}: {ready.message}'
