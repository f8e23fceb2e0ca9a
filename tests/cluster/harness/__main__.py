"""`python -m tests.cluster.harness up|down|status|kubeconfig [--name NAME] [--kubeconfig FILE]`."""

import argparse
import os
import sys
from pathlib import Path

from tests.cluster.harness import binaries, images, postgres, store
from tests.cluster.harness.cluster import Cluster, of
from tests.cluster.harness.errors import HarnessError, NotAllowed

COMMANDS = {
    "up": "start the cluster, or find it running",
    "down": "end it and remove all that it left",
    "status": "say how each component is; exits with 1 unless all is well",
    "kubeconfig": "write the kubeconfig and say where",
    "operator": "build the operator's image and load it",
    "postgres": "start PostgreSQL 17 in the cluster",
    "store": "start an S3-compatible store in the cluster",
    "helm": "run helm against the cluster, with what follows --",
    "kubectl": "run kubectl against the cluster, with what follows --",
}


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m tests.cluster.harness",
        description="A real Kubernetes of one node on this machine.",
        epilog="\n".join(f"  {command:12}{what}" for command, what in COMMANDS.items()),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("command", choices=COMMANDS, metavar="|".join(COMMANDS))
    parser.add_argument("--name", default="demo", help="which cluster; several run side by side (default: demo)")
    parser.add_argument("--kubeconfig", type=Path, help="the file to write (default: build/NAME.kubeconfig)")
    # argparse has its own mind about what follows --: it is split off before.
    end = sys.argv.index("--") if "--" in sys.argv else len(sys.argv)
    options = parser.parse_args(sys.argv[1:end])
    try:
        return run(options.command, of(options.name, options.kubeconfig), sys.argv[end + 1 :])
    except NotAllowed as error:
        print(error, file=sys.stderr)
        return 2
    except HarnessError as error:
        print(error, file=sys.stderr)
        return 1


def run(command: str, cluster: Cluster, arguments: list[str]) -> int:
    match command:
        case "up":
            cluster.up()
            print(cluster.kubeconfig)
        case "down":
            cluster.down()
        case "status":
            return status(cluster)
        case "kubeconfig":
            if not cluster.healthy():
                raise HarnessError(f"cluster {cluster.name} is not up, or not healthy: run `up` first")
            cluster.up()
            print(cluster.kubeconfig)
        case "operator":
            cluster.up()
            cluster.load_image(images.operator())
            print(images.OPERATOR)
        case "postgres":
            cluster.up()
            server = postgres.ensure(cluster)
            print(f"{server.host}:{server.port}, logins in Secrets {server.admin.secret} and {server.superuser.secret}")
        case "store":
            cluster.up()
            found = store.ensure(cluster)
            print(f"{found.url()}, credentials in Secret {store.SECRET} of namespace {store.NAMESPACE}")
        case "helm":
            program = binaries.ensure(binaries.HELM)
            os.execv(program, ["helm", f"--kubeconfig={cluster.kubeconfig}", *arguments])
        case "kubectl":
            program = binaries.kubectl()
            os.execv(program, ["kubectl", f"--kubeconfig={cluster.kubeconfig}", *arguments])
    return 0


def status(cluster: Cluster) -> int:
    for part in cluster.parts():
        print(f"{part.name:25}{part.state:25}{part.log}")
    healthy = cluster.healthy()
    print(f"cluster {cluster.name} is {'healthy' if healthy else 'not up, or not healthy'}")
    return 0 if healthy else 1


if __name__ == "__main__":
    sys.exit(main())
