"""Keys to a bucket that may do some things and not others."""

import hashlib
import hmac
import http.client
import json
import os
import subprocess
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

from tests.cluster.harness import binaries
from tests.store.gateway import BUCKET, Gateway


def account(gateway: Gateway, name: str) -> Path:
    """A new account of the gateway, which may do nothing yet; gives the folder of its credentials."""
    folder = gateway.folder / name
    folder.mkdir()
    (folder / "AWS_ACCESS_KEY_ID").write_text(name)
    (folder / "AWS_SECRET_ACCESS_KEY").write_text(f"{name}-{os.urandom(8).hex()}")
    keys = {
        name: (gateway.credentials / f"AWS_{name}").read_text().strip()
        for name in ("ACCESS_KEY_ID", "SECRET_ACCESS_KEY")
    }
    subprocess.run(
        [
            *(binaries.ensure(binaries.VERSITYGW), "admin", f"--endpoint-url={gateway.endpoint}", "create-user"),
            *(f"--access={name}", f"--secret={(folder / 'AWS_SECRET_ACCESS_KEY').read_text()}", "--role=user"),
        ],
        env={f"ADMIN_{name}": value for name, value in keys.items()},
        check=True,
        capture_output=True,
    )
    return folder


def allow(gateway: Gateway, rights: Mapping[str, Mapping[str, Sequence[str]]]) -> None:
    """Set the bucket's policy: account -> action -> what of (keys; an empty one is the bucket itself)."""
    statements = [
        {
            "Effect": "Allow",
            "Principal": {"AWS": [name]},
            "Action": [action],
            "Resource": [f"arn:aws:s3:::{BUCKET}{'/' if key else ''}{key}" for key in keys],
        }
        for name, actions in rights.items()
        for action, keys in actions.items()
    ]
    body = json.dumps({"Version": "2012-10-17", "Statement": statements}).encode()
    headers = _signed(gateway, body)
    connection = http.client.HTTPConnection("localhost", gateway.port, timeout=30)
    connection.request("PUT", f"/{BUCKET}?policy=", body, headers)
    answer = connection.getresponse()
    assert answer.status in {200, 204}, answer.read()
    connection.close()


def _signed(gateway: Gateway, body: bytes) -> dict[str, str]:
    """The headers of a PUT of the bucket's policy. Source: Amazon S3 documentation, "Authenticating Requests"."""
    key, secret = (
        (gateway.credentials / f"AWS_{name}").read_text().strip() for name in ("ACCESS_KEY_ID", "SECRET_ACCESS_KEY")
    )
    now = datetime.now(UTC)
    time, day = f"{now:%Y%m%dT%H%M%SZ}", f"{now:%Y%m%d}"
    headers = {
        "host": f"localhost:{gateway.port}",
        "x-amz-content-sha256": hashlib.sha256(body).hexdigest(),
        "x-amz-date": time,
    }
    names = ";".join(headers)
    lines = [*(f"{name}:{value}" for name, value in headers.items()), ""]
    request = "\n".join(["PUT", f"/{BUCKET}", "policy=", *lines, names, headers["x-amz-content-sha256"]])
    scope = f"{day}/us-east-1/s3/aws4_request"
    text = "\n".join(["AWS4-HMAC-SHA256", time, scope, hashlib.sha256(request.encode()).hexdigest()])
    signing = f"AWS4{secret}".encode()
    for part in scope.split("/"):
        signing = hmac.digest(signing, part.encode(), "sha256")
    signature = hmac.digest(signing, text.encode(), "sha256").hex()
    credential = f"AWS4-HMAC-SHA256 Credential={key}/{scope}, SignedHeaders={names}, Signature={signature}"
    return headers | {"authorization": credential}
