"""The example kyc-onboarding: the tables of its services, their rules, and by which index their lists are answered."""

from collections.abc import Callable, Iterator
from functools import cache
from uuid import UUID, uuid4

import pytest
from psycopg.errors import CheckViolation, InsufficientPrivilege, UniqueViolation

from tests.postgres.examples.analytics import tables
from tests.postgres.examples.database import Database, indexes_used
from tests.postgres.provision import Site

TABLES = {
    "onboarding": {"onboarding_cases", "applicants", "addresses"},
    "checklist-service": {"checklists", "checklist_items"},
    "risk-service": {"risk_assessments", "risk_factors"},
    "auditlog-service": {"audit_log_entries"},
    "projections-api": {"onboarding_case_projections"},
    "notification-service": {"notifications"},
}


@pytest.fixture(scope="module")
def service(module_site: Site) -> Iterator[Callable[[str], Database]]:
    """Gives the database of a service."""
    made = []

    @cache
    def of(name: str) -> Database:
        made.append(Database.new(module_site, "kyc-onboarding", f"{name}.yaml", f"migrations/{name}"))
        return made[-1]

    yield of
    for database in made:
        database.drop()


@pytest.mark.parametrize("name", TABLES)
def test_each_service_has_its_tables(service: Callable[[str], Database], name: str) -> None:
    assert tables(service(name)) == TABLES[name]


# Cases


CASE = """
    INSERT INTO onboarding_cases (partner_id, reference, type, status, submitted_at)
    VALUES (%s, %s, 'Individual', %s, %s) RETURNING id
"""
APPLICANT = """
    INSERT INTO applicants (case_id, first_name, last_name, date_of_birth, nationality, email, role)
    VALUES (%s, 'Ann', 'Applicant', current_date - %s::interval, 'LV', 'ann@example.org', %s) RETURNING id
"""


@pytest.fixture
def onboarding(service: Callable[[str], Database]) -> Database:
    return service("onboarding")


def case(onboarding: Database, status: str = "Draft", submitted_at: str | None = None) -> UUID:
    made: UUID = onboarding.execute(CASE, uuid4(), "R-1", status, submitted_at)[0][0]
    return made


def test_a_case_that_is_looked_at_was_submitted(onboarding: Database) -> None:
    assert case(onboarding, "InReview", "2026-01-01")
    with pytest.raises(CheckViolation, match="onboarding_cases_submitted_has_a_time"):
        case(onboarding, "InReview")


def test_a_decision_has_a_name_and_a_time(onboarding: Database) -> None:
    decided = case(onboarding, "InReview", "2026-01-01")
    with pytest.raises(CheckViolation, match="onboarding_cases_decided_has_a_name"):
        onboarding.execute("UPDATE onboarding_cases SET status = 'Approved' WHERE id = %s", decided)
    approve = "UPDATE onboarding_cases SET (status, decided_at, decided_by) = ('Approved', now(), 'ann') WHERE id = %s"
    onboarding.execute(approve, decided)


def test_a_case_has_one_primary_applicant_who_is_of_age(onboarding: Database) -> None:
    for_case = case(onboarding)
    onboarding.execute(APPLICANT, for_case, "18 years", "Primary")
    onboarding.execute(APPLICANT, for_case, "30 years", "Joint")
    with pytest.raises(UniqueViolation, match="applicants_one_primary"):
        onboarding.execute(APPLICANT, for_case, "30 years", "Primary")
    with pytest.raises(CheckViolation, match="applicants_are_of_age"):
        onboarding.execute(APPLICANT, for_case, "17 years", "Joint")


def test_one_lives_at_one_address_at_a_time(onboarding: Database) -> None:
    applicant = onboarding.execute(APPLICANT, case(onboarding), "30 years", "Primary")[0][0]
    move_in = """
        INSERT INTO addresses (applicant_id, line_1, city, postal_code, country, valid_from)
        VALUES (%s, 'Street 1', 'Riga', 'LV-1010', 'LV', '2020-01-01')
    """
    onboarding.execute(move_in, applicant)
    with pytest.raises(UniqueViolation, match="addresses_one_of_a_kind_at_present"):
        onboarding.execute(move_in, applicant)
    onboarding.execute("UPDATE addresses SET valid_until = '2021-01-01' WHERE applicant_id = %s", applicant)
    onboarding.execute(move_in, applicant)


# Checklists: a column that is called "order"


