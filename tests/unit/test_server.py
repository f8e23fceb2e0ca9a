"""Which servers can be used, and what an admin is told about them."""

from dataclasses import replace

import pytest
from servicedb.errors import NeedsDecision, Retryable, Terminal
from servicedb.plan.conditions import Finding
from servicedb.plan.server import ServerFacts, check_server, findings

FACTS = ServerFacts(
    version_number=17_00_05,
    version="17.5",
    in_recovery=False,
    system_identifier="7300000000000000001",
    admin="opadmin",
    superuser=False,
    createrole=True,
    createdb=True,
)
LOCKS = replace(FACTS, lock_database_owner="opadmin", lock_database_open=True, admin_may_own_lock_database=True)
KNOWN = "7300000000000000001"


@pytest.mark.parametrize(
    ("facts", "known", "acknowledged"),
    [
        pytest.param(FACTS, None, None, id="new"),
        pytest.param(LOCKS, KNOWN, None, id="known"),
        pytest.param(replace(FACTS, version_number=15_00_00, version="15.0"), None, None, id="oldest"),
        pytest.param(replace(FACTS, version_number=19_00_00, version="19beta1"), None, None, id="newer than known"),
        pytest.param(replace(FACTS, superuser=True, createrole=False, createdb=False), None, None, id="superuser"),
        pytest.param(
            replace(LOCKS, superuser=True, admin_may_own_lock_database=False), KNOWN, None, id="a superuser owns all"
        ),
        pytest.param(LOCKS, "1", KNOWN, id="another one, acknowledged"),
        pytest.param(LOCKS, KNOWN, "1", id="an acknowledgement of before"),
    ],
)
def test_a_server_that_can_be_used(facts, known, acknowledged):
    check_server(facts, server="main", known_identifier=known, acknowledged=acknowledged)


@pytest.mark.parametrize(
    ("facts", "kind", "reason", "condition", "sentence"),
    [
        pytest.param(
            replace(FACTS, version_number=14_00_12, version="14.12"), Terminal, "VersionNotSupported", "Authorized",
            "runs PostgreSQL 14.12; servicedb needs 15 or newer", id="too old",
        ),
        pytest.param(
            replace(FACTS, system_identifier="2"), NeedsDecision, "ServerChanged", "Reachable",
            'servicedb.io/acknowledge="2"', id="another one",
        ),
        pytest.param(
            replace(FACTS, system_identifier="2", in_recovery=True), NeedsDecision, "ServerChanged", "Reachable",
            "is another one than before", id="another one, in recovery",
        ),
        pytest.param(
            replace(FACTS, in_recovery=True), Retryable, "InRecovery", "Reachable", "is in recovery", id="in recovery"
        ),
        pytest.param(
            replace(FACTS, createrole=False), Terminal, "AdminLacksPrivilege", "Authorized",
            'ALTER ROLE "opadmin" CREATEROLE;', id="no CREATEROLE",
        ),
        pytest.param(
            replace(FACTS, createdb=False), Terminal, "AdminLacksPrivilege", "Authorized",
            'ALTER ROLE "opadmin" CREATEDB;', id="no CREATEDB",
        ),
        pytest.param(
            replace(FACTS, createrole=False, createdb=False), Terminal, "AdminLacksPrivilege", "Authorized",
            "lacks CREATEROLE and CREATEDB", id="neither",
        ),
        pytest.param(
            replace(LOCKS, lock_database_owner="dba", admin_may_own_lock_database=False), Terminal,
            "LockDatabaseTaken", "Authorized", 'GRANT "dba" TO "opadmin";', id="lock database of somebody else",
        ),
    ],
)  # fmt: skip
def test_a_server_that_can_not_be_used(facts, kind, reason, condition, sentence):
    with pytest.raises(kind) as raised:
        check_server(facts, server="main", known_identifier=KNOWN, acknowledged="not this")
    problem = raised.value
    assert (problem.reason, problem.condition) == (reason, condition)
    assert sentence in problem.message
    assert 'server "main"' in problem.message


def test_a_server_in_recovery_makes_ready_unknown():
    with pytest.raises(Retryable) as raised:
        check_server(replace(FACTS, in_recovery=True), server="main", known_identifier=None, acknowledged=None)
    assert raised.value.ready == "Unknown"


@pytest.mark.parametrize(
    ("facts", "refused", "expected"),
    [
        pytest.param(
            FACTS, True,
            [("Reachable", "True", "Connected"), ("Authorized", "True", "CreateRoleAndDatabase"),
             ("TLSEnforced", "True", "PlaintextRefused"), ("Hardened", "True", "NoPublicConnect")],
            id="all well",
        ),
        pytest.param(
            replace(FACTS, superuser=True), None,
            [("Reachable", "True", "Connected"), ("Authorized", "True", "Superuser"),
             ("TLSEnforced", "False", "Disabled"), ("Hardened", "True", "NoPublicConnect")],
            id="superuser, plaintext",
        ),
        pytest.param(
            replace(FACTS, public_databases=["postgres"]), False,
            [("Reachable", "True", "Connected"), ("Authorized", "True", "CreateRoleAndDatabase"),
             ("TLSEnforced", "False", "PlaintextAccepted"), ("Hardened", "False", "PublicConnect")],
            id="plaintext accepted, open to all",
        ),
    ],
)  # fmt: skip
def test_what_an_admin_reads(facts, refused, expected):
    found = list(findings(facts, plaintext_refused=refused))
    assert [(finding.type, finding.status, finding.reason) for finding in found] == expected
    assert all(finding.message for finding in found if finding.status == "False")


@pytest.mark.parametrize(
    ("databases", "listed"),
    [
        pytest.param(["postgres", "template1"], "to: postgres, template1; have", id="few"),
        pytest.param(list("abcde"), "to: a, b, c, d, e; have", id="five"),
        pytest.param(list("abcdef"), "to: a, b, c, d, e and more; have", id="many"),
    ],
)
def test_open_databases_are_named_but_not_all(databases, listed):
    *_, hardened = findings(replace(FACTS, public_databases=databases), plaintext_refused=True)
    assert isinstance(hardened, Finding)
    assert listed in hardened.message
