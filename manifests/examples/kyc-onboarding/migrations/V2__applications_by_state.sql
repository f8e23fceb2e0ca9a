-- servicedb: no-transaction
CREATE INDEX CONCURRENTLY applications_by_state ON applications (state, received_at);
