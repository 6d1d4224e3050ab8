"""HorizontalPodAutoscalers, of which only their targets matter."""

from typing import Final

from .bounded_objects import readable
from .client import Api, Body, collection
from .faults import ApiError, unavailable

AUTOSCALING: Final = "apis/autoscaling/v2"
PLURAL: Final = "horizontalpodautoscalers"


async def by_deployment(api: Api, namespace: str) -> dict[str, str]:
    """Return the HorizontalPodAutoscaler of each Deployment of a namespace that has one, by the Deployment's name.

    Raises:
        Fault: The API server cannot be used.
    """
    try:
        targets = await api.list_all(collection(AUTOSCALING, PLURAL, namespace), keep=_targets)
    except ApiError as error:
        raise unavailable(f"list {PLURAL} of namespace {namespace}", error) from None
    return {target["deployment"]: target["autoscaler"] for target in targets}


def _targets(bodies: list[Body]) -> list[Body]:
    """Return what matters of a page, which is much smaller."""
    targets = ((body["metadata"]["name"], body["spec"]["scaleTargetRef"]) for body in readable(bodies))
    return [{"autoscaler": name, "deployment": of["name"]} for name, of in targets if of["kind"] == "Deployment"]
