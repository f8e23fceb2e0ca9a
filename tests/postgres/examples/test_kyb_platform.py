"""The example kyb-platform: its rules, its seeds, its way back, and the history that its application may read."""

from collections.abc import Iterator
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest
from psycopg.errors import CheckViolation, InsufficientPrivilege, UniqueViolation
from servicedb.jobs.migrate.request import Action
from servicedb.plan.migrations.versions import Version

from tests.postgres.examples.analytics import tables
from tests.postgres.examples.database import Database, indexes_used
from tests.postgres.provision import Site

SEEDS = ["seeds/development/001_users.sql", "seeds/development/002_businesses.sql"]
USER, BUSINESS = (f"00000000-0000-4000-8000-000000000{number}" for number in ("001", "101"))
SEEDED = ("users", "role_assignments", "api_keys", "businesses", "risk_assessments", "compliance_checks")


@pytest.fixture(scope="module")
def kyb(module_site: Site) -> Iterator[Database]:
    database = Database.new(module_site, "kyb-platform", "development.yaml")
    yield database
    database.drop()


@pytest.fixture
def seeded(kyb: Database) -> Database:
    """With its seeds, which are run where they are not in yet."""
    kyb.migrate(Action.SEED, environment="development")
    return kyb


def counts(kyb: Database) -> dict[str, int]:
    return {table: kyb.execute(f"SELECT count(*) FROM {table}")[0][0] for table in SEEDED}


def test_all_its_tables_are_there(kyb: Database) -> None:
    assert tables(kyb) == {
        "users", "businesses", "business_classifications", "risk_assessments", "compliance_checks", "api_keys",
        "audit_logs", "external_service_calls", "email_verification_tokens", "password_reset_tokens",
        "token_blacklist", "role_assignments", "webhooks", "webhook_events",
    }  # fmt: skip


def test_its_secrets_have_the_keys_that_its_application_reads(kyb: Database) -> None:
    for role in ("app", "migrator", "readOnly"):
        secret, server = kyb.secret(role), kyb.site.server
        keys = {key: secret[key] for key in ("DB_HOST", "DB_PORT", "DB_NAME", "DB_USER")}
        assert keys == {
            "DB_HOST": server.host,
            "DB_PORT": str(server.port),
            "DB_NAME": kyb.name,
            "DB_USER": secret["user"],
        }
        with server.connect(secret["DB_USER"], secret["DB_PASSWORD"], secret["DB_NAME"]) as connection:
            assert connection.execute("SELECT current_database()").fetchone() == (kyb.name,)


# Who reads the history, and who never writes it


@pytest.mark.parametrize("role", ["app", "readOnly"])
def test_what_was_applied_is_read_in_a_view(kyb: Database, role: str) -> None:
    shown = kyb.execute("SELECT version, name, milliseconds >= 0 FROM migrations ORDER BY applied_at", role=role)
    names = [("1", "initial_schema"), ("2", "rbac_schema"), ("3", "performance_indexes")]
    assert shown == [(*name, True) for name in names]


@pytest.mark.parametrize(
    "statement",
    [
        "DELETE FROM migrations",
        "UPDATE migrations SET name = 'mine'",
        "INSERT INTO migrations (version, name) VALUES ('4', 'mine')",
        "DELETE FROM servicedb_migrations.history",
        "SELECT FROM servicedb_migrations.history",
    ],
)
def test_through_it_nobody_reaches_the_history_itself(kyb: Database, statement: str) -> None:
    refused = (InsufficientPrivilege, psycopg.errors.ObjectNotInPrerequisiteState)
    with pytest.raises(refused, match=r"cannot|permission denied for schema servicedb_migrations"):
        kyb.execute(statement)


# Seeds


def test_seeds_put_in_users_keys_and_a_business_of_each_level_of_risk(seeded: Database) -> None:
    roles = "SELECT split_part(email, '@', 1), role FROM users JOIN role_assignments ON user_id = users.id ORDER BY 1"
    assert seeded.execute(roles) == [("admin", "admin"), ("analyst", "analyst"), ("test", "viewer")]
    levels = """
        SELECT businesses.risk_level FROM businesses JOIN risk_assessments ON business_id = businesses.id
        WHERE businesses.risk_level = risk_assessments.risk_level ORDER BY score
    """
    assert seeded.execute(levels) == [("low",), ("medium",), ("high",), ("critical",)]
    key = "SELECT scopes FROM api_keys WHERE key_digest = sha256('kyb-development-analyst')"
    assert seeded.execute(key) == [(["read", "write"],)]


