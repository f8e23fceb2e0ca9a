"""Logging in: what a login that is tried proves, what a connection that can't be had means, and what an admin needs."""

import base64
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import psycopg
import pytest
from click.testing import CliRunner
from psycopg import sql
from pydantic import SecretStr
from servicedb.cli import main
from servicedb.kube.resources import secret
from servicedb.plan.wanted import Access, Login
from servicedb.postgres.connections import Account, Endpoint, Tls
from servicedb.postgres.logins import LoginTest, Outcome, try_login

from tests.postgres.conftest import as_admin
from tests.postgres.fixtures import StartServer
from tests.postgres.objects import NAMESPACE
from tests.postgres.provision import Operator, Site, full_spec, unused_name
from tests.postgres.server import Login as ServerLogin
from tests.postgres.server import Server

PARTS = {"app": "rw", "migrator": "owner", "readOnly": "ro", "keeper": "owner"}


def login_of(name: str, role: str) -> Login:
    """As the plan has it: the login of `role` works as one of the database's other roles."""
    half = f"{name}__{role.lower()}_a"
    return Login(role, (half,), Access.READ_WRITE, f"{name}__{PARTS[role]}", "unused")


async def tried(site: Site, name: str, role: str = "app", password: str | None = None) -> LoginTest:
    held = site.secret(name, role)
    endpoint = Endpoint("main", site.server.host, site.server.port, Tls("Disable"))
    account = Account(held["user"], SecretStr(password or held["password"]))
    return await try_login(endpoint, account, name, login_of(name, role))


def run(site: Site, statement: str, name: str, half: str) -> None:
    """Run `statement` as the superuser, with names in place of {login} and {database}."""
    with site.as_superuser() as connection:
        connection.execute(sql.SQL(statement).format(login=sql.Identifier(half), database=sql.Identifier(name)))


@as_admin("createrole")
async def test_another_admin_that_is_a_member_of_the_one_before_takes_over(site: Site, orders: str) -> None:
    before, after = sql.Identifier(site.admin.name), sql.Identifier(f"{orders}_admin")
    with site.as_superuser() as superuser:
        superuser.execute(sql.SQL("CREATE ROLE {} LOGIN CREATEROLE CREATEDB PASSWORD 'another'").format(after))
        superuser.execute(sql.SQL("GRANT {} TO {}").format(before, after))
    site.put_admin_secret("postgres-admin", {"username": f"{orders}_admin", "password": "another"})
    try:
        async with Operator(site.objects) as operator:
            taken = await operator.bring(orders)
            assert (taken.reason, taken.drift) == ("Ready", []), taken.message
            assert {"ChangeDatabaseOwner", "ChangeSchemaOwner"} <= taken.kinds()
            site.want(orders, full_spec(orders, schemas=[{"name": "app"}, {"name": "more"}]))
            changed = await operator.bring(orders)
            assert (changed.reason, changed.drift) == ("Ready", []), changed.message
            without = full_spec(orders, schemas=[{"name": "app"}, {"name": "more"}])
            without["roles"]["extra"] = []
            site.want(orders, without, {"rotate-at": "now"})
            assert (await operator.bring(orders)).reason == "Ready"
            operator.let_pass(timedelta(hours=1))
            assert (await operator.bring(orders)).reason == "Ready"
            assert (await operator.bring(orders)).changes == ()
        site.login(orders, "app").close()
        with site.as_superuser() as superuser:
            kept = superuser.execute("SELECT 1 FROM pg_roles WHERE rolname LIKE %s", (f"{orders}__keeper%",)).fetchall()
        assert kept == []
    finally:
        with site.as_superuser(orders) as superuser:
            superuser.execute(sql.SQL("ALTER DATABASE {} OWNER TO {}").format(sql.Identifier(orders), before))
            superuser.execute(sql.SQL("REASSIGN OWNED BY {} TO {}").format(after, before))
        site.drop(orders)
        with site.as_superuser() as superuser:
            superuser.execute(sql.SQL("DROP OWNED BY {0}; DROP ROLE {0}").format(after))


