"""What the tests of the examples share: they are provisioned by an admin that is no superuser."""

import pytest


@pytest.fixture(scope="module")
def admin() -> str:
    return "createrole"
