CREATE TABLE system_metrics (
    ts timestamptz NOT NULL,
    service text NOT NULL,
    metric text NOT NULL,
    value double precision NOT NULL,
    PRIMARY KEY (service, metric, ts)
) PARTITION BY RANGE (ts);

CREATE INDEX system_metrics_ts_idx ON system_metrics (ts);

-- This month and the next, in UTC. From then on each run of the RetentionPolicy makes three ahead.
DO $$
DECLARE
    month timestamp := date_trunc('month', now() AT TIME ZONE 'UTC');
BEGIN
    FOR ahead IN 0..1 LOOP
        EXECUTE format(
            'CREATE TABLE %I PARTITION OF system_metrics FOR VALUES FROM (%L) TO (%L)',
            'system_metrics_p' || to_char(month, 'YYYYMMDD'),
            month AT TIME ZONE 'UTC',
            (month + interval '1 month') AT TIME ZONE 'UTC'
        );
        month := month + interval '1 month';
    END LOOP;
END;
$$;

-- What is left of the metrics when they are in the archive, and after that.
CREATE TABLE system_metrics_hourly (
    hour timestamptz NOT NULL,
    service text NOT NULL,
    metric text NOT NULL,
    samples bigint NOT NULL,
    average double precision NOT NULL,
    lowest double precision NOT NULL,
    highest double precision NOT NULL,
    PRIMARY KEY (service, metric, hour)
);

CREATE TABLE system_metrics_daily (
    day date NOT NULL,
    service text NOT NULL,
    metric text NOT NULL,
    samples bigint NOT NULL,
    average double precision NOT NULL,
    lowest double precision NOT NULL,
    highest double precision NOT NULL,
    PRIMARY KEY (service, metric, day)
);

-- Sums up what has a time of `since` or later, whole hours and days of UTC. Called twice it comes to the same.
CREATE FUNCTION roll_up_system_metrics(since timestamptz DEFAULT now() - interval '2 days') RETURNS void
LANGUAGE sql
BEGIN ATOMIC
    INSERT INTO system_metrics_hourly
    SELECT date_trunc('hour', ts, 'UTC'), service, metric, count(*), avg(value), min(value), max(value)
    FROM system_metrics
    WHERE ts >= date_trunc('day', since, 'UTC')
    GROUP BY 1, 2, 3
    ON CONFLICT (service, metric, hour) DO UPDATE
    SET samples = excluded.samples, average = excluded.average, lowest = excluded.lowest, highest = excluded.highest;
    INSERT INTO system_metrics_daily
    SELECT (ts AT TIME ZONE 'UTC')::date, service, metric, count(*), avg(value), min(value), max(value)
    FROM system_metrics
    WHERE ts >= date_trunc('day', since, 'UTC')
    GROUP BY 1, 2, 3
    ON CONFLICT (service, metric, day) DO UPDATE
    SET samples = excluded.samples, average = excluded.average, lowest = excluded.lowest, highest = excluded.highest;
END;
