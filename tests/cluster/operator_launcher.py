"""The operator's own command, with points at which it kills or stops itself: `python -m ... run --kubeconfig ...`.

The points stand in the file that SERVICEDB_TEST_POINTS names (see operator_process.Point). A point is good once: what
it did is noted beside that file, so that an operator that is started again goes past it. SERVICEDB_TEST_FAULT names a
fault that is put into it (soak/faults.py).
"""

import functools
import json
import os
import signal
from collections import Counter
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

from servicedb import cli, run_command
from servicedb.kube.client import KubeClient
from servicedb.kube.resources import Key
from servicedb.logs import OBJECT
from servicedb.plan.conditions import READY, Finding
from servicedb.plan.steps import Step
from servicedb.reconcile import run as operator_run
from servicedb.reconcile import standing
from servicedb.reconcile.report import Resource, report
from servicedb.reconcile.run import run
from servicedb.reconcile.world import World

from tests.cluster.soak.faults import FAULTS

REPORT = "Report"
"""The point just before a ServiceDatabase is said to be Ready: no step, but the last thing of a round."""


class Points:
    """The points of one operator, and how often each has been passed."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._passed: Counter[tuple[str, str]] = Counter()

    def pass_step(self, step: Step) -> None:
        self.reach(type(step).__name__)

    def reach(self, name: str) -> None:
        """Note that the step `name` of the object being worked on is next; acts where a point says so."""
        key = (OBJECT.get() or "", name)
        self._passed[key] += 1
        for point in json.loads(self._file.read_text()):
            mark = self._file.with_name(point["mark"])
            if (point["object"], point["step"], point["occurrence"]) == (*key, self._passed[key]) and not mark.exists():
                mark.write_text(name)
                os.kill(os.getpid(), signal.Signals[point["signal"]])

    async def reporting(
        self,
        world: World,
        key: Key,
        resource: Resource,
        findings: Sequence[Finding],
        fields: dict[str, Any] | None = None,
        *,
        over: Collection[str] = (),
    ) -> None:
        if any((found.type, found.status) == (READY, "True") for found in findings):
            self.reach(REPORT)
        await report(world, key, resource, findings, fields, over=over)


async def _uid(uid: str, _: KubeClient) -> str:
    """Another cluster's, as far as the operator can tell."""
    return uid


def main() -> None:
    points = Points(Path(os.environ["SERVICEDB_TEST_POINTS"]))
    run_command.run_operator = functools.partial(run, on_step=points.pass_step)  # type: ignore[attr-defined]
    standing.report = points.reporting  # type: ignore[attr-defined]
    if fault := os.environ.get("SERVICEDB_TEST_FAULT"):
        FAULTS[fault].put_in()
    if uid := os.environ.get("SERVICEDB_TEST_CLUSTER_UID"):
        operator_run.cluster_uid = functools.partial(_uid, uid)  # type: ignore[attr-defined]
    cli.main()


if __name__ == "__main__":
    main()
