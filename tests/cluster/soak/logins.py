"""An application that logs in all the time, with whatever Secret an object that says Ready has."""

import contextlib
import random
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field

import psycopg

from tests.api.examples import Manifest
from tests.cluster.objects import Away, Refused, condition
from tests.cluster.soak.model import APP, secret_name
from tests.cluster.tenant import Tenant


@dataclass(slots=True)
class Logins:
    """`refused` are sentences about logins that failed although their object said Ready before and after. `outages`
    counts the server's outages, up at the begin and at the end of each: what fails around one proves nothing."""

    tenant: Tenant
    rng: random.Random
    refused: list[str] = field(default_factory=list)
    worked: int = 0
    outages: int = 0

    @contextlib.contextmanager
    def going_on(self) -> Iterator[None]:
        """Try one after the other, all the time."""
        ended = threading.Event()
        failures: list[BaseException] = []

        def keep_on() -> None:
            try:
                while not ended.wait(0.05):
                    with contextlib.suppress(Away, Refused):
                        self._try_one()
            except BaseException as error:  # noqa: BLE001 - told to the test that waits for this thread
                failures.append(error)

        thread = threading.Thread(target=keep_on, daemon=True)
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join()
        if failures:
            raise failures[0]

    def _try_one(self) -> None:
        ready = [one for one in self.tenant.objects.listed("ServiceDatabase", self.tenant.name) if _is_ready(one)]
        if not ready:
            return
        before = self.rng.choice(ready)
        name, outages = before["metadata"]["name"], self.outages
        secret = self.tenant.secret(secret_name(name, APP))
        if outages % 2:
            return  # the server is down
        refusal = "there is no Secret" if secret is None else _refusal(secret)
        if refusal is None:
            self.worked += 1
            return
        after = self.tenant.get(name)
        same = after is not None and after["metadata"]["uid"] == before["metadata"]["uid"] and _is_ready(after)
        if same and self.outages == outages and self.tenant.secret(secret_name(name, APP)) == secret:
            self.refused.append(f"{name} says Ready, and a login with its Secret ends in: {refusal}")


def _is_ready(manifest: Manifest) -> bool:
    found = condition(manifest) or {}
    return found.get("status") == "True" and "deletionTimestamp" not in manifest["metadata"]


def _refusal(secret: dict[str, str]) -> str | None:
    """Why a session with the Secret's uri can't be had; None when it can."""
    if "uri" not in secret:
        return "its Secret holds no uri"
    try:
        psycopg.connect(secret["uri"], connect_timeout=10).close()
    except psycopg.Error as error:
        return str(error).replace("\n", " ")[:300]
    return None