@pytest.fixture
def checklist(service: Callable[[str], Database]) -> tuple[Database, UUID]:
    """A checklist of three items."""
    database = service("checklist-service")
    insert = "INSERT INTO checklists (case_id, type) VALUES (gen_random_uuid(), 'Individual') RETURNING id"
    made = database.execute(insert)[0][0]
    for order, code in enumerate(("passport", "address", "selfie"), start=1):
        item = 'INSERT INTO checklist_items (checklist_id, code, name, "order") VALUES (%s, %s, %s, %s)'
        database.execute(item, made, code, code, order)
    return database, made


def in_order(checklist: tuple[Database, UUID]) -> list[str]:
    query = 'SELECT code FROM checklist_items WHERE checklist_id = %s ORDER BY "order"'
    return [code for (code,) in checklist[0].execute(query, checklist[1])]


def test_items_have_an_order_and_change_places_in_one_statement(checklist: tuple[Database, UUID]) -> None:
    assert in_order(checklist) == ["passport", "address", "selfie"]
    checklist[0].execute('UPDATE checklist_items SET "order" = 4 - "order" WHERE checklist_id = %s', checklist[1])
    assert in_order(checklist) == ["selfie", "address", "passport"]


def test_no_two_items_have_one_place(checklist: tuple[Database, UUID]) -> None:
    with pytest.raises(UniqueViolation, match="checklist_items_order_key"):
        checklist[0].execute('UPDATE checklist_items SET "order" = 1 WHERE checklist_id = %s', checklist[1])


def test_what_is_required_is_not_skipped(checklist: tuple[Database, UUID]) -> None:
    with pytest.raises(CheckViolation, match="checklist_items_required_are_not_skipped"):
        checklist[0].execute("UPDATE checklist_items SET status = 'Skipped' WHERE checklist_id = %s", checklist[1])


# Risks


def test_a_case_has_one_assessment_at_a_time_and_a_level_at_its_end(service: Callable[[str], Database]) -> None:
    risks, of_case = service("risk-service"), uuid4()
    insert = "INSERT INTO risk_assessments (case_id, partner_id) VALUES (%s, gen_random_uuid())"
    risks.execute(insert, of_case)
    with pytest.raises(UniqueViolation, match="risk_assessments_one_open_a_case"):
        risks.execute(insert, of_case)
    with pytest.raises(CheckViolation, match="risk_assessments_completed_says_it_all"):
        risks.execute("UPDATE risk_assessments SET status = 'Completed' WHERE case_id = %s", of_case)
    with pytest.raises(CheckViolation, match="risk_assessments_override_is_explained"):
        risks.execute("UPDATE risk_assessments SET overridden_level = 'Low' WHERE case_id = %s", of_case)
    factor = """
        INSERT INTO risk_factors (assessment_id, kind, level, score, description, source)
        SELECT id, 'Country', 'High', %s, 'd', 's' FROM risk_assessments WHERE case_id = %s
    """
    risks.execute(factor, 100, of_case)
    with pytest.raises(CheckViolation, match="risk_factors_score_is_0_to_100"):
        risks.execute(factor, "100.01", of_case)


# The audit log: added to and read, and nothing else


ENTRY = """
    INSERT INTO audit_log_entries (event_type, entity_type, entity_id, actor, action, occurred_at)
    VALUES ('CaseApproved', 'Case', '7', 'ann', 'approve', now()) RETURNING action
"""


def test_the_application_adds_to_the_audit_log_and_reads_it(service: Callable[[str], Database]) -> None:
    log = service("auditlog-service")
    assert log.execute(ENTRY) == [("approve",)]
    assert ("Information", "ann") in log.execute("SELECT severity, actor FROM audit_log_entries")


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE audit_log_entries SET actor = 'somebody else'",
        "UPDATE audit_log_entries SET actor = actor WHERE false",
        "DELETE FROM audit_log_entries",
        "TRUNCATE audit_log_entries",
        "DROP TABLE audit_log_entries",
        "ALTER TABLE audit_log_entries RENAME TO gone",
        "SELECT FROM audit_log_entries FOR UPDATE",
        "INSERT INTO audit_log_entries (id, event_type, entity_type, entity_id, actor, action, occurred_at) "
        "SELECT id, 'x', 'x', 'x', 'x', 'x', now() FROM audit_log_entries "
        "ON CONFLICT (id) DO UPDATE SET actor = excluded.actor",
        "MERGE INTO audit_log_entries AS log USING (VALUES (1)) AS one ON true WHEN MATCHED THEN DELETE",
        "CREATE TRIGGER quiet BEFORE INSERT ON audit_log_entries EXECUTE FUNCTION suppress_redundant_updates_trigger()",
    ],
)
def test_and_changes_nothing_that_is_in_it(service: Callable[[str], Database], statement: str) -> None:
    log = service("auditlog-service")
    log.execute(ENTRY)
    whole = "SELECT md5(string_agg(entry::text, ' ' ORDER BY id)) FROM audit_log_entries AS entry"
    before = log.execute(whole)
    with pytest.raises(InsufficientPrivilege):
        log.execute(statement)
    assert log.execute(whole) == before


