"""Why a pod does not run, as its status shows it."""

from typing import Any, Final, NamedTuple

from .refused_declaration import RefusedDeclaration

CRASH_LOOP: Final = "CrashLoopBackOff"
PULL_BACK_OFF: Final = "ImagePullBackOff"
UNSCHEDULABLE: Final = "Unschedulable"
IMAGE_FAULTS: Final = frozenset({"ErrImagePull", PULL_BACK_OFF, "InvalidImageName", "ErrImageNeverPull"})
START_FAULTS: Final = IMAGE_FAULTS | {
    CRASH_LOOP,
    "CreateContainerConfigError",
    "CreateContainerError",
    "RunContainerError",
}


class PodProblem(NamedTuple):
    """Why a pod does not run.

    Attributes:
        reason: The reason of the kubelet or the scheduler, such as ImagePullBackOff.
        container: The failing container; empty if the pod as a whole fails.
        detail: The image, the last termination of the container, or the message of the kubelet or the scheduler.
        refused: The declaration that the broker refused before the container ended; None if that shows nowhere.
    """

    reason: str
    container: str
    detail: str
    refused: RefusedDeclaration | None = None

    @property
    def order(self) -> tuple[object, ...]:
        """Sorts problems; of equal ones, those that are explained come first."""
        return self.reason, self.container, self.detail, self.refused is None, self.refused or ()


def pod_problem(status: dict[str, Any]) -> PodProblem | None:
    """Return the first problem that the status of a pod shows; None if it shows none."""
    for container in (*(status.get("initContainerStatuses") or ()), *(status.get("containerStatuses") or ())):
        found = _container_problem(container)
        if found is not None:
            return found
    for condition in status.get("conditions") or ():
        if condition["type"] == "PodScheduled" and condition.get("reason") == UNSCHEDULABLE:
            return PodProblem(UNSCHEDULABLE, "", condition.get("message", ""))
    return None


def _container_problem(container: dict[str, Any]) -> PodProblem | None:
    name, state, last = container["name"], container.get("state") or {}, container.get("lastState") or {}
    waiting, ended = state.get("waiting") or {}, state.get("terminated") or last.get("terminated") or {}
    reason = waiting.get("reason", "")
    # Between two crashes it runs for a moment: without this, its problem would come and go with every restart.
    crashed_again = (
        ended and ended.get("exitCode") != 0 and container.get("restartCount", 0) > 0 and not container.get("ready")
    )
    if reason == CRASH_LOOP or (crashed_again and reason not in START_FAULTS):
        end, code = ended.get("reason", "Error"), ended.get("exitCode", "unknown")
        detail = f"{end}, exit code {code}" if end != "Error" else f"exit code {code}"
        return PodProblem(CRASH_LOOP, name, detail, RefusedDeclaration.parse(ended))
    if reason in IMAGE_FAULTS:
        # The two alternate with every attempt, and mean the same.
        return PodProblem(PULL_BACK_OFF if reason == "ErrImagePull" else reason, name, container.get("image", ""))
    return PodProblem(reason, name, waiting.get("message", "")) if reason in START_FAULTS else None