@pytest.mark.parametrize("role", PARTS)
async def test_each_login_is_proved_to_work_as_it_should_also_after_discard_all(
    site: Site, orders: str, role: str
) -> None:
    assert await tried(site, orders, role) == LoginTest(Outcome.PROVED)


@as_admin("createrole")
@pytest.mark.parametrize(
    ("statement", "outcome", "detail"),
    [
        ("ALTER ROLE {login} PASSWORD 'another'", Outcome.REFUSED, "password authentication failed"),
        ("ALTER ROLE {login} NOLOGIN", Outcome.REFUSED, "is not permitted to log in"),
        ("ALTER ROLE {login} VALID UNTIL '2001-01-01'", Outcome.REFUSED, "password authentication failed"),
        ("ALTER ROLE {login} CONNECTION LIMIT 0", Outcome.REFUSED, "too many connections for role"),
        ("ALTER DATABASE {database} WITH ALLOW_CONNECTIONS false", Outcome.REFUSED, "not currently accepting"),
        ("ALTER ROLE {login} IN DATABASE {database} RESET role", Outcome.OTHER_ROLE, "{login}"),
    ],
)
async def test_what_is_wrong_with_a_login_is_found_out(
    site: Site, orders: str, statement: str, outcome: Outcome, detail: str
) -> None:
    half = f"{orders}__app_a"
    run(site, statement, orders, half)
    found = await tried(site, orders)
    assert found.outcome == outcome
    assert detail.replace("{login}", half) in found.detail
    assert "\n" not in found.detail


async def test_a_password_changed_by_hand_is_replaced_since_nothing_else_stands_in_the_way(
    site: Site, orders: str
) -> None:
    before = site.secret(orders, "app")["password"]
    run(site, "ALTER ROLE {login} PASSWORD 'by hand'", orders, f"{orders}__app_a")
    async with Operator(site.objects) as operator:
        done = await operator.bring(orders)
    assert done.reason == "Ready"
    assert done.kinds() == {"PrepareSecret", "SetPassword", "ActivateSecret"}
    assert site.secret(orders, "app")["password"] != before
    site.login(orders, "app").close()


async def test_a_password_is_not_replaced_while_something_else_stands_in_the_way(site: Site, database: str) -> None:
    spec = full_spec(database)
    spec["roles"]["app"]["connectionLimit"] = 1
    site.provision(database, spec)
    before = site.secret(database, "app")
    with site.login(database, "app"):
        async with Operator(site.objects) as operator:
            found = await operator.bring(database)
    assert (found.reason, found.ready.status, found.stalled) == ("LoginNotTried", "Unknown", False)
    assert "it has as many sessions as its connectionLimit allows (1)" in found.message
    assert site.secret(database, "app") == before


@pytest.fixture
def tls_site(tls_server: Server, tmp_path: Path) -> Site:
    return Site.new(tls_server, tls_server.admin, tmp_path)


async def looked(site: Site) -> tuple[str, str, str]:
    """How Ready stands after a look at the server: its status, its reason, its message."""
    async with Operator(site.objects) as operator:
        ready = (await operator.look())["Ready"]
    return ready.status, ready.reason, ready.message


async def test_over_tls_a_database_is_made_and_plaintext_is_known_to_be_refused(tls_site: Site) -> None:
    name = unused_name("shop")
    tls_site.want(name)
    async with Operator(tls_site.objects) as operator:
        assert (await operator.bring(name)).reason == "Ready"
        assert (await operator.look())["TLSEnforced"].reason == "PlaintextRefused"
    held = tls_site.secret(name, "app")
    assert held["sslmode"] == "verify-full"
    assert tls_site.server.ca_certificate is not None
    assert held["ca.crt"] == tls_site.server.ca_certificate.read_text()
    with psycopg.connect(held["uri"], sslrootcert=str(tls_site.server.ca_certificate)) as connection:
        assert connection.execute("SELECT current_user").fetchone() == (f"{name}__rw",)
    tls_site.drop(name)


