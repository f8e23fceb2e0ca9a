"""The example kyc-onboarding, with the operator installed as its users install it: seen from pods, with the Secrets.

The tests build on one another, in the order of the file. No other operator may work on the cluster meanwhile;
at the end there is none, and the kinds are there as before.
"""

import json
import re
import secrets
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final

import pytest

from tests.cluster.api_server import ApiServer
from tests.cluster.harness import Cluster, HarnessError
from tests.cluster.harness.deadline import wait_until
from tests.cluster.harness.postgres import Postgres
from tests.cluster.installation import (
    EXAMPLES,
    IN_TIME,
    MANIFESTS,
    SYSTEM,
    TENANT,
    apply_example,
    in_pod,
    install,
    installed,
    keys_of_store,
    psql,
    refusal,
)

LOGINS: Final = {
    "onboarding": "onboarding_user",
    "checklist_service": "checklist_user",
    "risk_service": "risk_user",
    "auditlog_service": "auditlog_user",
    "projections_api": "projections_user",
    "notification_service": "notification_user",
    "document_service": "document_user",
    "keycloak": "keycloak_user",
}
"""Each database, and the login of its application."""
WRITTEN_AT_ONCE: Final = sorted(LOGINS.keys() - {"keycloak", "auditlog_service"})
"""Where the application has no overrides."""
VERSIONS: Final = {
    "onboarding": ("2", 0),
    "checklist-service": ("1", 0),
    "risk-service": ("1", 0),
    "auditlog-service": ("1", 0),
    "projections-api": ("1", 0),
    "notification-service": ("1", 0),
}
"""Each MigrationRun, the version that it ends at, and what is pending then."""
BACKED_UP_WITHIN: Final = timedelta(minutes=4)
"""From a minute's begin, which is up to one away."""
OPERATOR: Final = "system:serviceaccount:servicedb-system:servicedb"


def secret_of(database: str, role: str = "app") -> str:
    return f"{database.replace('_', '-')}-{role}"


@dataclass(frozen=True, slots=True)
class Kyc:
    """The cluster with the operator and the example in it, all Ready, and a pod that mounts the Secrets."""

    cluster: Cluster
    server: Postgres


@pytest.fixture(scope="module")
def kyc(cluster: Cluster, api: ApiServer) -> Iterator[Kyc]:
    with installed(cluster, TENANT) as server:
        yield Kyc(cluster, server)


