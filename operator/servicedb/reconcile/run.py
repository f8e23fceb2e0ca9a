"""The operator as a whole: log in, list, watch, work, answer probes, and stop in good order."""

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable

from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from servicedb import metrics
from servicedb.api.crd import SCHEMA_HASH, schema_hashes
from servicedb.errors import Problem
from servicedb.kube import resources
from servicedb.kube.client import ApiError, KubeClient
from servicedb.kube.discovery import served
from servicedb.kube.resources import DATABASE_SERVERS, SERVICE_DATABASES
from servicedb.plan.steps import Step
from servicedb.reconcile.count import keep_counting
from servicedb.reconcile.noticed import Watched
from servicedb.reconcile.probe import keep_probing
from servicedb.reconcile.queue import WorkQueue
from servicedb.reconcile.round import work_of
from servicedb.reconcile.stop import Stop
from servicedb.reconcile.world import World, cluster_uid, ignore
from servicedb.settings import Settings

_log = logging.getLogger(__name__)

Watch = Callable[[KubeClient, Watched, asyncio.Event, Stop], Awaitable[None]]

_LOOKS_AGAIN = 2.0


class WatchEnded(Exception):
    """A watch that can't go on: a CRD was removed under it. Nothing is lost, since everything is listed again."""


async def run(
    settings: Settings, kubeconfig: str | None, watch: Watch, on_step: Callable[[Step], None] = ignore
) -> None:
    """Run until SIGTERM or SIGINT, or until `watch` fails; work that is going on may then end first."""
    kube = await KubeClient.load(kubeconfig)
    try:
        world = World(kube, settings, await _cluster_uid(kube), on_step=on_step)
        queue = WorkQueue(work_of(world), longest_backoff=min(300.0, settings.resync))
        world.enqueue, world.enqueue_after = queue.add, queue.add_after
        metrics.QUEUE_DEPTH.set_function(lambda: queue.depth)
        await _compare_crds(kube)
        watched, ready, stop = Watched(world), asyncio.Event(), Stop()
        server = await _serve(settings, watched, ready)
        queue.start(settings.workers)
        stop.listen()
        loops = (watched.keep_listing(), watched.keep_checking(), keep_probing(world), keep_counting(world))
        tasks = [asyncio.create_task(loop) for loop in loops]
        watching = asyncio.create_task(_watch(watch, kube, watched, ready, stop))
        _log.info("servicedb is running", extra={"cluster": world.cluster_uid})
        try:
            asked = asyncio.create_task(stop.asked.wait())
            await asyncio.wait({asked, watching}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            _log.info("stopping: no new work is begun")
            for task in (asked, *tasks):
                task.cancel()
            await asyncio.gather(asked, *tasks, return_exceptions=True)
            await queue.stop(settings.stop_grace)
            await server.cleanup()
            stop.due.set()
            await watching
            await world.close()
    finally:
        await kube.close()


async def _watch(watch: Watch, kube: KubeClient, watched: Watched, ready: asyncio.Event, stop: Stop) -> None:
    """Watch, once both kinds are served: of a CRD that comes between its two first looks, kopf would never know.

    MigrationRuns may be missing, as where the CRDs are those of an older release; kopf looks for them by itself.
    """
    kinds, told = (DATABASE_SERVERS, SERVICE_DATABASES), False
    while not stop.asked.is_set():
        if await served(kube, kinds):
            try:
                await watch(kube, watched, ready, stop)
                return
            except WatchEnded as error:
                _log.warning("the watch is begun anew: %s", error)
        elif not told:
            told = True
            _log.warning("nothing is watched before the API server serves both kinds: are the CRDs installed?")
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(stop.asked.wait(), _LOOKS_AGAIN)


async def _cluster_uid(kube: KubeClient) -> str:
    """Wait for the API server: an operator that comes first is no failure."""
    while True:
        try:
            return await cluster_uid(kube)
        except (Problem, ApiError) as error:
            _log.warning("waiting for the Kubernetes API server: %s", error)
            await asyncio.sleep(2)


async def _compare_crds(kube: KubeClient) -> None:
    """Say loudly where the cluster's CRDs are of another release: fields that they lack are pruned in silence."""
    for name, wanted in schema_hashes().items():
        try:
            body = await kube.get(resources.crd(name.partition(".")[0]))
        except (Problem, ApiError) as error:
            _log.warning("the CRD %s could not be compared: %s", name, error)
            continue
        found = (body["metadata"].get("annotations") or {}).get(SCHEMA_HASH) if body is not None else None
        metrics.CRD_MATCHES.labels(name).set(found == wanted)
        if body is not None and found != wanted:
            _log.error("the CRD %s is of another release: fields may be lost; apply the crds/ of this one", name)


async def _serve(settings: Settings, watched: Watched, ready: asyncio.Event) -> web.AppRunner:
    """/healthz, /readyz and /metrics."""

    async def healthz(_: web.Request) -> web.Response:
        if watched.healthy or not ready.is_set():  # before it is begun, no watch is behind
            return web.Response(text="ok\n")
        return web.Response(status=500, text=f"the watch is behind by {watched.lag():.0f} s\n")

    async def readyz(_: web.Request) -> web.Response:
        if watched.listed and ready.is_set():
            return web.Response(text="ok\n")
        return web.Response(status=503, text="the objects have not been listed yet, or are not watched\n")

    async def scraped(_: web.Request) -> web.Response:
        return web.Response(body=generate_latest(), headers={"Content-Type": CONTENT_TYPE_LATEST})

    app = web.Application()
    app.add_routes([web.get("/healthz", healthz), web.get("/readyz", readyz), web.get("/metrics", scraped)])
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, settings.http_host, settings.http_port).start()
    return runner
