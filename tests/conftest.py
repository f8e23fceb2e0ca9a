"""What all tests share."""

pytest_plugins = ["pytester", "tests.completeness", "tests.postgres.fixtures"]