def items(cluster: Cluster, *what: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(cluster.kubectl("get", *what, "--output=json"))["items"]
    return found


# What each login reaches


def test_eight_databases_are_ready(kyc: Kyc) -> None:
    found = items(kyc.cluster, "servicedatabases", f"--namespace={TENANT}")
    assert {each["status"]["databaseName"] for each in found} == LOGINS.keys()
    logins = {role["loginName"] for each in found for role in each["status"]["roles"] if role["name"] == "app"}
    assert logins == set(LOGINS.values())


def test_the_server_counts_them_in_long_before_it_is_looked_at_again(kyc: Kyc) -> None:
    said = "jsonpath={.status.databases}=" + str(len(LOGINS))
    kyc.cluster.kubectl("wait", f"--for={said}", "databaseserver/main", "--timeout=60s")


def test_each_login_reaches_its_own_database_and_no_other(kyc: Kyc) -> None:
    said = attempts(kyc.cluster)
    own = {(database, database): login for database, login in LOGINS.items()}
    others = {(mine, other) for mine in LOGINS for other in LOGINS} - own.keys()
    assert {pair: said[pair] for pair in own} == own
    refused = {pair for pair in others if f'FATAL: permission denied for database "{pair[1]}"' in said[pair]}
    assert refused == others


def attempts(cluster: Cluster) -> dict[tuple[str, str], str]:
    """What the login of each database's application hears at each database: its own name, or why not."""
    script = f"""
    for mine in {" ".join(LOGINS)}; do
        secret=/secrets/$(echo $mine | tr _ -)-app
        for other in {" ".join(LOGINS)}; do
            uri=$(sed "s|/$mine?|/$other?|" $secret/uri)
            said=$(psql -X -w -A -t "$uri" -c "SELECT session_user" 2>&1)
            echo $mine $other $said  # on one line
        done
    done
    """
    lines = (line.split(maxsplit=2) for line in in_pod(cluster, script).splitlines())
    return {(mine, other): said for mine, other, said in lines}


@pytest.mark.parametrize("database", LOGINS)
def test_plaintext_is_refused(kyc: Kyc, database: str) -> None:
    said = refusal(kyc.cluster, secret_of(database), "SELECT 1", replace=("sslmode=verify-full", "sslmode=disable"))
    assert "no encryption" in said


# What its migrations made


def test_the_migrations_are_applied_and_the_application_uses_what_they_made(kyc: Kyc) -> None:
    runs = items(kyc.cluster, "migrationruns", f"--namespace={TENANT}")
    assert {run["metadata"]["name"]: (run["status"]["version"], run["status"]["pending"]) for run in runs} == VERSIONS
    for run in runs:
        (config_map,) = run["spec"]["source"]["configMaps"]
        assert config_map["name"].startswith(f"{run['metadata']['name']}-migrations-")
    written = psql(
        kyc.cluster,
        secret_of("onboarding"),
        "INSERT INTO onboarding_cases (partner_id, reference, type) VALUES (gen_random_uuid(), 'R-1', 'Trust') "
        "RETURNING status",
    )
    assert written == "Draft"


def test_the_audit_log_is_added_to_and_never_changed(kyc: Kyc) -> None:
    app = secret_of("auditlog_service")
    entry = "('Login', 'User', '7', 'ann', 'log in', now())"
    insert = "INSERT INTO audit_log_entries (event_type, entity_type, entity_id, actor, action, occurred_at) VALUES"

    def added() -> str:
        # What overrides give is granted after the MigrationRun, when the operator has looked inside again.
        with suppress(HarnessError):
            return psql(kyc.cluster, app, f"{insert} {entry} RETURNING action")
        return ""

    wait_until(lambda: added() == "log in", timedelta(minutes=1))
    for statement in ("UPDATE audit_log_entries SET actor = 'x'", "DELETE FROM audit_log_entries"):
        assert "permission denied for table audit_log_entries" in refusal(kyc.cluster, app, statement)


def test_the_pods_of_migrations_hold_no_token_and_run_what_the_operator_runs(kyc: Kyc) -> None:
    jobs = items(kyc.cluster, "jobs", f"--namespace={TENANT}")
    assert len(jobs) == len(VERSIONS)
    pods = [job["spec"]["template"]["spec"] for job in jobs]
    assert {pod["automountServiceAccountToken"] for pod in pods} == {False}
    (operator,) = items(kyc.cluster, "deployments", f"--namespace={SYSTEM}")
    image = operator["spec"]["template"]["spec"]["containers"][0]["image"]
    assert {pod["containers"][0]["image"] for pod in pods} == {image}


# What each login may do


@pytest.mark.parametrize("database", WRITTEN_AT_ONCE)
def test_what_a_migrator_makes_its_application_writes_at_once(kyc: Kyc, database: str) -> None:
    migrator, app = secret_of(database, "migrator"), secret_of(database)
    psql(kyc.cluster, migrator, "CREATE TABLE made (id int GENERATED ALWAYS AS IDENTITY, word text)")
    psql(kyc.cluster, app, "INSERT INTO made (word) VALUES ('one'), ('two')", "DELETE FROM made WHERE word = 'one'")
    assert psql(kyc.cluster, app, "SELECT word FROM made") == "two"
    assert "permission denied for schema public" in refusal(kyc.cluster, app, "CREATE TABLE not_mine ()")
    assert "must be owner of table made" in refusal(kyc.cluster, app, "DROP TABLE made")


def test_a_reader_reads_at_once_and_never_writes(kyc: Kyc) -> None:
    reader = secret_of("projections_api", "readonly")
    psql(kyc.cluster, secret_of("projections_api", "migrator"), "CREATE TABLE read AS SELECT 'said' AS word")
    assert psql(kyc.cluster, reader, "SELECT word FROM read") == "said"
    for statement in (
        "INSERT INTO read VALUES ('x')",
        "UPDATE read SET word = 'x'",
        "DELETE FROM read",
        "TRUNCATE read",
    ):
        assert "permission denied for table read" in refusal(kyc.cluster, reader, statement)
    assert "permission denied for schema public" in refusal(kyc.cluster, reader, "CREATE TABLE not_mine ()")


def test_keycloak_migrates_by_itself_and_its_tables_are_the_owners(kyc: Kyc) -> None:
    app = secret_of("keycloak")
    psql(
        kyc.cluster,
        app,
        "CREATE TABLE realm (id int)",
        "ALTER TABLE realm ADD name text",
        "INSERT INTO realm VALUES (1)",
    )
    owner = psql(kyc.cluster, app, "SELECT tableowner FROM pg_tables WHERE tablename = 'realm'")
    assert owner == "keycloak__owner"


def test_the_connection_string_of_the_template_names_the_login(kyc: Kyc) -> None:
    for database, login in LOGINS.items():
        mounted = f"/secrets/{secret_of(database)}"
        line = in_pod(kyc.cluster, f"cat {mounted}/ConnectionStrings__PostgreSQL")
        password = in_pod(kyc.cluster, f"cat {mounted}/password")
        assert line == (
            f"Host=postgres.databases.svc;Port=5432;Database={database};Username={login};Password={password};"
            "SSL Mode=VerifyFull;Root Certificate=/etc/servicedb/ca.crt"
        )


# Its backups


def test_all_of_it_is_backed_up_by_the_schedule(kyc: Kyc) -> None:
    insert = "INSERT INTO onboarding_cases (partner_id, reference, type) SELECT gen_random_uuid(), 'N-' || n, 'Trust'"
    psql(kyc.cluster, secret_of("onboarding"), f"{insert} FROM generate_series(1, 1000) n")
    keys_of_store(kyc.cluster)
    example = (EXAMPLES / f"{TENANT}-backups" / "nightly.yaml").read_text()
    # In a folder of its own: the store keeps what runs before have left.
    changed = example.replace("0 2 * * *", '"* * * * *"').replace("prefix: ", f"prefix: {secrets.token_hex(4)}/")
    kyc.cluster.kubectl("apply", "--filename=-", text=f"{changed}  spread: 0s\n")
    wait_until(lambda: len(taken(kyc.cluster)) == len(LOGINS), BACKED_UP_WITHIN)
    change_backups(kyc.cluster, {"schedule": "0 2 * * *"})
    assert set(taken(kyc.cluster)) == {database.replace("_", "-") for database in LOGINS}
    wait_for(kyc.cluster, "bsched/nightly", "Ready")
    (shown,) = table(kyc.cluster, "bsched")
    assert (shown["READY"], shown["STATUS"], int(shown["BACKUPS"]) >= len(LOGINS)) == ("True", "Ready", True)
    assert re.fullmatch(r"\d+-\d\d-\d\dT02:00\+0[12]:00", shown["NEXT"])
    assert re.fullmatch(r"[\dms]+", shown["LAST SUCCESS"])
    assert (shown["LAST VERIFIED"], shown["AGE"] != "") == ("", True)
    for backup in table(kyc.cluster, "dbbackup"):
        assert (backup["READY"], backup["STATUS"], backup["VERIFIED"]) == ("True", "Stored", "Unknown")
        assert re.fullmatch(r"[\d.]+ [KM]iB", backup["SIZE"])
        assert backup["ROWS"] == rows(kyc, backup["DATABASE"].replace("-", "_"))


def test_a_backup_is_restored_on_trial(kyc: Kyc) -> None:
    verify = {"schedule": "* * * * *", "serverRef": {"name": "main"}, "allowSameServer": True}
    change_backups(kyc.cluster, {"databaseRefs": [{"name": "onboarding"}], "verify": verify})
    wait_for(kyc.cluster, f"dbbackup/{taken(kyc.cluster)['onboarding']}", "Verified")
    change_backups(kyc.cluster, {"verify": None})
    (shown,) = table(kyc.cluster, "bsched", "--output=wide")
    assert (shown["RECOVERY"] != "", shown["READY"]) == (True, "True")


def test_a_backup_is_restored_into_another_database_row_by_row(kyc: Kyc) -> None:
    target = {"serverRef": {"name": "main"}, "roles": {"app": {"secretName": "onboarding-again-app"}}}
    apply(kyc.cluster, "ServiceDatabase", "onboarding-again", target)
    wait_for(kyc.cluster, "sdb/onboarding-again", "Ready")
    source = {"backupRef": {"name": taken(kyc.cluster)["onboarding"]}}
    spec = {"source": source, "target": {"databaseRef": {"name": "onboarding-again"}}}
    apply(kyc.cluster, "DatabaseRestore", "again", spec)
    wait_for(kyc.cluster, "dbrestore/again", "Succeeded")
    (shown,) = table(kyc.cluster, "dbrestore")
    assert (shown["ROWS"], shown["MISMATCHES"]) == (rows(kyc, "onboarding"), "0")
    before, after = contents(kyc, "onboarding"), contents(kyc, "onboarding_again")
    assert before == after
    assert len(before["public.onboarding_cases"]) == 1001
    wait_for(kyc.cluster, "sdb/onboarding-again", "Ready")


def taken(cluster: Cluster) -> dict[str, str]:
    """Each ServiceDatabase that has a backup, and its newest one."""
    found = sorted(items(cluster, "dbbackup", f"--namespace={TENANT}"), key=lambda one: str(one["spec"].get("key")))
    return {one["spec"]["databaseRef"]["name"]: one["metadata"]["name"] for one in found}


def change_backups(cluster: Cluster, spec: dict[str, Any]) -> None:
    patch = ["--type=merge", f"--patch={json.dumps({'spec': spec})}"]
    cluster.kubectl("patch", "bsched", "nightly", f"--namespace={TENANT}", *patch)


def apply(cluster: Cluster, kind: str, name: str, spec: dict[str, Any]) -> None:
    metadata = {"name": name, "namespace": TENANT}
    manifest = {"apiVersion": "servicedb.io/v1alpha1", "kind": kind, "metadata": metadata, "spec": spec}
    cluster.kubectl("apply", "--filename=-", text=json.dumps(manifest))


def wait_for(cluster: Cluster, what: str, condition: str) -> None:
    cluster.kubectl("wait", f"--for=condition={condition}", f"--namespace={TENANT}", what, "--timeout=120s")


def table(cluster: Cluster, kind: str, *words: str) -> list[dict[str, str]]:
    """What `kubectl get` shows, a line each, by the columns' names."""
    header, *lines = cluster.kubectl("get", kind, f"--namespace={TENANT}", *words).splitlines()
    columns = [match.span() for match in re.finditer(r"\S+(?: \S+)*\s*", header)]
    return [
        {header[a:b].strip(): line[a : b if b < len(header) else None].strip() for a, b in columns} for line in lines
    ]


def contents(kyc: Kyc, database: str) -> dict[str, list[dict[str, Any]]]:
    """The rows of each table."""
    tables = (
        "SELECT format('%I.%I', schemaname, tablename) FROM pg_tables WHERE schemaname !~ '^(pg_|information_schema)'"
    )
    all_rows = "SELECT coalesce(json_agg(t ORDER BY t::text), '[]') FROM {} t"
    found = kyc.server.psql(tables, database=database).split()
    return {name: json.loads(kyc.server.psql(all_rows.format(name), database=database)) for name in found}


def rows(kyc: Kyc, database: str) -> str:
    """How many there are in all tables, as kubectl shows it."""
    return str(sum(map(len, contents(kyc, database).values())))


# What the operator may do


@pytest.mark.parametrize(
    ("verb", "resource", "namespace", "allowed"),
    [
        pytest.param("get", "secrets", TENANT, True, id="reads a Secret by its name"),
        pytest.param("list", "secrets", TENANT, False, id="never lists Secrets"),
        pytest.param("watch", "secrets", "", False, id="never watches Secrets"),
        pytest.param("list", "secrets", SYSTEM, False, id="not even its own"),
        pytest.param("patch", "servicedatabases.servicedb.io/status", TENANT, True, id="writes a status"),
        pytest.param("patch", "servicedatabases.servicedb.io", TENANT, False, id="never writes a spec"),
        pytest.param("update", "servicedatabases.servicedb.io", TENANT, False, id="in no way"),
        pytest.param("delete", "servicedatabases.servicedb.io", TENANT, False, id="deletes no object"),
        pytest.param("create", "pods", SYSTEM, False, id="makes no pods"),
        pytest.param("create", "pods/exec", TENANT, False, id="enters no pods"),
        pytest.param("create", "rolebindings.rbac.authorization.k8s.io", TENANT, False, id="gives no rights"),
        pytest.param("bind", "clusterroles.rbac.authorization.k8s.io", "", False, id="passes no rights on"),
        pytest.param("impersonate", "users", "", False, id="is nobody else"),
        pytest.param("get", "nodes", "", False, id="sees no nodes"),
    ],
)
def test_rights_of_the_operator(kyc: Kyc, verb: str, resource: str, namespace: str, allowed: bool) -> None:
    assert may(kyc.cluster, OPERATOR, verb, resource, namespace) is allowed


def may(cluster: Cluster, user: str, verb: str, resource: str, namespace: str) -> bool:
    """What the API server says to a SubjectAccessReview for RESOURCE[.GROUP][/SUBRESOURCE]."""
    resource, _, subresource = resource.partition("/")
    resource, _, group = resource.partition(".")
    attributes = {
        "verb": verb,
        "resource": resource,
        "subresource": subresource,
        "group": group,
        "namespace": namespace,
    }
    review = {
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SubjectAccessReview",
        "spec": {"user": user, "groups": ["system:serviceaccounts"], "resourceAttributes": attributes},
    }
    output = ["--output=jsonpath={.status.allowed}", "--filename=-"]
    return cluster.kubectl("create", *output, text=json.dumps(review)) == "true"


def test_its_log_holds_no_fault_and_nothing_was_forbidden(kyc: Kyc) -> None:
    assert faults(kyc.cluster) == []


def faults(cluster: Cluster) -> list[str]:
    lines = cluster.kubectl("logs", f"--namespace={SYSTEM}", "deployment/servicedb", "--tail=-1").splitlines()
    entries = [json.loads(line) for line in lines]
    assert entries
    return [
        json.dumps(entry)
        for entry in entries
        if "exc_info" in entry
        or entry["level"] not in ("DEBUG", "INFO", "WARNING")
        or "forbidden" in str(entry).lower()
    ]


def test_in_a_namespace_that_is_not_granted_it_says_so(kyc: Kyc) -> None:
    with namespaced_only(kyc.cluster), another_namespace(kyc.cluster) as namespace:
        condition = '{.status.conditions[?(@.type=="Ready")].reason}=NamespaceNotGranted'
        kyc.cluster.kubectl(
            "wait", f"--namespace={namespace}", "servicedatabase/elsewhere", f"--for=jsonpath={condition}", IN_TIME
        )
        assert may(kyc.cluster, OPERATOR, "patch", "secrets", TENANT)
        assert not may(kyc.cluster, OPERATOR, "get", "secrets", namespace)


@contextmanager
def namespaced_only(cluster: Cluster) -> Iterator[None]:
    """With the overlay's RoleBinding in the place of the cluster-wide one."""
    cluster.kubectl("apply", "-k", str(MANIFESTS / "overlays" / "namespaced-example"))
    cluster.kubectl("delete", "clusterrolebinding", "servicedb-tenant", IN_TIME)
    try:
        yield
    finally:
        cluster.kubectl("apply", "-k", str(MANIFESTS))
        cluster.kubectl("delete", "rolebinding", "servicedb-tenant", f"--namespace={TENANT}", IN_TIME)


@contextmanager
def another_namespace(cluster: Cluster) -> Iterator[str]:
    """A namespace that the server allows, with a ServiceDatabase."""
    name = "kyc-elsewhere"
    namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": {"team": "kyc"}}}
    database = {
        "apiVersion": "servicedb.io/v1alpha1",
        "kind": "ServiceDatabase",
        "metadata": {"name": "elsewhere", "namespace": name},
        "spec": {"serverRef": {"name": "main"}, "roles": {"app": {"secretName": "elsewhere"}}},
    }
    manifests = json.dumps({"apiVersion": "v1", "kind": "List", "items": [namespace, database]})
    cluster.kubectl("apply", "--filename=-", text=manifests)
    try:
        yield name
    finally:
        cluster.kubectl("delete", "namespace", name, IN_TIME)


# Applied again, removed, installed again


def test_applied_again_nothing_changes(kyc: Kyc) -> None:
    before = versions(kyc.cluster)
    for folder in (EXAMPLES / TENANT, MANIFESTS):
        words = kyc.cluster.kubectl("apply", "-k", str(folder)).splitlines()
        assert [line for line in words if not line.endswith(" unchanged")] == []
    assert versions(kyc.cluster) == before


def versions(cluster: Cluster) -> dict[str, tuple[int, str]]:
    """Generation and resourceVersion of all that the example is, and of the Secrets that came of it."""
    found = items(cluster, "databaseservers") + items(cluster, "servicedatabases,secrets", f"--namespace={TENANT}")
    return {
        f"{each['kind']}/{each['metadata']['name']}": (
            each["metadata"].get("generation", 0),
            each["metadata"]["resourceVersion"],
        )
        for each in found
    }


def test_removed_and_installed_again_no_login_fails(kyc: Kyc) -> None:
    credentials = held(kyc.cluster)
    with logging_in(kyc.cluster) as refused:
        kyc.cluster.kubectl("delete", "-k", str(MANIFESTS), IN_TIME)
        kyc.cluster.kubectl("delete", "-k", str(MANIFESTS), "--ignore-not-found", IN_TIME)
        assert refusals(kyc.cluster) == []
        assert held(kyc.cluster) == credentials
        install(kyc.cluster, kyc.server)
        apply_example(kyc.cluster)
        assert refusals(kyc.cluster) == []
    assert refused == []
    assert held(kyc.cluster) == credentials
    assert faults(kyc.cluster) == []


def held(cluster: Cluster) -> dict[str, dict[str, str]]:
    """What stands in the example's Secrets."""
    return {each["metadata"]["name"]: each["data"] for each in items(cluster, "secrets", f"--namespace={TENANT}")}


def refusals(cluster: Cluster) -> list[str]:
    """What is said to those of the mounted Secrets that do not log in."""
    script = """
    cd /secrets
    for secret in *; do
        psql -X -w -q -A -t "$(cat $secret/uri)" -c "" 2>&1 || true
    done
    """
    return in_pod(cluster, script).splitlines()


@contextmanager
def logging_in(cluster: Cluster) -> Iterator[list[str]]:
    """Log in with every Secret, over and over; the list fills with what is said to those that fail."""
    refused: list[str] = []
    enough = threading.Event()

    def over_and_over() -> None:
        while not enough.is_set():
            try:
                refused.extend(refusals(cluster))
            except HarnessError as error:
                refused.append(str(error))

    thread = threading.Thread(target=over_and_over)
    thread.start()
    try:
        yield refused
    finally:
        enough.set()
        thread.join()


def test_without_an_operator_the_example_is_deleted_at_once_and_no_login_is_lost(kyc: Kyc) -> None:
    kyc.cluster.kubectl("delete", "deployment", "servicedb", f"--namespace={SYSTEM}", IN_TIME)
    kyc.cluster.kubectl("delete", "-k", str(EXAMPLES / TENANT), IN_TIME)
    assert kyc.cluster.kubectl("get", "namespace", TENANT, "--ignore-not-found") == ""
    names = ", ".join(f"'{login}'" for login in LOGINS.values())
    assert kyc.server.psql(f"SELECT count(*) FROM pg_roles WHERE rolcanlogin AND rolname IN ({names})").strip() == "8"
