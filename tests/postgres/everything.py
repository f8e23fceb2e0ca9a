"""A database with every kind of object that a dump could lose. `{n}` is the database's name; run as its owner."""

EVERYTHING = r"""
CREATE TYPE mood AS ENUM ('sad', 'ok', 'happy');
CREATE DOMAIN positive AS int CONSTRAINT above_zero CHECK (VALUE > 0);
CREATE TYPE span AS RANGE (subtype = float8);
CREATE TYPE address AS (street text, number int);
CREATE SEQUENCE counter INCREMENT 5 START 100 CYCLE MAXVALUE 100000;
CREATE SEQUENCE backwards INCREMENT -1;
SELECT nextval('counter'), nextval('counter'), nextval('backwards'), nextval('backwards');
CREATE SEQUENCE untouched;

CREATE TABLE customers (
    id int GENERATED ALWAYS AS IDENTITY (START 10) PRIMARY KEY, name text NOT NULL COLLATE "C", mood mood DEFAULT 'ok',
    age positive, born date, home address, active span, tags text[], details jsonb, raw json, doc xml, secret bytea,
    shout text GENERATED ALWAYS AS (upper(name)) STORED, big numeric(30, 5), at timestamptz, took interval, ip inet,
    place point, UNIQUE (name, born), CHECK (age < 150));
INSERT INTO customers (name, age, born, home, active, tags, details, raw, secret, big, at, took, ip, place)
SELECT 'customer ' || g, g, date '2000-01-01' + g, ROW('street; "' || g || E'\n', g)::address, span(g, g + 0.5),
       ARRAY['a', NULL, 'ü€😀'], jsonb_build_object('n', g), '{{"b":1, "a":2}}',
       decode(repeat('00ff5c', g % 20), 'hex'),
       g * 1.00001, timestamptz '2024-03-31 01:30+00' + g * interval '1 hour', g * interval '1 day', '10.0.0.1',
       point(g, g)
FROM generate_series(1, 120) g;
INSERT INTO customers (name) VALUES ('\.'), (E'tab\t\\N'), ('');
UPDATE customers SET name = name || ' again' WHERE id % 7 = 0;
ALTER TABLE customers ADD COLUMN gone int;
ALTER TABLE customers DROP COLUMN gone;
CREATE INDEX customers_lower ON customers (lower(name)) WHERE age > 5;
CREATE INDEX customers_details ON customers USING gin (details);
CREATE STATISTICS customers_both (dependencies) ON name, born FROM customers;
COMMENT ON TABLE customers IS 'It''s "the" customers; -- really';
COMMENT ON COLUMN customers.name IS 'ü';

-- a cycle of foreign keys, and one that was never validated
CREATE TABLE husbands (id int PRIMARY KEY, wife int);
CREATE TABLE wives (id int PRIMARY KEY, husband int REFERENCES husbands DEFERRABLE INITIALLY DEFERRED);
INSERT INTO husbands VALUES (1, 1), (2, 2);
INSERT INTO wives VALUES (1, 1), (2, 2);
ALTER TABLE husbands ADD FOREIGN KEY (wife) REFERENCES wives;
CREATE TABLE orphans (parent int);
INSERT INTO orphans VALUES (-1), (1);
ALTER TABLE orphans ADD CONSTRAINT parent_there FOREIGN KEY (parent) REFERENCES customers NOT VALID;
ALTER TABLE orphans ADD CONSTRAINT parent_positive CHECK (parent > 0) NOT VALID;

CREATE FUNCTION stamp() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    RAISE EXCEPTION 'a trigger fired during a restore'; END $$;
CREATE TABLE watched (id int);
INSERT INTO watched SELECT generate_series(1, 50);
CREATE TRIGGER always BEFORE INSERT ON watched FOR EACH ROW EXECUTE FUNCTION stamp();
ALTER TABLE watched ENABLE ALWAYS TRIGGER always;
CREATE TRIGGER off AFTER DELETE ON watched EXECUTE FUNCTION stamp();
ALTER TABLE watched DISABLE TRIGGER off;
CREATE RULE hush AS ON DELETE TO watched DO INSTEAD NOTHING;

CREATE TABLE shown (id int, tenant text);
INSERT INTO shown SELECT g, 't' || g % 3 FROM generate_series(1, 90) g;
ALTER TABLE shown ENABLE ROW LEVEL SECURITY;
CREATE POLICY everybody ON shown FOR SELECT USING (tenant = current_setting('app.tenant', true));
CREATE POLICY writers ON shown AS RESTRICTIVE FOR INSERT TO "{n}__rw" WITH CHECK (id > 0 AND tenant <> '}}{{');
COMMENT ON POLICY everybody ON shown IS 'of all';
COMMENT ON POLICY writers ON shown IS 'of those who write';
CREATE TABLE forced (LIKE shown);
INSERT INTO forced SELECT * FROM shown;
ALTER TABLE forced ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;

CREATE MATERIALIZED VIEW totals AS SELECT mood, count(*) AS n FROM customers GROUP BY mood;
CREATE VIEW of_totals WITH (security_barrier) AS SELECT n FROM totals;
CREATE MATERIALIZED VIEW twice AS SELECT sum(n) AS n FROM of_totals;
CREATE UNIQUE INDEX ON totals (mood);
CREATE MATERIALIZED VIEW never AS SELECT 1 AS one WITH NO DATA;
CREATE VIEW by_key AS SELECT c.*, count(*) FROM customers c GROUP BY c.id;

CREATE TABLE readings (at date NOT NULL, kind text, value float8, PRIMARY KEY (at, kind)) PARTITION BY RANGE (at);
CREATE TABLE readings_2024 PARTITION OF readings FOR VALUES FROM ('2024-01-01') TO ('2025-01-01')
    PARTITION BY LIST (kind);
CREATE TABLE readings_2024_a PARTITION OF readings_2024 FOR VALUES IN ('a');
CREATE TABLE readings_2024_rest PARTITION OF readings_2024 DEFAULT;
CREATE TABLE readings_later (value float8, kind text NOT NULL, at date NOT NULL);
ALTER TABLE readings ATTACH PARTITION readings_later DEFAULT;
INSERT INTO readings SELECT date '2024-06-01' + g, CASE g % 3 WHEN 0 THEN 'a' ELSE 'b' END, g
FROM generate_series(1, 500) g;
CREATE INDEX ON readings (value);
CREATE TABLE hashed (id int, mood mood) PARTITION BY HASH (mood);
CREATE TABLE hashed_0 PARTITION OF hashed FOR VALUES WITH (MODULUS 2, REMAINDER 0);
CREATE TABLE hashed_1 PARTITION OF hashed FOR VALUES WITH (MODULUS 2, REMAINDER 1) PARTITION BY HASH (id);
CREATE TABLE hashed_1_0 PARTITION OF hashed_1 FOR VALUES WITH (MODULUS 1, REMAINDER 0);
INSERT INTO hashed SELECT g, (enum_range(NULL::mood))[g % 3 + 1] FROM generate_series(1, 300) g;

CREATE TABLE parents (a int);
CREATE TABLE children (c int) INHERITS (parents);
ALTER TABLE parents ADD COLUMN b text DEFAULT 'b';
INSERT INTO parents VALUES (1, 'p');
INSERT INTO children (a, b, c) VALUES (2, 'x', 3), (4, NULL, 5);

CREATE UNLOGGED TABLE scratch (id int);
INSERT INTO scratch SELECT generate_series(1, 10);
CREATE TABLE nothing ();
INSERT INTO nothing DEFAULT VALUES;
CREATE TABLE empty (LIKE customers INCLUDING ALL EXCLUDING IDENTITY);

CREATE SCHEMA "Odd ""Schema"".x";
CREATE TABLE "Odd ""Schema"".x"."täble.with (everything) *?|$ ""and"" quotes" ("Cölumn "" 1" int, "SELECT" text);
INSERT INTO "Odd ""Schema"".x"."täble.with (everything) *?|$ ""and"" quotes" VALUES (1, 'odd');
CREATE TABLE "Odd ""Schema"".x"."two
lines" (a int);
INSERT INTO "Odd ""Schema"".x"."two
lines" VALUES (1), (2);
CREATE INDEX "an ""index""; DROP TABLE customers" ON "Odd ""Schema"".x"."two
lines" (a);
CREATE TABLE "Odd ""Schema"".x"."customers" (a int);
INSERT INTO "Odd ""Schema"".x"."customers" VALUES (7);

CREATE FUNCTION add(a int, b int DEFAULT 1) RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT a + b';
CREATE PROCEDURE nothing_much(INOUT a int) LANGUAGE plpgsql AS $$ BEGIN a := a; END $$;
CREATE AGGREGATE total(int) (sfunc = int4pl, stype = int, initcond = '0');
CREATE OPERATOR +@+ (leftarg = int, rightarg = int, function = add);
CREATE CAST (address AS text) WITH INOUT;
CREATE COLLATION plain (provider = libc, locale = 'C');
CREATE TEXT SEARCH CONFIGURATION simple_one (COPY = simple);
CREATE PUBLICATION changes FOR TABLE customers;

SELECT lo_from_bytea(4711, 'a large object'), lo_from_bytea(4712, decode(repeat('00ff', 5000), 'hex'));
COMMENT ON LARGE OBJECT 4711 IS 'large';

GRANT USAGE ON SCHEMA public, "Odd ""Schema"".x" TO "{n}__ro", "{n}__rw";
GRANT SELECT ON ALL TABLES IN SCHEMA public TO "{n}__ro";
GRANT SELECT, INSERT ON customers TO "{n}__rw" WITH GRANT OPTION;
GRANT UPDATE (name, age) ON customers TO "{n}__rw";
REVOKE SELECT ON forced FROM "{n}__ro";
GRANT USAGE ON SEQUENCE counter TO "{n}__rw";
REVOKE EXECUTE ON FUNCTION add(int, int) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION add(int, int) TO "{n}__ro";
GRANT SELECT ON LARGE OBJECT 4711 TO "{n}__ro";
GRANT SELECT ON watched TO PUBLIC;
ALTER DEFAULT PRIVILEGES GRANT SELECT ON TABLES TO "{n}__ro";
ALTER DEFAULT PRIVILEGES REVOKE EXECUTE ON FUNCTIONS FROM PUBLIC;
ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT USAGE ON SEQUENCES TO "{n}__rw";
"""
