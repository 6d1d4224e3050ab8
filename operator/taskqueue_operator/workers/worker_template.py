"""What decides whether the operator can scale and drain the workers of a Deployment that it did not create."""

from collections.abc import Iterator
from typing import Any, Final, NamedTuple, Self

from taskqueue_operator.resource.names import LABEL_NAME, WORKER_CONTAINER

from .contract import PORT

DEFAULT_GRACE_SECONDS: Final = 30
"""The grace period of a pod without terminationGracePeriodSeconds."""
POD_UID: Final = "metadata.uid"
PREFIX: Final = "TASKQUEUE_"
NAME: Final = f"{PREFIX}NAME"
HTTP_PORT: Final = f"{PREFIX}HTTP_PORT"
READINESS_PATH: Final = "/readyz"
DEFAULT_PERIOD_SECONDS: Final = 10
"""The period of a probe without periodSeconds."""
LATEST_PROBE_SECONDS: Final = 30
"""Up to this initialDelaySeconds, a probe shows a worker that consumes before its silence makes it removable."""
_DEFAULT_CONTAINER: Final = "kubectl.kubernetes.io/default-container"


class WorkerTemplate(NamedTuple):
    """The facts of a Deployment of others that matter for its workers.

    Attributes:
        taskqueue: Name of the TaskQueue in the label of the pods; empty without the label.
        container: Name of the container that runs the tasks.
        grace_seconds: Time that a pod has from SIGTERM to SIGKILL.
        min_ready_seconds: Time for which a pod must be ready to count as available.
        recreates: Whether a rollout ends all pods before it starts new ones.
        variables: Names and values of its variables of the contract; of one from a field of the pod, its path.
        has_other_variables: Whether variables of the contract may come from ConfigMaps, Secrets or other variables.
        has_readiness: Whether the kubelet reads the readiness from the path of the contract.
    """

    taskqueue: str
    container: str
    grace_seconds: int
    min_ready_seconds: int
    recreates: bool
    variables: frozenset[tuple[str, str]]
    has_other_variables: bool
    has_readiness: bool

    @classmethod
    def parse(cls, spec: dict[str, Any]) -> Self:
        """Parse the spec of a Deployment."""
        template = spec.get("template") or {}
        metadata, pod = template.get("metadata") or {}, template.get("spec") or {}
        name = worker_container_name(metadata, pod)
        container = find_container(pod, name)
        return cls(
            taskqueue=(metadata.get("labels") or {}).get(LABEL_NAME, ""),
            container=name,
            grace_seconds=pod.get("terminationGracePeriodSeconds", DEFAULT_GRACE_SECONDS),
            min_ready_seconds=spec.get("minReadySeconds", 0),
            recreates=(spec.get("strategy") or {}).get("type") == "Recreate",
            variables=frozenset(_variables(container)),
            has_other_variables=bool(container.get("envFrom")) or any(map(_is_unseen, container.get("env") or ())),
            has_readiness=_probes_readiness(container),
        )


def worker_container_name(metadata: dict[str, Any], pod: dict[str, Any]) -> str:
    """Return the name of the container that runs the tasks: `worker`, else the one that kubectl takes by default."""
    names = [container["name"] for container in pod.get("containers") or ()]
    if WORKER_CONTAINER in names or not names:
        return WORKER_CONTAINER
    default: str = (metadata.get("annotations") or {}).get(_DEFAULT_CONTAINER, "")
    return default if default in names else names[0]


def find_container(pod: dict[str, Any], name: str) -> dict[str, Any]:
    """Return a container of a pod or template by its name; empty if there is none."""
    return next((found for found in pod.get("containers") or () if found["name"] == name), {})


def has_contract_readiness(container: dict[str, Any]) -> bool:
    """Whether a worker that consumes is certainly found ready within a short time, as the worker contract says."""
    variables = dict(_variables(container))
    return NAME in variables and _probes_readiness(container) and _is_prompt(container, variables)


def _is_prompt(container: dict[str, Any], variables: dict[str, str]) -> bool:
    probe = container["readinessProbe"]
    named = {port["name"]: port["containerPort"] for port in container.get("ports") or () if "name" in port}
    port = probe["httpGet"].get("port")
    is_of_worker = str(named.get(port, port)) == variables.get(HTTP_PORT, str(PORT))
    rounds = probe.get("periodSeconds", DEFAULT_PERIOD_SECONDS) * probe.get("successThreshold", 1)
    is_early = probe.get("initialDelaySeconds", 0) <= LATEST_PROBE_SECONDS and rounds <= DEFAULT_PERIOD_SECONDS
    return is_of_worker and is_early and "host" not in probe["httpGet"]


def _probes_readiness(container: dict[str, Any]) -> bool:
    probe = container.get("readinessProbe") or {}
    return (probe.get("httpGet") or {}).get("path") == READINESS_PATH


def _variables(container: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """List the variables of the contract; others may hold secrets, and are not kept."""
    for entry in container.get("env") or ():
        if entry["name"].startswith(PREFIX) and not _is_unseen(entry):
            yield entry["name"], _value(entry)


def _is_unseen(entry: dict[str, Any]) -> bool:
    """Whether the template does not show the value of a variable of the contract."""
    is_elsewhere = "fieldRef" not in (entry.get("valueFrom") or {"fieldRef": None})
    return entry["name"].startswith(PREFIX) and (is_elsewhere or "$(" in (entry.get("value") or ""))


def _value(entry: dict[str, Any]) -> str:
    source = (entry.get("valueFrom") or {}).get("fieldRef") or {}
    return str(entry.get("value") or source.get("fieldPath") or "")
