"""`make demo`: a cluster of its own, the operator, PostgreSQL with TLS, the example kyc-onboarding, a look at it."""

import argparse
import shutil
import sys
from pathlib import Path

from tests.cluster import installation
from tests.cluster.harness import Cluster, HarnessError, NotAllowed, binaries, of, postgres
from tests.cluster.harness.progress import say, step

ROOT = Path(__file__).parents[2]


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.cluster.demo", description=__doc__)
    parser.add_argument("command", choices=("up", "down"))
    cluster = of("demo")
    try:
        if parser.parse_args().command == "down":
            cluster.down()
            say("the demo is gone")
        else:
            show(bring_up(cluster))
    except NotAllowed as error:
        say(str(error))
        return 2
    except HarnessError as error:
        say(f"{error}\nthe demo stopped: `make demo` goes on, `make demo-down` and `make demo` begin from nothing")
        return 1
    return 0


def bring_up(cluster: Cluster) -> Cluster:
    cluster.up()
    with step("PostgreSQL 17 with TLS, in the cluster"):
        database = postgres.ensure(cluster)
    with step("the operator: its image, and kubectl apply -k manifests/"):
        installation.install(cluster, database)
    with step("kubectl apply -k manifests/examples/kyc-onboarding, until all is Ready"):
        installation.apply_example(cluster)
    with step("a pod with psql and the Secrets"):
        installation.client_pod(cluster)
    return cluster


def show(cluster: Cluster) -> None:
    """Real output, and what to try next."""
    kubectl = f"{_program()} --kubeconfig {_short(cluster.kubeconfig)}"
    print(f"\n$ {kubectl} get dbserver,sdb,mrun -A")
    print(cluster.kubectl("get", "dbserver,sdb,mrun", "-A"))
    print("A login from a pod, with the Secret's own uri:")
    print('$ psql "$(cat /secrets/onboarding-app/uri)"')
    asked = "SELECT session_user, current_user, version()"
    print(f"  {asked}\n  {installation.psql(cluster, 'onboarding-app', asked)}\n")
    for what, replace in (
        ("A neighbour's data, with the same login", ("/onboarding?", "/risk_service?")),
        ("The same login without TLS", ("verify-full", "disable")),
    ):
        print(f"{what}:\n  {installation.refusal(cluster, 'onboarding-app', 'SELECT 1', replace=replace)}\n")
    print("Try next:")
    print(f"  {kubectl} describe sdb -n {installation.TENANT} onboarding")
    print(f"  {kubectl} explain servicedatabase.spec.roles")
    uri = 'psql "$(cat /secrets/projections-api-readonly/uri)"'
    print(f"  {kubectl} exec -it -n {installation.TENANT} {installation.CLIENT} -- sh -c '{uri}'")
    print("`make demo-down` removes all of it.")


def _program() -> str:
    """The kubectl to type: the one on PATH, else the one that the harness built."""
    return "kubectl" if shutil.which("kubectl") else str(binaries.kubectl())


def _short(path: Path) -> str:
    return str(path.relative_to(ROOT)) if path.is_relative_to(ROOT) else str(path)


if __name__ == "__main__":
    sys.exit(main())