@pytest.mark.parametrize("end", ["", "\n", "\n\n"])
async def test_a_certificate_ends_with_one_newline_however_the_admin_wrote_it(tls_site: Site, end: str) -> None:
    assert tls_site.server.ca_certificate is not None
    certificate = tls_site.server.ca_certificate.read_text()
    assert certificate.endswith("-----END CERTIFICATE-----\n")
    name = unused_name("shop")
    tls_site.provision(name)
    tls_site.put_admin_secret("postgres-ca", {"ca.crt": certificate.strip("\n") + end})
    async with Operator(tls_site.objects) as operator:
        done = await operator.bring(name)
    assert (done.reason, done.kinds()) == ("Ready", set())  # no Secret is written anew for it
    assert tls_site.secret(name, "app")["ca.crt"] == certificate
    tls_site.drop(name)


async def test_a_secret_with_a_certificate_of_an_earlier_release_is_written_once(tls_site: Site) -> None:
    name = unused_name("shop")
    tls_site.provision(name)
    held = tls_site.secret(name, "app")
    stripped = base64.b64encode(held["ca.crt"].strip("\n").encode()).decode()
    path = secret(NAMESPACE, f"{name.replace('_', '-')}-app")
    await tls_site.objects.merge_patch(path, {"data": {"ca.crt": stripped}})
    async with Operator(tls_site.objects) as operator:
        assert (await operator.bring(name)).kinds() == {"ActivateSecret"}
        assert (await operator.bring(name)).kinds() == set()
    assert tls_site.secret(name, "app") == held
    tls_site.drop(name)


async def test_a_certificate_that_has_expired_is_rejected(private_server: StartServer, tmp_path: Path) -> None:
    server = private_server(tls=True)
    server.write_certificates(lifetime=timedelta(minutes=-30))
    server.restart()
    site = Site.new(server, server.admin, tmp_path)
    status, reason, message = await looked(site)
    assert (status, reason) == ("False", "CertificateRejected")
    assert (
        "shows a certificate that has expired, or is of another authority" in message
    )  # libpq tells them apart nowhere
    server.write_certificates()
    server.restart()
    assert server.ca_certificate is not None
    site.put_admin_secret("postgres-ca", {"ca.crt": server.ca_certificate.read_text()})
    assert (await looked(site))[1] == "Ready"


async def test_a_certificate_of_another_authority_is_rejected(tls_site: Site, private_server: StartServer) -> None:
    other = private_server(tls=True)
    assert other.ca_certificate is not None
    tls_site.put_admin_secret("postgres-ca", {"ca.crt": other.ca_certificate.read_text()})
    status, reason, message = await looked(tls_site)
    assert (status, reason) == ("False", "CertificateRejected")
    assert "is of another authority than spec.tls names: SSL error: certificate verify failed" in message


async def test_a_certificate_for_another_host_is_rejected(private_server: StartServer, tmp_path: Path) -> None:
    server = private_server(tls=True, settings={"listen_addresses": "127.0.0.1,127.0.0.2"})
    status, reason, message = await looked(Site.new(server, server.admin, tmp_path, host="127.0.0.2"))
    assert (status, reason) == ("False", "CertificateRejected")
    assert 'does not match host name "127.0.0.2"' in message


async def test_a_server_that_takes_no_plaintext_says_so(tls_site: Site) -> None:
    tls_site.serve(tls={"mode": "Disable"})
    status, reason, message = await looked(tls_site)
    assert (status, reason) == ("False", "LoginRefused")
    assert "no encryption" in message


async def test_a_server_without_tls_says_so(site: Site) -> None:
    site.serve(tls={"mode": "Require"})
    status, reason, _ = await looked(site)
    assert (status, reason) == ("False", "TLSNotSupported")


