"""Whether there is a backup without which nothing is deleted."""

from datetime import datetime

from servicedb.api.retention_policy import RequireRecentBackup


def gate_fault(
    required: RequireRecentBackup | None, digest: str | None, taken_at: datetime | None, now: datetime
) -> str | None:
    """Why nothing is deleted; None where no backup is asked for, or `digest` and `taken_at` name one that is young."""
    if required is None:
        return None
    if digest is None or taken_at is None:
        return (
            f"spec.requireBackup asks for a backup of BackupSchedule {required.schedule_ref.name} that is no older "
            f"than {required.max_age}, and none was named; nothing is deleted without it"
        )
    if now - taken_at > required.max_age.timedelta:
        return (
            f"the backup of {taken_at.isoformat()} is older than the {required.max_age} that spec.requireBackup "
            "allows; nothing is deleted without a younger one"
        )
    return None
