"""`servicedb list`: the backups in a store, with or without Kubernetes."""

from pathlib import Path

import click

from servicedb.job_command import ENDING, STORE, end, together
from servicedb.jobs.prune.catalogue import Catalogue, list_backups
from servicedb.store.location import open_store
from servicedb.tables import print_table


@click.command("list")
@together(*STORE)
@click.option("--after", metavar="KEY", help="Only the backups after this one, which need not be there.")
@click.option("--most", type=click.IntRange(1), metavar="NUMBER", help="Only so many backups.")
@together(*ENDING)
def list_(
    store: str,
    store_credentials: Path | None,
    after: str | None,
    most: int | None,
    output: str,
    termination_log: Path | None,
) -> None:
    """Show the backups in a store, oldest first.

    What lies there besides is shown, too: a backup whose parts are not what its manifest says (Damaged), one that has
    no manifest, or not yet (Unfinished), and one that is being pruned (Leaving).

    Exit code: 0 when it went well, 1 when somebody has to change something, 75 when the same may go well later, 2 when
    the command line is wrong.
    """
    try:
        catalogue = list_backups(open_store(store, store_credentials), after, most)
    except Exception as error:  # noqa: BLE001 - whatever it was, the pod's last message has to say it
        catalogue = Catalogue()
        catalogue.failed_with(error)
    end(catalogue, output, termination_log, lambda: _show(catalogue))


def _show(catalogue: Catalogue) -> None:
    rows = [
        (one.database, one.completed_at, _size(one.size_bytes), str(one.rows), one.key) for one in catalogue.backups
    ]
    print_table(f"{len(rows)} backups", ("database", "completed", "size", "rows", "key"), rows)
    if catalogue.others:
        others = [(one.state, one.key, one.fault or "") for one in catalogue.others]
        print_table("and what is no backup", ("state", "key", "fault"), others)


def _size(count: float) -> str:
    for unit in ("B", "KiB", "MiB", "GiB"):
        if count < 1024:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1024
    return f"{count:.1f} TiB"