@pytest.mark.parametrize("method", ["trust", "password", "md5"])
async def test_a_server_that_would_take_the_password_in_a_weaker_way_is_not_given_it(
    private_server: StartServer, tmp_path: Path, method: str
) -> None:
    server = private_server()
    rules = server.data_directory / "pg_hba.conf"
    rules.write_text(f"host all {server.admin.name} 0.0.0.0/0 {method}\n" + rules.read_text())
    with server.connect() as connection:
        if method == "md5":  # asks for SCRAM where a SCRAM verifier is stored
            connection.execute("SET password_encryption = 'md5'")
            connection.execute(
                sql.SQL("ALTER ROLE {} PASSWORD {}").format(
                    sql.Identifier(server.admin.name), sql.Literal(server.admin.password)
                )
            )
    server.restart()
    status, reason, _ = await looked(Site.new(server, server.admin, tmp_path))
    assert (status, reason) == ("False", "AuthenticationTooWeak")


async def test_a_wrong_password_of_the_admins_is_said_and_the_next_look_reads_it_again(site: Site) -> None:
    site.put_admin_secret("postgres-admin", {"username": site.admin.name, "password": "wrong"})
    status, reason, message = await looked(site)
    assert (status, reason) == ("False", "LoginRefused")
    assert f'password authentication failed for user "{site.admin.name}"' in message
    assert "wrong" not in message.replace("wrong way", "")
    site.put_admin_secret("postgres-admin", {"username": site.admin.name, "password": site.admin.password})
    assert (await looked(site))[1] == "Ready"


async def test_a_server_that_is_not_there_is_tried_again(private_server: StartServer, tmp_path: Path) -> None:
    server = private_server()
    server.stop()
    status, reason, message = await looked(Site.new(server, server.admin, tmp_path))
    assert (status, reason) == ("Unknown", "ServerUnreachable")
    assert "Connection refused" in message


@pytest.mark.parametrize("version", [15, 16, 18])
async def test_a_standby_is_waited_for(private_server: StartServer, tmp_path: Path, version: int) -> None:
    server = private_server(version)
    server.stop()
    (server.data_directory / "standby.signal").touch()
    server.start()
    status, reason, message = await looked(Site.new(server, server.admin, tmp_path))
    assert (status, reason) == ("Unknown", "InRecovery")
    assert "point spec.host at the primary" in message


@pytest.fixture
def plain_login(server: Server) -> Iterator[ServerLogin]:
    """A login that may do nothing."""
    login = ServerLogin(unused_name("nobody"), "of no use elsewhere")
    name = sql.Identifier(login.name)
    with server.connect() as connection:
        connection.execute(sql.SQL("CREATE ROLE {} LOGIN PASSWORD {}").format(name, sql.Literal(login.password)))
        yield login
        connection.execute(sql.SQL("DROP ROLE {}").format(name))


@as_admin("createrole")
@pytest.mark.parametrize(
    ("attributes", "lacks"),
    [("", "CREATEROLE and CREATEDB"), ("CREATEDB", "CREATEROLE"), ("CREATEROLE", "CREATEDB")],
)
async def test_an_admin_that_lacks_an_attribute_is_told_which(
    site: Site, plain_login: ServerLogin, attributes: str, lacks: str
) -> None:
    run(site, "ALTER ROLE {login} CONNECTION LIMIT 9 " + attributes, "", plain_login.name)
    site.put_admin_secret("postgres-admin", {"username": plain_login.name, "password": plain_login.password})
    status, reason, message = await looked(site)
    assert (status, reason) == ("False", "AdminLacksPrivilege")
    statement = f'ALTER ROLE "{plain_login.name}" {lacks.replace(" and", "")};'
    assert f"lacks {lacks}; have a DBA run: {statement}" in message
    run(site, statement.replace(f'"{plain_login.name}"', "{login}"), "", plain_login.name)
    assert (await looked(site))[1] == "LockDatabaseTaken"


