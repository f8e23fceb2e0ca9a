"""`servicedb plan`: what ServiceDatabases that stand in files would need, whether they were applied or not."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import yaml

from servicedb.api.common import API_VERSION, Unreadable
from servicedb.api.database_server import DatabaseServer
from servicedb.api.service_database import ServiceDatabase
from servicedb.errors import Problem
from servicedb.kube.client import ApiError, Json, KubeClient
from servicedb.kube.resources import DATABASE_SERVERS, SERVICE_DATABASES, Key
from servicedb.plan.resolve import resolve
from servicedb.postgres.script import Planned
from servicedb.reconcile.database import check_limits, check_same_server, checked_credentials, marker_of
from servicedb.reconcile.guests import as_it_is, hear_policies
from servicedb.reconcile.preview import preview
from servicedb.reconcile.queue import TryAgain
from servicedb.reconcile.server import enter
from servicedb.reconcile.work import Work
from servicedb.reconcile.world import Server, World, cluster_uid
from servicedb.settings import Settings

_UID_TO_COME = "given-when-it-is-made"


class Unplannable(Exception):
    """Why there is no plan, as a sentence."""


@dataclass(frozen=True, slots=True)
class FilePlan:
    """The plan of one object."""

    namespace: str
    name: str
    database: str
    steps: Sequence[Planned]


def service_databases(text: str, *, source: str) -> list[Json]:
    """The ServiceDatabases among the documents in `text`. Raises Unplannable where it can't be read, or has none."""
    try:
        documents = [document for document in yaml.safe_load_all(text) if document is not None]
    except yaml.YAMLError as error:
        raise Unplannable(f"{source} is not YAML: {_words(error)}") from None
    found = [item for document in documents for item in _items(document)]
    if not all(isinstance(item, dict) for item in found):
        raise Unplannable(f"{source} holds something else than Kubernetes objects; give files as for kubectl apply")
    wanted = [item for item in found if (item.get("apiVersion"), item.get("kind")) == (API_VERSION, "ServiceDatabase")]
    if not wanted:
        raise Unplannable(f"{source} holds no ServiceDatabase of {API_VERSION}")
    return wanted


async def plan_files(objects: Sequence[Json], *, kubeconfig: str | None, settings: Settings) -> list[FilePlan]:
    """The plan of each of `objects`, as the user of `kubeconfig`. Nothing is changed, in the cluster or on a server.

    Raises Unplannable.
    """
    kube = await KubeClient.load(kubeconfig)
    world = None
    try:
        world = World(kube, settings, await cluster_uid(kube))
        return [await _plan(body, world) for body in objects]
    except (Problem, ApiError, Unreadable) as error:
        raise Unplannable(str(error)) from None
    finally:
        await (kube.close() if world is None else world.close())


async def _plan(body: Json, world: World) -> FilePlan:
    sdb = await _as_applied(body, world)
    where = f"{sdb.metadata.namespace}/{sdb.metadata.name}"
    try:
        server = await _server(sdb, world)
        marker = await marker_of(sdb, server, world)
        await hear_policies(world, sdb.metadata.namespace)
        asked = as_it_is(sdb, server, world)
        wanted = resolve(sdb, server.resource, marker, asked.guests)
        check_same_server(sdb, server)
        check_limits(wanted, server)
        key = Key(SERVICE_DATABASES, sdb.metadata.namespace, sdb.metadata.name)
        credentials = checked_credentials(key, sdb, wanted, server, world)
        await credentials.read()
        assert server.admin is not None
        steps = await preview(Work(key, sdb, wanted, server, server.admin, world, credentials, asked))
    except TryAgain:
        raise Unplannable(
            f'{where}: namespace "{sdb.metadata.namespace}", or the CRD, is not there; create it first'
        ) from None
    except Problem as problem:
        raise Unplannable(f"{where}: {problem.message}") from None
    return FilePlan(sdb.metadata.namespace, sdb.metadata.name, wanted.database, steps)


async def _as_applied(body: Json, world: World) -> ServiceDatabase:
    """The object as it would be after `kubectl apply`: with the status and identity of the one in the cluster."""
    metadata = {"namespace": "default", **(body.get("metadata") or {})}
    given = {**body, "metadata": {**metadata, "uid": _UID_TO_COME}}
    given.pop("status", None)
    sdb = ServiceDatabase.parse(given)
    live = await world.kube.get(Key(SERVICE_DATABASES, sdb.metadata.namespace, sdb.metadata.name).path)
    if live is None:
        return sdb
    annotations = {**(live["metadata"].get("annotations") or {}), **sdb.metadata.annotations}
    merged: dict[str, Any] = {**given, "status": live.get("status") or {}}
    merged["metadata"] = {**metadata, "uid": live["metadata"]["uid"], "annotations": annotations}
    return ServiceDatabase.parse(merged)


async def _server(sdb: ServiceDatabase, world: World) -> Server:
    name = sdb.spec.server_ref.name
    if name in world.servers:
        return world.servers[name]
    body = await world.kube.get(Key(DATABASE_SERVERS, "", name).path)
    if body is None:
        raise Unplannable(
            f'{sdb.metadata.namespace}/{sdb.metadata.name}: there is no DatabaseServer "{name}"; create it first'
        )
    server = Server(name, DatabaseServer.parse(body))
    if server.resource.status.system_identifier is None:
        raise Unplannable(
            f'DatabaseServer "{name}" has not been looked at by the operator yet; see its conditions, then try again'
        )
    await enter(server, world)
    world.servers[name] = server
    return server


def _items(document: Any) -> Iterator[Any]:
    if isinstance(document, dict) and document.get("kind") == "List":
        yield from document.get("items") or ()
    else:
        yield document


def _words(error: yaml.YAMLError) -> str:
    """PyYAML's sentence with the line, on one line."""
    problem, mark = getattr(error, "problem", None), getattr(error, "problem_mark", None)
    return f"{problem} (line {mark.line + 1})" if mark is not None else str(error).replace("\n", " ")
