"""What an administrator reads in the logs, and what wakes one up."""

import json
import logging
from collections.abc import Iterator

import pytest
from servicedb import logs


@pytest.fixture(autouse=True)
def _loggers_as_before() -> Iterator[None]:
    root, kopf = logging.getLogger(), logging.getLogger("kopf")
    before = (root.handlers[:], root.level, kopf.level)
    yield
    root.handlers[:] = before[0]
    root.setLevel(before[1])
    kopf.setLevel(before[2])


RETRIED = "Request attempt #1 failed; will retry: GET https://server/apis -> APITooManyRequestsError()"


@pytest.mark.parametrize(
    ("logger", "message", "level"),
    [
        pytest.param("kopf._cogs.clients.watching", RETRIED, "WARNING", id="kopf tries again by itself"),
        pytest.param(
            "kopf._core.reactor.observation",
            "Request attempt #2 failed; TCP closed; will re-authenticate: GET https://server/apis",
            "WARNING",
            id="kopf logs in again by itself",
        ),
        pytest.param(
            "kopf._cogs.clients.watching", RETRIED.replace("will retry", "escalating"), "ERROR", id="kopf gives up"
        ),
        pytest.param("servicedb.reconcile.run", RETRIED, "ERROR", id="our own words"),
    ],
)
def test_an_error_is_what_does_not_pass_by_itself(
    capsys: pytest.CaptureFixture[str], logger: str, message: str, level: str
) -> None:
    logs.set_up("info")
    logging.getLogger(logger).error(message)
    line = json.loads(capsys.readouterr().err)
    assert (line["level"], line["logger"], line["message"]) == (level, logger, message)


def test_a_line_says_which_object_it_is_about(capsys: pytest.CaptureFixture[str]) -> None:
    logs.set_up("info")
    token = logs.OBJECT.set("kyc/onboarding")
    try:
        logging.getLogger("servicedb").info("done")
    finally:
        logs.OBJECT.reset(token)
    assert json.loads(capsys.readouterr().err)["object"] == "kyc/onboarding"


class APINotFoundError(Exception):
    """As kopf calls it."""


@pytest.mark.parametrize(
    ("error", "level"),
    [
        pytest.param(APINotFoundError("404 page not found"), "WARNING", id="a CRD was removed"),
        pytest.param(ValueError("a bug"), "ERROR", id="a bug"),
    ],
)
def test_a_removed_crd_is_no_error(capsys: pytest.CaptureFixture[str], error: Exception, level: str) -> None:
    logs.set_up("info")
    logging.getLogger("kopf._core.reactor.running").error("a watcher has failed", exc_info=error)
    line = json.loads(capsys.readouterr().err)
    assert (line["level"], "exc_info" in line) == (level, level == "ERROR")
