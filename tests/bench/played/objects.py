"""The objects of a played API server, and the watches on them."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

Body = dict[str, Any]
Name = tuple[str, str]
"""Namespace and name."""


class Collection:
    """All objects of one kind."""

    def __init__(self, api: str, kind: str, plural: str, objects: "Objects") -> None:
        self.api_version = api.removeprefix("apis/").removeprefix("api/")
        self.kind = kind
        self.plural = plural
        self.items: dict[Name, Body] = {}
        self._objects = objects
        self._watches: set[asyncio.Queue[Body]] = set()

    def put(self, body: Body) -> Body:
        """Store a new version of an object, and show it to all watches."""
        metadata = body["metadata"]
        name = metadata.get("namespace", ""), metadata["name"]
        event = "MODIFIED" if name in self.items else "ADDED"
        metadata["resourceVersion"] = self._objects.next_version()
        metadata.setdefault("uid", f"{self.plural}-{metadata['resourceVersion']}")
        self.items[name] = {"apiVersion": self.api_version, "kind": self.kind, **body}
        for watch in self._watches:
            watch.put_nowait({"type": event, "object": self.items[name]})
        return self.items[name]

    @contextmanager
    def watch(self, version: int) -> Iterator[asyncio.Queue[Body]]:
        """Receive what changes after a resourceVersion."""
        events: asyncio.Queue[Body] = asyncio.Queue()
        for body in self.items.values():
            if int(body["metadata"]["resourceVersion"]) > version:
                events.put_nowait({"type": "MODIFIED", "object": body})
        self._watches.add(events)
        try:
            yield events
        finally:
            self._watches.discard(events)


class Objects:
    """All objects of a cluster."""

    def __init__(self) -> None:
        self._version = 0
        self.taskqueues = Collection("apis/taskqueue.dev/v1alpha1", "TaskQueue", "taskqueues", self)
        self.deployments = Collection("apis/apps/v1", "Deployment", "deployments", self)
        self.pods = Collection("api/v1", "Pod", "pods", self)
        self.secrets = Collection("api/v1", "Secret", "secrets", self)
        self.events = Collection("api/v1", "Event", "events", self)
        self.leases = Collection("apis/coordination.k8s.io/v1", "Lease", "leases", self)
        # kopf watches nothing before it finds this kind.
        self.namespaces = Collection("api/v1", "Namespace", "namespaces", self)

    def collections(self) -> dict[str, Collection]:
        """Return the collections by the plural of their kind."""
        found = (self.taskqueues, self.deployments, self.pods, self.secrets, self.events, self.leases, self.namespaces)
        return {collection.plural: collection for collection in found}

    def next_version(self) -> str:
        """Return the next resourceVersion."""
        self._version += 1
        return str(self._version)

    @property
    def version(self) -> str:
        """The last resourceVersion."""
        return str(self._version)