def test_no_seed_has_a_password_that_logs_in(seeded: Database) -> None:
    assert seeded.execute("SELECT DISTINCT password_hash FROM users") == [("!",)]


def test_seeds_that_are_run_again_change_nothing(seeded: Database) -> None:
    before = counts(seeded)
    assert seeded.migrate(Action.SEED, environment="development").seeds == []
    with seeded.login("migrator") as connection:  # and their statements themselves, too
        for file in SEEDS:
            connection.execute(seeded.files[file])
    assert counts(seeded) == before


def test_cleared_seeds_leave_what_was_not_theirs(kyb: Database) -> None:
    kyb.migrate(Action.CLEAR_SEEDS)
    kyb.execute(
        "INSERT INTO users (id, email, full_name, password_hash) VALUES (%s, 'mine@kyb.example', 'Mine', '!')", USER
    )
    result = kyb.migrate(Action.SEED, environment="development")
    assert [(one.file, one.rows) for one in result.seeds] == [(SEEDS[0], 8), (SEEDS[1], 11)]
    kyb.migrate(Action.CLEAR_SEEDS)
    assert counts(kyb) == dict.fromkeys(SEEDED, 0) | {"users": 1}
    kyb.execute("DELETE FROM users")


def test_there_are_no_seeds_for_production(kyb: Database) -> None:
    result = kyb.attempt(Action.SEED, environment="Production")
    assert (result.outcome, result.reason) == ("Terminal", "NoSeeds")


# The way back


def indexes(kyb: Database) -> set[str]:
    return {name for (name,) in kyb.execute("SELECT indexname FROM pg_indexes WHERE schemaname = 'public'")}


def test_one_migration_is_taken_back_and_applied_again_with_all_rows_in_place(seeded: Database) -> None:
    before, rows = indexes(seeded), counts(seeded)
    back = seeded.migrate(Action.DOWN, target=Version.parse("2"))
    assert (back.version, len(before - indexes(seeded))) == ("2", 14)
    assert not {"businesses_by_status", "webhook_events_due"} & indexes(seeded)
    assert {"users_email_key", "role_assignments_everywhere_key"} <= indexes(seeded)
    assert seeded.execute("SELECT max(version) FROM migrations") == [("2",)]
    seeded.migrate(Action.UP)
    assert (indexes(seeded), counts(seeded)) == (before, rows)


def test_before_the_first_there_is_no_way_back_and_nothing_is_done(seeded: Database) -> None:
    before, rows = indexes(seeded), counts(seeded)
    result = seeded.attempt(Action.DOWN, target=Version.parse("0"))
    assert (result.outcome, result.reason) == ("Terminal", "NoWayBack")
    assert (indexes(seeded), counts(seeded)) == (before, rows)
    assert seeded.execute("SELECT count(*) FROM migrations") == [(3,)]


# Its rules


