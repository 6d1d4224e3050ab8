"""What the present version of the workers still needs until it has replaced the former one."""

from taskqueue_operator.resource.faults import Reason, WorkersFault

from .api_objects import Deployment


def unfinished_rollout(deployment: Deployment) -> WorkersFault | None:
    """Return what is missing; None once all active workers are of this version and, if there are some, one is ready.

    Former workers that terminate do not count: they finish their tasks, for an hour if need be, and take no new ones.
    """
    if not deployment.observed:
        return WorkersFault(Reason.PROGRESSING, "Kubernetes has not yet observed the last change of the Deployment.")
    has_former = deployment.updated < deployment.current_replicas
    is_unready = deployment.replicas > 0 and deployment.ready == 0
    if not (has_former or is_unready):
        return None
    if deployment.progress_deadline_exceeded:
        return WorkersFault(
            Reason.ROLLOUT_STUCK,
            f"The workers of this version do not become ready (ProgressDeadlineExceeded). Fix {deployment.source}, or "
            "restore its former content.",
        )
    if is_unready:
        return WorkersFault(Reason.WORKERS_STARTING, "No worker is ready yet.")
    return WorkersFault(Reason.PROGRESSING, "Workers of the former version are still to be replaced.")
