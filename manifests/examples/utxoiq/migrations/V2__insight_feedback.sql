-- One opinion of a user on an insight: the last one counts, by INSERT ... ON CONFLICT (user_id, insight_id) DO UPDATE.
CREATE TABLE insight_feedback (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    user_id uuid NOT NULL,
    insight_id uuid NOT NULL,
    rating smallint NOT NULL CHECK (rating BETWEEN 1 AND 5),
    comment text CHECK (length(comment) <= 2000),
    created_at timestamptz NOT NULL DEFAULT now(),
    UNIQUE (user_id, insight_id)
);

CREATE INDEX insight_feedback_created_at_idx ON insight_feedback (created_at);
CREATE INDEX insight_feedback_insight_idx ON insight_feedback (insight_id);
