"""The products of the example ecommerce: found by what somebody types, and shown with all that belongs to them."""

from collections.abc import Iterator
from typing import Any
from uuid import UUID, uuid4

import pytest
from psycopg.errors import CheckViolation, UniqueViolation

from tests.postgres.examples.analytics import may_analytics, tables
from tests.postgres.examples.database import Database, indexes_used
from tests.postgres.provision import Site


@pytest.fixture(scope="module")
def catalogue(module_site: Site) -> Iterator[Database]:
    database = Database.new(module_site, "ecommerce", "product-service.yaml", "migrations/product")
    database.execute("INSERT INTO categories (slug, name) VALUES ('shoes', 'Shoes'), ('books', 'Books')")
    for product in (
        ("shoes", "RED", "Red running shoes", "light, for long distances", 80, "ACTIVE"),
        ("shoes", "BLUE", "Blue boots", "not for running, nor red", 120, "ACTIVE"),
        ("shoes", "OLD", "Red running shoes of last year", "", 40, "DISCONTINUED"),
        ("books", "BOOK", "On running", "a book about red deserts and shoes", 15, "ACTIVE"),
    ):
        database.execute(
            "INSERT INTO products (category_id, sku, name, description, price, status) "
            "SELECT id, %s, %s, %s, %s, %s FROM categories WHERE slug = %s",
            *product[1:],
            product[0],
        )
    yield database
    database.drop()


def product_id(catalogue: Database, sku: str) -> UUID:
    found: UUID = catalogue.execute("SELECT id FROM products WHERE sku = %s", sku)[0][0]
    return found


@pytest.mark.parametrize(
    ("arguments", "found"),
    [
        pytest.param("'running shoes'", ["RED", "BOOK"], id="a name counts for more than a description"),
        pytest.param("'shoe run'", ["RED", "BOOK"], id="words by their stems"),
        pytest.param("'red shoes -book'", ["RED"], id="without a word"),
        pytest.param("'\"running shoes\"'", ["RED"], id="a phrase"),
        pytest.param("'running shoes', lowest_price => 20", ["RED"], id="not below a price"),
        pytest.param("'running', highest_price => 20", ["BOOK"], id="not above a price"),
        pytest.param("'red', (SELECT id FROM categories WHERE slug = 'books')", ["BOOK"], id="in a category"),
        pytest.param("'running shoes', page_size => 1", ["RED"], id="a page"),
        pytest.param("'running shoes', page_size => 1, page => 2", ["BOOK"], id="the next page"),
        pytest.param("'running shoes', page_size => 2, page => 0", ["RED", "BOOK"], id="no page before the first"),
        pytest.param("'nothing of this'", [], id="nothing"),
        pytest.param("''' & (:* | !'", [], id="no syntax that fails"),
    ],
)
def test_products_are_found_by_what_somebody_types(catalogue: Database, arguments: str, found: list[str]) -> None:
    assert catalogue.execute(f"SELECT product_sku FROM search_products({arguments})") == [(sku,) for sku in found]


def test_a_products_details_are_its_own(catalogue: Database) -> None:
    red = product_id(catalogue, "RED")
    catalogue.execute(
        "INSERT INTO product_images (product_id, position, url, is_primary) "
        "VALUES (%(red)s, 2, 'https://i/2', false), (%(red)s, 1, 'https://i/1', true)".replace("%(red)s", f"'{red}'")
    )
    for rating, approved in ((5, True), (4, True), (1, False)):
        review = "INSERT INTO product_reviews (product_id, user_id, rating, is_approved) VALUES (%s, %s, %s, %s)"
        catalogue.execute(review, red, uuid4(), rating, approved)
    (found,) = catalogue.execute("SELECT * FROM get_product_details(%s)", red)
    assert (found[0], found[1], found[4], found[6]) == (red, "RED", 80, "Shoes")
    assert [image["url"] for image in found[7]] == ["https://i/1", "https://i/2"]
    assert (found[8], found[9]) == (4.5, 2)


def test_a_product_without_pictures_and_reviews_has_details_too(catalogue: Database) -> None:
    (found,) = catalogue.execute("SELECT * FROM get_product_details(%s)", product_id(catalogue, "BOOK"))
    assert (found[7], found[8], found[9]) == ([], None, 0)


def test_a_product_that_is_not_there_has_none(catalogue: Database) -> None:
    assert catalogue.execute("SELECT * FROM get_product_details(%s)", uuid4()) == []


