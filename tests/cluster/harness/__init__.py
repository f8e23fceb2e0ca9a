"""A real Kubernetes for `make demo`, the cluster tests and the bench.

`ensure(name)` gives a running `Cluster`; `python -m tests.cluster.harness up` does so in a shell.
"""

from tests.cluster.harness.cluster import Cluster, Part, ensure, of
from tests.cluster.harness.errors import ComponentFailed, HarnessError, NotAllowed

__all__ = ["Cluster", "ComponentFailed", "HarnessError", "NotAllowed", "Part", "ensure", "of"]
