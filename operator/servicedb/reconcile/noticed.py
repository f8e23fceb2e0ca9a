"""Which objects there are: from the watch as it delivers, and from our own list, which a watch can't silently miss.

A relist after 410 tells of no deletion, and a watcher can end for good: so everything is listed again at each resync,
and an object that stays newer than the watch has delivered makes the operator unhealthy.
"""

import asyncio
import logging
import random
import time
from collections.abc import Collection, Mapping
from typing import Any

from servicedb import metrics
from servicedb.api.common import GROUP
from servicedb.errors import Problem
from servicedb.kube import resources
from servicedb.kube.client import ApiError
from servicedb.kube.resources import DATABASE_SERVERS, KINDS, MIGRATION_RUNS, SERVICE_DATABASES, Key
from servicedb.reconcile.backup_deletion import note_deleted
from servicedb.reconcile.guests import forget_asking, note_asking
from servicedb.reconcile.world import Noticed, World

_log = logging.getLogger(__name__)

_LAG_ALLOWED = 60.0
_CHECK_SECONDS = 10.0
_SOON = 5.0
_FIRST = (MIGRATION_RUNS, SERVICE_DATABASES, DATABASE_SERVERS)
_KINDS = (*(plural for plural in KINDS if plural not in _FIRST), *_FIRST)


