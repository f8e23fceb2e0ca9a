"""Steps as a script: SQL in one line each, without any secret."""

import pytest
from servicedb.plan.steps import ActivateSecret, PrepareSecret, ProveLogin, SetPassword
from servicedb.postgres.script import Planned, script

from tests.unit.test_execute import TABLE

SECRETS = {"app": "orders-app"}


@pytest.mark.parametrize(
    ("step", "text"),
    [
        (PrepareSecret("why", "app", "a"), "-- Secret shop/orders-app: a new password, pending"),
        (ProveLogin("why", "app", "a"), "-- a login as a, with the password of Secret shop/orders-app"),
        (ActivateSecret("why", "app", "a"), "-- Secret shop/orders-app: the password becomes the one that is read"),
        (SetPassword("why", "app", "a"), "ALTER ROLE \"a\" PASSWORD '<SCRAM verifier>'"),
    ],
)
def test_secrets_are_left_out(step, text):
    planned = script(step, server_version=16_00_00, namespace="shop", secrets=SECRETS)
    assert planned == Planned(type(step).__name__, "why", text)


@pytest.mark.parametrize("step", [row[0] for row in TABLE], ids=lambda step: type(step).__name__)
def test_each_step_is_one_line(step):
    planned = script(step, server_version=16_00_00, namespace="shop", secrets=SECRETS)
    assert planned.text
    assert planned.text.isprintable()
    assert planned.reason == step.reason
