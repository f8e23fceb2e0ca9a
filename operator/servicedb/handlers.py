"""kopf's part: watching. Each event becomes a key in the queue, and nothing else happens here.

kopf writes no annotation and no finalizer onto users' objects: there are only event handlers.
"""

import asyncio
from collections.abc import Iterator
from itertools import chain, repeat
from typing import Any

import kopf
from kopf._cogs.clients.errors import APINotFoundError

from servicedb.api.common import GROUP, VERSION
from servicedb.kube.client import KubeClient
from servicedb.kube.resources import KINDS, Key
from servicedb.reconcile.noticed import Watched
from servicedb.reconcile.run import WatchEnded
from servicedb.reconcile.stop import Stop


async def watch(kube: KubeClient, watched: Watched, ready: asyncio.Event, stop: Stop) -> None:
    """Watch our kinds until `stop` is due. `ready` is set when the first objects are about to come in.

    Raises WatchEnded when a kind is no longer served.
    """
    others = asyncio.all_tasks()
    tasks = await kopf.spawn_tasks(
        registry=_registry(kube, watched),
        settings=_settings(),
        standalone=True,
        clusterwide=True,
        ready_flag=ready,
        stop_flag=stop.due,
    )
    stop.listen()  # in place of kopf's own handlers, which end the watch at once and break at a second signal
    try:
        await kopf.run_tasks(tasks, ignored=others)
    except APINotFoundError as error:  # kopf mostly sees a CRD go in time; when a watch is begun just then, it fails
        raise WatchEnded(str(error)) from error


def _settings() -> kopf.OperatorSettings:
    settings = kopf.OperatorSettings()
    settings.posting.enabled = False
    settings.peering.standalone = True
    settings.watching.server_timeout = 300
    settings.networking.request_timeout = 30
    settings.networking.error_backoffs = _Patience()
    settings.queueing.idle_timeout = 0.2
    settings.queueing.worker_limit = None
    return settings


class _Patience:
    """Delays, in seconds, without an end: with kopf's own a minute of API errors ends a watch for good."""

    def __iter__(self) -> Iterator[float]:
        return chain((0.5, 1.0, 2.0, 5.0), repeat(10.0))


def _registry(kube: KubeClient, watched: Watched) -> kopf.OperatorRegistry:
    registry = kopf.OperatorRegistry()

    @kopf.on.login(registry=registry)
    async def login(**_: Any) -> kopf.ConnectionInfo:
        return _connection(kube, await kube.token())

    for plural in KINDS:

        @kopf.on.event(GROUP, VERSION, plural, registry=registry)
        async def noticed(event: kopf.RawEvent, *, plural: str = plural, **_: Any) -> None:
            # async, for all that it awaits nothing: kopf runs plain functions in threads, and the queue has none
            body = event["object"]
            metadata = body["metadata"]
            key = Key(plural, metadata.get("namespace", ""), metadata["name"])
            if event["type"] == "DELETED":
                watched.deleted(key, body)
            else:
                watched.seen(key, body)

    return registry


def _connection(kube: KubeClient, authorization: str | None) -> kopf.ConnectionInfo:
    configuration = kube.configuration
    scheme, _, token = (authorization or "").partition(" ")
    return kopf.ConnectionInfo(
        server=configuration.host,
        ca_path=configuration.ssl_ca_cert,
        insecure=not configuration.verify_ssl,
        certificate_path=configuration.cert_file,
        private_key_path=configuration.key_file,
        scheme=scheme.capitalize() if token else None,
        token=token or None,
    )