@pytest.mark.parametrize(
    ("change", "error", "constraint"),
    [
        ("UPDATE products SET price = 10000.01", CheckViolation, "products_price_can_be_ordered"),
        ("UPDATE products SET attributes = '[]'", CheckViolation, "products_attributes_are_an_object"),
        ("UPDATE products SET sku = 'SAME'", UniqueViolation, "products_sku_key"),
        ("UPDATE categories SET parent_id = id", CheckViolation, "categories_parent_is_another"),
        ("UPDATE categories SET slug = 'Not a slug'", CheckViolation, "categories_slug_is_a_slug"),
        (
            "INSERT INTO product_reviews (product_id, user_id, rating) SELECT id, id, 6 FROM products",
            CheckViolation,
            "product_reviews_rating_is_one_to_five",
        ),
        (
            "INSERT INTO product_reviews (product_id, user_id, rating) "
            "SELECT id, id, 3 FROM products, (VALUES (1), (2)) AS twice",
            UniqueViolation,
            "product_reviews_one_a_user",
        ),
        (
            "INSERT INTO product_images (product_id, position, url, is_primary) "
            "SELECT id, n, 'https://i', true FROM products, generate_series(7, 8) AS n",
            UniqueViolation,
            "product_images_one_primary",
        ),
    ],
)
def test_what_would_be_wrong_is_refused(catalogue: Database, change: str, error: Any, constraint: str) -> None:
    with pytest.raises(error, match=constraint):
        catalogue.execute(change)


def test_analytics_reads_every_table_and_calls_no_function(catalogue: Database) -> None:
    assert tables(catalogue) == {"products", "categories", "product_reviews", "product_images"}
    may = may_analytics(catalogue)
    assert {statement for statement in may if may[statement]} == {f"SELECT FROM {table}" for table in tables(catalogue)}


@pytest.fixture(scope="module")
def full(catalogue: Database) -> Database:
    """With rows enough that an index is worth its while."""
    catalogue.execute(
        """
        INSERT INTO categories (slug, name) SELECT 'category-' || n, 'category ' || n FROM generate_series(1, 50) AS n;
        INSERT INTO products (category_id, sku, name, price, status, attributes, tags, created_at)
        SELECT category.id, 'SKU-' || n, 'word' || n || ' word' || n % 1000, n % 500 + 1,
            CASE WHEN n % 3 = 0 THEN 'ACTIVE' ELSE 'DRAFT' END, jsonb_build_object('colour', n % 1000),
            ARRAY['tag' || n % 1000], now() - n * interval '1 minute'
        FROM generate_series(1, 8000) AS n JOIN categories AS category ON category.slug = 'category-' || n % 50 + 1;
        INSERT INTO product_reviews (product_id, user_id, rating, is_approved)
        SELECT id, gen_random_uuid(), 4, true FROM products, generate_series(1, 2);
        ANALYZE categories, product_reviews
        """,
        role="migrator",
    )
    catalogue.execute(
        "VACUUM (ANALYZE) products", role="migrator"
    )  # what GIN indexes put off is done, as autovacuum does
    return catalogue


@pytest.mark.parametrize(
    ("indexes", "query"),
    [
        ({"products_search"}, "SELECT * FROM search_products('word7 word8')"),
        ({"products_pkey", "product_reviews_approved_newest"}, "SELECT * FROM get_product_details('{product}')"),
        ({"products_sku_key"}, "SELECT * FROM products WHERE sku = 'SKU-7'"),
        ({"products_attributes"}, """SELECT * FROM products WHERE attributes @> '{{"colour": 7}}'"""),
        ({"products_tags"}, "SELECT * FROM products WHERE tags @> ARRAY['tag7']"),
        (
            {"products_active_by_category_and_price"},
            "SELECT * FROM products WHERE category_id = '{category}' AND status = 'ACTIVE' AND price < 50",
        ),
        (
            {"products_active_newest"},
            "SELECT * FROM products WHERE status = 'ACTIVE' ORDER BY created_at DESC LIMIT 20",
        ),
        (
            {"product_reviews_approved_newest"},
            "SELECT * FROM product_reviews WHERE product_id = '{product}' AND is_approved ORDER BY created_at DESC",
        ),
    ],
)
def test_indexes_answer(full: Database, indexes: set[str], query: str) -> None:
    (some,) = full.execute("SELECT id, category_id FROM products WHERE sku = 'SKU-7'")
    with full.login() as connection:
        assert indexes <= indexes_used(connection, query.format(product=some[0], category=some[1]))
