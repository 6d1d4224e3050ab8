"""The history of a Deployment and its pods, as watch events show it: scale-ins, rollouts, and the removed pods."""

from collections.abc import Mapping
from typing import Any, NamedTuple

_VERSION = "pod-template-hash"
Body = Mapping[str, Any]


class Removal(NamedTuple):
    """A pod that was deleted.

    Attributes:
        pod: Its name.
        version: Its template hash.
        at: When the deletion began.
        replaced: A newer version is the reason, not a scale-in.
    """

    pod: str
    version: str
    at: float
    replaced: bool


class PodHistory:
    """Records watch events in their order; a repeated event changes nothing."""

    def __init__(self) -> None:
        self.scale_ins = 0
        """How often `spec.replicas` became lower."""
        self.rollouts = 0
        """How often pods of another version joined existing pods."""
        self.removals: dict[str, Removal] = {}
        self.deleted_at: dict[str, float] = {}
        """When each pod no longer existed."""
        self._replicas = 0
        self._active: dict[str, str] = {}
        """The version of each pod that exists and does not terminate."""
        self._versions: list[str] = []
        """All versions, in the order in which they came."""
        self._template: Body | None = None
        self._outdated: set[str] = set()
        """Versions of former templates: a rollout may remove their pods before one of the new version exists."""

    @property
    def scaled_in(self) -> list[Removal]:
        """The pods that scale-ins removed."""
        return [removal for removal in self.removals.values() if not removal.replaced]

    @property
    def active(self) -> int:
        """Count the pods that exist and do not terminate."""
        return len(self._active)

    def on_deployment(self, _kind: str, deployment: Body, _at: float) -> None:
        """Record a Deployment that was created or changed."""
        replicas, template = int(deployment["spec"]["replicas"]), deployment["spec"].get("template")
        self.scale_ins += replicas < self._replicas
        self._replicas = replicas
        if template != self._template:
            self._template = template
            self._outdated |= set(self._versions)

    def on_pod(self, kind: str, pod: Body, at: float) -> None:
        """Record a pod with the `kind` of its event: ADDED, MODIFIED or DELETED."""
        metadata = pod["metadata"]
        name, version = metadata["name"], metadata["labels"][_VERSION]
        if version not in self._versions:
            self._versions.append(version)
            self.rollouts += bool(self._active)
        if kind == "DELETED":
            self.deleted_at[name] = at
        if kind != "DELETED" and "deletionTimestamp" not in metadata:
            self._active[name] = version
        elif name not in self.removals:
            self._active.pop(name, None)
            replaced = version != self._versions[-1] or version in self._outdated
            self.removals[name] = Removal(name, version, at, replaced)
