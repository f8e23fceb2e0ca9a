-- What is for sale: products in a tree of categories, their pictures and what customers say about them.
--
-- There is no trigram index: its extension, pg_trgm, is not on every server. Full-text search is in PostgreSQL itself.

CREATE FUNCTION touch_updated_at() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    NEW.updated_at := now();
    RETURN NEW;
END
$$;

CREATE TABLE categories (
    id uuid DEFAULT gen_random_uuid(),
    parent_id uuid,
    slug text NOT NULL,
    name text NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT categories_pkey PRIMARY KEY (id),
    CONSTRAINT categories_slug_key UNIQUE (slug),
    CONSTRAINT categories_parent_fkey FOREIGN KEY (parent_id) REFERENCES categories,
    CONSTRAINT categories_parent_is_another CHECK (parent_id <> id),
    CONSTRAINT categories_slug_is_a_slug CHECK (slug ~ '^[a-z0-9]+(-[a-z0-9]+)*$'),
    CONSTRAINT categories_name_is_not_blank CHECK (btrim(name) <> '')
);

CREATE TABLE products (
    id uuid DEFAULT gen_random_uuid(),
    category_id uuid NOT NULL,
    sku text NOT NULL,
    name text NOT NULL,
    description text NOT NULL DEFAULT '',
    price numeric(10, 2) NOT NULL,
    currency text NOT NULL DEFAULT 'USD',
    status text NOT NULL DEFAULT 'DRAFT',
    attributes jsonb NOT NULL DEFAULT '{}',
    tags text[] NOT NULL DEFAULT '{}',
    search tsvector NOT NULL GENERATED ALWAYS AS (
        setweight(to_tsvector('english', name), 'A') || setweight(to_tsvector('english', description), 'B')
    ) STORED,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT products_pkey PRIMARY KEY (id),
    CONSTRAINT products_sku_key UNIQUE (sku),
    CONSTRAINT products_category_fkey FOREIGN KEY (category_id) REFERENCES categories,
    -- An order may not come to more than 10,000 dollars: what costs more could never be bought.
    CONSTRAINT products_price_can_be_ordered CHECK (price > 0 AND price <= 10000),
    CONSTRAINT products_currency_is_dollars CHECK (currency = 'USD'),
    CONSTRAINT products_status_is_known CHECK (status IN ('DRAFT', 'ACTIVE', 'DISCONTINUED')),
    CONSTRAINT products_name_is_not_blank CHECK (btrim(name) <> ''),
    CONSTRAINT products_attributes_are_an_object CHECK (jsonb_typeof(attributes) = 'object')
);

CREATE INDEX products_search ON products USING gin (search);
CREATE INDEX products_attributes ON products USING gin (attributes jsonb_path_ops);
CREATE INDEX products_tags ON products USING gin (tags);
CREATE INDEX products_active_by_category_and_price ON products (category_id, price) WHERE status = 'ACTIVE';
CREATE INDEX products_active_newest ON products (created_at DESC) WHERE status = 'ACTIVE';
CREATE INDEX categories_by_parent ON categories (parent_id);

CREATE TABLE product_images (
    id uuid DEFAULT gen_random_uuid(),
    product_id uuid NOT NULL,
    position smallint NOT NULL,
    url text NOT NULL,
    alternative_text text NOT NULL DEFAULT '',
    is_primary boolean NOT NULL DEFAULT false,
    created_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT product_images_pkey PRIMARY KEY (id),
    CONSTRAINT product_images_product_fkey FOREIGN KEY (product_id) REFERENCES products ON DELETE CASCADE,
    -- Deferrable: pictures change places in one transaction.
    CONSTRAINT product_images_position_key UNIQUE (product_id, position) DEFERRABLE,
    CONSTRAINT product_images_position_counts_from_one CHECK (position >= 1),
    CONSTRAINT product_images_url_is_secure CHECK (url LIKE 'https://%')
);

CREATE UNIQUE INDEX product_images_one_primary ON product_images (product_id) WHERE is_primary;

CREATE TABLE product_reviews (
    id uuid DEFAULT gen_random_uuid(),
    product_id uuid NOT NULL,
    user_id uuid NOT NULL,
    rating smallint NOT NULL,
    title text NOT NULL DEFAULT '',
    body text NOT NULL DEFAULT '',
    is_approved boolean NOT NULL DEFAULT false,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT product_reviews_pkey PRIMARY KEY (id),
    CONSTRAINT product_reviews_product_fkey FOREIGN KEY (product_id) REFERENCES products ON DELETE CASCADE,
    CONSTRAINT product_reviews_one_a_user UNIQUE (product_id, user_id),
    CONSTRAINT product_reviews_rating_is_one_to_five CHECK (rating BETWEEN 1 AND 5)
);

CREATE INDEX product_reviews_approved_newest ON product_reviews (product_id, created_at DESC) WHERE is_approved;

CREATE TRIGGER touch BEFORE UPDATE ON categories FOR EACH ROW EXECUTE FUNCTION touch_updated_at();
CREATE TRIGGER touch BEFORE UPDATE ON products FOR EACH ROW EXECUTE FUNCTION touch_updated_at();
CREATE TRIGGER touch BEFORE UPDATE ON product_reviews FOR EACH ROW EXECUTE FUNCTION touch_updated_at();

-- All that a product's page shows; no row where there is no such product.
CREATE FUNCTION get_product_details(wanted uuid)
RETURNS TABLE (
    product_id uuid, product_sku text, product_name text, product_description text, product_price numeric,
    product_status text, category_name text, images jsonb, average_rating numeric, review_count bigint
)
LANGUAGE sql STABLE
BEGIN ATOMIC
    SELECT
        products.id, products.sku, products.name, products.description, products.price, products.status,
        categories.name,
        (
            SELECT coalesce(
                jsonb_agg(
                    jsonb_build_object('url', url, 'text', alternative_text, 'primary', is_primary) ORDER BY position
                ),
                '[]'
            )
            FROM product_images WHERE product_images.product_id = products.id
        ),
        reviews.average_rating,
        reviews.review_count
    FROM products
    JOIN categories ON categories.id = products.category_id
    CROSS JOIN LATERAL (
        SELECT round(avg(rating), 2) AS average_rating, count(*) AS review_count
        FROM product_reviews WHERE product_reviews.product_id = products.id AND is_approved
    ) AS reviews
    WHERE products.id = wanted;
END;

-- Products for sale that match what somebody typed ("red shoes" -leather), best first. A limit that is NULL does not
-- count. PostgreSQL puts it into the query that calls it, so the indexes serve it.
CREATE FUNCTION search_products(
    typed text, in_category uuid DEFAULT NULL, lowest_price numeric DEFAULT NULL, highest_price numeric DEFAULT NULL,
    page_size integer DEFAULT 20, page integer DEFAULT 1
)
RETURNS TABLE (product_id uuid, product_sku text, product_name text, product_price numeric, rank real)
LANGUAGE sql STABLE
BEGIN ATOMIC
    SELECT id, sku, name, price, ts_rank(search, websearch_to_tsquery('english', typed))
    FROM products
    WHERE search @@ websearch_to_tsquery('english', typed)
        AND status = 'ACTIVE'
        AND (in_category IS NULL OR category_id = in_category)
        AND (lowest_price IS NULL OR price >= lowest_price)
        AND (highest_price IS NULL OR price <= highest_price)
    ORDER BY ts_rank(search, websearch_to_tsquery('english', typed)) DESC, id
    LIMIT least(page_size, 100) OFFSET (greatest(page, 1) - 1) * least(page_size, 100);
END;