@pytest.mark.parametrize(
    ("change", "error", "constraint"),
    [
        ("UPDATE users SET email = 'ADMIN@KYB.example' WHERE email LIKE 'test@%'", UniqueViolation, "users_email_key"),
        ("UPDATE users SET email = 'nobody'", CheckViolation, "users_email_has_an_at"),
        ("UPDATE businesses SET risk_level = NULL", CheckViolation, "businesses_approved_were_assessed"),
        ("UPDATE businesses SET country = 'uk'", CheckViolation, "businesses_country_is_two_letters"),
        (
            "UPDATE businesses SET (country, registration_number) = ('GB', 'DEV-0001')",
            UniqueViolation,
            "businesses_registration_key",
        ),
        ("UPDATE risk_assessments SET score = 101", CheckViolation, "risk_assessments_score_is_0_to_100"),
        ("UPDATE compliance_checks SET completed_at = NULL", CheckViolation, "compliance_checks_ended_has_a_time"),
        ("UPDATE api_keys SET key_digest = 'kyb-development-admin'", CheckViolation, "api_keys_digest_is_sha256"),
        ("UPDATE api_keys SET scopes = '{root}'", CheckViolation, "api_keys_scopes_are_known"),
        ("UPDATE role_assignments SET granted_by = user_id", CheckViolation, "role_assignments_not_granted_to_oneself"),
        (
            f"UPDATE role_assignments SET business_id = '{BUSINESS}' WHERE role = 'admin'",
            CheckViolation,
            "role_assignments_admin_is_admin_everywhere",
        ),
        (
            "INSERT INTO role_assignments (user_id, role) SELECT user_id, role FROM role_assignments",
            UniqueViolation,
            "role_assignments_everywhere_key",
        ),
        (
            "INSERT INTO password_reset_tokens (token_digest, user_id, expires_at) "
            f"VALUES (sha256('t'), '{USER}', now() + interval '2 hours')",
            CheckViolation,
            "password_reset_tokens_live_an_hour",
        ),
        (
            "INSERT INTO webhooks (user_id, url, secret_reference, event_types) "
            f"VALUES ('{USER}', 'http://x', 's', '{{e}}')",
            CheckViolation,
            "webhooks_url_is_secure",
        ),
        (
            f"INSERT INTO compliance_checks (business_id, kind) SELECT '{BUSINESS}', 'pep' FROM generate_series(1, 2)",
            UniqueViolation,
            "compliance_checks_one_pending",
        ),
    ],
)
def test_what_would_be_wrong_is_refused(seeded: Database, change: str, error: Any, constraint: str) -> None:
    with pytest.raises(error, match=constraint):
        seeded.execute(change)


@pytest.mark.parametrize(
    ("score", "level"),
    [
        (0, "low"),
        (29, "low"),
        (30, "medium"),
        (59, "medium"),
        (60, "high"),
        (84, "high"),
        (85, "critical"),
        (100, "critical"),
    ],
)
def test_the_level_is_what_the_score_says(seeded: Database, score: int, level: str) -> None:
    change = "UPDATE risk_assessments SET score = %s WHERE business_id = %s RETURNING risk_level"
    assert seeded.execute(change, score, BUSINESS) == [(level,)]


def test_a_role_counts_until_it_expires_and_for_its_business_alone(seeded: Database) -> None:
    def holds(business: str | UUID | None = None) -> bool:
        answer: bool = seeded.execute("SELECT holds_role(%s, 'auditor', %s)", USER, business)[0][0]
        return answer

    insert = "INSERT INTO role_assignments (user_id, role, business_id) VALUES (%s, 'auditor', %s)"
    seeded.execute(insert, USER, BUSINESS)
    assert (holds(BUSINESS), holds(uuid4()), holds()) == (True, False, False)
    expired = (
        "UPDATE role_assignments SET granted_at = now() - '1 day'::interval, expires_at = now() WHERE role = 'auditor'"
    )
    seeded.execute(expired)
    assert not holds(BUSINESS)
    seeded.execute("DELETE FROM role_assignments WHERE role = 'auditor'")


# By which index


