"""By which mark a Secret is known to be of a database: the server's own, and those of before."""

import pytest
from pydantic import SecretStr
from servicedb.api.common import MANAGED_BY
from servicedb.api.database_server import DatabaseServer
from servicedb.kube.secrets import CREDENTIAL_OF, Address, up_to_date
from servicedb.kube.secrets import _written as written
from servicedb.reconcile.world import Server

from tests.api.examples import MINIMAL_SERVER

NOW, BEFORE = "7300000000000000001", "7300000000000000002"
SERVER = Server("main", DatabaseServer.parse(MINIMAL_SERVER), system_identifier=NOW)


def address(known_identifier: str | None = None) -> Address:
    formerly = SERVER.former_marks_of("orders", known_identifier)
    return Address("shop", "orders-app", SERVER.mark_of("orders"), "app", formerly)


def secret(mark: str) -> dict[str, object]:
    labels, annotations = {MANAGED_BY: "servicedb"}, {CREDENTIAL_OF: mark}
    metadata = {"name": "orders-app", "uid": "u", "resourceVersion": "1", "labels": labels, "annotations": annotations}
    return {"metadata": metadata, "data": {"password": "c2VjcmV0"}}


@pytest.mark.parametrize(
    ("mark", "known_identifier", "ours"),
    [
        pytest.param(f"{NOW}/orders/app", None, True, id="by the server"),
        pytest.param("main/orders/app", None, True, id="by the DatabaseServer's name, as before"),
        pytest.param(f"{NOW}/orders/migrator", None, True, id="another role's"),
        pytest.param(f"{NOW}/invoices/app", None, False, id="another database's"),
        pytest.param(f"{BEFORE}/orders/app", None, False, id="another server's"),
        pytest.param(f"{BEFORE}/orders/app", BEFORE, True, id="of a server that was acknowledged to be replaced"),
        pytest.param("other/orders/app", None, False, id="of another DatabaseServer"),
        pytest.param("", None, False, id="no mark"),
    ],
)
def test_which_secrets_are_of_a_database(mark, known_identifier, ours):
    assert written(secret(mark), address(known_identifier)).seen.ours is ours


@pytest.mark.parametrize(("mark", "current"), [(f"{NOW}/orders/app", True), ("main/orders/app", False)])
def test_a_mark_of_before_is_renewed(mark, current):
    there = written(secret(mark), address())
    assert there.data == {"password": SecretStr("secret")}
    assert up_to_date(there, address(), {"password": "secret"}, {}, {}) is current
