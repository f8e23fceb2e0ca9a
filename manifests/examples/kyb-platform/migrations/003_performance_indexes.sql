-- servicedb: no-transaction
-- Built while the application writes.

CREATE INDEX CONCURRENTLY businesses_by_status ON businesses (status, created_at DESC);
CREATE INDEX CONCURRENTLY businesses_risky ON businesses (risk_level, updated_at DESC)
    WHERE risk_level IN ('high', 'critical');
CREATE INDEX CONCURRENTLY businesses_by_name ON businesses USING gin (to_tsvector('simple', legal_name));
CREATE INDEX CONCURRENTLY risk_assessments_latest ON risk_assessments (business_id, assessed_at DESC);
CREATE INDEX CONCURRENTLY risk_assessments_factors ON risk_assessments USING gin (factors jsonb_path_ops);
CREATE INDEX CONCURRENTLY compliance_checks_by_business ON compliance_checks (business_id, started_at DESC);
CREATE INDEX CONCURRENTLY compliance_checks_to_review ON compliance_checks (started_at) WHERE status = 'review';
CREATE INDEX CONCURRENTLY audit_logs_by_resource ON audit_logs (resource_type, resource_id, created_at DESC);
CREATE INDEX CONCURRENTLY audit_logs_by_user ON audit_logs (user_id, created_at DESC);
CREATE INDEX CONCURRENTLY external_service_calls_by_service ON external_service_calls (service, called_at DESC);
CREATE INDEX CONCURRENTLY external_service_calls_failed ON external_service_calls (called_at) WHERE error IS NOT NULL;
CREATE INDEX CONCURRENTLY token_blacklist_by_expiry ON token_blacklist (expires_at);
CREATE INDEX CONCURRENTLY webhook_events_due ON webhook_events (next_attempt_at) WHERE status = 'pending';
CREATE INDEX CONCURRENTLY role_assignments_by_business ON role_assignments (business_id) WHERE business_id IS NOT NULL;
