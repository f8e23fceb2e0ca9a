"""`python -m tests.cluster.harness up|down|status|kubeconfig [--name NAME] [--kubeconfig FILE]`."""

import argparse
import sys
from pathlib import Path

from tests.cluster.harness import cluster
from tests.cluster.harness.errors import HarnessError, NotAllowed


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.cluster.harness", description="A Kubernetes on this machine.")
    parser.add_argument("command", choices=["up", "down", "status", "kubeconfig"])
    parser.add_argument("--name", default="demo", help="which cluster; several run side by side (default: demo)")
    parser.add_argument("--kubeconfig", type=Path, help="the file to write (default: build/NAME.kubeconfig)")
    options = parser.parse_args()
    try:
        return _do(options.command, cluster.of(options.name, options.kubeconfig))
    except NotAllowed as error:
        print(error, file=sys.stderr)
        return 2
    except HarnessError as error:
        print(error, file=sys.stderr)
        return 1


def _do(command: str, wanted: cluster.Cluster) -> int:
    match command:
        case "up" | "kubeconfig":
            wanted.up()
            print(wanted.kubeconfig)
        case "down":
            wanted.down()
        case "status":
            for part in wanted.parts():
                print(f"{part.name:25}{part.state:30}{part.log}")
            healthy = wanted.healthy()
            print(f"cluster {wanted.name} is {'healthy' if healthy else 'not up, or not healthy'}")
            return 0 if healthy else 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
