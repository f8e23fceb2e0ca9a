CREATE TABLE backfill_jobs (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    first_height integer NOT NULL CHECK (first_height >= 0),
    last_height integer NOT NULL,
    status text NOT NULL DEFAULT 'pending' CHECK (status IN ('pending', 'running', 'done', 'failed')),
    error text,
    created_at timestamptz NOT NULL DEFAULT now(),
    ended_at timestamptz,
    CHECK (last_height >= first_height),
    CHECK ((status IN ('done', 'failed')) = (ended_at IS NOT NULL))
);

CREATE INDEX backfill_jobs_created_at_idx ON backfill_jobs (created_at);
CREATE INDEX backfill_jobs_open_idx ON backfill_jobs (created_at) WHERE status IN ('pending', 'running');
