"""No password ever stands where it does not belong: searched for in everything that can be read."""

import json
import subprocess
from collections.abc import Callable

import psutil

from tests.cluster.objects import Objects, wait_for
from tests.cluster.operator_process import OperatorProcess
from tests.cluster.tenant import OPERATOR_NAMESPACE, Tenant
from tests.postgres.server import Server


def arguments_of_processes() -> str:
    """The arguments of everything that runs on this machine."""
    told = []
    for process in psutil.process_iter():
        try:
            told.append(" ".join(process.cmdline()))
        except psutil.Error:
            continue
    return "\n".join(told)


def test_no_password_stands_anywhere_but_in_its_secret(
    objects: Objects, operator: OperatorProcess, postgres: Callable[[int], Server]
) -> None:
    server = postgres(18)
    assert server.settings["log_statement"].strip("'") == "all"
    with Tenant.on(objects, server) as tenant:
        known: set[str] = {server.admin.password}
        arguments = ""
        roles = {"migrator": {"secretName": "orders-m"}, "readOnly": {"secretName": "orders-r"}}
        template = {"spec.credentials": {"secretTemplate": {"DSN": "postgres://{user}:{password}@{host}/{dbname}"}}}
        tenant.create("orders", {**{f"spec.roles.{name}": role for name, role in roles.items()}, **template})
        while not _is_ready(tenant, "orders"):
            arguments += arguments_of_processes()
            known |= _passwords(tenant)
        # The ways on which a password changes, fails, or is refused.
        tenant.objects.delete("Secret", "orders-m", tenant.name)
        wait_for("a new password", lambda: "password" in (tenant.secret("orders-m") or {}))
        canary = "canary-of-a-wrong-password-4711"
        tenant.objects.patch("Secret", "orders-r", {"stringData": {"password": canary}}, tenant.name)
        wait_for("the wrong one replaced", lambda: (tenant.secret("orders-r") or {}).get("password") != canary)
        tenant.wait_ready("orders")
        wrong_admin = "canary-of-a-wrong-admin-4711"
        tenant.objects.patch("Secret", tenant.name, {"stringData": {"password": wrong_admin}}, OPERATOR_NAMESPACE)
        tenant.wait_server_reason("LoginRefused")
        known |= _passwords(tenant) | {canary, wrong_admin}
        arguments += arguments_of_processes()
        places = {
            "the operator's log": operator.log(),
            "its metrics": operator.answer("/metrics")[1],
            "PostgreSQL's log": server.log(),
            "process arguments": arguments,
            "events": json.dumps(objects.listed("Event", tenant.name)),
            "events of servers": json.dumps(objects.listed("Event", "default")),
            "objects": json.dumps([tenant.get("orders"), tenant.get_server()]),
            "comments and settings": _catalogue(server),
        }
        assert len(known) >= 8
        assert all(places.values())
        found = {place: len([one for one in known if one in text]) for place, text in places.items()}
        assert found == dict.fromkeys(places, 0)


def test_the_search_finds_what_is_there() -> None:
    password = "canary-in-an-argument-4711"
    assert password not in arguments_of_processes()
    with subprocess.Popen(["sh", "-c", "read line", password], stdin=subprocess.PIPE):
        assert password in arguments_of_processes()


def _is_ready(tenant: Tenant, name: str) -> bool:
    status = (tenant.get(name) or {}).get("status") or {}
    return any((one["type"], one["status"]) == ("Ready", "True") for one in status.get("conditions", ()))


def _passwords(tenant: Tenant) -> set[str]:
    return {
        value
        for secret in tenant.secrets().values()
        for key, value in secret.items()
        if key in ("password", "pending-password")
    }


def _catalogue(server: Server) -> str:
    with server.connect() as connection:
        rows = connection.execute(
            "SELECT description FROM pg_shdescription UNION ALL SELECT setconfig::text FROM pg_db_role_setting"
        ).fetchall()
    return json.dumps(rows)
