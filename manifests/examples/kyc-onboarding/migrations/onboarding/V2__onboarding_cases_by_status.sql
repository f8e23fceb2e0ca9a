-- servicedb: no-transaction
CREATE INDEX CONCURRENTLY onboarding_cases_by_status ON onboarding_cases (status, created_at);
CREATE INDEX CONCURRENTLY onboarding_cases_by_assignee ON onboarding_cases (assigned_to, status)
    WHERE assigned_to IS NOT NULL;
