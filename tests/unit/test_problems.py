"""What a failed statement means: by its SQLSTATE, never by its words."""

import psycopg
import pytest
from servicedb.errors import Busy, Retryable, Terminal
from servicedb.postgres.connections import Endpoint, Tls, problem_of

ENDPOINT = Endpoint("main", "db.example", 5432, Tls("Disable"))


@pytest.mark.parametrize(
    ("sqlstate", "kind", "reason"),
    [
        pytest.param("XX000", Busy, "ServerBusy", id="tuple concurrently updated"),
        pytest.param("40001", Busy, "ServerBusy", id="serialization failure"),
        pytest.param("55P03", Busy, "ServerBusy", id="lock not available"),
        pytest.param("57014", Busy, "ServerBusy", id="statement timeout"),
        pytest.param("57P01", Retryable, "ServerUnreachable", id="shut down by an administrator"),
        pytest.param("08006", Retryable, "ServerUnreachable", id="connection failure"),
        pytest.param("42501", Terminal, "InsufficientPrivilege", id="insufficient privilege"),
        pytest.param("22023", Terminal, "RefusedByServer", id="invalid parameter value"),
        pytest.param("42622", Terminal, "RefusedByServer", id="name too long"),
        pytest.param("58030", Retryable, "ServerError", id="anything else"),
    ],
)
def test_a_failed_statement_is_classed_by_its_code(sqlstate, kind, reason):
    problem = problem_of(psycopg.errors.lookup(sqlstate)("words of the server"), ENDPOINT)
    assert (type(problem), problem.reason) == (kind, reason)