# Notifications


def test_an_event_that_comes_twice_notifies_once(service: Callable[[str], Database]) -> None:
    notifications = service("notification-service")
    insert = """
        INSERT INTO notifications (recipient, channel, template, deduplication_key)
        VALUES ('ann', 'Email', 'approved', %s) ON CONFLICT (deduplication_key) DO NOTHING RETURNING status
    """
    answers = notifications.at_once(8, insert, [("case-7-approved",)] * 8)
    assert sorted(answers, key=str) == [*[None] * 7, "Pending"]


# Projections


@pytest.fixture
def projections(service: Callable[[str], Database]) -> Database:
    """With rows enough that an index is worth its while."""
    database = service("projections-api")
    if database.execute("SELECT FROM onboarding_case_projections LIMIT 1"):
        return database
    database.execute(
        """
        INSERT INTO onboarding_case_projections
            (id, partner_id, reference, type, status, risk_level, assigned_to, requires_manual_review, created_at,
            updated_at)
        SELECT gen_random_uuid(), md5((n % 50)::text)::uuid, n::text, 'Individual', 'Status' || n / 7 % 20,
            (ARRAY['Low', 'Medium', 'High', 'Critical'])[CASE n % 100 WHEN 0 THEN 4 ELSE n % 3 + 1 END],
            'person' || n / 3 % 100, n % 100 = 0, now() - n * interval '1 minute', now() - n * interval '7 seconds'
        FROM generate_series(1, 10000) AS n;
        ANALYZE onboarding_case_projections
        """,
        role="migrator",
    )
    return database


def test_a_projection_has_46_columns_and_ten_indexes_besides_its_key(projections: Database) -> None:
    columns = "SELECT count(*) FROM information_schema.columns WHERE table_name = 'onboarding_case_projections'"
    assert projections.execute(columns) == [(46,)]
    indexes = "SELECT indexname FROM pg_indexes WHERE tablename = 'onboarding_case_projections'"
    assert {name for (name,) in projections.execute(indexes)} == {
        "onboarding_case_projections_pkey",
        *(f"idx_case_projections_{columns}" for columns in LISTS),
    }


LISTS = {
    "partner_id": "SELECT count(*) FROM {table} WHERE partner_id = md5('7')::uuid",
    "status": "SELECT count(*) FROM {table} WHERE status = 'Status7'",
    "risk_level": "SELECT count(*) FROM {table} WHERE risk_level = 'Critical'",
    "assigned_to": "SELECT count(*) FROM {table} WHERE assigned_to = 'person7'",
    "created_at": "SELECT * FROM {table} ORDER BY created_at DESC LIMIT 50",
    "updated_at": "SELECT * FROM {table} WHERE updated_at > now() - interval '10 minutes'",
    "requires_manual_review": "SELECT * FROM {table} WHERE requires_manual_review",
    "partner_status_created": "SELECT * FROM {table} WHERE partner_id = md5('7')::uuid AND status = 'Status7' "
    "ORDER BY created_at DESC LIMIT 50",
    "status_risk_created": "SELECT * FROM {table} WHERE status = 'Status7' AND risk_level = 'High' "
    "ORDER BY created_at DESC LIMIT 50",
    "assigned_status_created": "SELECT * FROM {table} WHERE assigned_to = 'person7' AND status = 'Status7' "
    "ORDER BY created_at DESC LIMIT 50",
}
"""What the index of those columns is for."""


@pytest.mark.parametrize("columns", LISTS)
def test_a_list_is_answered_by_its_index(projections: Database, columns: str) -> None:
    with projections.login("readOnly") as connection:
        used = indexes_used(connection, LISTS[columns].format(table="onboarding_case_projections"))
    assert used == {f"idx_case_projections_{columns}"}


@pytest.mark.parametrize(
    ("change", "constraint"),
    [
        ("checklist_completed_items = 1", "onboarding_case_projections_checklist_adds_up"),
        ("checklist_completion = 100.01", "onboarding_case_projections_completion_is_a_percentage"),
        ("verified_document_count = 1", "onboarding_case_projections_documents_add_up"),
        ("risk_level = 'None'", "onboarding_case_projections_risk_level_is_known"),
    ],
)
def test_a_projection_that_can_not_be_is_refused(projections: Database, change: str, constraint: str) -> None:
    with pytest.raises(CheckViolation, match=constraint):
        projections.execute(f"UPDATE onboarding_case_projections SET {change}")