@as_admin("createrole")
async def test_an_operators_database_of_another_role_is_not_used_until_the_admin_may(
    site: Site, plain_login: ServerLogin
) -> None:
    run(site, "ALTER ROLE {login} CREATEROLE CREATEDB", "", plain_login.name)
    site.put_admin_secret("postgres-admin", {"username": plain_login.name, "password": plain_login.password})
    status, reason, message = await looked(site)
    assert (status, reason) == ("False", "LockDatabaseTaken")
    statement = f'GRANT "{site.admin.name}" TO "{plain_login.name}";'
    assert statement in message
    with site.as_superuser() as connection:
        connection.execute(statement.encode())
        assert (await looked(site))[1] == "Ready"
        connection.execute(statement.replace("GRANT", "REVOKE").replace(" TO ", " FROM ").encode())


@pytest.mark.parametrize("version", [15, 16, 18])
async def test_an_operators_database_that_everybody_may_connect_to_is_not_used(
    private_server: StartServer, tmp_path: Path, version: int
) -> None:
    server = private_server(version)
    site = Site.new(server, server.admin, tmp_path)
    with server.connect() as connection:
        connection.execute(sql.SQL("CREATE DATABASE servicedb OWNER {}").format(sql.Identifier(server.admin.name)))
        status, reason, message = await looked(site)
        assert (status, reason) == ("False", "LockDatabaseOpen")
        statement = 'REVOKE ALL ON DATABASE "servicedb" FROM PUBLIC;'
        assert statement in message
        connection.execute(statement.encode())
    assert (await looked(site))[1] == "Ready"


@pytest.mark.parametrize("version", [15, 16, 18])
async def test_what_server_sql_prints_makes_an_admin_that_is_enough(
    private_server: StartServer, tmp_path: Path, version: int
) -> None:
    server = private_server(version)
    printed = CliRunner().invoke(main, ["server-sql", "--admin", "the admin"], catch_exceptions=False).output
    statements = "\n".join(line for line in printed.splitlines() if not line.lstrip().startswith(("--", "\\")))
    admin = ServerLogin("the admin", "of this test")
    with server.connect() as connection:
        for statement in filter(str.strip, statements.split(";")):
            connection.execute(statement.encode())
        connection.execute("ALTER ROLE \"the admin\" PASSWORD 'of this test'")
    site = Site.new(server, admin, tmp_path)
    async with Operator(site.objects) as operator:
        conditions = await operator.look()
        assert conditions["Ready"].reason == "Ready"
        assert conditions["Authorized"].reason == "CreateRoleAndDatabase"
        assert conditions["Hardened"].status == "True"
        site.want("orders")
        assert (await operator.bring("orders")).reason == "Ready"
    with pytest.raises(psycopg.OperationalError, match="permission denied for database"):
        site.login("orders", "app", "postgres")


@pytest.mark.parametrize("encoding", ["SQL_ASCII", "LATIN1", "EUC_TW", "EUC_JIS_2004", "WIN1252"])
@as_admin("createrole")
async def test_a_database_in_any_encoding_can_be_worked_with(site: Site, database: str, encoding: str) -> None:
    parameters = {"client_encoding": encoding}
    site.want(database, full_spec(database, encoding=encoding, parameters=parameters))
    async with Operator(site.objects) as operator:
        done = await operator.bring(database)
    assert done.reason == "Ready", done.message


async def test_no_password_ever_stands_in_the_servers_log(
    site: Site, orders: str, caplog: pytest.LogCaptureFixture
) -> None:
    """The servers for tests log every statement; a verifier is all that may be there."""
    caplog.set_level("DEBUG")
    passwords = site.passwords()
    run(site, "ALTER ROLE {login} NOLOGIN", orders, f"{orders}__app_a")
    async with Operator(site.objects) as operator:
        await operator.bring(orders)
        site.objects.remove_secret(f"{orders.replace('_', '-')}-app")
        assert (await operator.bring(orders)).reason == "Ready"
    passwords |= site.passwords() | {site.admin.password}
    assert len(passwords) == len(PARTS) + 2
    log = site.server.log()
    assert f'ALTER ROLE "{orders}__app_b" PASSWORD \'SCRAM-SHA-256$' in log
    for password in passwords:
        assert password not in log
        assert password not in caplog.text