@pytest.fixture(scope="module")
def full(kyb: Database) -> Iterator[Database]:
    """With rows enough that an index is worth its while."""
    kyb.execute(
        """
        INSERT INTO users (id, email, full_name, password_hash)
        SELECT md5(n::text)::uuid, 'user' || n || '@kyb.example', 'User', '!' FROM generate_series(1, 1000) AS n;
        INSERT INTO businesses (id, legal_name, registration_number, country, status, risk_level, created_at)
        SELECT md5(n::text)::uuid, 'Name' || n || ' Word' || n % 1000, n::text, 'GB',
            CASE n % 50 WHEN 0 THEN 'suspended' ELSE 'approved' END, CASE n % 50 WHEN 0 THEN 'high' ELSE 'low' END,
            now() - n * interval '1 minute'
        FROM generate_series(1, 5000) AS n;
        INSERT INTO risk_assessments (business_id, score, factors, model_version)
        SELECT id, 10, jsonb_build_array(jsonb_build_object('code', registration_number)), 'v' FROM businesses;
        INSERT INTO compliance_checks (business_id, kind, status, completed_at)
        SELECT id, 'pep', CASE status WHEN 'suspended' THEN 'review' ELSE 'passed' END, now() FROM businesses;
        INSERT INTO audit_logs (user_id, action, resource_type, resource_id)
        SELECT users.id, 'read', 'business', md5(n::text)::uuid FROM users, generate_series(1, 5) AS n;
        INSERT INTO external_service_calls (service, endpoint, response_code, milliseconds, error)
        SELECT 'service' || n % 100, '/', 200, 5, CASE n % 100 WHEN 0 THEN 'timeout' END
        FROM generate_series(1, 5000) AS n;
        INSERT INTO token_blacklist (token_id, user_id, reason, expires_at)
        SELECT gen_random_uuid(), users.id, 'logout', now() + n * interval '1 hour'
        FROM users, generate_series(1, 5) AS n;
        INSERT INTO webhooks (id, user_id, url, secret_reference, event_types)
        SELECT id, id, 'https://x', 's', '{e}' FROM users;
        INSERT INTO webhook_events (webhook_id, event_type, payload, status, next_attempt_at, delivered_at)
        SELECT id, 'e', '{}', CASE WHEN waits THEN 'pending' ELSE 'delivered' END,
            CASE WHEN waits THEN now() END, CASE WHEN NOT waits THEN now() END
        FROM (SELECT webhooks.id, n % 50 = 0 AS waits FROM webhooks, generate_series(1, 5) AS n) AS events;
        ANALYZE
        """,
        role="migrator",
    )
    kyb.execute("VACUUM (ANALYZE) businesses, risk_assessments", role="migrator")  # what GIN indexes put off is done
    yield kyb
    kyb.execute("TRUNCATE users, businesses CASCADE", role="migrator")


@pytest.mark.parametrize(
    ("index", "query"),
    [
        ("users_email_key", "SELECT * FROM users WHERE lower(email) = 'user7@kyb.example'"),
        ("businesses_registration_key", "SELECT * FROM businesses WHERE country = 'GB' AND registration_number = '7'"),
        (
            "businesses_by_status",
            "SELECT * FROM businesses WHERE status = 'approved' ORDER BY created_at DESC LIMIT 20",
        ),
        (
            "businesses_risky",
            "SELECT * FROM businesses WHERE risk_level IN ('high', 'critical') AND risk_level = 'high' "
            "ORDER BY updated_at DESC LIMIT 20",
        ),
        (
            "businesses_by_name",
            "SELECT * FROM businesses WHERE to_tsvector('simple', legal_name) @@ plainto_tsquery('simple', 'word7')",
        ),
        (
            "risk_assessments_latest",
            "SELECT * FROM risk_assessments WHERE business_id = md5('7')::uuid ORDER BY assessed_at DESC LIMIT 1",
        ),
        ("risk_assessments_factors", """SELECT * FROM risk_assessments WHERE factors @> '[{"code": "7"}]'"""),
        (
            "compliance_checks_by_business",
            "SELECT * FROM compliance_checks WHERE business_id = md5('7')::uuid ORDER BY started_at DESC",
        ),
        (
            "compliance_checks_to_review",
            "SELECT * FROM compliance_checks WHERE status = 'review' ORDER BY started_at LIMIT 20",
        ),
        (
            "audit_logs_by_resource",
            "SELECT * FROM audit_logs WHERE resource_type = 'business' AND resource_id = md5('7')::uuid "
            "ORDER BY created_at DESC LIMIT 20",
        ),
        (
            "audit_logs_by_user",
            "SELECT * FROM audit_logs WHERE user_id = md5('7')::uuid ORDER BY created_at DESC LIMIT 20",
        ),
        (
            "external_service_calls_by_service",
            "SELECT * FROM external_service_calls WHERE service = 'service7' ORDER BY called_at DESC LIMIT 20",
        ),
        ("external_service_calls_failed", "SELECT * FROM external_service_calls WHERE error IS NOT NULL"),
        ("token_blacklist_by_expiry", "DELETE FROM token_blacklist WHERE expires_at < now()"),
        (
            "webhook_events_due",
            "SELECT * FROM webhook_events WHERE status = 'pending' ORDER BY next_attempt_at LIMIT 20",
        ),
    ],
)
def test_an_index_answers(full: Database, index: str, query: str) -> None:
    with full.login() as connection:
        assert index in indexes_used(connection, query)
