"""`make demo`: a cluster of its own, the operator, PostgreSQL with TLS, kyc-onboarding, its backups, and a look."""

import argparse
import shutil
import sys
from pathlib import Path
from typing import Any

import yaml

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
    with step("a store, and a backup of each database: manifests/examples/kyc-onboarding-backups"):
        installation.back_up(cluster)
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
    tenant = f"--namespace={installation.TENANT}"
    print(f"$ {kubectl} get bsched,dbbackup {tenant}")
    print(cluster.kubectl("get", "bsched,dbbackup", tenant))
    print("Try next:")
    print(f"  {kubectl} describe sdb -n {installation.TENANT} onboarding")
    print(f"  {kubectl} explain servicedatabase.spec.roles")
    uri = 'psql "$(cat /secrets/projections-api-readonly/uri)"'
    print(f"  {kubectl} exec -it -n {installation.TENANT} {installation.CLIENT} -- sh -c '{uri}'")
    print(f"  {kubectl} annotate bsched {tenant} nightly servicedb.io/run-at=$(date +%s) --overwrite  # backs up now")
    print(f"  {kubectl} apply --filename=- <<'END'  # restores a backup beside the database that it is of")
    print(yaml.safe_dump_all(_restoring(cluster), sort_keys=False) + "END")
    print(f"  {kubectl} wait {tenant} dbrestore/onboarding-again --for=condition=Succeeded")
    print("`make demo-down` removes all of it.")


def _restoring(cluster: Cluster) -> list[dict[str, Any]]:
    """A database, and the order to restore the newest backup of another one into it."""
    words = ["--sort-by=.status.startedAt", "--output=jsonpath={.items[-1:].metadata.name}"]
    of_onboarding = "--field-selector=spec.databaseRef.name=onboarding"
    backup = cluster.kubectl("get", "dbbackup", f"--namespace={installation.TENANT}", of_onboarding, *words)
    specs = {
        "ServiceDatabase": {"serverRef": {"name": "main"}, "roles": {"app": {"secretName": "onboarding-again-app"}}},
        "DatabaseRestore": {
            "source": {"backupRef": {"name": backup}},
            "target": {"databaseRef": {"name": "onboarding-again"}},
        },
    }
    metadata = {"name": "onboarding-again", "namespace": installation.TENANT}
    return [
        {"apiVersion": "servicedb.io/v1alpha1", "kind": kind, "metadata": dict(metadata), "spec": spec}
        for kind, spec in specs.items()
    ]


def _program() -> str:
    """The kubectl to type: the one on PATH, else the one that the harness built."""
    return "kubectl" if shutil.which("kubectl") else str(binaries.kubectl())


def _short(path: Path) -> str:
    return str(path.relative_to(ROOT)) if path.is_relative_to(ROOT) else str(path)


if __name__ == "__main__":
    sys.exit(main())