class Watched:
    """What the watch has delivered, and what it owes."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._content: dict[Key, int] = {}
        self._delivered: dict[Key, int] = {}
        self._owed: dict[Key, tuple[int, float]] = {}
        self._missing: set[str] = set()
        self._unwatched: set[str] = set()
        self.listed = False

    def seen(self, key: Key, body: Mapping[str, Any]) -> None:
        """An object as the watch delivered it. Enqueues it unless only its status or managedFields changed."""
        version = int(body["metadata"]["resourceVersion"])
        self._delivered[key] = version
        self._unwatched.discard(key.plural)
        if key in self._owed and version >= self._owed[key][0]:
            del self._owed[key]
        if self._note(key, body):
            self._world.enqueue(key)

    def deleted(self, key: Key, body: Mapping[str, Any]) -> None:
        """An object that was deleted just now, as it was."""
        note_deleted(self._world, key, body)
        waiting = self._world.beside(key)  # a second run for the same set may go on now
        self._drop(key)
        for one in (key, *waiting):
            self._world.enqueue(one)

    def lag(self) -> float:
        """For how many seconds some object has been newer than the watch has delivered."""
        now = time.monotonic()
        return max((now - since for _, since in self._owed.values()), default=0.0)

    @property
    def healthy(self) -> bool:
        return self.lag() < _LAG_ALLOWED

    async def keep_listing(self) -> None:
        """List everything now and at each resync, and have it all looked at, spread over half of the time.

        A kind that is not served is asked for again soon, until the watch has told of one of its objects: when its CRD
        comes nobody tells of it, and kopf, which looks at that moment, may find it not served yet.
        """
        due = 0.0
        while True:
            resync = self._world.settings.resync
            everything = time.monotonic() >= due
            try:
                if everything:
                    await self._list(_KINDS, spread=resync / 2 if self.listed else 0.0)
                    self.listed = True
                    due = time.monotonic() + resync * random.uniform(0.9, 1.1)  # noqa: S311 - only spreads load
                else:
                    await self._list(frozenset(self._unwatched), spread=0.0)
                pause = max(0.0, due - time.monotonic())
                pause = min(_SOON, pause) if self._unwatched else pause
            except (Problem, ApiError) as error:
                _log.warning("objects could not be listed: %s", error)
                pause = min(_SOON, resync)
            except Exception:  # noqa: BLE001 - without this task nothing is ever looked at again
                _log.exception("objects could not be listed")
                pause = min(_SOON, resync)
            await asyncio.sleep(pause)

    async def keep_checking(self) -> None:
        """See that what the watch owes has come, or is gone."""
        while True:
            await asyncio.sleep(_CHECK_SECONDS)
            metrics.WATCH_LAG.set(self.lag())
            for key in [key for key, (_, since) in self._owed.items() if time.monotonic() - since > _LAG_ALLOWED / 2]:
                try:
                    if await self._world.kube.get(key.path) is None:
                        self._owed.pop(key, None)
                except (Problem, ApiError):
                    self._owed.pop(key, None)  # the CRD or the API server is away: that is not the watch's fault

    async def _list(self, plurals: Collection[str], *, spread: float) -> None:
        """List these kinds. One that is not served is left as it was: an empty answer would look like a deletion of
        everything.

        Runs and databases are noted first, so that what they are on knows them when it is looked at; servers are worked
        on first.
        """
        due: list[Key] = []
        missing: set[str] = set()
        for plural in sorted(plurals, key=_KINDS.index):
            before, there = set(self._content), set()  # what comes while it lists is not in the list
            try:
                async for body in self._world.kube.list(resources.collection(plural)):
                    key = Key(plural, body["metadata"].get("namespace", ""), body["metadata"]["name"])
                    there.add(key)
                    if self._note(key, body) and spread:
                        self._world.enqueue(key)  # the watch has not told of it yet: it need not wait for its turn
                    self._owe(key, int(body["metadata"]["resourceVersion"]))
            except ApiError as error:
                if error.status != 404:
                    raise
                if plural not in self._missing:
                    _log.warning("the CRD %s.%s is not installed", plural, GROUP)
                missing.add(plural)
                continue
            due += there
            for key in [key for key in before - there if key.plural == plural]:
                self._drop(key)
                self._world.enqueue(key)
        for key in reversed(due):
            if spread and key.plural != DATABASE_SERVERS:  # by the scan that its server is about to take
                self._world.enqueue_after(key, random.uniform(0, spread))  # noqa: S311 - only spreads load
            else:
                self._world.enqueue(key)
        self._missing = self._missing - set(plurals) | missing
        self._unwatched |= missing

    def _owe(self, key: Key, version: int) -> None:
        if self._delivered.get(key, -1) < version and key not in self._owed:
            self._owed[key] = (version, time.monotonic())

    def _note(self, key: Key, body: Mapping[str, Any]) -> bool:
        """Remember the object; whether anything but its status and managedFields differs from before."""
        metadata = body["metadata"]
        spec = body.get("spec") or {}
        if key.plural == SERVICE_DATABASES:
            server = (spec.get("serverRef") or {}).get("name", "")
            before = self._world.databases.get(key)
            self._world.databases[key] = noticed = Noticed(
                server, metadata["uid"], metadata.get("generation", 0), _ready(body), _restore(body)
            )
            if before != noticed:  # what its migrations and restores wait for may be so now
                for waiting in (*self._world.runs_of(key), *self._world.restores_into(key)):
                    self._world.enqueue(waiting)
        elif key.plural == MIGRATION_RUNS:
            name = (spec.get("databaseRef") or {}).get("name", "")
            self._world.runs[key] = Key(SERVICE_DATABASES, key.namespace, name)
        note_asking(self._world, key, body)
        content = hash(
            (
                metadata["uid"],
                metadata.get("generation"),
                metadata.get("deletionTimestamp"),
                frozenset((metadata.get("annotations") or {}).items()),
                frozenset((metadata.get("labels") or {}).items()),
            )
        )
        changed = self._content.get(key) != content
        self._content[key] = content
        return changed

    def _drop(self, key: Key) -> None:
        self._content.pop(key, None)
        self._delivered.pop(key, None)
        self._owed.pop(key, None)
        self._world.databases.pop(key, None)
        self._world.runs.pop(key, None)
        forget_asking(self._world, key)


def _ready(body: Mapping[str, Any]) -> bool:
    conditions = (body.get("status") or {}).get("conditions") or ()
    return any(one.get("type") == "Ready" and one.get("status") == "True" for one in conditions)


def _restore(body: Mapping[str, Any]) -> str:
    decided = (body.get("status") or {}).get("restore") or {}
    return f"{decided.get('uid', '')} {decided.get('state', '')}".strip()
