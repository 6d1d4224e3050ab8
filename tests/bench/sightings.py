"""What the API showed of a Deployment and its pods: how often their number was lowered, and who went for it."""

from collections.abc import Mapping
from typing import Any, NamedTuple

_VERSION = "pod-template-hash"
Body = Mapping[str, Any]


class Departure(NamedTuple):
    """A pod that was told to go: of which version, when, and whether that was because of a newer one."""

    pod: str
    version: str
    at: float
    replaced: bool


class Sightings:
    """Takes note of events in the order in which they come; one that is shown again changes nothing."""

    def __init__(self) -> None:
        self.scale_ins = 0
        """How often fewer replicas were asked for."""
        self.rollouts = 0
        """How often pods of another version joined those that were there."""
        self.departures: dict[str, Departure] = {}
        self.gone: dict[str, float] = {}
        """When each pod that went was no more."""
        self._replicas = 0
        self._versions: dict[str, str] = {}
        """Of the pods that are there and not told to go."""
        self._known: list[str] = []
        """All versions, in the order in which they came."""

    @property
    def victims(self) -> list[Departure]:
        """Those who went because fewer were asked for."""
        return [departure for departure in self.departures.values() if not departure.replaced]

    @property
    def live(self) -> int:
        """How many pods are there and not told to go."""
        return len(self._versions)

    def see_deployment(self, _kind: str, deployment: Body, _at: float) -> None:
        """Take note of a Deployment that was made or changed."""
        replicas = int(deployment["spec"]["replicas"])
        self.scale_ins += replicas < self._replicas
        self._replicas = replicas

    def see_pod(self, kind: str, pod: Body, at: float) -> None:
        """Take note of a pod of which the API server says that it was ADDED, MODIFIED or DELETED."""
        metadata = pod["metadata"]
        name, version = metadata["name"], metadata["labels"][_VERSION]
        if version not in self._known:
            self._known.append(version)
            self.rollouts += bool(self._versions)
        if kind == "DELETED":
            self.gone[name] = at
        if kind != "DELETED" and "deletionTimestamp" not in metadata:
            self._versions[name] = version
        elif name not in self.departures:
            self._versions.pop(name, None)
            self.departures[name] = Departure(name, version, at, replaced=version != self._known[-1])
