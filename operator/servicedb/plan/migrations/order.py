"""The order of migrations: by version, but none before what it requires."""

import graphlib
import heapq
from collections.abc import Mapping, Sequence

from servicedb.errors import Terminal
from servicedb.plan.migrations.formats import Migration
from servicedb.plan.migrations.script import Script
from servicedb.plan.migrations.versions import Version


def in_order(wanted: Sequence[Migration], scripts: Mapping[str, Script], done: set[str]) -> list[Migration]:
    """`wanted` in an order that its requirements within the set allow; of what may go next, the lowest version first.

    Raises Terminal for a requirement that is neither wanted nor `done`, and for a cycle.
    """
    by_key = {migration.key: migration for migration in wanted}
    sorter: graphlib.TopologicalSorter[str] = graphlib.TopologicalSorter()
    for migration in wanted:
        sorter.add(migration.key, *_required(scripts[migration.key], by_key, done))
    try:
        sorter.prepare()
    except graphlib.CycleError as error:
        circle = " requires ".join(reversed(error.args[1]))
        raise Terminal("RequirementCycle", f"version {circle}: none of them can be first; remove one") from error
    ready: list[tuple[Version, str]] = []
    result: list[Migration] = []
    while sorter.is_active():
        for key in sorter.get_ready():
            heapq.heappush(ready, (by_key[key].version or Version((0,)), key))
        _, key = heapq.heappop(ready)
        result.append(by_key[key])
        sorter.done(key)
    return result


def _required(script: Script, wanted: Mapping[str, Migration], done: set[str]) -> list[str]:
    keys = []
    for requirement in script.requires:
        try:
            key = str(Version.parse(requirement))
        except ValueError:
            continue  # another set
        if key in wanted:
            keys.append(key)
        elif key not in done:
            raise Terminal(
                "MissingRequirement",
                f"{script.file} requires version {requirement}, which is neither applied nor among the migrations that "
                "would be",
            )
    return keys
