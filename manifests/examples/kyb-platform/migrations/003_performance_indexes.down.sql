-- servicedb: no-transaction
DROP INDEX CONCURRENTLY role_assignments_by_business;
DROP INDEX CONCURRENTLY webhook_events_due;
DROP INDEX CONCURRENTLY token_blacklist_by_expiry;
DROP INDEX CONCURRENTLY external_service_calls_failed;
DROP INDEX CONCURRENTLY external_service_calls_by_service;
DROP INDEX CONCURRENTLY audit_logs_by_user;
DROP INDEX CONCURRENTLY audit_logs_by_resource;
DROP INDEX CONCURRENTLY compliance_checks_to_review;
DROP INDEX CONCURRENTLY compliance_checks_by_business;
DROP INDEX CONCURRENTLY risk_assessments_factors;
DROP INDEX CONCURRENTLY risk_assessments_latest;
DROP INDEX CONCURRENTLY businesses_by_name;
DROP INDEX CONCURRENTLY businesses_risky;
DROP INDEX CONCURRENTLY businesses_by_status;
