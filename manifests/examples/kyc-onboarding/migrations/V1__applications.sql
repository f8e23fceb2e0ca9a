CREATE TABLE applications (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    customer text NOT NULL,
    state text NOT NULL DEFAULT 'received',
    received_at timestamptz NOT NULL DEFAULT now()
);
